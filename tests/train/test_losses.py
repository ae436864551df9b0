from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor

from lisa_tool.train.losses import LossWeights, TrainingLoss, training_loss

IGNORE = -100
SURE = 40.0  # a logit whose sigmoid is 1, to float32; -SURE is 0


def loss(
    logits: Tensor | None = None,
    labels: Tensor | None = None,
    masks: tuple[Tensor, ...] = (),
    truths: tuple[Tensor, ...] = (),
    weights: LossWeights | None = None,
) -> TrainingLoss:
    """The loss of a batch of which only one part is given: no token is learned, or there are no masks."""
    if logits is None or labels is None:
        logits, labels = torch.zeros(1, 2, 3), torch.full((1, 2), IGNORE)
    return training_loss(logits, labels, masks, truths, weights)


def test_cross_entropy_is_that_of_the_next_token() -> None:
    # Position 0 gives odds of 1 : 2 : 1 to what stands at position 1; position 1 is sure of what stands at 2.
    logits = torch.tensor([[[0.0, log(2), 0.0], [0.0, 0.0, SURE], [SURE, 0.0, 0.0]]])
    assert loss(logits, torch.tensor([[0, 1, 2]])).ce_loss.item() == pytest.approx(log(2) / 2)


def test_only_labelled_tokens_are_learned_each_as_much_as_another() -> None:
    logits = torch.tensor([[[0.0, log(2)], [0.0, log(3)]], [[0.0, log(3)], [0.0, 0.0]]]).repeat(1, 2, 1)
    labels = torch.tensor([[IGNORE, 0, 0, IGNORE], [1, 0, IGNORE, IGNORE]])
    assert loss(logits, labels).ce_loss.item() == pytest.approx((log(3) + log(4) + log(4)) / 3)


def test_without_labels_and_masks_there_is_nothing_to_learn() -> None:
    logits = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    nothing = loss(logits, torch.full((1, 4), IGNORE))
    nothing.loss.backward()  # type: ignore[no-untyped-call]
    assert [part.item() for part in nothing] == [0] * 5
    assert logits.grad is not None and not logits.grad.any()


def test_bce_is_the_mean_over_the_pixels_of_a_mask() -> None:
    # Pixels are given 1/4, 1/4, 1/2 and 3/4 and the first two are wanted: 1/4, 1/4, 1/2, 1/4 go to the truth.
    mask = torch.tensor([[[-log(3), -log(3)], [0.0, log(3)]]])
    truth = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    mean = (3 * log(4) + log(2)) / 4
    assert loss(masks=(mask,), truths=(truth,)).mask_bce_loss.item() == pytest.approx(2.0 * mean)


def test_dice_is_twice_the_overlap_over_both_areas_in_thousands_of_pixels() -> None:
    # Predicted 1, 1, 1/2, 0 of which the first and the third are wanted: overlap 1.5, areas 2.5 and 2.
    mask = torch.tensor([[[SURE, SURE], [0.0, -SURE]]])
    truth = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    expected = 1 - (2 * 1.5 / 1000 + 1e-6) / (4.5 / 1000 + 1e-6)
    assert loss(masks=(mask,), truths=(truth,)).mask_dice_loss.item() == pytest.approx(
        0.5 * expected, rel=1e-6
    )


def test_where_nothing_is_wanted_dice_falls_with_what_is_predicted() -> None:
    truth = torch.zeros(1, 2, 2)
    none = loss(masks=(torch.full((1, 2, 2), -SURE),), truths=(truth,))
    some = loss(masks=(torch.tensor([[[SURE, -SURE], [-SURE, -SURE]]]),), truths=(truth,))
    assert none.mask_dice_loss.item() == pytest.approx(0, abs=1e-6)
    assert some.mask_dice_loss.item() == pytest.approx(0.5 * (1 - 1e-6 / (1e-3 + 1e-6)))


