"""Bytes or a PIL image -> upright RGB. Everything about pixels is checked here and nowhere else.

The order: bytes, format by magic, sides and area, and only then pixels. Pillow's global limits are neither
trusted nor touched: the plugin class of the sniffed format is called by itself, so that no other parser
runs and no bomb warning is raised.

What happens to each mode:

    mode                          becomes RGB by
    RGB                           as it is
    1, L, P                       Pillow's conversion
    RGBA, LA, PA, RGBa, La,       composited on white, so that colours hidden under alpha 0 stay hidden
      P, L, RGB with a transparent colour
    I;16, I;16L, I;16B, I;16N     value >> 8 (Pillow's own conversion saturates: nearly all becomes white)
    I                             as it is when all values are 0..255, >> 8 when 0..65535, else refused
    F                             refused: only the caller knows which range is black to white
    CMYK, YCbCr, LAB, HSV         Pillow's conversion (JPEG: Adobe's inverted CMYK and YCCK come out right)

16-bit colour arrives from Pillow as 8 bits a channel. ICC profiles and gamma are not applied. The result
holds no metadata.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from lisa_tool.errors import ImageError, ImageShapeUnsupported, ImageTooLarge, ImageUnreadable, OutOfMemory
from lisa_tool.images.naming import megabytes, shown
from lisa_tool.images.orientation import (
    exif_orientation,
    pil_orientation,
    swaps_sides,
    turn_upright,
)
from lisa_tool.images.sniff import advice, declared_size, jpeg_scans, sniff
from lisa_tool.settings import Limits


class _Jpeg(JpegImageFile):
    """Without Pillow's EXIF parser, which warns about damage: orientation.py reads the one tag we need."""

    def _read_dpi_from_exif(self) -> None:
        pass


