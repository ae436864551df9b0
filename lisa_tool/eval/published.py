"""`lisa-tool eval published CLONE`: whether a checkpoint answers as the LISA authors show that it does.

Their README shows ten pictures, each with a question and the answer's mask drawn on it. CLONE holds those
pictures; nothing of them is part of this package. The same questions are asked here through the public
`Segmenter`, so everything is tested that only real weights can test: their reading, the quantisation, the
words and the masks.

It passes when the mean IoU with the published masks is at least MIN_MEAN_IOU, no mask counting as 0, and at
least MIN_WITH_MASK answers have a mask. That tells right weights from wrong ones; it does not rank models:

- No checkpoint is expected to give the same pixels, because it is not said which model answered. By the dates
  in the clone's history example1 and dog_with_horn are of the v1 release; the other eight are older, so of a
  v0 model, which lisa-tool does not run.
- The bound is one for all sizes and precisions: the pictures were chosen to be shown, and what is asked for
  covers 3 to 19 % of each.
- Wrong weights are far below it. Users who had some report about 0.06 (LISA issues 56 and 103); a model of
  random weights gives 0.03, a mask of the whole picture 0.10, lite 0.27.
- It is an estimate: it was chosen without real weights.

The words that an explanation should hold, and the number of masks, are reported and decide nothing: not
every checkpoint was trained to explain.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_tool.engine.call import Progress, ProgressCallback
from lisa_tool.errors import BadSettings, ImageError
from lisa_tool.images import load_image
from lisa_tool.masks.geometry import BoolMask, iou
from lisa_tool.results import ModelInfo, Segmentation
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings, load_settings
from lisa_tool.store import read_mask

MIN_MEAN_IOU = 0.6
MIN_WITH_MASK = 8
DEFAULT_MODEL = "xinlai/LISA-13B-llama2-v1"
"""The checkpoint that the authors' README asks these questions to."""

RED = (255, 0, 0)
MAX_RESIDUAL = 10.0  # of 255; the published ones are at 0.1 to 1.3, another picture is above 50
_DAY_S = 86_400.0


class CloneInvalid(BadSettings):
    """The folder does not hold the published answers, or one of them is damaged."""

    code: ClassVar[str] = "clone_invalid"
    default_hint: ClassVar[str] = (
        "Get them with: git clone https://github.com/dvlab-research/LISA && git -C LISA checkout 3cb2d43\n"
        "then: lisa-tool eval published LISA"
    )


@dataclass(frozen=True)
class Example:
    """One published question. The question reaches a model as it is: it asks for a mask already.

    rendered: name of the picture with the mask on it, when that is not `name`.
    words: what the published explanation names.
    """

    name: str
    question: str
    words: tuple[str, ...] = ()
    rendered: str = ""

    @property
    def picture_file(self) -> str:
        """The picture, relative to the clone."""
        return f"imgs/{self.name}.jpg"

    @property
    def rendered_file(self) -> str:
        """The picture with its mask, relative to the clone."""
        return f"vis_output/{self.rendered or self.name}.jpg"


EXAMPLES = (
    Example(
        "obama",
        "Who was the president of the US in this image? "
        "Please output segmentation mask and explain the reason.",
        words=("Obama",),
    ),
    Example(
        "trump",
        "Who was the president of the US in this image? Please output segmentation mask and explain why.",
        words=("Trump",),
    ),
    Example(
        "stand_higher",
        "What can make the woman stand higher? Please output segmentation mask and explain why.",
        words=("ladder",),
    ),
    Example(
        "camera_lens",
        "Can you segment the camera lens that is more suitable for photographing nearby objects "
        "in this image?",
    ),
    Example(
        "dog_with_horn",
        "Can you segment the unusual part in this image and explain why.",
        words=("antler",),
    ),
    Example("wash_hands", "Where to wash hands in this image? Please output segmentation mask."),
    Example(
        "jackma",
        "Can you segment the founder of Alibaba in this image and explain why?",
        words=("Jack Ma",),
    ),
    Example("blackpink", "Please segment Lisa in this figure."),
    Example(
        "example1",
        "Where can the driver see the car speed in this image? Please output segmentation mask.",
        rendered="example1_masked_img_0",
    ),
    Example(
        "example2",
        "Can you segment the food that tastes spicy and hot?",
        rendered="example2_masked_img_0",
    ),
)


@dataclass(frozen=True)
class Published:
    """An example with its picture, an absolute path, and its mask, bool (height, width)."""

    example: Example
    picture: Path
    mask: BoolMask


@dataclass(frozen=True)
class Comparison:
    """Our answer to an example. `iou` is that of the first mask, the only one that the reference draws."""

    example: Example
    result: Segmentation
    iou: float

    @property
    def has_mask(self) -> bool:
        """Whether a pixel is marked."""
        return bool(self.result.masks) and self.result.masks[0].area_px > 0

    @property
    def words_found(self) -> tuple[str, ...]:
        """The expected words that our answer holds, in any case and ending."""
        said = f"{self.result.answer} {self.result.reasoning}"
        return tuple(w for w in self.example.words if re.search(rf"\b{re.escape(w)}", said, re.IGNORECASE))

    def line(self) -> str:
        """One line: name, IoU, outcome, number of masks, and which expected words were said."""
        n = len(self.result.masks)
        parts = [f"{self.example.name:13}", f"IoU {self.iou:.3f}", f"{self.result.outcome:9}", f"masks {n}"]
        parts += [f"says {word}" if word in self.words_found else f"no {word}" for word in self.example.words]
        return "  ".join(parts)

    def document(self) -> dict[str, Any]:
        """The same as JSON, with what the model said and where it can be looked at."""
        return {
            "name": self.example.name,
            "iou": round(self.iou, 4),
            "outcome": self.result.outcome,
            "masks": len(self.result.masks),
            "words_expected": list(self.example.words),
            "words_found": list(self.words_found),
            "said": f"{self.result.answer} {self.result.reasoning}".strip(),
            "overlay_path": self.result.overlay_path,
        }


