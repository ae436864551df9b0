from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from lisa_tool.errors import LisaError
from lisa_tool.eval.reasonseg import AnnotationInvalid, read_annotation

GOLDEN = Path(__file__).parents[1] / "golden" / "reasonseg"

SMALL = [[2, 2], [4, 2], [4, 4], [2, 4]]  # 3 x 3 pixels
LARGE = [[1, 1], [6, 1], [6, 6], [1, 6]]  # 6 x 6 pixels, around SMALL


def shape(label: str, points: Any) -> dict[str, Any]:
    return {"label": label, "points": points}


def annotation(*shapes: dict[str, Any]) -> dict[str, Any]:
    return {"text": ["the cup"], "is_sentence": False, "shapes": list(shapes)}


def painted(folder: Path, *shapes: dict[str, Any]) -> NDArray[np.uint8]:
    """The mask, (8, 8), of an annotation with these shapes."""
    path = folder / "photo.json"
    path.write_text(json.dumps(annotation(*shapes)), "utf-8")
    return read_annotation(path, (8, 8)).mask


@pytest.mark.parametrize("name", ["a", "b", "c_no_target"])
def test_masks_and_texts_are_those_of_the_reference(name: str) -> None:
    masks = load_file(GOLDEN / "masks.safetensors")
    height, width = masks["n_hw"].tolist()
    expected = json.loads((GOLDEN / "info.json").read_text("utf-8"))[name]
    found = read_annotation(GOLDEN / f"{name}.json", (height, width))
    assert found.mask.dtype == np.uint8
    np.testing.assert_array_equal(found.mask, masks[name])
    assert list(found.texts) == expected["text"]
    assert found.is_sentence is expected["is_sentence"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_accents_are_read_in_either_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.json"
    content = annotation() | {"text": ["le café’s"]}
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_annotation(path, (8, 8)).texts == ("le café’s",)


def test_a_small_polygon_lies_on_a_large_one_wherever_it_is_in_the_file(tmp_path: Path) -> None:
    large, small = shape("target", LARGE), shape("ignore", SMALL)
    mask = painted(tmp_path, large, small)
    assert mask[3, 3] == 255 and mask[1, 1] == mask[6, 6] == 1 and mask[0, 0] == mask[7, 7] == 0
    np.testing.assert_array_equal(painted(tmp_path, small, large), mask)


@pytest.mark.parametrize(("first", "second", "on_top"), [("target", "ignore", 1), ("ignore", "target", 255)])
def test_of_two_equally_large_polygons_the_first_in_the_file_is_on_top(
    first: str, second: str, on_top: int, tmp_path: Path
) -> None:
    assert painted(tmp_path, shape(first, SMALL), shape(second, SMALL))[3, 3] == on_top


@pytest.mark.parametrize(
    ("label", "value"),
    [("target", 1), ("cup", 1), ("flagpole", 1), ("ignore", 255), ("IGNORED area", 255), ("Flag", 0)],
)
def test_the_label_says_what_the_pixels_are(label: str, value: int, tmp_path: Path) -> None:
    assert painted(tmp_path, shape(label, SMALL))[3, 3] == value


def test_a_polygon_includes_its_outline_and_cuts_its_points_towards_zero(tmp_path: Path) -> None:
    mask = painted(tmp_path, shape("target", [[-0.9, 0.9], [2.9, 0.9], [2.9, 3.9], [-0.9, 3.9]]))
    expected = np.zeros((8, 8), np.uint8)
    expected[0:4, 0:3] = 1
    np.testing.assert_array_equal(mask, expected)


def test_what_reaches_beyond_the_image_is_cut_off(tmp_path: Path) -> None:
    assert painted(tmp_path, shape("target", [[-50, -50], [90, -50], [90, 90], [-50, 90]])).all()


def test_a_single_point_is_one_pixel(tmp_path: Path) -> None:
    assert np.argwhere(painted(tmp_path, shape("target", [[5, 2]]))).tolist() == [[2, 5]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "JSON"),
        (b'{"text": ["the cup"], "is_sentence": false, "shapes": [', "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"\x81\x8d", "cannot be read"),
        (b"[]", "the file"),
        (json.dumps({"text": ["x"], "is_sentence": False}).encode(), "shapes"),
        (json.dumps({"text": [], "is_sentence": False, "shapes": []}).encode(), "text"),
        (json.dumps({"text": "x", "is_sentence": False, "shapes": []}).encode(), "text"),
        (json.dumps({"text": ["x"], "is_sentence": None, "shapes": []}).encode(), "is_sentence"),
        (json.dumps(annotation(shape("target", []))).encode(), r"shapes\.0\.points"),
        (json.dumps(annotation(shape("target", SMALL), {"points": SMALL})).encode(), r"shapes\.1\.label"),
        (json.dumps(annotation(shape("target", [[1, 2], [3]]))).encode(), r"points\.1\.1"),
        (json.dumps(annotation(shape("target", [[1, "left"]]))).encode(), r"points\.0\.1"),
        (json.dumps(annotation(shape("target", [[float("nan"), 2]]))).encode(), r"points\.0\.0"),
        (json.dumps(annotation(shape("target", [[1, 2**31]]))).encode(), r"points\.0\.1"),
        (json.dumps(annotation(shape("target", [[-(2**31) - 1, 2]]))).encode(), r"points\.0\.0"),
    ],
)
def test_a_broken_annotation_is_refused_by_name_and_place(
    content: bytes, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "photo.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationInvalid, match=rf"'photo\.json'.*{complaint}") as error:
        read_annotation(path, (8, 8))
    assert isinstance(error.value, LisaError) and error.value.hint


def test_a_missing_annotation_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AnnotationInvalid, match=r"'photo\.json' cannot be read"):
        read_annotation(tmp_path / "photo.json", (8, 8))
