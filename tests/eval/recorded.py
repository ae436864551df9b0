"""Write a recording as the reference would, of a checkpoint with other sizes than the committed one's.

The slow path below shares no code with `lisa_tool.lisa`'s model: CLIP and LLaMA are those of transformers
with eager attention and no cache, Segment Anything is its package's. Only text and pixels come from
lisa_tool, which the committed recordings hold to the reference.

    write_recording(tmp_path)   # tmp_path/other, with tmp_path/images and tmp_path/clip-vit-tiny-patch14
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from segment_anything.modeling import (  # type: ignore[import-untyped]
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate
from transformers import CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from lisa_tool.lisa.processing import clip_pixels, sam_pixels
from lisa_tool.lisa.prompt import LLAVA_V1, TEMPLATES, build_prompt
from lisa_tool.lisa.tokenizer import IMAGE_TOKEN_INDEX, LisaTokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
CLIP = "clip-vit-tiny-patch14"
ADDED = {"<im_patch>": 1000, "<im_start>": 1001, "<im_end>": 1002, "[SEG]": 1003}
SEG, EOS, N_PATCHES, SQUARE, GRID = 1003, 2, 256, 1024, 64
SHIFT = N_PATCHES - 1

IMAGES = {"wide": (20, 37), "tall": (31, 18)}
ASKED = "Please segment the cup in this image."
TALK = [("What is odd here?", "Sure, [SEG]."), ("And what is near it?", None)]

Tensors = dict[str, Tensor]


class Slow(nn.Module):
    """The reference's parts, of random weights; key for key what a checkpoint holds, and CLIP."""

    def __init__(self) -> None:
        super().__init__()
        width, sam = 96, 256
        llama = LlamaConfig(
            vocab_size=1004,
            hidden_size=width,
            intermediate_size=160,
            num_hidden_layers=4,
            num_attention_heads=6,
            rms_norm_eps=1e-6,
        )
        self.llama = LlamaForCausalLM(llama)
        self.llama.set_attn_implementation("eager")
        self.clip = CLIPVisionModel.from_pretrained(
            GOLDEN / CLIP, attn_implementation="eager", use_safetensors=False
        )
        self.projector = nn.Linear(48, width)
        self.fcs = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, sam))
        self.image_encoder = ImageEncoderViT(
            img_size=SQUARE,
            embed_dim=40,
            depth=4,
            num_heads=2,
            mlp_ratio=3,
            out_chans=sam,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=10,
            global_attn_indexes=(1, 3),
        )
        self.prompt_encoder = PromptEncoder(sam, (GRID, GRID), (SQUARE, SQUARE), mask_in_chans=16)
        self.mask_decoder = MaskDecoder(
            transformer_dim=sam,
            transformer=TwoWayTransformer(depth=2, embedding_dim=sam, num_heads=8, mlp_dim=2048),
        )
        for module in (self.llama, self.projector, self.fcs, self.image_encoder, self.mask_decoder):
            _fill(module)
        for module in (self.llama, self.projector):  # kept as bfloat16
            for parameter in module.parameters():
                parameter.data = parameter.to(torch.bfloat16).float()
        self.eval()

    def checkpoint(self) -> Tensors:
        """As the reference's merge script saves it: mixed types, `inv_freq`, no CLIP."""
        half = {
            **self.llama.state_dict(),
            **{f"model.mm_projector.{key}": value for key, value in self.projector.state_dict().items()},
        }
        sam = {
            f"model.visual_model.{part}.{key}": value
            for part in ("image_encoder", "prompt_encoder", "mask_decoder")
            for key, value in getattr(self, part).state_dict().items()
        }
        fcs = {f"model.text_hidden_fcs.0.{key}": value for key, value in self.fcs.state_dict().items()}
        inv_freq = {
            f"model.layers.{i}.self_attn.rotary_emb.inv_freq": 10_000.0 ** -(torch.arange(0, 16, 2) / 16)
            for i in range(4)
        }
        return {k: v.to(torch.bfloat16) for k, v in (half | inv_freq).items()} | fcs | sam

    def image_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's features (1, 256, 48), and what the language model gets of them."""
        features = self.clip(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        return features, self.projector(features)

    def embedded(self, ids: Sequence[int], pixels: Tensor) -> Tensor:
        """(1, length + 255, 96)"""
        embed = self.llama.model.embed_tokens
        slot = list(ids).index(IMAGE_TOKEN_INDEX)
        before, behind = torch.tensor([ids[:slot]]), torch.tensor([ids[slot + 1 :]])
        return torch.cat([embed(before), self.image_tokens(pixels)[1], embed(behind)], dim=1)

    def states(self, embedded: Tensor, mask: Tensor | None = None) -> tuple[Tensor, list[Tensor], Tensor]:
        """Final states, outputs of the layers before the final norm, and logits."""
        layers: list[Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda module, inputs, output: layers.append(output))
            for layer in self.llama.model.layers
        ]
        hidden = self.llama.model(
            inputs_embeds=embedded, attention_mask=mask, use_cache=False
        ).last_hidden_state
        for hook in hooks:
            hook.remove()
        return hidden, layers, self.llama.lm_head(hidden)

    def masks(self, states: Tensor, seen: Seen) -> Tensors:
        """All that is recorded between the states that predicted [SEG] and the masks."""
        prompts = self.fcs(states)
        _, dense = self.prompt_encoder(points=None, boxes=None, masks=None)
        inner: list[tuple[Tensor, Tensor]] = []
        hook = self.mask_decoder.transformer.register_forward_hook(
            lambda module, inputs, output: inner.append(output)
        )
        low_res, ious = self.mask_decoder(
            image_embeddings=seen.embedding,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=prompts[:, None],
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        hook.remove()
        height, width = seen.resized_hw
        square = interpolate(low_res, (SQUARE, SQUARE), mode="bilinear", align_corners=False)
        full = interpolate(
            square[..., :height, :width], seen.rgb.shape[:2], mode="bilinear", align_corners=False
        )[:, 0]
        positive = (full > 0).numpy()
        return {
            "pred_embeddings": prompts,
            "sparse_embeddings": prompts[:, None],
            "low_res_masks": low_res,
            "iou_predictions": ious,
            "pred_masks": full,
            "pred_masks_gt0_packbits": torch.from_numpy(np.packbits(positive)),
            "pred_masks_shape": torch.tensor(positive.shape),
            "decoder_tokens": inner[0][0],
            "decoder_src_every8": inner[0][1][:, ::8],
        }

    def look_at(self, rgb: NDArray[np.uint8]) -> Seen:
        """An image as both encoders see it."""
        pixels, resized_hw = sam_pixels(rgb)
        outputs: Tensors = {}

        def keep(name: str, module: nn.Module) -> Any:
            def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
                outputs[name] = output[:, ::4, ::4]

            return module.register_forward_hook(hook)

        encoder = self.image_encoder
        hooks = [keep("sam_patch_embed_every4", encoder.patch_embed)]
        hooks += [keep(f"sam_block{i}_out_every4", block) for i, block in enumerate(encoder.blocks)]
        embedding = encoder(torch.from_numpy(pixels))
        for hook in hooks:
            hook.remove()
        return Seen(rgb, torch.from_numpy(clip_pixels(rgb)), embedding, outputs, resized_hw)


@dataclass(frozen=True)
class Seen:
    """An image, CLIP's pixels of it, SAM's embedding, and what SAM's encoder computed on the way."""

    rgb: NDArray[np.uint8]
    clip: Tensor
    embedding: Tensor
    outputs: Tensors
    resized_hw: tuple[int, int]


@torch.inference_mode()
def write_recording(root: Path) -> Path:
    """Returns the recording's folder, `root/other`."""
    torch.manual_seed(20261122)
    folder = root / "other"
    checkpoint = folder / "checkpoint"
    shutil.copytree(GOLDEN / "nano" / "checkpoint", checkpoint)
    shutil.copytree(GOLDEN / CLIP, root / CLIP)
    slow = Slow()
    torch.save(slow.checkpoint(), checkpoint / "pytorch_model.bin")
    _write_json(checkpoint / "added_tokens.json", ADDED)
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    sizes = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 4, "vocab_size": 1004}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 6, "rms_norm_eps": 1e-6, "out_dim": 256}
    _write_json(checkpoint / "config.json", config | sizes | heads)
    tokenizer = LisaTokenizer.from_folder(checkpoint)

    seen = {name: slow.look_at(_draw(root, name)) for name in IMAGES}
    text = tokenizer.encode_plain("It is ")
    cases: dict[str, dict[str, Any]] = {
        "evaluate_n1_wide_talk": _evaluation("wide", "llava_v1", TALK, 4),
        "evaluate_s1_tall_llama2": _evaluation(
            "tall", "llava_llama_2", [(ASKED, None)], 32, script=[*text, SEG, 300, SEG, EOS]
        ),
        "forward_t1_wide": _forward("wide", "[SEG]."),
        "forward_t3_tall": _forward("tall", "[SEG].", "Sure, the segmentation result is [SEG]."),
        "train_losses": {
            "images": ["tall", "wide"],
            "conversations": [
                build_prompt(LLAVA_V1, [(ASKED, answer)]) for answer in ("[SEG].", "It is [SEG].")
            ],
            "weights": {"ce": 1.0, "dice": 0.25, "bce": 3.0},
        },
    }
    for name, case in cases.items():
        if name.startswith("evaluate"):
            tensors = _evaluate(slow, tokenizer, case, seen[case["image"]])
        elif name.startswith("forward"):
            tensors = _pass(slow, tokenizer, case, seen[case["image"]])
        else:
            tensors = _train(slow, tokenizer, case, seen)
        save_file(
            {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()},
            folder / f"{name}.safetensors",
        )
    _write_json(
        folder / "meta.json",
        {
            "seg_token_idx": SEG,
            "len_tokenizer": 1004,
            "images": {name: _facts(one) for name, one in seen.items()},
            "cases": cases,
        },
    )
    return folder


