"""Picture files that a careless or hostile sender might send, made small and fast."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """An ordinary small RGB picture: a red disc on a green ramp."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([0 * x, x * 255 // width, 0 * x], axis=2).astype(np.uint8)
    pixels[(x - width // 3) ** 2 + (y - height // 2) ** 2 < (height // 3) ** 2] = (220, 20, 20)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def blank_png(width: int, height: int, bits: int = 8) -> bytes:
    """A complete black PNG of any size, without ever holding its pixels."""
    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def truncated_jpeg() -> bytes:
    data = encoded(scene(), "JPEG")
    return data[: len(data) // 2]


def sixteen_bit_gray() -> bytes:
    ramp = np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (64, 1))
    return encoded(Image.fromarray(ramp), "PNG")


def hidden_colour() -> bytes:
    """RGBA whose transparent pixels hide a colour that nobody sees."""
    image = scene().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    return encoded(image, "PNG")


def cmyk_jpeg() -> bytes:
    return encoded(scene().convert("CMYK"), "JPEG")


def exif_turned() -> bytes:
    """96x64 in the file, to be shown turned: 64x96."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(scene(), "JPEG", exif=exif)


def long_animation(frames: int = 1000) -> bytes:
    first = Image.new("L", (8, 8))
    others = [Image.new("L", (8, 8), i % 256) for i in range(1, frames)]
    return encoded(first, "PNG", save_all=True, append_images=others)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)
