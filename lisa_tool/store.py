"""Results on disk: one folder a result, written whole or not at all.

    <output_dir>/res_<32 hex>/mask_0.png, mask_1.png, ..., overlay.jpg, result.json

Names come from a random id, never from the question or the image's name. A folder is built under a hidden
name and renamed when it is complete, so a reader never meets half a result. The quota removes the oldest of
our own results, file by file: a file that we did not write is never touched.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image
from pydantic import ValidationError

from lisa_tool.errors import OutputError, OutputFull, OutputNotWritable, ResultNotFound
from lisa_tool.results import Segmentation
from lisa_tool.settings import Limits

if TYPE_CHECKING:
    from lisa_tool.masks.geometry import BoolMask  # which needs cv2

RESULT_ID = re.compile(r"res_[0-9a-f]{32}")
_UNFINISHED = re.compile(r"\.res_[0-9a-f]{32}\.part")
_OUR_FILE = re.compile(r"mask_\d+\.png|overlay\.jpg|result\.json")
_ABANDONED_S = 3600  # an unfinished folder older than this was left by a process that died
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class ResultFolder:
    """A result being written. Paths name the place where the files will be once the result is complete."""

    result_id: str
    final: Path
    _building: Path

    def add_mask(self, index: int, mask: BoolMask) -> str:
        """Write bool (height, width) as a lossless 8-bit PNG, 0 and 255; returns its absolute path."""
        return self._save(Image.fromarray(mask.astype(np.uint8) * 255), f"mask_{index}.png")

    def add_overlay(self, image: Image.Image) -> str:
        """Write the overlay as a JPEG; returns its absolute path."""
        # Colour at full resolution: halved, it blurs thin coloured lines.
        return self._save(image, "overlay.jpg", quality=90, subsampling=0)

    def add_result(self, result: Segmentation) -> None:
        """Write result.json, the provenance of the masks."""
        with self._create("result.json") as file:
            file.write(result.model_dump_json(indent=2).encode())

    def _save(self, image: Image.Image, name: str, **options: int) -> str:
        with self._create(name) as file:
            image.save(file, format="PNG" if name.endswith(".png") else "JPEG", **options)
        return str(self.final / name)

    @contextmanager
    def _create(self, name: str) -> Iterator[BinaryIO]:
        """A new private file, never through an existing name or link, flushed to disk at the end."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        path = self._building / name
        with _disk_errors(self.final.parent), os.fdopen(os.open(path, flags, 0o600), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())