def _evaluate(slow: Slow, tokenizer: LisaTokenizer, case: dict[str, Any], seen: Seen) -> Tensors:
    ids = tokenizer.encode(case["prompt"])
    output = list(ids)
    logits: list[Tensor] = []
    while len(logits) < case["max_new_tokens"] and output[-1] != EOS:
        embedded = slow.embedded(output, seen.clip)
        hidden, _, every = slow.states(embedded)
        logits.append(every[0, -1])
        script = case["script_ids"]
        output.append(script[len(logits) - 1] if script else int(logits[-1].argmax()))
    case |= {"new_token_ids": output[len(ids) :], "decoded_raw": tokenizer.decode(output)}
    best, second = torch.stack(logits).topk(2).values.unbind(1)
    assert (best - second).min() > 0.01, "the recorded answer hangs on rounding: take another seed"
    positions = [i - 1 + SHIFT for i, token_id in enumerate(output) if token_id == SEG]
    features, tokens = slow.image_tokens(seen.clip)
    recorded = slow.masks(hidden[0, positions], seen)
    return {key: value for key, value in recorded.items() if not key.startswith("decoder_")} | {
        "input_ids": torch.tensor(ids),
        "output_ids": torch.tensor(output),
        "last_hidden": hidden[0],
        "logits_of_new_tokens": torch.stack(logits),
        "seg_hidden_positions": torch.tensor(positions, dtype=torch.int64),
        "clip_features": features,
        "image_tokens": tokens,
        "inputs_embeds": embedded,
        "text_hidden_fcs_out": slow.fcs(hidden),
    }


