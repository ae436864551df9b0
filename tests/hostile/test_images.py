"""Hostile image files: each gives one clear error, fast, or the right pixels."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lisa_tool.errors import (
    ImageError,
    ImageShapeUnsupported,
    ImageTooLarge,
    ImageUnreadable,
)
from lisa_tool.images import load_image
from lisa_tool.settings import Settings
from tests.images.samples import WHITE, chunk, encode, flat_png, header_png, plain


def test_a_bomb_of_30000_by_30000_is_refused_by_its_size(settings: Settings) -> None:
    data = flat_png(30_000, 30_000)
    assert len(data) < 200_000
    with pytest.raises(ImageTooLarge, match="30000x30000 = 900 Mpx, the limit is 40"):
        load_image(data, settings)


def test_a_bomb_below_pillows_own_limit_is_refused_by_its_size(settings: Settings) -> None:
    with pytest.raises(ImageTooLarge, match="9400x9400 = 88 Mpx, the limit is 40"):
        load_image(flat_png(9400, 9400), settings)


def _webp(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _gif(screen: int, frame: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", screen, screen, 0, 0, 0)
        + b","
        + struct.pack("<4HB", 0, 0, frame, frame, 0)
    )


def _jpeg(side: int) -> bytes:
    data = bytearray(encode(plain(16, 16), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def _bmp(side: int) -> bytes:
    data = bytearray(encode(plain(16, 16), "BMP"))
    data[18:26] = struct.pack("<ii", side, side)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        header_png(2**31 - 1, 2**31 - 1),
        header_png(12_000, 12_000),  # where Pillow warns and goes on
        _webp(2**24, 2**24),
        _webp(16_000, 16_000),
        _gif(65_535, 10),
        _gif(10, 65_535),
        _gif(10, 10_000),
        _jpeg(65_500),
        _jpeg(10_000),
        _bmp(2**31 - 1),
        _bmp(12_000),
    ],
)
def test_a_promised_size_is_refused_before_pixels_are_made(settings: Settings, data: bytes) -> None:
    with pytest.raises(ImageTooLarge, match="the limit is 40"):
        load_image(data, settings)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 20_000), (20_000, 1), (2, 201), (1000, 9)])
def test_tiny_and_thin_images_are_refused(settings: Settings, width: int, height: int) -> None:
    with pytest.raises(ImageShapeUnsupported, match=f"{width}x{height}"):
        load_image(flat_png(width, height), settings)


def test_a_side_over_the_limit_is_refused(settings: Settings) -> None:
    with pytest.raises(ImageTooLarge, match="16384 px"):
        load_image(flat_png(16_385, 200), settings)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_truncated_file_is_unreadable_wherever_it_was_cut(settings: Settings, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    for length in (1, 3, 8, 12, 17, 25, 40, len(data) // 3, len(data) // 2):
        with pytest.raises(ImageUnreadable):
            load_image(data[:length], settings)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_flipped_bytes_give_pixels_or_an_image_error_and_nothing_else(settings: Settings, kind: str) -> None:
    random = np.random.default_rng(1)
    data = np.frombuffer(
        encode(plain(20, 12), kind, **({"exif": b"Exif\0\0MM\0*"} if kind != "BMP" else {})), np.uint8
    )
    for _ in range(150):
        broken = data.copy()
        broken[random.integers(0, len(data), 4)] = random.integers(0, 256, 4)
        with contextlib.suppress(ImageError):
            load_image(broken.tobytes(), settings)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"just text", "text file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"%PDF-1.4", "PDF"),
        (b"<!doctype html><title>404</title>", "HTML page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "PostScript"),
        (encode(plain(), "TIFF"), "TIFF"),
        (encode(plain(), "ICO"), "ICO"),
        (encode(plain(), "PPM"), "not an image|text file"),
        (b"PK\3\4" + encode(plain()), "ZIP"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_what_is_not_a_readable_image_is_named(settings: Settings, data: bytes, word: str) -> None:
    with pytest.raises(ImageUnreadable, match=word) as caught:
        load_image(data, settings)
    assert caught.value.hint


def test_a_name_is_never_believed(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageUnreadable, match="text file"):
        load_image(tmp_path / "text.png", settings)
    (tmp_path / "photo.txt").write_bytes(encode(plain(), "JPEG"))
    assert load_image(tmp_path / "photo.txt", settings).info.width == 6


def test_a_png_that_is_also_a_zip_is_only_a_png(settings: Settings) -> None:
    assert load_image(encode(plain()) + b"PK\5\6" + bytes(18), settings).info.width == 6


def test_colour_hidden_under_alpha_zero_stays_hidden(settings: Settings) -> None:
    loaded = load_image(encode(plain(8, 8, (200, 0, 0, 0), "RGBA")), settings)
    assert (loaded.rgb == WHITE).all()


def test_a_text_chunk_that_unpacks_to_much_is_refused_or_ignored(settings: Settings) -> None:
    data = encode(plain())
    for kind, head in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        bomb = chunk(kind, head + zlib.compress(bytes(50_000_000), 9))
        with contextlib.suppress(ImageUnreadable):
            assert load_image(data[:33] + bomb + data[33:], settings).info.width == 6


class _Counting(io.BytesIO):
    """Remembers how far it was read."""

    furthest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        got = super().read(size)
        _Counting.furthest = max(_Counting.furthest, self.tell())
        return got


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_of_a_thousand_frames_only_the_first_ones_are_read(
    settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(2)
    frames = [Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(1000)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(_Counting, "furthest", 0)
    monkeypatch.setattr("lisa_tool.images.decode.io.BytesIO", _Counting)
    loaded = load_image(data, settings)
    assert loaded.info.notes == ("first frame of an animated image",)
    assert 0 < _Counting.furthest < len(data) / 4  # Pillow reads 64 KiB at a time


def test_a_jpeg_with_hundreds_of_scans_is_refused(settings: Settings) -> None:
    data = encode(plain(64, 64), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert load_image(data[:-2] + last * 50 + data[-2:], settings).info.width == 64
    with pytest.raises(ImageUnreadable, match="scans"):
        load_image(data[:-2] + last * 500 + data[-2:], settings)


def test_the_message_holds_no_object_address_and_no_control_character(settings: Settings) -> None:
    for data in (
        encode(plain())[:40],
        b"\x89PNG\r\n\x1a\n" + chunk(b"\x1b[3m", b""),
        encode(plain(), "JPEG")[:300],
    ):
        with pytest.raises(ImageUnreadable) as caught:
            load_image(data, settings)
        assert " at 0x" not in caught.value.to_text()
        assert caught.value.to_text().isprintable()


def test_a_closed_or_cut_pil_image_is_unreadable(settings: Settings) -> None:
    closed = Image.open(io.BytesIO(encode(plain())))
    closed.close()
    cut = Image.open(io.BytesIO(encode(plain(64, 64), "JPEG")[:-40]))
    for image in (closed, cut):
        with pytest.raises(ImageUnreadable):
            load_image(image, settings)
