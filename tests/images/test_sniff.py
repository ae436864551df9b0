"""Files are known by their first bytes."""

from __future__ import annotations

import pytest

from lisa_tool.images.sniff import READ, declared_size, jpeg_scans, sniff
from tests.images.samples import encode, plain


@pytest.mark.parametrize("kind", READ)
def test_readable_formats_are_known_by_their_magic(kind: str) -> None:
    assert sniff(encode(plain(), kind)) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b'<?xml version="1.0"?>\n<!-- a comment -->\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>", "HTML"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"8BPS\0\1", "Photoshop"),
        (b"PK\3\4", "ZIP"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS pointer"),
        (b"hello, I am no image", "text"),
        (b"BMW is a car maker, and this is a sentence", "text"),
        ("grüße".encode() * 400, "text"),
        (b"\x00\x01\x02\x03", "unknown"),
    ],
)
def test_other_formats_get_their_name(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


@pytest.mark.parametrize("lossless", [True, False])
def test_size_of_a_webp_is_known_without_a_decoder(lossless: bool) -> None:
    assert declared_size("WebP", encode(plain(33, 21), "WEBP", lossless=lossless)) == (33, 21)
    alpha = encode(plain(33, 21, (1, 2, 3, 4), "RGBA"), "WEBP", exif=b"Exif\0\0")
    assert alpha[12:16] == b"VP8X"
    assert declared_size("WebP", alpha) == (33, 21)


def test_size_of_a_gif_includes_a_first_frame_that_is_larger_than_the_screen() -> None:
    data = bytearray(encode(plain(8, 8), "GIF", comment=b"hi"))
    assert declared_size("GIF", bytes(data)) == (8, 8)
    data[6:10] = b"\1\0\1\0"
    assert declared_size("GIF", bytes(data)) == (8, 8)
    assert declared_size("GIF", bytes(data[:20])) is None


def test_jpeg_scans_are_those_of_the_first_image() -> None:
    progressive = encode(plain(64, 64), "JPEG", progressive=True)
    assert jpeg_scans(encode(plain(64, 64), "JPEG")) == 1
    assert 5 < jpeg_scans(progressive) < 20
    assert jpeg_scans(progressive + (b"\0\0" + progressive[2:]) * 9) == jpeg_scans(progressive)
