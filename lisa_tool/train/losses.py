"""The training loss of LISA: cross entropy of the answers' tokens, and for masks BCE and DICE.

    loss = 1.0 * CE + 2.0 * BCE + 0.5 * DICE

CE is the mean over the labelled tokens of the batch, BCE and DICE over its masks: a small mask counts like a
large one, an image with three masks three times. All is computed in float32 whatever the inputs are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_tool.train.labels import IGNORE_INDEX

DICE_SCALE = 1000.0
DICE_EPS = 1e-6


@dataclass(frozen=True)
class LossWeights:
    """What each part counts; the defaults are the reference's."""

    ce: float = 1.0
    bce: float = 2.0
    dice: float = 0.5


class TrainingLoss(NamedTuple):
    """Scalars, float32, already weighted: `loss` = `ce_loss` + `mask_loss`, which is BCE + DICE."""

    loss: Tensor
    ce_loss: Tensor
    mask_bce_loss: Tensor
    mask_dice_loss: Tensor
    mask_loss: Tensor


def training_loss(
    logits: Tensor,
    labels: Tensor,
    pred_masks: Sequence[Tensor],
    gt_masks: Sequence[Tensor],
    weights: LossWeights | None = None,
) -> TrainingLoss:
    """The loss of one batch.

    logits: (n_conversations, length, vocabulary), one for each position that the model saw, patches of the
        image included.
    labels: int64 (n_conversations, length), see `spread_over_image`; label i is what logits i - 1 predict.
    pred_masks: for each image the mask logits (n_masks, height, width), at the image's own size.
    gt_masks: for each image the true masks of the same shape, 0 and 1; pixels to be ignored are 0 here.
    Raises ValueError where an image has not one true mask for each predicted one.
    """
    weights = weights or LossWeights()
    ce_loss = weights.ce * cross_entropy(logits, labels)
    bce, dice, n_masks = (
        logits.new_zeros((), dtype=torch.float32),
        logits.new_zeros((), dtype=torch.float32),
        0,
    )
    for predicted, truth in zip(pred_masks, gt_masks, strict=True):
        if predicted.shape != truth.shape:
            raise ValueError(f"masks are {tuple(predicted.shape)}, their truth is {tuple(truth.shape)}")
        bce = bce + mask_bce(predicted, truth).sum()
        dice = dice + mask_dice(predicted, truth).sum()
        n_masks += len(truth)
    mask_bce_loss = weights.bce * bce / max(n_masks, 1)
    mask_dice_loss = weights.dice * dice / max(n_masks, 1)
    mask_loss = mask_bce_loss + mask_dice_loss
    return TrainingLoss(ce_loss + mask_loss, ce_loss, mask_bce_loss, mask_dice_loss, mask_loss)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross entropy of the labelled tokens; 0 when there are none. Shapes as in `training_loss`."""
    targets = labels[:, 1:].flatten()
    total = F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    return total / (targets != IGNORE_INDEX).sum().clamp(min=1)


def mask_bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross entropy over the pixels of each mask: (n, height, width) twice -> float32 (n,)."""
    pixels = F.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none")
    return pixels.flatten(1).mean(1)


def mask_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - DICE overlap of each mask: (n, height, width) twice -> float32 (n,)."""
    predicted, wanted = logits.float().sigmoid().flatten(1), truth.float().flatten(1)
    # Scaling before the sum keeps it small; it also sets how much DICE_EPS weighs against the masks.
    overlap = (predicted / DICE_SCALE * wanted).sum(1)
    total = (predicted / DICE_SCALE).sum(1) + (wanted / DICE_SCALE).sum(1)
    return 1 - (2 * overlap + DICE_EPS) / (total + DICE_EPS)