def _pass(slow: Slow, tokenizer: LisaTokenizer, case: dict[str, Any], seen: Seen) -> Tensors:
    ids, attention = _padded([tokenizer.encode(one) for one in case["conversations"]])
    embedded = torch.cat([slow.embedded(row, seen.clip) for row in ids.tolist()])
    hidden, layers, logits = slow.states(embedded, _over_image(attention))
    rows, columns = (ids == SEG).nonzero(as_tuple=True)
    positions = slow.prompt_encoder.get_dense_pe()
    features, tokens = slow.image_tokens(seen.clip)
    masks = slow.masks(hidden[rows, columns - 1 + SHIFT], seen)
    masks["pred_masks_every4"] = masks.pop("pred_masks")[..., ::4, ::4]
    return {
        **masks,
        **seen.outputs,
        **{f"layer{i}_out": layer for i, layer in enumerate(layers)},
        "input_ids": ids,
        "attention_mask": attention,
        "seg_positions_row_col": torch.stack([rows, columns - 1 + SHIFT], dim=1),
        "last_hidden": hidden,
        "logits": logits,
        "clip_features": features,
        "image_tokens": tokens,
        "sam_image_embeddings_every4ch": seen.embedding[:, ::4],
        "dense_pe": positions[:, :, ::4, ::4],
        "dense_pe_row0": positions[0, :, 0],
        "dense_embeddings_channel_values": slow.prompt_encoder.no_mask_embed.weight[0],
    }


