"""The recorded cases that are data: pixels as the model sees them, scores, and ReasonSeg's annotations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from lisa_tool.eval.metrics import IGNORED, ImageScore, Scoreboard, score_image
from lisa_tool.eval.parity.compare import CaseReport
from lisa_tool.eval.parity.pictures import Pictures
from lisa_tool.eval.parity.recording import (
    ImageFacts,
    Recording,
    RecordingInvalid,
    read_json,
    read_tensors,
    tensor,
)
from lisa_tool.eval.reasonseg import read_annotation
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.processing import clip_pixels, sam_pixels, sam_resized

Pixels = NDArray[np.uint8]


class _Sample(BaseModel):
    """Of one image; pairs are of the background and the object, in pixels. n: masks."""

    intersection: tuple[float, float]
    union: tuple[float, float]
    acc_iou: tuple[float, float]
    n: int


class _Metrics(BaseModel):
    giou: float
    ciou: float
    per_sample: list[_Sample]


class _Annotation(BaseModel):
    text: list[str]
    is_sentence: bool
    values: dict[int, int]


def preprocess_cases(recording: Recording, loaded: Loaded, pictures: Pictures) -> Iterator[CaseReport]:
    """Every image as CLIP and SAM see it, to the bit where the recording is of whole numbers."""
    for name, facts in recording.images.items():
        if not (recording.beside("images") / f"{name}.png").exists():
            yield CaseReport(f"preprocess {name}", skipped=f"images/{name}.png is not beside the folder")
            continue
        path = recording.beside("preprocess") / f"{name}.safetensors"
        theirs = read_tensors(path) if path.exists() else {}
        yield _preprocess(name, facts, pictures.rgb(name), loaded, theirs)
        if not theirs:
            yield CaseReport(f"preprocess/{name}.safetensors", skipped="not beside the folder")


def metrics_case(recording: Recording) -> CaseReport:
    """gIoU and cIoU, and what they are made of, for the object and for the background."""
    report = CaseReport("metrics")
    paths = recording.beside("metrics.json"), recording.beside("metrics.safetensors")
    if absent := [path.name for path in paths if not path.exists()]:
        report.skipped = f"{' and '.join(absent)} not beside the folder"
        return report
    recorded, masks = read_json(paths[0], _Metrics), read_tensors(paths[1])
    board = Scoreboard()
    for i, sample in enumerate(recorded.per_sample):
        predicted = tensor(masks, f"pred_{i}", "metrics").numpy() == 1
        truth = tensor(masks, f"gt_{i}", "metrics").numpy()
        try:
            scores = (_score_of_background(predicted, truth), board.add(predicted, truth))
        except ValueError as e:
            raise RecordingInvalid(f"metrics.safetensors is wrong at gt_{i}: {e}") from e
        for of, score in enumerate(scores):
            name = f"{i} {('background', 'object')[of]}"
            counts = (score.intersection_px, score.union_px, score.n_masks)
            report.equal(
                f"{name} pixels", "counts", counts, (sample.intersection[of], sample.union[of], sample.n)
            )
            report.near(f"{name} iou", "scores", score.iou, sample.acc_iou[of])
    report.near("giou", "scores", board.giou, recorded.giou)
    report.near("ciou", "scores", board.ciou, recorded.ciou)
    known = {f"{kind}_{i}" for kind in ("pred", "gt") for i in range(len(recorded.per_sample))}
    report.unknown += sorted(masks.keys() - known)
    return report


def reasonseg_case(recording: Recording) -> CaseReport:
    """Annotations of polygons as masks, and the questions in them."""
    report = CaseReport("reasonseg")
    folder = recording.beside("reasonseg")
    if not folder.is_dir():
        report.skipped = "reasonseg/ is not beside the folder"
        return report
    masks = read_tensors(folder / "masks.safetensors")
    height, width = tensor(masks, "n_hw", "masks").tolist()
    recorded = read_json(folder / "info.json", dict[str, _Annotation])
    for name, expected in recorded.items():
        found = read_annotation(folder / f"{name}.json", (height, width))
        report.equal(f"{name} text", "text", list(found.texts), expected.text)
        report.equal(f"{name} is_sentence", "text", found.is_sentence, expected.is_sentence)
        theirs = tensor(masks, name, "masks").numpy()
        same_size = found.mask.shape == theirs.shape
        differing = float((found.mask != theirs).mean()) if same_size else math.inf
        report.add(name, "mask pixels", differing, "" if same_size else f"it is {theirs.shape}")
        report.equal(f"{name} values", "counts", _values(found.mask), expected.values)
    report.unknown += sorted(masks.keys() - recorded.keys() - {"n_hw"})
    return report


def _preprocess(
    name: str, facts: ImageFacts, rgb: Pixels, loaded: Loaded, theirs: Mapping[str, Tensor]
) -> CaseReport:
    report = CaseReport(f"preprocess {name}")
    square = loaded.model.config.sam.image_size
    clip = clip_pixels(rgb, size=loaded.clip_size)
    sam, resized_hw = sam_pixels(rgb, square)
    resized = sam_resized(rgb, square)
    report.equal("original_hw", "counts", rgb.shape[:2], facts.original_hw)
    report.equal("resized_hw", "counts", resized_hw, facts.resized_hw)
    report.equal("sha256_rgb_uint8_hwc", "resized", _sha256(rgb), facts.sha256_rgb_uint8_hwc)
    report.equal("sha256_resized_uint8_hwc", "resized", _sha256(resized), facts.sha256_resized_uint8_hwc)
    report.near("clip_sum", "pixels", float(clip.sum(dtype=np.float64)), facts.clip_sum)
    report.near("sam_input_sum", "pixels", float(sam.sum(dtype=np.float64)), facts.sam_input_sum)
    ours = {
        "clip_pixel_values": ("pixels", torch.from_numpy(clip)),
        "sam_input_every16": ("pixels", torch.from_numpy(sam)),
        "sam_input_row0_col0": ("pixels", torch.from_numpy(np.stack([sam[0, :, 0], sam[0, :, :, 0]]))),
        "resized_uint8_every8": ("resized", torch.tensor(resized)),
    }
    for recorded_name, recorded in theirs.items():
        if recorded_name in ours:
            kind, values = ours[recorded_name]
            report.close(recorded_name, kind, values, recorded)
        else:
            report.unknown.append(recorded_name)
    return report


def _score_of_background(predicted: NDArray[np.bool_], truth: Pixels) -> ImageScore:
    inverse = np.where(truth == IGNORED, truth, 1 - truth).astype(np.uint8)
    return score_image(~predicted, inverse)


def _sha256(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _values(mask: Pixels) -> dict[int, int]:
    values, counts = np.unique(mask, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
