"""Segment Anything as LISA uses it: the image encoder, and the mask decoder prompted by a text embedding.

The modules are those of the `segment-anything` package, whose keys are the checkpoint's. Two things differ
from running it as it is: the encoder's attention is PyTorch's fused one, and prompt encoder, mask decoder and
the encoder's neck always compute in float32.
"""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import (  # type: ignore[import-untyped]
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from lisa_tool.lisa.config import MASKS_AT_ONCE, SamSizes


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder, with the checkpoint's key names."""

    def __init__(self, sizes: SamSizes) -> None:
        super().__init__()
        grid_hw = (sizes.grid, sizes.grid)
        self.sizes = sizes
        self.image_encoder = ImageEncoderViT(
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
        for block in self.image_encoder.blocks:
            block.attn = FusedAttention(block.attn)
        self.prompt_encoder = PromptEncoder(
            embed_dim=sizes.embed_width,
            image_embedding_size=grid_hw,
            input_image_size=(sizes.image_size, sizes.image_size),
            mask_in_chans=sizes.mask_in_chans,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=sizes.embed_width,
            transformer=TwoWayTransformer(
                depth=sizes.decoder_depth,
                embedding_dim=sizes.embed_width,
                num_heads=sizes.decoder_n_heads,
                mlp_dim=sizes.decoder_mlp_width,
                attention_downsample_rate=sizes.decoder_downsample,
            ),
            num_multimask_outputs=sizes.n_multimask,
            iou_head_depth=sizes.iou_head_depth,
            iou_head_hidden_dim=sizes.iou_head_width,
        )
        # In half precision the neck overflows: the reference runs it in float32 too.
        self.image_encoder.neck.register_forward_pre_hook(lambda _, args: (args[0].float(),))

    def embed_image(self, pixels: Tensor) -> Tensor:
        """The costly half: (1, 3, 1024, 1024) normalised pixels -> (1, 256, 64, 64) float32."""
        dtype = self.image_encoder.patch_embed.proj.weight.dtype
        embedding: Tensor = self.image_encoder(pixels.to(dtype))
        return embedding

    def decode(self, prompts: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """The cheap half: one mask for each prompt.

        prompts: (n, 256) float32 text embeddings, the only sparse prompt. embedding: from `embed_image`.
        Returns mask logits (n, 1, 256, 256) in SAM's padded frame and predicted IoUs (n, 1), both float32.
        """
        if not len(prompts):
            side = 4 * self.sizes.grid
            return prompts.new_empty(0, 1, side, side), prompts.new_empty(0, 1)
        sparse = prompts[:, None]  # (n, 1, 256)
        _, dense = self.prompt_encoder(points=None, boxes=None, masks=None)
        parts = [
            self.mask_decoder(
                image_embeddings=embedding,
                image_pe=self.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=some,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            for some in torch.split(sparse, MASKS_AT_ONCE)
        ]
        logits, ious = zip(*parts, strict=True)
        return torch.cat(logits), torch.cat(ious)


class FusedAttention(nn.Module):
    """The encoder's attention with decomposed relative positions, as one fused call.

    Takes over the parameters of the package's module, under the same names. The positions depend on the
    *unscaled* query (Li et al., MViTv2, equation 4, as in segment_anything/modeling/image_encoder.py).
    """

    def __init__(self, eager: nn.Module) -> None:
        super().__init__()
        self.num_heads: int = eager.num_heads  # type: ignore[assignment]
        self.qkv, self.proj = eager.qkv, eager.proj
        self.rel_pos_h, self.rel_pos_w = eager.rel_pos_h, eager.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        """(b, height, width, c) -> the same shape; height and width are the window's or the whole grid's."""
        b, height, width, _ = x.shape
        qkv = self.qkv(x).reshape(b, height * width, 3, self.num_heads, -1)  # type: ignore[operator]
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (b, heads, height * width, head width)
        grid = q.unflatten(2, (height, width))  # (b, heads, height, width, head width)
        rows = torch.einsum("bnhwc,hkc->bnhwk", grid, _relative(self.rel_pos_h, height)).contiguous()
        columns = torch.einsum("bnhwc,wkc->bnhwk", grid, _relative(self.rel_pos_w, width)).contiguous()
        # Contiguous, or their sum, the largest tensor here, has another order and is copied to be flattened.
        bias = rows[..., :, None] + columns[..., None, :]  # (b, heads, height, width, height, width)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(4).flatten(2, 3))
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(b, height, width, -1))  # type: ignore[operator]
        return out


def _relative(positions: Tensor | nn.Module, side: int) -> Tensor:
    """Embeddings of distances (2 * side - 1, c) -> (side, side, c): for query i and key j that of i - j."""
    assert isinstance(positions, Tensor) and len(positions) == 2 * side - 1
    steps = torch.arange(side, device=positions.device)
    return positions[steps[:, None] - steps[None, :] + side - 1]


def full_size_logits(
    low_res: Tensor, image_size: int, resized_hw: tuple[int, int], size_hw: tuple[int, int]
) -> Tensor:
    """Mask logits in the image's own size: to the padded square, without the padding, to the image.

    low_res: (n, 1, 256, 256). image_size: the padded square's side, 1024. resized_hw: the image's size in it.
    Returns float32 (n, height, width); threshold at 0. Both steps are bilinear without antialiasing
    (segment_anything/modeling/sam.py, `postprocess_masks`).
    """
    square = interpolate(low_res.float(), (image_size, image_size), mode="bilinear", align_corners=False)
    inside = square[..., : resized_hw[0], : resized_hw[1]]
    return interpolate(inside, size_hw, mode="bilinear", align_corners=False)[:, 0]
