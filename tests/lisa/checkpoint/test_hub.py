"""Names on the hub, against a hub on the loopback."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lisa_tool.errors import (
    Cancelled,
    CheckpointNotFound,
    CheckpointUnsupported,
    DownloadFailed,
    OutputFull,
    WeightsCorrupt,
)
from lisa_tool.lisa.checkpoint.clip_folder import ready_clip
from lisa_tool.lisa.checkpoint.find import Checkpoint, find_checkpoint, ready_checkpoint
from lisa_tool.lisa.checkpoint.library import Library
from lisa_tool.lisa.hub_name import HUB_NAME
from tests.lisa.checkpoint.checkpoints import BIN, CLIP, NANO, Waiting, flip_a_bit
from tests.lisa.checkpoint.fake_hub import FakeHub, serve

NAME = "xinlai/LISA-nano"
FIRST, SECOND = "a" * 40, "b" * 40


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with the recorded checkpoint, and what other repositories hold beside."""
    beside = {"README.md": b"#", "pytorch_model.bin.md5": b"", "tf_model.h5": b"", "runs/log.json": b"{}"}
    with serve(FakeHub(NAME, files_of(NANO) | beside), monkeypatch, tmp_path / "cache") as hub:
        yield hub


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "weights")


def ready(library: Library, revision: str | None = None) -> Checkpoint:
    return ready_checkpoint(NAME, library, revision=revision, work=Waiting())


def test_a_name_is_downloaded_converted_and_pinned_to_its_commit(hub: FakeHub, library: Library) -> None:
    checkpoint = ready(library)
    assert checkpoint.folder == library.weights_dir / "xinlai--LISA-nano" / FIRST
    assert (checkpoint.name, checkpoint.revision) == (NAME, FIRST)
    assert checkpoint.manifest and checkpoint.manifest.source == NAME
    assert checkpoint.manifest.revision == FIRST
    assert set(hub.sent) == set(files_of(NANO))


def test_the_next_start_asks_nobody_although_the_branch_moved(hub: FakeHub, library: Library) -> None:
    first = ready(library)
    hub.branches["main"] = SECOND
    hub.requests.clear()
    assert ready(library).folder == first.folder
    assert not hub.requests


def test_a_revision_that_is_named_is_used_and_leaves_the_pin_alone(hub: FakeHub, library: Library) -> None:
    ready(library)
    hub.branches = {"main": SECOND}
    assert ready(library, "main").revision == SECOND
    assert ready(library, SECOND).revision == SECOND
    assert ready(library).revision == FIRST


def test_a_commit_that_is_here_is_used_without_the_hub(hub: FakeHub, library: Library) -> None:
    find_checkpoint(NAME, library, work=Waiting())
    hub.requests.clear()
    found = find_checkpoint(NAME, library, revision=FIRST, work=Waiting())
    assert found.needs_conversion
    assert not hub.requests


def test_safetensors_are_preferred_and_used_where_they_were_downloaded(
    hub: FakeHub, library: Library
) -> None:
    converted = ready(library)
    hub.branches = {"main": SECOND}
    hub.files |= files_of(converted.folder)
    hub.requests.clear()
    found = ready(library, "main")
    assert BIN not in hub.sent
    assert "model-00001-of-00001.safetensors" in hub.sent
    assert found.folder.name == SECOND
    assert found.folder.parent.name == "snapshots"


def test_downloaded_safetensors_must_have_the_hubs_hash(hub: FakeHub, library: Library) -> None:
    hub.files = files_of(ready(library).folder)
    del hub.files["manifest.json"]
    hub.branches = {"main": SECOND}
    found = find_checkpoint(NAME, library, revision="main", work=Waiting())
    flip_a_bit((found.folder / "model-00001-of-00001.safetensors").resolve())
    with pytest.raises(WeightsCorrupt, match="sha256"):
        ready(library, "main")


def test_an_unsupported_checkpoint_is_refused_before_its_weights_are_downloaded(
    hub: FakeHub, library: Library
) -> None:
    hub.files |= {"pytorch_model-visual_model.bin": b"", "pytorch_model-text_hidden_fcs.bin": b""}
    with pytest.raises(CheckpointUnsupported, match="v0"):
        ready(library)
    assert set(hub.sent) == {"config.json"}


def test_offline_uses_what_was_downloaded(hub: FakeHub, library: Library) -> None:
    find_checkpoint(NAME, library, work=Waiting())
    hub.requests.clear()
    offline = Library(library.weights_dir, offline=True)
    assert ready(offline).revision == FIRST
    assert ready(offline, FIRST).revision == FIRST
    assert not hub.requests


@pytest.mark.parametrize("revision", [None, "main", FIRST])
def test_offline_with_an_empty_cache_is_one_clear_error(
    hub: FakeHub, library: Library, revision: str | None
) -> None:
    with pytest.raises(CheckpointNotFound, match=r"never downloaded here.*offline") as caught:
        ready(Library(library.weights_dir, offline=True), revision)
    assert "folder" in caught.value.hint
    assert not hub.requests


def test_every_name_that_counts_as_one_of_the_hub_is_one_to_its_library() -> None:
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    names = ["".join(some) for n in range(1, 7) for some in itertools.product("aA_-./", repeat=n)]
    ours = [name for name in names if HUB_NAME.fullmatch(name)]
    assert {"a/A", "a/a_a", "a.A/a"} <= {*ours}
    for name in ours:
        validate_repo_id(name)