def published_settings(
    clone: Path, *, model: str | None = None, precision: str | None = None, device: str | None = None
) -> Settings:
    """The user's settings for this measurement: only the clone is read, and slow is not wrong.

    model: without it the configured one, or DEFAULT_MODEL where none is. Raises BadSettings.
    """
    settings = load_settings(model=model, precision=precision, device=device, roots=(clone,))
    changes: dict[str, Any] = {"limits": settings.limits.model_copy(update={"deadline_s": _DAY_S})}
    if model is None and settings.model == "lite":
        changes["model"] = DEFAULT_MODEL
    return settings.model_copy(update=changes)


def read_published(clone: Path, settings: Settings) -> list[Published]:
    """All examples with their masks; nothing that is wrong with the clone is left to be found later.

    Raises CloneInvalid.
    """
    clone = clone.absolute()
    files = [file for example in EXAMPLES for file in (example.picture_file, example.rendered_file)]
    missing = [f"{name}/" for name in ("imgs", "vis_output") if not (clone / name).is_dir()]
    if missing := missing or [file for file in files if not (clone / file).is_file()]:
        raise CloneInvalid(f"{str(clone)!r} has no {', '.join(missing)}")
    return [_read(clone, example, settings) for example in EXAMPLES]


def _read(clone: Path, example: Example, settings: Settings) -> Published:
    picture = _pixels(clone, example.picture_file, settings)
    rendered = _pixels(clone, example.rendered_file, settings)
    if picture.shape != rendered.shape:
        raise CloneInvalid(f"{example.picture_file} and {example.rendered_file} differ in size")
    mask = recover_mask(picture, rendered)
    if _residual(picture, rendered, mask) > MAX_RESIDUAL:
        raise CloneInvalid(f"{example.rendered_file} is not {example.picture_file} with a red mask on it")
    if not mask.any():
        raise CloneInvalid(f"{example.rendered_file} shows no mask")
    return Published(example, clone / example.picture_file, mask)


def _pixels(clone: Path, file: str, settings: Settings) -> NDArray[np.uint8]:
    try:
        return load_image(clone / file, settings).rgb
    except ImageError as e:
        raise CloneInvalid(f"{file} cannot be read: {e.message}", e.hint) from e


def recover_mask(picture: NDArray[np.uint8], rendered: NDArray[np.uint8]) -> BoolMask:
    """Where `rendered` is nearer to half picture and half red than to the picture.

    Both uint8 (height, width, 3). Each pixel decides for itself, although both files are JPEGs: the two
    examples whose masks were published as files too have IoU 0.9986 and 0.9989 with what is recovered.
    Smoothing and dropping specks make that worse: LISA's masks have specks and holes of their own.
    """
    evidence = np.zeros(picture.shape[:2], dtype=np.int32)
    for channel, red in enumerate(RED):
        plain = picture[..., channel].astype(np.int32)
        shown = rendered[..., channel].astype(np.int32)
        # (distance to plain)² - (distance to the mean of plain and red)², times 4
        evidence += (red - plain) * (4 * shown - 3 * plain - red)
    return evidence > 0


def _residual(picture: NDArray[np.uint8], rendered: NDArray[np.uint8], mask: BoolMask) -> float:
    """Mean difference of a value, 0 to 255, from the picture with this mask on it."""
    expected = picture.copy()
    expected[mask] = picture[mask] // 2 + np.array(RED, dtype=np.uint8) // 2
    return float(cv2.absdiff(rendered, expected).mean())


def compare_published(
    published: Sequence[Published],
    segmenter: Segmenter,
    *,
    progress: ProgressCallback | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[Comparison]:
    """Ask every question, each answer as soon as it is there; `progress` is of all of them together.

    Raises LisaError, as `Segmenter.segment` does.
    """
    for index, one in enumerate(published):
        result = segmenter.segment(
            one.picture,
            one.example.question,
            mode="explain",
            progress=_part_of(progress, index, len(published)) if progress else None,
            cancel=cancel,
        )
        agreement = iou(read_mask(result.masks[0].path), one.mask) if result.masks else 0.0
        yield Comparison(one.example, result, agreement)


def _part_of(progress: ProgressCallback, index: int, n: int) -> ProgressCallback:
    """Progress of call `index` of `n`, as progress of all of them."""

    def tell(one: Progress) -> None:
        progress(replace(one, fraction=(index + one.fraction) / n))

    return tell


def document(comparisons: Sequence[Comparison], model: ModelInfo) -> dict[str, Any]:
    """The whole of it as JSON."""
    mean_iou = float(np.mean([c.iou for c in comparisons]))
    with_mask = sum(c.has_mask for c in comparisons)
    return {
        "passed": mean_iou >= MIN_MEAN_IOU and with_mask >= MIN_WITH_MASK,
        "mean_iou": round(mean_iou, 4),
        "needed_mean_iou": MIN_MEAN_IOU,
        "with_mask": with_mask,
        "needed_with_mask": MIN_WITH_MASK,
        "one_mask": sum(len(c.result.masks) == 1 for c in comparisons),
        "words_found": sum(len(c.words_found) for c in comparisons),
        "words_expected": sum(len(c.example.words) for c in comparisons),
        "model": model.model_dump(mode="json"),
        "answers": [c.document() for c in comparisons],
    }
