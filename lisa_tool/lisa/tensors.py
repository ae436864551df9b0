"""Every tensor of a LISA v1 checkpoint and its shape, from its sizes alone: the way back from `lisa_config`.

Whoever knows the sizes of a checkpoint can count its parameters without its files, and without torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from lisa_tool.lisa.config import SAM, LisaConfig, LlamaSizes, SamSizes

Named = Iterator[tuple[str, tuple[int, ...]]]


def checkpoint_shapes(config: LisaConfig) -> Mapping[str, tuple[int, ...]]:
    """Key -> shape of all that a checkpoint with these sizes holds, `rotary_emb.inv_freq` left out: it is no
    weight, and no loader reads it."""
    hidden_size, vocab_size = config.llama.hidden_size, config.llama.vocab_size
    return {
        "model.embed_tokens.weight": (vocab_size, hidden_size),
        **dict(_llama(config.llama)),
        "model.norm.weight": (hidden_size,),
        **dict(_linear("model.mm_projector", config.clip_width, hidden_size)),
        **dict(_linear("model.text_hidden_fcs.0.0", hidden_size, hidden_size)),
        **dict(_linear("model.text_hidden_fcs.0.2", hidden_size, config.sam.embed_width)),
        **dict(_image_encoder(config.sam)),
        **dict(_prompt_encoder(config.sam)),
        **dict(_mask_decoder(config.sam)),
        "lm_head.weight": (vocab_size, hidden_size),
    }


def _llama(llama: LlamaSizes) -> Named:
    width, mlp = llama.hidden_size, llama.intermediate_size
    kv_width = width // llama.n_heads * llama.n_kv_heads
    for i in range(llama.n_layers):
        layer = f"model.layers.{i}."
        yield f"{layer}self_attn.q_proj.weight", (width, width)
        yield f"{layer}self_attn.k_proj.weight", (kv_width, width)
        yield f"{layer}self_attn.v_proj.weight", (kv_width, width)
        yield f"{layer}self_attn.o_proj.weight", (width, width)
        yield f"{layer}mlp.gate_proj.weight", (mlp, width)
        yield f"{layer}mlp.up_proj.weight", (mlp, width)
        yield f"{layer}mlp.down_proj.weight", (width, mlp)
        yield f"{layer}input_layernorm.weight", (width,)
        yield f"{layer}post_attention_layernorm.weight", (width,)


def _image_encoder(sam: SamSizes) -> Named:
    encoder = f"{SAM}image_encoder."
    yield f"{encoder}pos_embed", (1, sam.grid, sam.grid, sam.width)
    yield from _convolution(f"{encoder}patch_embed.proj", sam.width, 3, sam.patch_size)
    for i in range(sam.depth):
        block = f"{encoder}blocks.{i}."
        side = sam.grid if i in sam.global_blocks else sam.window
        yield from _norm(f"{block}norm1", sam.width)
        for axis in "hw":
            yield f"{block}attn.rel_pos_{axis}", (2 * side - 1, sam.width // sam.n_heads)
        yield from _linear(f"{block}attn.qkv", sam.width, 3 * sam.width)
        yield from _linear(f"{block}attn.proj", sam.width, sam.width)
        yield from _norm(f"{block}norm2", sam.width)
        yield from _mlp(f"{block}mlp.lin", sam.width, sam.mlp_width)
    yield f"{encoder}neck.0.weight", (sam.embed_width, sam.width, 1, 1)
    yield from _norm(f"{encoder}neck.1", sam.embed_width)
    yield f"{encoder}neck.2.weight", (sam.embed_width, sam.embed_width, 3, 3)
    yield from _norm(f"{encoder}neck.3", sam.embed_width)


def _prompt_encoder(sam: SamSizes) -> Named:
    encoder, width, channels = f"{SAM}prompt_encoder.", sam.embed_width, sam.mask_in_chans
    yield f"{encoder}pe_layer.positional_encoding_gaussian_matrix", (2, width // 2)
    for i in range(4):  # the corners of a box, a point inside, a point outside
        yield f"{encoder}point_embeddings.{i}.weight", (1, width)
    yield f"{encoder}not_a_point_embed.weight", (1, width)
    yield f"{encoder}no_mask_embed.weight", (1, width)
    yield from _convolution(f"{encoder}mask_downscaling.0", channels // 4, 1, 2)
    yield from _norm(f"{encoder}mask_downscaling.1", channels // 4)
    yield from _convolution(f"{encoder}mask_downscaling.3", channels, channels // 4, 2)
    yield from _norm(f"{encoder}mask_downscaling.4", channels)
    yield from _convolution(f"{encoder}mask_downscaling.6", width, channels, 1)


def _mask_decoder(sam: SamSizes) -> Named:
    decoder, width = f"{SAM}mask_decoder.", sam.embed_width
    transformer = f"{decoder}transformer."
    narrow = width // sam.decoder_downsample
    for i in range(sam.decoder_depth):
        layer = f"{transformer}layers.{i}."
        yield from _attention(f"{layer}self_attn", width, width)
        yield from _attention(f"{layer}cross_attn_token_to_image", width, narrow)
        yield from _attention(f"{layer}cross_attn_image_to_token", width, narrow)
        yield from _mlp(f"{layer}mlp.lin", width, sam.decoder_mlp_width)
        for n in range(1, 5):
            yield from _norm(f"{layer}norm{n}", width)
    yield from _attention(f"{transformer}final_attn_token_to_image", width, narrow)
    yield from _norm(f"{transformer}norm_final_attn", width)
    n_masks = sam.n_multimask + 1
    yield f"{decoder}iou_token.weight", (1, width)
    yield f"{decoder}mask_tokens.weight", (n_masks, width)
    yield from _convolution(f"{decoder}output_upscaling.0", width, width // 4, 2, bias=width // 4)
    yield from _norm(f"{decoder}output_upscaling.1", width // 4)
    yield from _convolution(f"{decoder}output_upscaling.3", width // 4, width // 8, 2, bias=width // 8)
    for i in range(n_masks):
        yield from _stack(f"{decoder}output_hypernetworks_mlps.{i}.layers.", [width] * 3 + [width // 8])
    iou_widths = [width] + [sam.iou_head_width] * (sam.iou_head_depth - 1) + [n_masks]
    yield from _stack(f"{decoder}iou_prediction_head.layers.", iou_widths)


def _attention(name: str, width: int, inner: int) -> Named:
    for projection in "qkv":
        yield from _linear(f"{name}.{projection}_proj", width, inner)
    yield from _linear(f"{name}.out_proj", inner, width)


def _mlp(name: str, width: int, inner: int) -> Named:
    yield from _linear(f"{name}1", width, inner)
    yield from _linear(f"{name}2", inner, width)


def _stack(name: str, widths: list[int]) -> Named:
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        yield from _linear(f"{name}{i}", n_in, n_out)


def _linear(name: str, n_in: int, n_out: int) -> Named:
    yield f"{name}.weight", (n_out, n_in)
    yield f"{name}.bias", (n_out,)


def _convolution(name: str, first: int, second: int, side: int, *, bias: int | None = None) -> Named:
    """Weight (first, second, side, side); a transposed one has the channels that come out second."""
    yield f"{name}.weight", (first, second, side, side)
    yield f"{name}.bias", (first if bias is None else bias,)


def _norm(name: str, width: int) -> Named:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
