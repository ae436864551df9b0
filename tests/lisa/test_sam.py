from __future__ import annotations

from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT  # type: ignore[import-untyped]
from torch import nn

from lisa_tool.lisa.config import MASKS_AT_ONCE, SamSizes
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.processing import sam_pixels
from lisa_tool.lisa.sam import Sam, full_size_logits
from tests.lisa.conftest import picture

SMALL = SamSizes(256, 16, 16, 48, 3, 3, 96, 7, (2,), 64, 16, 2, 128, 2, 3, 3, 48)


def eager_encoder(sizes: SamSizes) -> nn.Module:
    """The package's own encoder."""
    encoder: nn.Module = ImageEncoderViT(
        img_size=sizes.image_size,
        patch_size=sizes.patch_size,
        embed_dim=sizes.width,
        depth=sizes.depth,
        num_heads=sizes.n_heads,
        mlp_ratio=sizes.mlp_width / sizes.width,
        out_chans=sizes.embed_width,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=sizes.window,
        global_attn_indexes=sizes.global_blocks,
    )
    return encoder.eval()


@torch.inference_mode()
def test_fused_attention_gives_the_embedding_of_the_package(nano: Loaded) -> None:
    eager = eager_encoder(nano.model.config.sam)
    eager.load_state_dict(nano.model.sam.image_encoder.state_dict())
    pixels = torch.from_numpy(sam_pixels(picture("landscape"))[0])
    torch.testing.assert_close(nano.model.sam.embed_image(pixels), eager(pixels), atol=2e-5, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(3))
def test_fused_attention_with_strong_positions_is_the_package_s_too(seed: int) -> None:
    torch.manual_seed(seed)
    sam = Sam(SMALL).eval()
    for name, parameter in sam.image_encoder.named_parameters():
        if "rel_pos" in name:  # the package begins with zeros
            nn.init.normal_(parameter, std=0.5)
    eager = eager_encoder(SMALL)
    eager.load_state_dict(sam.image_encoder.state_dict())
    pixels = torch.randn(1, 3, 256, 256)
    torch.testing.assert_close(sam.embed_image(pixels), eager(pixels), atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_masks_are_the_same_one_by_one_and_together() -> None:
    torch.manual_seed(0)
    sam = Sam(SMALL).eval()
    embedding = sam.embed_image(torch.randn(1, 3, 256, 256))
    prompts = torch.randn(MASKS_AT_ONCE + 3, 64)
    together, ious = sam.decode(prompts, embedding)
    singles = [sam.decode(prompt[None], embedding) for prompt in prompts]
    assert together.shape == (len(prompts), 1, 64, 64) and ious.shape == (len(prompts), 1)
    torch.testing.assert_close(together, torch.cat([mask for mask, _ in singles]), atol=1e-5, rtol=0)
    torch.testing.assert_close(ious, torch.cat([iou for _, iou in singles]), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_no_prompt_gives_no_mask() -> None:
    sam = Sam(SMALL).eval()
    masks, ious = sam.decode(torch.empty(0, 64), sam.embed_image(torch.zeros(1, 3, 256, 256)))
    assert masks.shape == (0, 1, 64, 64) and ious.shape == (0, 1)


def test_the_padding_is_cut_off_before_the_image_s_size() -> None:
    low_res = torch.full((1, 1, 256, 256), -8.0)
    low_res[..., :, :128] = 8.0  # the left half of the square
    logits = full_size_logits(low_res, 1024, (1024, 512), (40, 20))  # an image that fills just that
    assert logits.shape == (1, 40, 20) and logits.dtype == torch.float32
    assert (logits[:, :, :19] > 0).all()


def test_in_half_precision_neck_and_decoder_stay_in_float32() -> None:
    sam = Sam(SMALL).eval()
    for name, parameter in sam.named_parameters():
        if name.startswith("image_encoder.") and not name.startswith("image_encoder.neck."):
            parameter.data = parameter.data.to(torch.bfloat16)
    with torch.inference_mode():
        embedding = sam.embed_image(torch.randn(1, 3, 256, 256))
        masks, _ = sam.decode(torch.randn(1, 64), embedding)
    assert embedding.dtype == masks.dtype == torch.float32