_OPEN: dict[str, type[ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
}
_MAX_JPEG_SCANS = 100  # a progressive photo has about 10; each walks all pixels again (30 ms of 40 Mpx)
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_HEAD = 4_096
_GIF_HEAD = 2**20  # comments may stand before the first frame
_WEBP_HAS_EXIF = 0x08
_OPAQUE = 255


@dataclass(frozen=True)
class Decoded:
    """`rgb`: uint8 (height, width, 3), upright, contiguous, read-only. `notes`: what was done to it."""

    rgb: NDArray[np.uint8]
    notes: tuple[str, ...]


def decode(data: bytes, limits: Limits) -> Decoded:
    """Decode the bytes of an image file. Raises ImageUnreadable, ImageTooLarge or ImageShapeUnsupported."""
    if not data:
        raise ImageUnreadable("the image is empty (0 bytes)")
    if len(data) > limits.max_file_bytes:
        raise ImageTooLarge(
            f"the image file is {megabytes(len(data))}, the limit is {megabytes(limits.max_file_bytes)}"
        )
    kind = _readable_kind(data)
    size = declared_size(kind, data)
    if size:
        check_size(*size, limits)
    if kind == "JPEG" and jpeg_scans(data) > _MAX_JPEG_SCANS:
        raise ImageUnreadable("the JPEG has more scans than any photo: decoding it would take too long")
    try:
        with _OPEN[kind](io.BytesIO(data)) as image:
            check_size(*image.size, limits)
            animated = bool(getattr(image, "is_animated", False))  # never n_frames: it walks the whole file
            image.load()
            notes = ["first frame of an animated image"] if animated else []
            return _finish(image, exif_orientation(image.info.get("exif")), notes)
    except ImageError:
        raise
    except _TOO_LARGE as e:
        raise _bomb(limits) from e
    except MemoryError as e:
        raise OutOfMemory("there was not enough memory to decode the image") from e
    except Exception as e:  # the one wide catch: decoders raise OSError, SyntaxError, struct.error, ...
        raise ImageUnreadable(f"the {kind} image is damaged or cut short ({_reason(e)})") from e


def decode_pil(image: Image.Image, limits: Limits) -> Decoded:
    """Take the pixels of an image object, which is left as it was. Raises as `decode`."""
    try:
        check_size(*image.size, limits)
        image.load()
        return _finish(image, pil_orientation(image), [])
    except ImageError:
        raise
    except _TOO_LARGE as e:
        raise _bomb(limits) from e
    except MemoryError as e:
        raise OutOfMemory("there was not enough memory to decode the image") from e
    except Exception as e:
        raise ImageUnreadable(f"the PIL image cannot be used ({_reason(e)})") from e


def read_size(file: BinaryIO, limits: Limits) -> tuple[int, int]:
    """(width, height) of the upright image, from the header of an open file. Raises as `decode`."""
    head = file.read(_HEAD)
    kind = _readable_kind(head)
    if kind == "GIF":
        size = declared_size(kind, head + file.read(_GIF_HEAD))
        if size is None:
            raise ImageUnreadable("the GIF image is damaged or cut short")
    else:
        size = declared_size(kind, head)
    if size:
        check_size(*size, limits)
        if kind == "GIF" or head[12:16] != b"VP8X" or not head[20] & _WEBP_HAS_EXIF:
            return size  # the rest of the file need not be read
    file.seek(0)
    try:
        with _OPEN[kind](file) as image:
            check_size(*image.size, limits)
            width, height = image.size
            turned = swaps_sides(exif_orientation(image.info.get("exif")))
    except ImageError:
        raise
    except (*_TOO_LARGE, MemoryError) as e:
        raise _bomb(limits) from e
    except Exception as e:
        raise ImageUnreadable(f"the {kind} image is damaged or cut short ({_reason(e)})") from e
    return (height, width) if turned else (width, height)


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raise when an image of this size would be too large, too small or too thin."""
    size = f"image is {width}x{height}"
    short, long = sorted((width, height))
    if width * height > limits.max_pixels:
        mpx, limit = (f"{n / 1e6:.0f}" for n in (width * height, limits.max_pixels))
        if mpx == limit:
            mpx, limit = (f"{n / 1e6}" for n in (width * height, limits.max_pixels))
        raise ImageTooLarge(f"{size} = {mpx} Mpx, the limit is {limit}", "Send a smaller copy.")
    if short < limits.min_side:
        raise ImageShapeUnsupported(f"{size}, the shortest side must be at least {limits.min_side} px")
    if long > short * limits.max_aspect_ratio:
        ratio = f"{long / short:.0f} times longer than wide, the limit is {limits.max_aspect_ratio:g}"
        raise ImageShapeUnsupported(f"{size}, {ratio}", "Crop it to the part that matters.")
    if long > limits.max_side:
        raise ImageTooLarge(f"{size}, the longest side may be {limits.max_side} px", "Send a smaller copy.")


def _readable_kind(data: bytes) -> str:
    kind = sniff(data)
    if kind not in _OPEN:
        raise ImageUnreadable(*advice(kind))
    return kind


def _finish(image: Image.Image, orientation: int, notes: list[str]) -> Decoded:
    rgb = turn_upright(_to_rgb(image, notes), orientation)
    if orientation > 1:
        notes.append(f"turned upright (EXIF orientation {orientation})")
    pixels = np.ascontiguousarray(np.asarray(rgb, dtype=np.uint8))  # (height, width, 3)
    pixels.setflags(write=False)
    return Decoded(pixels, tuple(notes))


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """See the table at the top."""
    if image.mode == "F":
        raise ImageUnreadable(
            "the image holds floating-point values (mode F)", "Scale them to 0..255 and send an 8-bit image."
        )
    if image.mode.startswith("I"):
        image = _eight_bit(image, notes)
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no La -> RGBA
        return _on_white(straight.convert("RGBA"), notes)
    if image.mode in ("CMYK", "LAB"):
        notes.append(f"{image.mode} colours converted to RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image, notes: list[str]) -> Image.Image:
    values = np.asarray(image)  # (height, width), uint16 or int32
    transparent = image.info.get("transparency")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise ImageUnreadable(
            f"the image holds values from {low} to {high} (mode {image.mode})",
            "Scale them to 0..255 and send that.",
        )
    if image.mode == "I" and high <= 0xFF:
        gray = Image.fromarray(values.astype(np.uint8))
    else:
        gray = Image.fromarray((values >> 8).astype(np.uint8))
        notes.append("16-bit gray scaled to 8 bit")
    if isinstance(transparent, int):
        gray.putalpha(Image.fromarray(np.where(values == transparent, 0, _OPAQUE).astype(np.uint8)))
    return gray


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    alpha = image.getchannel("A")
    if alpha.getextrema() == (_OPAQUE, _OPAQUE):
        return image.convert("RGB")
    notes.append("transparency shown on white")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white


def _bomb(limits: Limits) -> ImageTooLarge:
    return ImageTooLarge(f"image is far larger than the limit of {limits.max_pixels / 1e6:.0f} Mpx")


def _reason(error: BaseException) -> str:
    return shown(str(error), 100) or type(error).__name__
