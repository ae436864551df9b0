"""Checkpoints from the Hugging Face hub: a pinned commit, and no file that is not needed.

`main` and other names of branches move, so a name is resolved to a commit (40 hex digits) first, and all
files come from that. They lie in the hub's own cache, which other programs share.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.std import tqdm  # type: ignore[import-untyped]

from lisa_tool.errors import (
    Cancelled,
    CheckpointNotFound,
    DownloadFailed,
    LisaError,
    OutputFull,
    OutputNotWritable,
)
from lisa_tool.lisa.checkpoint.building import DISK_FULL
from lisa_tool.lisa.checkpoint.files import PLAIN_NAME
from lisa_tool.lisa.checkpoint.work import Work

COMMIT = re.compile(r"[0-9a-f]{40}")

_LOOK_S = 0.2  # how often to see how far the download is, and whether it should stop
_HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]  # httpx's or its successor's, as the hub has it


@dataclass(frozen=True)
class Repository:
    """What the hub holds under a name at one commit. `files`: name -> bytes."""

    name: str
    revision: str
    files: Mapping[str, int]


def is_offline() -> bool:
    """Whether the user has told huggingface_hub not to ask (HF_HUB_OFFLINE)."""
    return huggingface_hub.is_offline_mode()


def look_up(name: str, revision: str | None) -> Repository:
    """Ask the hub which commit `revision` is, the current one when None, and what it holds.

    Raises CheckpointNotFound or DownloadFailed.
    """
    with _hub_errors(name, revision):
        info = huggingface_hub.HfApi().model_info(name, revision=revision, files_metadata=True)
    commit = info.sha or ""
    if not COMMIT.fullmatch(commit):
        raise DownloadFailed(f"the hub does not say which commit of {name!r} it has")
    return Repository(name, commit, {file.rfilename: file.size or 0 for file in info.siblings or ()})


def wanted(names: Iterable[str]) -> list[str]:
    """The files that a checkpoint or CLIP needs: `.bin` only where there are no safetensors."""
    top = [name for name in names if PLAIN_NAME.fullmatch(name)]
    weights = [name for name in top if name.startswith("model") and name.endswith(".safetensors")]
    weights = weights or [name for name in top if name.startswith("pytorch_model") and name.endswith(".bin")]
    return [*weights, *(name for name in top if name.endswith(".json") or name == "tokenizer.model")]


def fetch(repository: Repository, files: Sequence[str], work: Work) -> Path:
    """Download what is not in the cache yet; returns the folder that holds the files.

    Raises DownloadFailed, OutputFull before it starts, OutputNotWritable, and what `work.check` raises.
    """
    name, revision = repository.name, repository.revision
    with _hub_errors(name, revision):
        missing = [file for file in files if not _is_cached(name, file, revision)]
        n_bytes = sum(repository.files[file] for file in missing)
        _check_room(n_bytes)
        download = _Download(n_bytes)
        with ThreadPoolExecutor(max_workers=1) as pool:
            folder = pool.submit(
                huggingface_hub.snapshot_download,
                name,
                revision=revision,
                allow_patterns=list(files),
                tqdm_class=download.bar_class(),
            )
            # Progress is told in the caller's thread, whichever threads the download has.
            try:
                while not wait([folder], timeout=_LOOK_S).done:
                    work.check()
                    work.tell(f"downloading {name}", download.fraction)
            except BaseException:
                download.stop.set()
                raise
        work.tell(f"downloading {name}", 1.0)
        return Path(folder.result())


def cached(name: str, revision: str | None) -> Path | None:
    """The folder in the hub's cache with this commit or branch, whole or not; asks nobody.

    Raises CheckpointNotFound for what cannot be a name there.
    """
    with _hub_errors(name, revision):
        try:
            folder = huggingface_hub.snapshot_download(
                name, revision=revision, local_files_only=True, allow_patterns=["config.json"]
            )
        except LocalEntryNotFoundError:
            return None
        return Path(folder)


class _Download:
    """How far the bars of a download are, and whether it should stop."""

    def __init__(self, n_bytes: int) -> None:
        self.stop = threading.Event()
        self._n_bytes = max(n_bytes, 1)
        self._done = 0.0

    @property
    def fraction(self) -> float:
        """0 to 1, in bytes."""
        return min(self._done / self._n_bytes, 1.0)

    def bar_class(self) -> type[Any]:
        """A progress bar for huggingface_hub that draws nothing."""
        download = self

        class Bar(tqdm):  # type: ignore[misc]
            monitor_interval = 0  # no thread

            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options | {"file": io.StringIO(), "disable": False})

            def update(self, n: float | None = 1) -> bool | None:
                if download.stop.is_set():
                    raise Cancelled("the download was stopped")
                updated: bool | None = super().update(n)
                if self.unit == "B":  # others count files
                    download._done = max(download._done, self.n)
                return updated

        Bar.set_lock(threading.RLock())  # tqdm's own would begin a process
        return Bar


def _is_cached(name: str, file: str, revision: str) -> bool:
    return isinstance(huggingface_hub.try_to_load_from_cache(name, file, revision=revision), str)


def _check_room(n_bytes: int) -> None:
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < n_bytes:
        raise _full(f"{free / 1e9:.1f} GB are free, the download takes {n_bytes / 1e9:.1f} GB")


def _full(why: str) -> OutputFull:
    return OutputFull(f"the disk of the hub's cache is full: {why}", "Free some space, or set HF_HOME.")


@contextmanager
def _hub_errors(name: str, revision: str | None) -> Iterator[None]:
    """Turn the errors of huggingface_hub into ours."""
    try:
        yield
    except LisaError:
        raise
    except RevisionNotFoundError as e:
        raise CheckpointNotFound(f"{name!r} on the hub has no revision {revision!r}") from e
    except GatedRepoError as e:
        raise CheckpointNotFound(
            f"{name!r} on the hub asks for consent", "Accept its terms there, then log in: hf auth login."
        ) from e
    except RepositoryNotFoundError as e:
        raise CheckpointNotFound(f"the hub has no {name!r}, or it is private") from e
    except HFValidationError as e:
        raise CheckpointNotFound(f"{name!r} cannot be a name on the hub") from e
    except OfflineModeIsEnabled as e:
        raise not_cached(name, revision) from e
    except HfHubHTTPError as e:
        raise DownloadFailed(f"the hub answered {e.response.status_code} for {name!r}") from e
    except (
        _HTTP_ERROR,
        LocalEntryNotFoundError,
        RuntimeError,
    ) as e:  # RuntimeError: from the hub's Rust part
        raise DownloadFailed(f"the hub cannot be reached for {name!r}: {type(e).__name__}") from e
    except OSError as e:
        if e.errno in DISK_FULL:
            raise _full(os.strerror(e.errno)) from e
        reason = os.strerror(e.errno) if e.errno else type(e).__name__
        raise OutputNotWritable(f"the hub's cache cannot be written: {reason}", "Set HF_HOME.") from e


def not_cached(name: str, revision: str | None) -> CheckpointNotFound:
    """The error for what is not in the hub's cache when the hub must not be asked."""
    at = f" at {revision}" if revision else ""
    return CheckpointNotFound(
        f"{name!r}{at} was never downloaded here, and the hub must not be asked (offline)"
    )
