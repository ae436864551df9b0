"""The published LISA v1 checkpoints: their sizes, known without their files.

Two families: LLaMA 7B and Llama-2 13B, both with SAM ViT-H and openai/clip-vit-large-patch14. The size of the
vocabulary is the one thing that a download may change, by a row or four.
"""

from __future__ import annotations

from lisa_tool.lisa.clip_sizes import ClipSizes
from lisa_tool.lisa.config import LisaConfig, LlamaSizes, SamSizes

CLIP_VIT_L_14 = ClipSizes(width=1024, depth=24, mlp_width=4096, image_size=224, patch_size=14)
CLIP_NAME = "openai/clip-vit-large-patch14"

SAM_VIT_H = SamSizes(
    image_size=1024,
    patch_size=16,
    grid=64,
    width=1280,
    depth=32,
    n_heads=16,
    mlp_width=5120,
    window=14,
    global_blocks=(7, 15, 23, 31),
    embed_width=256,
    mask_in_chans=16,
    decoder_depth=2,
    decoder_mlp_width=2048,
    decoder_downsample=2,
    n_multimask=3,
    iou_head_depth=3,
    iou_head_width=256,
)

_LLAMA_7B = LlamaSizes(
    vocab_size=32_004,
    hidden_size=4096,
    intermediate_size=11_008,
    n_layers=32,
    n_heads=32,
    n_kv_heads=32,
    rms_norm_eps=1e-6,
    rope_theta=10_000.0,
    max_positions=2048,
)
_LLAMA2_13B = LlamaSizes(
    vocab_size=32_003,
    hidden_size=5120,
    intermediate_size=13_824,
    n_layers=40,
    n_heads=40,
    n_kv_heads=40,
    rms_norm_eps=1e-5,
    rope_theta=10_000.0,
    max_positions=4096,
)


def _family(llama: LlamaSizes) -> LisaConfig:
    return LisaConfig(
        llama=llama,
        sam=SAM_VIT_H,
        clip_width=CLIP_VIT_L_14.width,
        clip_layer=-2,
        clip_name=CLIP_NAME,
        bos_token_id=1,
        eos_token_id=2,
    )


LISA_7B = _family(_LLAMA_7B)
LISA_13B = _family(_LLAMA2_13B)

PUBLISHED = {
    "xinlai/LISA-7B-v1": LISA_7B,
    "xinlai/LISA-7B-v1-explanatory": LISA_7B,
    "xinlai/LISA-13B-llama2-v1": LISA_13B,
    "xinlai/LISA-13B-llama2-v1-explanatory": LISA_13B,
}
"""Name on the hub -> sizes."""
