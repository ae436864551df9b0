"""The mode policy, pixel by pixel; orientation; sizes."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lisa_tool.errors import ImageShapeUnsupported, ImageTooLarge, ImageUnreadable
from lisa_tool.images.decode import Decoded, check_size, decode, decode_pil, read_size
from lisa_tool.settings import Limits
from tests.images.samples import RED, WHITE, corners, encode, exif, flat_png, gray16, plain

LIMITS = Limits()


def pixel(decoded: Decoded, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return tuple(int(v) for v in decoded.rgb[y, x])


def near(got: tuple[int, ...], want: tuple[int, ...], by: int = 3) -> bool:
    return all(abs(a - b) <= by for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "MPO"])
def test_every_readable_format_gives_its_pixels(kind: str) -> None:
    decoded = decode(encode(plain(6, 4, RED), kind), LIMITS)
    assert decoded.rgb.shape == (4, 6, 3)
    assert near(pixel(decoded), RED)
    assert decoded.notes == ()


def test_pixels_are_contiguous_and_read_only() -> None:
    rgb = decode(encode(plain()), LIMITS).rgb
    assert rgb.dtype == np.uint8
    assert rgb.flags["C_CONTIGUOUS"]
    with pytest.raises(ValueError, match="read-only"):
        rgb[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("image", "want"),
    [
        (plain(colour=(7,), mode="L"), (7, 7, 7)),
        (Image.new("1", (6, 4), 1), WHITE),
        (plain().convert("P", palette=Image.Palette.ADAPTIVE), RED),
        (plain(colour=(200, 0, 0, 0), mode="RGBA"), WHITE),
        (plain(colour=(0, 0, 0, 128), mode="RGBA"), (127, 127, 127)),
        (plain(colour=(9, 0), mode="LA"), WHITE),
        (plain(colour=(9, 255), mode="LA"), (9, 9, 9)),
        (Image.merge("La", [Image.new("L", (6, 4), 0)] * 2), WHITE),
        (Image.merge("RGBa", [Image.new("L", (6, 4), 0)] * 4), WHITE),
        (Image.new("PA", (6, 4)), WHITE),
        (gray16([[0x8000] * 6] * 4), (128, 128, 128)),
        (Image.new("I", (6, 4), 0x8000), (128, 128, 128)),
        (Image.new("I", (6, 4), 77), (77, 77, 77)),
        (plain(colour=(0, 255, 255, 0), mode="CMYK"), RED),
        (plain().convert("YCbCr"), RED),
        (plain().convert("HSV"), RED),
        (plain().convert("LAB"), RED),
    ],
    ids=lambda v: v.mode if isinstance(v, Image.Image) else "",
)
def test_mode_policy_gives_the_known_pixel(image: Image.Image, want: tuple[int, ...]) -> None:
    assert near(pixel(decode_pil(image, LIMITS)), want, 6)


def test_sixteen_bit_gray_keeps_its_gradient() -> None:
    ramp = gray16([[256 * v for v in range(256)]] * 4)
    for decoded in (decode(encode(ramp), LIMITS), decode_pil(ramp.convert("I"), LIMITS)):
        assert decoded.rgb[0, :, 0].tolist() == list(range(256))
        assert decoded.notes == ("16-bit gray scaled to 8 bit",)


def test_sixteen_bit_gray_with_a_transparent_value_is_shown_on_white() -> None:
    decoded = decode(encode(gray16([[0, 0x4000], [0, 0x4000]]), transparency=0), LIMITS)
    assert decoded.rgb[0, :, 0].tolist() == [255, 64]
    assert decoded.notes == ("16-bit gray scaled to 8 bit", "transparency shown on white")


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_colour_declared_transparent_is_shown_on_white(mode: str) -> None:
    image = plain(colour=(0, 0, 0)).convert(mode)
    image.paste(WHITE if mode == "RGB" else 9, (0, 0, 1, 1))
    key = (0, 0, 0) if mode == "RGB" else image.getpixel((5, 3))
    decoded = decode(encode(image, transparency=key), LIMITS)
    assert pixel(decoded, 5, 3) == WHITE
    assert decoded.notes == ("transparency shown on white",)


def test_opaque_alpha_is_not_noted() -> None:
    decoded = decode(encode(plain(colour=(1, 2, 3, 255), mode="RGBA")), LIMITS)
    assert pixel(decoded) == (1, 2, 3)
    assert decoded.notes == ()


@pytest.mark.parametrize(
    "image", [Image.new("F", (6, 4), 0.5), Image.new("I", (6, 4), -1), Image.new("I", (6, 4), 70_000)]
)
def test_values_without_a_known_range_are_refused_with_what_to_do(image: Image.Image) -> None:
    with pytest.raises(ImageUnreadable) as caught:
        decode_pil(image, LIMITS)
    assert "Scale them" in caught.value.hint


def test_cmyk_jpeg_comes_out_in_its_own_colours() -> None:
    decoded = decode(encode(plain(32, 32, (0, 255, 255, 0), "CMYK"), "JPEG", quality=95), LIMITS)
    assert near(pixel(decoded), RED, 6)
    assert decoded.notes == ("CMYK colours converted to RGB",)


RED_CORNER = {1: "ul", 2: "ur", 3: "lr", 4: "ll", 5: "ul", 6: "ur", 7: "lr", 8: "ll"}
"""Where the corner that is stored first belongs: EXIF 2.32, tag 0x0112."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(orientation: int, order: str, kind: str) -> None:
    data = encode(corners(), kind, exif=exif(orientation, order))
    decoded = decode(data, LIMITS)
    height, width, _ = decoded.rgb.shape
    x = width - 1 if RED_CORNER[orientation][1] == "r" else 0
    y = height - 1 if RED_CORNER[orientation][0] == "l" else 0
    assert (width, height) == ((64, 96) if orientation >= 5 else (96, 64))
    assert near(pixel(decoded, x, y), RED, 8)
    assert near(pixel(decoded, width - 1 - x, height - 1 - y), WHITE, 8)
    note = (f"turned upright (EXIF orientation {orientation})",) if orientation > 1 else ()
    assert decoded.notes == note
    assert read_size(io.BytesIO(data), LIMITS) == (width, height)


