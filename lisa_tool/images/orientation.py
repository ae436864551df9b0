"""Which way up: the EXIF orientation tag, read without trusting the rest of the EXIF block.

Only IFD 0 is looked at. A block that is damaged means "as stored", it never makes an image unreadable.
XMP is not read: browsers and OpenCV, which the reference LISA loads with, do not turn by it either.
"""

from __future__ import annotations

import struct

from PIL import Image

_TAG = 0x0112
_SHORT = 3
_MAX_ENTRIES = 1_000

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def exif_orientation(exif: object) -> int:
    """1 to 8 from the bytes of an EXIF block, with or without its 'Exif' prefix; 1 when it does not say."""
    if not isinstance(exif, bytes):
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for index in range(min(count, _MAX_ENTRIES)):
            tag, kind, n, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * index)
            if tag == _TAG:
                return value if kind == _SHORT and n == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def pil_orientation(image: Image.Image) -> int:
    """1 to 8 of an image object, whose EXIF may have been edited in memory."""
    try:
        value = image.getexif().get(_TAG, 1)
    except Exception:  # Pillow parses, and may warn about, whatever the caller's file holds
        return 1
    return value if value in _TURN else 1


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image as it should be looked at."""
    return image.transpose(_TURN[orientation]) if orientation in _TURN else image


def swaps_sides(orientation: int) -> bool:
    """Whether turning upright exchanges width and height."""
    return orientation >= 5
