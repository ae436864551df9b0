"""Read the annotations of ReasonSeg: a JSON file of labelled polygons becomes one mask.

    {"text": ["What keeps her dry?"], "is_sentence": true,
     "shapes": [{"label": "target", "points": [[20.4, 10.6], [120.2, 15.9], [110.7, 90.3]]}]}

The pixels are those of the reference, so scores can be compared: polygons are painted largest first and
include their outlines, points are cut to whole pixels, and a label with "ignore" in it leaves its pixels out
of the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from lisa_tool.errors import LisaError
from lisa_tool.eval.metrics import IGNORED, OBJECT
from lisa_tool.eval.polygon import Points, paint_polygon

_Coordinate = Annotated[float, Field(ge=-(2**31), lt=2**31, allow_inf_nan=False)]  # what OpenCV can paint


class AnnotationInvalid(LisaError):
    """An annotation file is missing or is not in ReasonSeg's form."""

    code: ClassVar[str] = "annotation_invalid"
    default_hint: ClassVar[str] = "Get the file again, or leave its image out of the evaluation."


@dataclass(frozen=True)
class Annotation:
    """What is asked about one image, and the answer.

    mask: uint8 (height, width) of `metrics.BACKGROUND`, OBJECT and IGNORED.
    texts: the question in one or several wordings; the first is the one that is evaluated.
    is_sentence: whether the texts are whole questions; otherwise they name a thing, as in "the red cup".
    """

    mask: NDArray[np.uint8]
    texts: tuple[str, ...]
    is_sentence: bool


class _Shape(BaseModel):
    label: str
    points: list[tuple[_Coordinate, _Coordinate]] = Field(min_length=1)  # x, y


class _File(BaseModel):
    text: list[str] = Field(min_length=1)
    is_sentence: bool
    shapes: list[_Shape]


def read_annotation(path: Path, size_hw: tuple[int, int]) -> Annotation:
    """Read the annotation of an image that is `size_hw` pixels high and wide.

    Files are UTF-8; those that are not are taken for Windows-1252, as by the reference.
    Raises AnnotationInvalid.
    """
    try:
        file = _File.model_validate_json(_read_text(path))
    except (OSError, UnicodeDecodeError) as e:
        raise AnnotationInvalid(f"the annotation {path.name!r} cannot be read: {e}") from e
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AnnotationInvalid(f"the annotation {path.name!r} is wrong at {where}: {first['msg']}") from e
    return Annotation(_paint_shapes(file.shapes, size_hw), tuple(file.text), file.is_sentence)


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _paint_shapes(shapes: list[_Shape], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    polygons = [
        (np.array(shape.points).astype(np.int32), IGNORED if "ignore" in shape.label.lower() else OBJECT)
        for shape in shapes
        if shape.label.lower() != "flag"  # a leftover of annotating: it marks nothing
    ]

    def area_px(polygon: tuple[Points, int]) -> int:
        alone = np.zeros(size_hw, np.uint8)
        paint_polygon(alone, polygon[0], OBJECT)
        return int(np.count_nonzero(alone))

    mask = np.zeros(size_hw, np.uint8)
    polygons.sort(key=area_px)
    # From the back, so that of two that are equally large the first in the file comes out on top.
    for points, value in reversed(polygons):
        paint_polygon(mask, points, value)
    return mask
