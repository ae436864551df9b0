"""Image files made on the spot, good and bad."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(width: int = 6, height: int = 4, colour: tuple[int, ...] = RED, mode: str = "RGB") -> Image.Image:
    """An image of one colour."""
    return Image.new(mode, (width, height), colour)


def corners() -> Image.Image:
    """6x4 blocks of 16 px with red in the upper left corner only: every turn of it is different."""
    image = plain(96, 64, WHITE)
    image.paste(RED, (0, 0, 48, 32))
    return image


def save(path: Path, image: Image.Image | None = None, kind: str = "PNG") -> Path:
    """Write an image file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(image or plain(), kind))
    return path


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def flat_png(width: int, height: int) -> bytes:
    """A 1-bit gray PNG of any size, all black, made without holding its pixels."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def header_png(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def gray16(values: list[list[int]]) -> Image.Image:
    """An I;16 image."""
    return Image.fromarray(np.array(values, dtype=np.uint16))


def exif(orientation: int, order: str = ">") -> bytes:
    """An EXIF block that holds the orientation and nothing else."""
    start = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + start + struct.pack(f"{order}IH", 8, 1) + entry + b"\0\0\0\0"