def test_a_name_that_the_hubs_library_refuses_is_not_found(hub: FakeHub) -> None:
    from lisa_tool.lisa.checkpoint.hub import cached, look_up

    with pytest.raises(CheckpointNotFound, match="cannot be a name"):
        look_up("a--b/c", None)
    with pytest.raises(CheckpointNotFound, match="cannot be a name"):
        cached("a--b/c", None)
    assert not hub.requests


def test_the_hubs_own_switch_for_offline_counts_too(
    hub: FakeHub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointNotFound, match="offline"):
        ready(library)


def test_offline_with_half_a_download_says_what_is_missing(
    hub: FakeHub, library: Library, tmp_path: Path
) -> None:
    find_checkpoint(NAME, library, work=Waiting())
    (next((tmp_path / "cache").rglob(BIN))).unlink()
    with pytest.raises((CheckpointNotFound, WeightsCorrupt), match="no weights"):
        ready(Library(library.weights_dir, offline=True))


@pytest.mark.parametrize(
    ("status", "code", "error", "why"),
    [
        (404, "RepoNotFound", CheckpointNotFound, "the hub has no 'xinlai/LISA-nano', or it is private"),
        (404, "RevisionNotFound", CheckpointNotFound, "has no revision 'v9'"),
        (403, "GatedRepo", CheckpointNotFound, "asks for consent"),
        (418, "", DownloadFailed, "the hub answered 418"),
    ],
)
def test_what_the_hub_refuses_is_one_clear_error(
    hub: FakeHub, library: Library, status: int, code: str, error: type[Exception], why: str
) -> None:
    hub.status, hub.error_code = status, code
    with pytest.raises(error, match=why):
        ready(library, "v9" if code == "RevisionNotFound" else None)


def test_a_hub_that_cannot_be_reached_is_worth_another_try(
    library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serve(FakeHub(NAME, {}), monkeypatch, tmp_path / "cache"):
        pass  # gone
    with pytest.raises(DownloadFailed, match="cannot be reached") as caught:
        ready(library)
    assert caught.value.retryable


def test_a_hub_that_names_no_commit_is_refused(hub: FakeHub, library: Library) -> None:
    hub.branches["main"] = "../../etc"
    with pytest.raises(DownloadFailed, match="does not say which commit"):
        ready(library)


def test_a_disk_without_room_is_refused_before_the_download(
    hub: FakeHub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    with pytest.raises(OutputFull, match="the download takes"):
        ready(library)
    assert BIN not in hub.sent


def test_a_download_that_is_cancelled_stops_and_goes_on_next_time(
    hub: FakeHub, library: Library, tmp_path: Path
) -> None:
    heard = threading.Event()

    class Impatient(Waiting):
        def check(self) -> None:
            if self.cancel.is_set():
                heard.set()
            super().check()

    waiting = Impatient()

    def cancel(name: str) -> None:
        if name == BIN:
            waiting.cancel.set()
            heard.wait(30)

    hub.before_file = cancel
    with pytest.raises(Cancelled):
        ready_checkpoint(NAME, library, work=waiting)
    assert not list((tmp_path / "cache").rglob(BIN))
    assert not library.weights_dir.exists()
    hub.before_file = lambda name: None
    assert ready(library).revision == FIRST


def test_progress_tells_of_the_download_while_it_runs(hub: FakeHub, library: Library) -> None:
    asked, told = threading.Event(), threading.Event()
    meanwhile: list[float] = []

    class Watching(Waiting):
        def tell(self, stage: str, fraction: float) -> None:
            super().tell(stage, fraction)
            if asked.is_set() and not told.is_set():
                meanwhile.append(fraction)
                told.set()

    def hold(name: str) -> None:
        if name == BIN:
            asked.set()
            told.wait(30)

    hub.before_file = hold
    waiting = Watching()
    ready_checkpoint(NAME, library, work=waiting)
    fractions = [fraction for _, fraction in waiting.told]
    assert meanwhile[0] < 0.1  # of 0.5, which the download may take: the large file had not come yet
    assert waiting.told[0][0] == f"downloading {NAME}"
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


def test_clip_comes_from_the_hub_under_its_own_pin(
    library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = files_of(CLIP)
    with serve(FakeHub("openai/clip-tiny", files), monkeypatch, tmp_path / "cache") as hub:
        checkpoint = Checkpoint(NANO, "nano", None, {"mm_vision_tower": "openai/clip-tiny"}, None, True, NANO)
        clip = ready_clip(checkpoint, None, library, Waiting())
        assert clip == library.weights_dir / "openai--clip-tiny" / FIRST
        hub.requests.clear()
        assert ready_clip(checkpoint, None, library, Waiting()) == clip
        assert not hub.requests


def test_a_clip_that_is_not_here_offline_says_how_to_give_it(library: Library) -> None:
    checkpoint = Checkpoint(NANO, "nano", None, {"mm_vision_tower": "openai/clip-tiny"}, None, True, NANO)
    with pytest.raises(CheckpointNotFound, match="needs a CLIP: 'openai/clip-tiny'") as caught:
        ready_clip(checkpoint, None, Library(library.weights_dir, offline=True), Waiting())
    assert "LISA_CLIP_PATH" in caught.value.hint
