"""The recorded cases that need the model: answers, and passes of the reference's validation.

What a user gets (tokens, embeddings, masks) is computed as for a user, by the cached path. What only the
reference's way of computing has (hidden states of whole sequences, logits) comes from a pass over the whole
sequence with attention in the reference's order of operations: rounding is then all that is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lisa_tool.eval.parity.compare import CaseReport
from lisa_tool.eval.parity.pictures import Picture, outputs_of
from lisa_tool.eval.parity.recording import Evaluation, Forward, RecordingInvalid, Tensors, tensor
from lisa_tool.eval.uncached import answer_uncached
from lisa_tool.lisa.generate import Chooser, Stopping, generate, greedy
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.prompt import TEMPLATES, build_prompt
from lisa_tool.lisa.sam import full_size_logits

PAD_ID = 0

_KINDS = {
    "pred_embeddings": "embeddings",
    "sparse_embeddings": "embeddings",
    "text_hidden_fcs_out": "embeddings",
    "low_res_masks": "masks",
    "pred_masks": "masks",
    "iou_predictions": "masks",
    "logits_of_new_tokens": "logits",
    "logits": "logits",
}
_INNER = ("layer", "sam_", "dense_", "decoder_")  # how their names begin; the rest is "hidden"
_LISTS = {"input_ids", "output_ids", "seg_hidden_positions", "seg_positions_row_col", "attention_mask"}


@torch.inference_mode()
def evaluate_case(
    name: str, case: Evaluation, theirs: Tensors, loaded: Loaded, picture: Picture
) -> CaseReport:
    """An answer of `evaluate()`: the cached path and the uncached loop, both against the recording."""
    report = CaseReport(name)
    model, tokenizer = loaded.model, loaded.tokenizer
    if case.conv_type not in TEMPLATES:
        raise RecordingInvalid(f"{name} has conv_type {case.conv_type!r}, known are {', '.join(TEMPLATES)}")
    prompt = build_prompt(TEMPLATES[case.conv_type], case.turns)
    report.equal("prompt", "text", prompt, case.prompt)
    ids = tokenizer.encode(prompt)
    choose = greedy if case.script_ids is None else _scripted(case.script_ids)
    stopping = Stopping(tokenizer.eos_token_id, tokenizer.seg_token_id, case.max_new_tokens)
    answer, _ = generate(model, model.embed_prompt(ids, picture.tokens), stopping, choose=choose)
    with plain_attention(model):
        slow = answer_uncached(model, ids, picture.clip, stopping, choose=choose)
    report.equal("new_token_ids", "tokens", answer.token_ids, case.new_token_ids)
    report.equal("new_token_ids, uncached", "tokens", slow.token_ids, case.new_token_ids)
    if case.decoded_raw is not None:
        report.equal("decoded_raw", "text", tokenizer.decode([*ids, *answer.token_ids]), case.decoded_raw)
    # The reference's masks begin with those of [SEG]s in the prompt, which an answer of ours leaves out.
    states = [*slow.seg_states[: len(slow.seg_states) - len(answer.segs)], *(s.state for s in answer.segs)]
    ours = _masks(loaded, picture, torch.stack(states) if states else slow.seg_states) | {
        "last_hidden": slow.hidden,
        "logits_of_new_tokens": slow.logits,
        "inputs_embeds": model.embed_prompt([*ids, *slow.token_ids[:-1]], picture.tokens),
        "text_hidden_fcs_out": model.mask_prompts(slow.hidden)[None],
    }
    lists = {
        "input_ids": ids,
        "output_ids": [*ids, *answer.token_ids],
        "seg_hidden_positions": slow.seg_positions,
    }
    _compare(report, ours, lists, theirs)
    return report


@torch.inference_mode()
def forward_case(name: str, case: Forward, theirs: Tensors, loaded: Loaded, picture: Picture) -> CaseReport:
    """A pass of the reference's validation: all questions about one image as one padded batch."""
    report = CaseReport(name)
    model, tokenizer = loaded.model, loaded.tokenizer
    ids = [tokenizer.encode(conversation) for conversation in case.conversations]
    longest = max(map(len, ids), default=0)
    padded = [[*row, *[PAD_ID] * (longest - len(row))] for row in ids]
    attention = [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
    shift = model.n_image_tokens - 1
    segs = [
        [row, i + shift - 1]
        for row, row_ids in enumerate(ids)
        for i, token_id in enumerate(row_ids)
        if token_id == tokenizer.seg_token_id
    ]
    mask = torch.nn.functional.pad(torch.tensor(attention), (shift, 0), value=1)
    rows, columns = torch.tensor(segs, dtype=torch.long).view(-1, 2).unbind(1)
    fused = model.step(_embedded(model, padded, picture.tokens), mask=mask).hidden
    ours = _masks(loaded, picture, fused[rows, columns])
    layers = {f"layer{i}_out": layer for i, layer in enumerate(model.llm.model.layers)}
    with plain_attention(model), outputs_of(layers) as outputs:
        embedded = _embedded(model, padded, model.embed_clip(picture.clip))
        hidden = model.step(embedded, mask=mask).hidden
    ours |= outputs() | {
        "last_hidden": hidden,
        "logits": model.llm.lm_head(hidden),
        "inputs_embeds": embedded,
        "text_hidden_fcs_out": model.mask_prompts(hidden),
    }
    lists = {"input_ids": padded, "attention_mask": attention, "seg_positions_row_col": segs}
    _compare(report, ours, lists, theirs)
    return report


@contextmanager
def plain_attention(model: LisaModel) -> Iterator[None]:
    """Attention of CLIP and the language model in separate steps, as in the reference, and not fused.

    It takes half of the rounding away that lies between ours and the reference's: most of what is allowed.
    """
    configs: list[Any] = [model.llm.config, model.clip.config]
    usual = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for config, implementation in zip(configs, usual, strict=True):
            config._attn_implementation = implementation


def _embedded(model: LisaModel, rows: list[list[int]], image_tokens: Tensor) -> Tensor:
    """Prompts of one length as (b, length, hidden)."""
    return torch.cat([model.embed_prompt(row, image_tokens) for row in rows])


def _scripted(script: list[int]) -> Chooser:
    """Chooses what was recorded; the most probable token where the script has ended before the answer did."""
    return lambda logits, step: script[step] if step < len(script) else greedy(logits, step)


def _masks(loaded: Loaded, picture: Picture, states: Tensor) -> Tensors:
    """Everything that an image gives, and that the states which predicted [SEG] give with it."""
    model = loaded.model
    prompts = model.mask_prompts(states)
    with outputs_of({"transformer": model.sam.mask_decoder.transformer}) as outputs:
        low_res, ious = model.sam.decode(prompts, picture.embedding)
    inner = outputs() if len(states) else {}
    positions = model.sam.prompt_encoder.get_dense_pe()
    return picture.inner | {
        "clip_features": picture.features,
        "image_tokens": picture.tokens,
        "sam_image_embeddings": picture.embedding,
        "dense_pe": positions,
        "dense_pe_row0": positions[0, :, 0],
        "dense_embeddings_channel_values": model.sam.prompt_encoder.no_mask_embed.weight[0],
        "pred_embeddings": prompts,
        "sparse_embeddings": prompts[:, None],
        "low_res_masks": low_res,
        "iou_predictions": ious,
        "pred_masks": full_size_logits(
            low_res, model.config.sam.image_size, picture.resized_hw, picture.size_hw
        ),
        **(
            {"decoder_tokens": inner["transformer.0"], "decoder_src": inner["transformer.1"]} if inner else {}
        ),
    }


def _compare(report: CaseReport, ours: Tensors, lists: Mapping[str, list[Any]], theirs: Tensors) -> None:
    """Compare every recorded tensor under its name; `_every4` and the like mark a sample."""
    for name, recorded in theirs.items():
        plain = name.partition("_every")[0]
        if name in _LISTS:
            report.equal(name, "tokens", lists.get(name), recorded.tolist())
        elif name == "pred_masks_gt0_packbits":
            shape = tensor(theirs, "pred_masks_shape", report.name).tolist()
            report.same_pixels(name, ours["pred_masks"] > 0, recorded, shape)
        elif plain in ours:
            report.close(name, _kind(plain), ours[plain], recorded)
        elif name != "pred_masks_shape":
            report.unknown.append(name)


def _kind(name: str) -> str:
    return "inner layers" if name.startswith(_INNER) else _KINDS.get(name, "hidden")
