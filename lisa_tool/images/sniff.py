"""What the first bytes of a file say it is. Names and media types are never believed.

Formats that are not read get a name too, so that a message can say what to do about them.
"""

from __future__ import annotations

import re
import struct

_HEAD = 1024
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")
_CONVERT = "Convert it to PNG or JPEG and send that."

READ = ("JPEG", "PNG", "WebP", "GIF", "BMP")
"""The formats that are decoded."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"PK\3\4", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1aE\xdf\xa3", "video"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
)

_ADVICE = {
    "SVG": "SVG is a drawing, not pixels: render it to PNG and send that.",
    "HTML": "The link or file is a web page: send the image file itself.",
    "PDF": "Save the page as PNG or JPEG and send that.",
    "video": "Save one frame as PNG or JPEG and send that.",
    "ZIP": "Unpack it and send the image file itself.",
    "gzip": "Unpack it and send the image file itself.",
    "Git LFS pointer": "Run `git lfs pull` to get the image itself.",
    "text": "Whatever its name, it holds text: send a JPEG, PNG, WebP, GIF or BMP file.",
}


def sniff(data: bytes) -> str:
    """The kind of file that starts with `data`: one of READ, the name of another format, or 'unknown'."""
    head = data[:_HEAD]
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else "video"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    for magic, kind in _MAGIC:
        if head.startswith(magic) and (kind != "BMP" or _is_bmp(head)):
            return kind
    return _text_kind(head)


def _is_bmp(head: bytes) -> bool:
    """Two letters are little: 'BM' also starts plain text."""
    return len(head) < 18 or head[14:18] in {bytes((n, 0, 0, 0)) for n in (12, 16, 40, 52, 56, 64, 108, 124)}


def _text_kind(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return "SVG"
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text:
        return "HTML"
    if text.startswith(b"version https://git-lfs"):
        return "Git LFS pointer"
    return "text" if _TEXT.fullmatch(head) and _decodes(head) else "unknown"


def _decodes(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as e:
        return e.start >= len(head) - 3 and len(head) == _HEAD  # a character cut in two by our own slice
    return True


def advice(kind: str) -> tuple[str, str]:
    """Message and hint for a kind that is not read."""
    if kind == "unknown":
        return (
            "the bytes are not an image in any known format",
            "Send a complete JPEG, PNG, WebP, GIF or BMP file.",
        )
    names = {"text": "a text file", "HTML": "an HTML page", "video": "a video or sound file"}
    name = names.get(kind, f"{kind}, which is not supported")
    return f"the image is {name}", _ADVICE.get(kind, _CONVERT)


def declared_size(kind: str, data: bytes) -> tuple[int, int] | None:
    """(width, height) where Pillow would allocate, or warn, before it lets us compare; None for other kinds.

    WebP: the decoder allocates its canvas when it is made. GIF: the first frame may be larger than the
    screen.
    """
    try:
        if kind == "WebP":
            return _webp_size(data)
        return _gif_size(data) if kind == "GIF" else None
    except (struct.error, IndexError):
        return None  # cut short: the decoder says so


def _webp_size(data: bytes) -> tuple[int, int] | None:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[at] == 0x21:  # an extension: label, then blocks until an empty one
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    if data[at] == 0x2C:
        left, top, frame_width, frame_height = struct.unpack_from("<4H", data, at + 1)
        return max(width, left + frame_width), max(height, top + frame_height)
    return width, height


def jpeg_scans(data: bytes) -> int:
    """How many times a decoder walks the picture; thumbnails and what follows the image do not count."""
    scans, at = 0, 2
    while marker := _JPEG_MARKER.search(data, at):
        at = marker.end()
        if marker[1] == b"\xd9":  # end of image
            break
        scans += marker[1] == b"\xda"
        at += int.from_bytes(data[at : at + 2], "big")  # over the segment's own bytes
    return scans
