"""Turn whatever a caller calls an image into upright RGB pixels.

    "photo.jpg"  "~/Pictures/cat.png"  "file:///home/me/cat.png"  "data:image/png;base64,..."
    "https://..."  bytes of a file  a PIL image

Strings come from models and may be hostile: each kind has one door, and what fits none is refused with the
list of those that exist.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_tool.errors import (
    ImageNotFound,
    ImageTooLarge,
    ImageUnreadable,
    MissingExtra,
    PathNotAllowed,
    UrlNotAllowed,
)
from lisa_tool.images.decode import Decoded, decode, decode_pil
from lisa_tool.images.elsewhere import elsewhere_path, elsewhere_scheme
from lisa_tool.images.naming import megabytes, shown, shown_data_uri, shown_url
from lisa_tool.images.roots import Roots, read_inside
from lisa_tool.images.urls import ACCEPTED, check_url
from lisa_tool.results import ImageInfo
from lisa_tool.settings import Limits, Settings

ImageReference = str | os.PathLike[str] | bytes | Image.Image
"""A path, a `file://`, `data:` or (when enabled) `https://` URL, the bytes of a file, or a PIL image."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_NOT_FILES = (
    "javascript:",
    "vbscript:",
    "mailto:",
    "about:",
    "ftp:",
    "ftps:",
    "sftp:",
    "http:",
    "s3:",
    "gs:",
    "az:",
    "ws:",
    "wss:",
)
_BARE_BASE64 = re.compile(r"(/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk[0-9A-Za-z]{2})[A-Za-z0-9+/=\s]{60,}")
_BARE_HEAD = 200
_BASE64_SPACE = str.maketrans("", "", " \t\r\n")


@dataclass(frozen=True)
class LoadedImage:
    """`rgb`: uint8 (height, width, 3), upright, C-contiguous, read-only. `info` says where it came from."""

    rgb: NDArray[np.uint8]
    info: ImageInfo


def load_image(reference: ImageReference, settings: Settings) -> LoadedImage:
    """Read an image. Raises an ImageError, or MissingExtra when URLs are on but not installed."""
    limits = settings.limits
    if isinstance(reference, Image.Image):
        return _from_pil(reference, limits)
    if isinstance(reference, bytes):
        return _from_bytes(reference, f"bytes ({len(reference)})", limits)
    if isinstance(reference, os.PathLike):
        text = os.fspath(reference)
        if isinstance(text, str):
            return _from_bytes(_read_path(text, settings), shown(text), limits)
    if isinstance(reference, str):
        data, source = _read_text(reference, settings)
        return _from_bytes(data, source, limits)
    raise ImageUnreadable(
        f"an image reference cannot be of type {type(reference).__name__}",
        f"Pass {ACCEPTED}, bytes, or a PIL image (PIL.Image.fromarray(array) makes one).",
    )


def _from_bytes(data: bytes, source: str, limits: Limits) -> LoadedImage:
    return _loaded(decode(data, limits), source, hashlib.sha256(data).hexdigest())


def _from_pil(image: Image.Image, limits: Limits) -> LoadedImage:
    decoded = decode_pil(image, limits)
    height, width, _ = decoded.rgb.shape
    digest = hashlib.sha256(f"RGB {width}x{height}\n".encode())
    digest.update(decoded.rgb.data)
    return _loaded(decoded, f"PIL image {image.width}x{image.height}", digest.hexdigest())


def _loaded(decoded: Decoded, source: str, sha256: str) -> LoadedImage:
    height, width, _ = decoded.rgb.shape
    info = ImageInfo(source=source, sha256=sha256, width=width, height=height, notes=decoded.notes)
    return LoadedImage(decoded.rgb, info)


