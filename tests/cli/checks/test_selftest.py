from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lisa_tool.cli.checks import selftest
from lisa_tool.cli.checks.selftest import CASE, PASS_IOU, self_test
from lisa_tool.errors import MissingExtra
from lisa_tool.eval.lite import Benchmark
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from tests.cli.fakes import FakeSegmenter, answer


def with_mask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shrink: float, outcome: str = "found"
) -> list[Settings]:
    """Let the self-test meet a segmenter that answers with the upper part of the known cup."""
    opened: list[Settings] = []
    mask, _ = Benchmark().region("coffee", ["cup"])
    rows = np.flatnonzero(mask.any(axis=1))
    mask = mask.copy()
    mask[rows[0] + int(len(rows) * shrink) :] = False
    path = tmp_path / "mask_0.png"
    Image.fromarray(mask).convert("L").save(path)

    def behave(**options: object) -> Segmentation:
        one = answer().masks[0].model_copy(update={"path": str(path)})
        return answer(masks=(one,), outcome=outcome)

    def open_fake(settings: Settings) -> FakeSegmenter:
        opened.append(settings)
        return FakeSegmenter(behave)

    monkeypatch.setattr(selftest, "open_segmenter", open_fake)
    return opened


def test_the_known_mask_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings) -> None:
    with_mask(monkeypatch, tmp_path, 1)
    result = self_test(settings)
    assert (result.passed, result.iou) == (True, 1)


def test_half_the_mask_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings) -> None:
    with_mask(monkeypatch, tmp_path, 0.5)
    result = self_test(settings)
    assert not result.passed
    assert result.iou is not None
    assert result.iou < PASS_IOU
    assert "FAILED" in result.summary


def test_an_answer_without_a_mask_fails(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    fake = FakeSegmenter(lambda **options: answer(masks=(), outcome="not_found"))
    monkeypatch.setattr(selftest, "open_segmenter", lambda settings: fake)
    result = self_test(settings)
    assert (result.passed, result.iou) == (False, 0)


def test_the_right_mask_with_a_doubtful_outcome_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings
) -> None:
    with_mask(monkeypatch, tmp_path, 1, "uncertain")
    assert not self_test(settings).passed


def test_results_go_to_a_folder_that_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings
) -> None:
    (opened,) = [with_mask(monkeypatch, tmp_path, 1)]
    self_test(settings)
    assert opened[0].output_dir != settings.output_dir
    assert not opened[0].output_dir.exists()
    assert not settings.output_dir.exists()


def test_a_segmenter_that_raises_is_a_failed_test(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def missing(settings: Settings) -> FakeSegmenter:
        raise MissingExtra("needs onnxruntime")

    monkeypatch.setattr(selftest, "open_segmenter", missing)
    result = self_test(settings)
    assert not result.passed
    assert "needs onnxruntime" in result.summary


def test_an_installation_without_the_photo_says_so(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(selftest, "CASE", replace(CASE, photo="no-such-photo"))
    result = self_test(settings)
    assert not result.passed
    assert "cannot run" in result.summary


@pytest.mark.usefixtures("lite")
def test_the_embedded_default_passes_its_self_test(settings: Settings) -> None:
    result = self_test(settings)
    assert result.passed, result.summary