def test_exif_of_a_pil_image_is_honoured_and_the_image_left_as_it_was() -> None:
    image = Image.open(io.BytesIO(encode(corners(), "JPEG", exif=exif(6))))
    decoded = decode_pil(image, LIMITS)
    assert decoded.rgb.shape == (96, 64, 3)
    assert image.size == (96, 64)
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    "block", [b"", b"MM", exif(0), exif(9), exif(6)[:-8], b"Exif\0\0MM\0*\xff\xff\xff\xff"]
)
def test_a_broken_exif_block_leaves_the_image_as_stored(block: bytes) -> None:
    data = encode(corners(), "JPEG")
    app1 = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    decoded = decode(data[:2] + app1 + data[2:], LIMITS)
    assert near(pixel(decoded), RED, 8)
    assert decoded.notes == ()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_only_the_first_frame_of_an_animation_is_used(kind: str) -> None:
    frames = [plain(colour=(0, 0, 255)), plain(colour=(0, 255, 0))]
    decoded = decode(encode(plain(), kind, save_all=True, append_images=frames, lossless=True), LIMITS)
    assert pixel(decoded) == RED
    assert decoded.notes == ("first frame of an animated image",)


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        (Limits(max_pixels=24), (6, 4)),
        (Limits(max_side=6), (6, 4)),
        (Limits(min_side=4), (6, 4)),
        (Limits(max_aspect_ratio=1.5), (6, 4)),
    ],
)
def test_each_limit_allows_its_edge_and_refuses_the_next(limits: Limits, size: tuple[int, int]) -> None:
    check_size(*size, limits)
    beyond = {"max_pixels": (5, 5), "max_side": (7, 4), "min_side": (6, 3), "max_aspect_ratio": (7, 4)}
    (name,) = limits.model_fields_set
    with pytest.raises((ImageTooLarge, ImageShapeUnsupported)):
        check_size(*beyond[name], limits)


def test_bytes_limit_allows_its_edge_and_refuses_the_next() -> None:
    data = encode(plain())
    decode(data, Limits(max_file_bytes=len(data)))
    with pytest.raises(ImageTooLarge, match="the limit is"):
        decode(data, Limits(max_file_bytes=len(data) - 1))


def test_a_size_just_over_the_limit_is_told_apart_from_it() -> None:
    with pytest.raises(ImageTooLarge, match=r"image is 6325x6325 = 40\.005625 Mpx, the limit is 40\.0"):
        check_size(6325, 6325, LIMITS)


def test_pil_globals_stay_as_they_were() -> None:
    script = "\n".join(
        [
            "import warnings; before = list(warnings.filters)",
            "from PIL import Image, ImageFile",
            "pixels, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES",
            "import sys, lisa_tool.images as images, lisa_tool.settings as s",
            "images.load_image(Image.new('RGB', (4, 4)), s.load_settings())",
            "assert (pixels, truncated) == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)",
            "assert [f for f in warnings.filters if f not in before and 'Decompression' in str(f)] == []",
            "print(sorted({'requests', 'AntiSSRF', 'torch', 'onnxruntime', 'urllib3'} & set(sys.modules)))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_bomb_is_refused_whatever_the_global_limit_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageTooLarge, match="9400x9400"):
        decode(flat_png(9400, 9400), LIMITS)


def test_an_image_over_pillows_own_warning_is_read_when_the_limits_allow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 50
    )  # a 10x10 image would warn, and a warning is an error here
    assert decode(encode(plain(10, 10)), LIMITS).rgb.shape == (10, 10, 3)