def test_each_mask_counts_alike_whatever_its_size_and_image() -> None:
    right, wrong = torch.full((1, 2, 2), SURE), torch.full((2, 4, 6), -log(3))
    truths = (torch.ones(1, 2, 2), torch.ones(2, 4, 6))
    bce = loss(masks=(right, wrong), truths=truths).mask_bce_loss.item()
    assert bce == pytest.approx(2.0 * (0 + 2 * log(4)) / 3)
    dice = loss(masks=(right, wrong), truths=truths).mask_dice_loss.item()
    of_wrong = 1 - (2 * 6 / 1000 + 1e-6) / ((6 + 24) / 1000 + 1e-6)  # each of 24 pixels is given 1/4
    assert dice == pytest.approx(0.5 * (0 + 2 * of_wrong) / 3)


def test_an_image_without_masks_counts_for_nothing() -> None:
    mask, truth, no_mask = torch.zeros(1, 2, 2), torch.ones(1, 2, 2), torch.zeros(0, 5, 5)
    assert loss(masks=(mask, no_mask), truths=(truth, no_mask)) == loss(masks=(mask,), truths=(truth,))


def test_parts_are_weighted_and_add_up() -> None:
    batch = (
        torch.tensor([[[0.0, log(3)], [0.0, 0.0]]]),
        torch.tensor([[IGNORE, 0]]),
        (torch.zeros(1, 2, 2),),
        (torch.ones(1, 2, 2),),
    )
    one = training_loss(*batch, LossWeights(ce=1, bce=1, dice=1))
    assert one.ce_loss.item() == pytest.approx(log(4))
    assert one.mask_bce_loss.item() == pytest.approx(log(2))
    usual = training_loss(*batch)
    assert usual.ce_loss.item() == pytest.approx(one.ce_loss.item())
    assert usual.mask_bce_loss.item() == pytest.approx(2 * one.mask_bce_loss.item())
    assert usual.mask_dice_loss.item() == pytest.approx(0.5 * one.mask_dice_loss.item())
    assert usual.mask_loss.item() == pytest.approx((usual.mask_bce_loss + usual.mask_dice_loss).item())
    assert usual.loss.item() == pytest.approx((usual.ce_loss + usual.mask_loss).item())


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = (
        torch.tensor([[[0.0, 1.0], [0.0, 0.0]]], dtype=torch.bfloat16),
        torch.tensor([[IGNORE, 0]]),
    )
    # Areas of 70.25 and 69 thousand pixels have too many digits for bfloat16.
    mask = torch.full((1, 250, 281), SURE, dtype=torch.bfloat16)
    mask.view(-1)[69_000:] = -SURE
    found = training_loss(logits, labels, [mask], [torch.ones(1, 250, 281, dtype=torch.uint8)])
    assert {part.dtype for part in found} == {torch.float32}
    assert found.ce_loss.item() == pytest.approx(log(1 + exp(1)), rel=1e-6)
    assert found.mask_dice_loss.item() == pytest.approx(0.5 * (1 - 2 * 69 / (69 + 70.25)), rel=1e-4)


def test_all_that_was_predicted_is_learned_from() -> None:
    logits = torch.zeros(1, 3, 4, requires_grad=True)
    mask = torch.zeros(1, 2, 2, requires_grad=True)
    found = training_loss(logits, torch.tensor([[IGNORE, 1, 2]]), [mask], [torch.ones(1, 2, 2)])
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and mask.grad is not None
    assert logits.grad[0, :2].ne(0).all() and logits.grad[0, 2].eq(0).all()
    assert (mask.grad < 0).all()  # every pixel should become more likely


@pytest.mark.parametrize(
    ("masks", "truths"),
    [
        ([torch.zeros(1, 2, 2)], [torch.zeros(2, 2, 2)]),
        ([torch.zeros(1, 2, 2)], [torch.zeros(1, 2, 3)]),
        ([torch.zeros(1, 2, 2)], []),
    ],
)
def test_a_mask_without_its_truth_is_refused(masks: list[Tensor], truths: list[Tensor]) -> None:
    with pytest.raises(ValueError, match=r"their truth is|zip"):
        training_loss(torch.zeros(1, 2, 3), torch.full((1, 2), IGNORE), masks, truths)