def _read_text(reference: str, settings: Settings) -> tuple[bytes, str]:
    """The bytes that a string refers to, and the string as it may be shown."""
    text = reference.strip()
    if not text:
        raise ImageNotFound("the image reference is blank", f"Pass {ACCEPTED}.")
    lower = text[:32].lower()
    if lower.startswith("data:"):
        return _read_data_uri(text, settings.limits)
    if lower.startswith("https:"):
        return _read_url(text, settings), shown_url(text)
    if elsewhere := elsewhere_scheme(text):
        raise elsewhere
    if lower.startswith("file:"):
        return _read_path(_path_of_file_url(text), settings, text), shown(text)
    scheme = _SCHEME.match(text)
    if scheme and (text[scheme.end() :].startswith("//") or lower.startswith(_NOT_FILES)):
        hosts = ", or an https URL of an allowed host" if settings.url_hosts else ""
        raise UrlNotAllowed(
            f"{shown_url(text)!r}: {shown(scheme[0], 40)!r} is not accepted here", f"Pass {ACCEPTED}{hosts}."
        )
    if _BARE_BASE64.match(text[:_BARE_HEAD]):
        raise ImageUnreadable(
            "the reference is bare base64", "Put 'data:image/png;base64,' before it, or pass a path."
        )
    return _read_path(text, settings), shown(text)


def _read_path(path: str, settings: Settings, given: str | None = None) -> bytes:
    try:
        return read_inside(path, Roots.of(settings.roots), settings.limits)
    except (ImageNotFound, PathNotAllowed) as e:
        if elsewhere := elsewhere_path(given or path):
            raise elsewhere from e
        raise


def _path_of_file_url(url: str) -> str:
    """The path in a `file:` URL, percent-decoded exactly once; '?' and '#' are ordinary characters in it."""
    rest = url[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise PathNotAllowed(
                f"{shown(url)!r} names another computer", "Write file:///path, with three slashes."
            )
        rest = slash + path
    if not rest.startswith("/"):
        raise PathNotAllowed(f"{shown(url)!r} is not absolute", "Write file:///path, with three slashes.")
    path = os.fsdecode(_unquote(rest))
    return path[1:] if os.name == "nt" and path[2:3] == ":" else path


def _read_data_uri(uri: str, limits: Limits) -> tuple[bytes, str]:
    header, comma, payload = uri.partition(",")
    kind, *options = (part.strip().lower() for part in header[len("data:") :].split(";"))
    if not comma:
        raise ImageUnreadable("the data URI has no comma", "Write data:image/png;base64,<data>.")
    if kind and not kind.startswith("image/"):
        raise ImageUnreadable(
            f"the data URI is of type {shown(kind, 60)!r}, not an image", "Send image/png or image/jpeg."
        )
    is_base64 = "base64" in options
    # Checked on the text, before anything is decoded: 4 characters make 3 bytes, or '%xx' makes one.
    longest = limits.max_file_bytes * 3 + 1024
    if len(payload) > longest or (is_base64 and _base64_bytes(payload) > limits.max_file_bytes):
        raise ImageTooLarge(f"the data URI is over the limit of {megabytes(limits.max_file_bytes)}")
    data = _decode_base64(payload) if is_base64 else _unquote(payload)
    return data, shown_data_uri(header, len(data))


def _base64_bytes(payload: str) -> int:
    """Bytes that base64 text makes at most; escapes and white space in it only make fewer."""
    noise = sum(payload.count(c) for c in " \t\r\n=") + 2 * payload.count("%")
    return (len(payload) - noise) * 3 // 4


def _decode_base64(payload: str) -> bytes:
    if "%" in payload:
        payload = _unquote(payload).decode("latin-1")
    digits = payload.translate(_BASE64_SPACE).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as e:
        raise ImageUnreadable(
            "the data URI's base64 is damaged or cut short", "Send it again, or pass a path."
        ) from e


def _unquote(text: str) -> bytes:
    """Percent-decode once."""
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as e:
        raise ImageUnreadable("the reference contains half a character (a lone surrogate)") from e


def _read_url(url: str, settings: Settings) -> bytes:
    check_url(url, settings.url_hosts)  # before the extra is needed: URLs are off for most
    try:
        from lisa_tool.images.fetch import fetch
    except ImportError as e:
        raise MissingExtra("URLs need requests and microsoft-antissrf: pip install 'lisa-tool[urls]'") from e
    return fetch(url, settings.url_hosts, settings.limits)
