from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from lisa_tool.eval.metrics import Scoreboard, score_image

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """What the reference's validate() found."""
    found = json.loads((GOLDEN / "metrics.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def images(reference: dict[str, Any]) -> list[tuple[NDArray[np.bool_], NDArray[np.uint8]]]:
    """Predicted and true masks, (n, 60, 80), of each image that the reference saw."""
    arrays = load_file(GOLDEN / "metrics.safetensors")
    return [(arrays[f"pred_{i}"] == 1, arrays[f"gt_{i}"]) for i in range(len(reference["per_sample"]))]


def truth(*rows: str) -> NDArray[np.uint8]:
    """One true mask, (1, h, w): '#' object, '?' ignored, '.' background."""
    return np.array([[{"#": 1, "?": 255, ".": 0}[c] for c in row] for row in rows], np.uint8)[None]


def test_giou_and_ciou_are_those_of_the_reference(
    reference: dict[str, Any], images: list[tuple[NDArray[np.bool_], NDArray[np.uint8]]]
) -> None:
    board = Scoreboard()
    for predicted, true in images:
        board.add(predicted, true)
    assert board.giou == pytest.approx(reference["giou"], abs=1e-6)
    assert board.ciou == pytest.approx(reference["ciou"], abs=1e-6)


@pytest.mark.parametrize("of_object", [True, False], ids=["object", "background"])
def test_each_image_scores_as_by_the_reference(
    of_object: bool, reference: dict[str, Any], images: list[tuple[NDArray[np.bool_], NDArray[np.uint8]]]
) -> None:
    for expected, (predicted, true) in zip(reference["per_sample"], images, strict=True):
        if of_object:
            score = score_image(predicted, true)
        else:
            score = score_image(~predicted, np.where(true == 255, true, 1 - true).astype(np.uint8))
        assert score.intersection_px == expected["intersection"][of_object]
        assert score.union_px == expected["union"][of_object]
        assert score.iou == pytest.approx(expected["acc_iou"][of_object], abs=1e-6)
        assert score.n_masks == expected["n"]


def test_a_small_mask_counts_as_much_in_giou_but_not_in_ciou() -> None:
    board = Scoreboard()
    board.add(truth("#.") == 1, truth("##"))  # 1 of 2
    board.add(truth("########", "########") == 1, truth("########", "########"))  # 16 of 16
    assert board.giou == pytest.approx((1 / 2 + 1) / 2, abs=1e-5)
    assert board.ciou == pytest.approx(17 / 18, abs=1e-5)


def test_each_mask_of_an_image_counts_once_in_giou() -> None:
    board = Scoreboard()
    board.add(np.concatenate([truth("#.")] * 3) == 1, np.concatenate([truth("##")] * 3))
    board.add(truth("##") == 1, truth("##"))
    assert board.giou == pytest.approx((3 * 1 / 2 + 1) / 4, abs=1e-5)


def test_ignored_pixels_count_neither_for_nor_against() -> None:
    answered = truth("###.") == 1
    score = score_image(answered, truth("##??"))
    assert (score.intersection_px, score.union_px) == (2, 2)
    assert score == score_image(answered & (truth("##..") == 1), truth("##??"))


def test_nothing_there_and_nothing_found_is_right() -> None:
    assert score_image(truth("..") == 1, truth("..")).iou == 1
    assert score_image(truth("?.") == 1, truth("?.")).iou == 1


def test_something_found_where_nothing_is_is_wrong() -> None:
    assert score_image(truth("#.") == 1, truth("..")).iou == 0


def test_before_the_first_image_all_is_zero() -> None:
    assert (Scoreboard().giou, Scoreboard().ciou) == (0, 0)


@pytest.mark.parametrize(
    ("predicted", "true", "complaint"),
    [
        (np.ones((1, 2, 2), np.uint8), np.ones((1, 2, 2), np.uint8), "expected bool"),
        (np.ones((1, 2, 2), bool), np.full((1, 2, 2), 128, np.uint8), "other than 0, 1 and 255"),
        (np.ones((1, 2, 2), bool), np.ones((1, 2, 3), np.uint8), r"\(1, 2, 2\).*\(1, 2, 3\)"),
        (np.ones((2, 2, 2), bool), np.ones((1, 2, 2), np.uint8), r"\(2, 2, 2\).*\(1, 2, 2\)"),
        (np.ones((2, 2), bool), np.ones((2, 2), np.uint8), r"expected \(n, h, w\)"),
        (np.ones((0, 2, 2), bool), np.ones((0, 2, 2), np.uint8), r"expected \(n, h, w\)"),
    ],
)
def test_what_is_not_masks_and_their_truth_is_refused_and_not_counted(
    predicted: NDArray[np.bool_], true: NDArray[np.uint8], complaint: str
) -> None:
    board = Scoreboard()
    with pytest.raises(ValueError, match=complaint):
        board.add(predicted, true)
    assert board.images == []