def _train(slow: Slow, tokenizer: LisaTokenizer, case: dict[str, Any], seen: dict[str, Seen]) -> Tensors:
    """One conversation about each image; the true masks are noise."""
    ids, attention = _padded([tokenizer.encode(one) for one in case["conversations"]])
    images = [seen[name] for name in case["images"]]
    embedded = torch.cat(
        [slow.embedded(row, one.clip) for row, one in zip(ids.tolist(), images, strict=True)]
    )
    hidden, _, logits = slow.states(embedded, _over_image(attention))
    labels = torch.full_like(ids, -100)
    bce, dice, truth = [], [], {}
    for row, (name, one) in enumerate(zip(case["images"], images, strict=True)):
        question = case["conversations"][row].partition("ASSISTANT:")
        n_asked, n = len(tokenizer.encode(question[0] + question[1])), int(attention[row].sum())
        labels[row, n_asked:n] = ids[row, n_asked:n]
        at = ids[row].tolist().index(SEG) - 1 + SHIFT
        mask = slow.masks(hidden[row, at][None], one)["pred_masks"]
        truth[f"gt_masks_{name}"] = true = (torch.rand(mask.shape) > 0.7).to(torch.uint8)
        bce.append(binary_cross_entropy_with_logits(mask, true.float()))
        p, t = mask.sigmoid(), true.float()
        dice.append(1 - (2 * (p * t).sum() / 1000 + 1e-6) / (p.sum() / 1000 + t.sum() / 1000 + 1e-6))
    # The positions of the image and those before it are not learned: only the tail of the logits counts.
    tail = logits[:, SHIFT:]
    weights = case["weights"]
    ce_loss = weights["ce"] * cross_entropy(tail[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    bce_loss, dice_loss = (
        weights["bce"] * torch.stack(bce).mean(),
        weights["dice"] * torch.stack(dice).mean(),
    )
    losses = {
        "loss": ce_loss + bce_loss + dice_loss,
        "ce_loss": ce_loss,
        "mask_bce_loss": bce_loss,
        "mask_dice_loss": dice_loss,
        "mask_loss": bce_loss + dice_loss,
    }
    return {
        **truth,
        **{name: value[None] for name, value in losses.items()},
        "input_ids": ids,
        "labels": labels,
        "attention_masks": attention,
        "offset": torch.tensor([0, 1, 2]),
    }


def _evaluation(
    image: str,
    conv_type: str,
    turns: list[tuple[str, str | None]],
    max_new_tokens: int,
    script: list[int] | None = None,
) -> dict[str, Any]:
    return {
        "image": image,
        "conv_type": conv_type,
        "turns": turns,
        "prompt": build_prompt(TEMPLATES[conv_type], turns),
        "script_ids": script,
        "max_new_tokens": max_new_tokens,
    }


def _forward(image: str, *answers: str) -> dict[str, Any]:
    return {
        "image": image,
        "conversations": [build_prompt(LLAVA_V1, [(ASKED, answer)]) for answer in answers],
    }


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """int64 ids and uint8 mask, (n, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=torch.uint8)
    return ids, mask


def _over_image(attention: Tensor) -> Tensor:
    return torch.cat([attention.new_ones(len(attention), SHIFT), attention], dim=1).long()


def _fill(module: nn.Module) -> None:
    """Weights that keep numbers about 1, so that every part has a say; nothing is left at 0."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1 and "embed_tokens" not in name:
            parameter.data.normal_(0, parameter[0].numel() ** -0.5)
        elif parameter.ndim > 1:
            parameter.data.normal_()
        else:
            parameter.data += 0.1 * torch.randn_like(parameter)


def _draw(root: Path, name: str) -> NDArray[np.uint8]:
    """An image of noise, written as `root/images/NAME.png`."""
    rgb = torch.randint(0, 256, (*IMAGES[name], 3), dtype=torch.uint8).numpy()
    path = root / "images" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(path)
    return rgb


def _facts(seen: Seen) -> dict[str, Any]:
    height, width = seen.resized_hw
    resized = np.asarray(Image.fromarray(seen.rgb).resize((width, height), Image.Resampling.BILINEAR))
    return {
        "original_hw": seen.rgb.shape[:2],
        "resized_hw": seen.resized_hw,
        "sha256_rgb_uint8_hwc": hashlib.sha256(seen.rgb.tobytes()).hexdigest(),
        "sha256_resized_uint8_hwc": hashlib.sha256(resized.tobytes()).hexdigest(),
        "sam_input_sum": sam_pixels(seen.rgb)[0].sum(dtype=np.float64),
        "clip_sum": seen.clip.double().sum().item(),
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), "utf-8")