class ResultStore:
    """All results under one folder. Several threads and processes may share it."""

    def __init__(self, output_dir: Path, limits: Limits) -> None:
        self.output_dir = output_dir
        self.limits = limits
        # The quota, and what is said of empty folders, hold exactly within a process, nearly among several.
        self._publishing = threading.Lock()

    @contextmanager
    def new_result(self) -> Iterator[ResultFolder]:
        """Build a result folder; it appears when the `with` body ends well, else nothing is left behind.

        Raises OutputNotWritable or OutputFull.
        """
        result_id = f"res_{secrets.token_hex(16)}"
        building = self.output_dir / f".{result_id}.part"
        final = self.output_dir / result_id
        made: list[Path] = []  # folders that this result is the first to need, the innermost first
        try:
            with _disk_errors(self.output_dir), self._publishing:
                made += [path for path in (self.output_dir, *self.output_dir.parents) if not path.exists()]
                self.output_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._check_space()
                building.mkdir(mode=0o700)
            yield ResultFolder(result_id, final, building)
            with _disk_errors(self.output_dir), self._publishing:
                self._make_room(_our_bytes(building))
                building.rename(final)
        finally:
            shutil.rmtree(building, ignore_errors=True)
            with self._publishing, suppress(OSError):  # one that holds something stays
                for path in made:
                    path.rmdir()

    def load(self, result_id: str) -> Segmentation:
        """Read a result back, its files where it was found: result.json may name any path, and may be moved.

        Raises ResultNotFound for an id that is not ours, gone, or unreadable.
        """
        folder = self.folder(result_id)
        try:
            result = Segmentation.model_validate_json((folder / "result.json").read_bytes())
        except (OSError, ValidationError) as e:
            raise ResultNotFound(f"result {result_id!r} cannot be read") from e
        masks = tuple(
            mask.model_copy(update={"path": str(folder / f"mask_{index}.png")})
            for index, mask in enumerate(result.masks)
        )
        overlay = str(folder / "overlay.jpg") if result.overlay_path else None
        return result.model_copy(update={"masks": masks, "overlay_path": overlay})

    def folder(self, result_id: str) -> Path:
        """Where a complete result lies. Raises ResultNotFound."""
        if RESULT_ID.fullmatch(result_id):
            folder = self.output_dir / result_id
            if folder.is_dir() and not folder.is_symlink():
                return folder
        raise ResultNotFound(f"there is no result {result_id[:80]!r} here")

    def _make_room(self, n_bytes: int) -> None:
        """Remove our oldest results until one more of `n_bytes` fits the quota."""
        max_bytes, max_results = self.limits.output_max_bytes, self.limits.output_max_results
        if n_bytes > max_bytes:
            raise OutputFull(
                f"this result takes {n_bytes} bytes, the quota is {max_bytes}",
                "Raise LISA_LIMITS__OUTPUT_MAX_BYTES, or send a smaller image.",
            )
        self._clear_abandoned()
        ours = sorted(self._results())
        used = sum(size for _, _, size in ours)
        for count, (_, path, size) in zip(range(len(ours), 0, -1), ours, strict=True):
            if count < max_results and used + n_bytes <= max_bytes:
                return
            _remove_result(path)
            used -= size

    def _results(self) -> Iterator[tuple[int, str, int]]:
        """(modified in ns, path, bytes) of each complete result of ours."""
        for path in self._folders(RESULT_ID):
            with suppress(OSError):  # another process may have removed it just now
                modified = os.stat(os.path.join(path, "result.json"), follow_symlinks=False).st_mtime_ns
                yield modified, path, _our_bytes(path)

    def _clear_abandoned(self) -> None:
        for path in self._folders(_UNFINISHED):
            with suppress(OSError):
                if time.time() - os.stat(path, follow_symlinks=False).st_mtime > _ABANDONED_S:
                    shutil.rmtree(path, ignore_errors=True)

    def _folders(self, name: re.Pattern[str]) -> list[str]:
        """Paths of the folders, links left out, whose name is of this form."""
        with os.scandir(self.output_dir) as entries:
            return [e.path for e in entries if name.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.output_dir).free
        if free < self.limits.output_min_free_bytes:
            raise OutputFull(
                f"the disk of {str(self.output_dir)!r} has {free / 2**20:.0f} MiB free, "
                f"at least {self.limits.output_min_free_bytes / 2**20:.0f} are kept free"
            )


def read_mask(path: str | os.PathLike[str]) -> BoolMask:
    """Read a mask file back as bool (height, width)."""
    with Image.open(path, formats=("PNG",)) as image:
        return np.asarray(image) > 127


@contextmanager
def _disk_errors(output_dir: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except OSError as e:
        reason = os.strerror(e.errno) if e.errno else type(e).__name__
        error: type[OutputError] = OutputFull if e.errno in _FULL else OutputNotWritable
        raise error(f"the result folder {str(output_dir)!r} cannot be written: {reason}") from e


def _our_bytes(folder: str | Path) -> int:
    with os.scandir(folder) as entries:
        return sum(e.stat(follow_symlinks=False).st_size for e in entries if _OUR_FILE.fullmatch(e.name))


def _remove_result(folder: str) -> None:
    """Remove our files, result.json first (without it this is no result), and the folder if it is empty."""
    with suppress(OSError), os.scandir(folder) as entries:
        ours = [entry.name for entry in entries if _OUR_FILE.fullmatch(entry.name)]
        for name in sorted(ours, key=lambda name: name != "result.json"):
            os.unlink(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(folder)
