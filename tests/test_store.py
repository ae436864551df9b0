from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lisa_tool.errors import LisaError, OutputFull, OutputNotWritable, ResultNotFound
from lisa_tool.results import Segmentation
from lisa_tool.settings import Limits
from lisa_tool.store import ResultFolder, ResultStore, read_mask
from tests.test_results import a_result

MASK = np.eye(4, 6, dtype=bool)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "made" / "results"


@pytest.fixture
def store(output: Path) -> ResultStore:
    return ResultStore(output, Limits())


def fill(folder: ResultFolder) -> Segmentation:
    folder.add_mask(0, MASK)
    overlay = folder.add_overlay(Image.new("RGB", (6, 4)))
    result = a_result(result_id=folder.result_id, masks=(), overlay_path=overlay)
    folder.add_result(result)
    return result


def add_result(store: ResultStore, age: int = 0) -> Path:
    """A whole result, modified `age` seconds after 1970 when given."""
    with store.new_result() as folder:
        fill(folder)
    if age:
        os.utime(folder.final / "result.json", (age, age))
    return folder.final


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_result_appears_whole_when_the_body_ends(store: ResultStore, output: Path) -> None:
    with store.new_result() as folder:
        result = fill(folder)
        assert not folder.final.exists()
        with pytest.raises(ResultNotFound):
            store.load(folder.result_id)
    assert names(output) == {folder.result_id}
    assert names(folder.final) == {"mask_0.png", "overlay.jpg", "result.json"}
    assert store.load(folder.result_id) == result
    assert store.folder(folder.result_id) == folder.final


def test_the_paths_given_are_those_of_the_complete_result(store: ResultStore) -> None:
    with store.new_result() as folder:
        mask, overlay = folder.add_mask(0, MASK), folder.add_overlay(Image.new("RGB", (6, 4)))
        folder.add_result(a_result())
    assert Path(mask).is_file() and Path(mask).is_absolute()
    assert Path(overlay).is_file() and Path(overlay).is_absolute()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_body_that_fails_leaves_nothing_behind(
    error: type[BaseException], store: ResultStore, output: Path
) -> None:
    output.mkdir(parents=True)
    with pytest.raises(error), store.new_result() as folder:
        fill(folder)
        raise error
    assert names(output) == set()


def test_a_refused_result_takes_back_the_folders_that_were_made_for_it(output: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputFull):
        add_result(ResultStore(output, Limits(output_max_bytes=10)))
    assert names(tmp_path) == {"home"}


def test_a_refused_result_leaves_folders_that_were_there_or_hold_something(
    output: Path, tmp_path: Path
) -> None:
    output.parent.mkdir()
    with pytest.raises(OutputFull):
        add_result(ResultStore(output, Limits(output_max_bytes=10)))
    assert names(output.parent) == set()
    with pytest.raises(KeyError), ResultStore(output, Limits()).new_result():
        (output / "notes.txt").touch()
        raise KeyError
    assert names(output) == {"notes.txt"}


def test_ids_are_random_and_128_bits(store: ResultStore) -> None:
    ids = {add_result(store).name for _ in range(5)}
    assert len(ids) == 5
    assert all(id.startswith("res_") and len(bytes.fromhex(id[4:])) == 16 for id in ids)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_the_owner_may_read_a_result(store: ResultStore, output: Path) -> None:
    previous = os.umask(0)
    try:
        folder = add_result(store)
    finally:
        os.umask(previous)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (output, folder)] == [0o700, 0o700]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 1), (300, 201)])
def test_a_mask_file_is_lossless_black_and_white(shape: tuple[int, int], store: ResultStore) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.5
    with store.new_result() as folder:
        path = folder.add_mask(0, mask)
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", shape[::-1])
        assert set(np.unique(np.asarray(image)).tolist()) <= {0, 255}
    assert (read_mask(path) == mask).all()


def test_no_metadata_reaches_a_file(store: ResultStore) -> None:
    photo = Image.new("RGB", (6, 4))
    exif = Image.Exif()
    exif[0x010E] = "the secret description"
    photo.info |= {"exif": exif.tobytes(), "comment": b"secret", "icc_profile": b"secret", "dpi": (72, 72)}
    with store.new_result() as folder:
        overlay, mask = folder.add_overlay(Image.fromarray(np.asarray(photo))), folder.add_mask(0, MASK)
    for path in (overlay, mask):
        assert b"secret" not in Path(path).read_bytes()
        with Image.open(path) as image:
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


# The quota


def test_more_results_than_the_quota_remove_the_oldest(output: Path) -> None:
    store = ResultStore(output, Limits(output_max_results=2))
    oldest, middle = add_result(store, age=200), add_result(store, age=100)
    newest = add_result(store)
    assert names(output) == {oldest.name, newest.name}
    assert not middle.exists()


def test_more_bytes_than_the_quota_remove_the_oldest(output: Path) -> None:
    size = sum(path.stat().st_size for path in add_result(ResultStore(output, Limits()), age=100).iterdir())
    store = ResultStore(output, Limits(output_max_bytes=2 * size + size // 2))
    second, third = add_result(store, age=200), add_result(store)
    assert names(output) == {second.name, third.name}


def test_a_quota_that_is_just_enough_removes_nothing(output: Path) -> None:
    size = sum(path.stat().st_size for path in add_result(ResultStore(output, Limits())).iterdir())
    add_result(ResultStore(output, Limits(output_max_bytes=2 * size, output_max_results=2)))
    assert len(names(output)) == 2


def test_a_result_over_the_whole_quota_is_refused_and_removes_nothing(output: Path) -> None:
    kept = add_result(ResultStore(output, Limits()))
    with pytest.raises(OutputFull, match="quota is 10"):
        add_result(ResultStore(output, Limits(output_max_bytes=10)))
    assert names(output) == {kept.name}


def test_the_quota_never_touches_what_is_not_ours(output: Path) -> None:
    store = ResultStore(output, Limits(output_max_results=1))
    ours = add_result(store, age=100)
    (ours / "notes.txt").write_text("of the user")
    foreign = [
        output / "photo.jpg",
        output / "res_thesis",
        output / f"res_{'0' * 31}",
        output / f"res_{'1' * 32}",
    ]
    foreign[0].write_text("x")
    for folder in foreign[1:]:
        folder.mkdir()
        (folder / "thesis.txt").write_text("x")
    newest = add_result(store)
    assert all(path.exists() for path in foreign)
    assert all((folder / "thesis.txt").exists() for folder in foreign[1:])
    assert names(ours) == {"notes.txt"}
    assert names(output) == {ours.name, newest.name, *(path.name for path in foreign)}


def test_a_large_file_of_the_user_in_a_result_does_not_count(output: Path) -> None:
    first = add_result(ResultStore(output, Limits()), age=100)
    size = sum(path.stat().st_size for path in first.iterdir())
    (first / "video.mp4").write_bytes(bytes(10 * size))
    add_result(ResultStore(output, Limits(output_max_bytes=3 * size)))
    assert (first / "result.json").exists()


def test_the_quota_is_checked_by_one_thread_at_a_time(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[bool] = []
    monkeypatch.setattr(ResultStore, "_make_room", lambda store, _: alone.append(store._publishing.locked()))
    add_result(store)
    assert alone == [True]


def test_many_threads_keep_the_quota(output: Path) -> None:
    store = ResultStore(output, Limits(output_max_results=3))
    start = threading.Barrier(8)

    def one() -> None:
        start.wait(10)
        add_result(store)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(names(output)) == 3


# Links


def test_a_link_named_like_a_result_is_neither_read_nor_removed(output: Path, tmp_path: Path) -> None:
    store = ResultStore(output, Limits(output_max_results=1))
    elsewhere = add_result(ResultStore(tmp_path / "elsewhere", Limits()), age=1)
    add_result(store, age=100)
    link = output / elsewhere.name
    link.symlink_to(elsewhere)
    with pytest.raises(ResultNotFound):
        store.load(elsewhere.name)
    add_result(store)
    assert link.is_symlink()
    assert names(elsewhere) == {"mask_0.png", "overlay.jpg", "result.json"}


def test_a_link_inside_an_old_result_is_removed_and_not_followed(output: Path, tmp_path: Path) -> None:
    store = ResultStore(output, Limits(output_max_results=1))
    precious = tmp_path / "precious.png"
    precious.write_text("x")
    old = add_result(store, age=100)
    (old / "mask_1.png").symlink_to(precious)
    add_result(store)
    assert not old.exists()
    assert precious.read_text() == "x"


def test_a_file_is_never_written_through_a_link(store: ResultStore, output: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.png"
    precious.write_text("x")
    output.mkdir(parents=True)
    with pytest.raises(OutputNotWritable), store.new_result() as folder:
        next(output.glob(".res_*")).joinpath("mask_0.png").symlink_to(precious)
        folder.add_mask(0, MASK)
    assert precious.read_text() == "x"
    assert names(output) == set()


# Disks that do not do what they should


def failing(code: int, name: str) -> Callable[..., Any]:
    """`os.<name>` of a disk that fails; a file that exists can still be opened, to clear up."""
    real = getattr(os, name)

    def fail(*args: Any, **options: Any) -> Any:
        if name == "open" and not args[1] & os.O_CREAT:
            return real(*args, **options)
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("where", ["mkdir", "open", "fsync", "rename"])
@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOSPC, OutputFull), (errno.EDQUOT, OutputFull), (errno.EACCES, OutputNotWritable)],
)
def test_a_disk_that_fails_is_one_clear_error_and_leaves_nothing(
    where: str,
    code: int,
    error: type[LisaError],
    store: ResultStore,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output.mkdir(parents=True)
    monkeypatch.setattr(os, where, failing(code, where))
    with pytest.raises(error) as raised, store.new_result() as folder:
        fill(folder)
    monkeypatch.undo()
    assert os.strerror(code) in raised.value.message
    assert raised.value.hint
    assert names(output) == set()


def test_a_disk_with_too_little_space_is_refused_before_anything_is_written(
    store: ResultStore, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=Limits().output_min_free_bytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputFull, match="at least 64 are kept free"), store.new_result():
        raise AssertionError("the body must not run")
    assert not output.exists()


def test_an_output_folder_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritable, match="file"):
        add_result(ResultStore(tmp_path / "file", Limits()))


def test_an_error_of_the_body_keeps_its_own_kind(store: ResultStore) -> None:
    with pytest.raises(ConnectionResetError), store.new_result():
        raise ConnectionResetError


def test_what_a_dead_process_left_is_cleared_but_not_what_a_living_one_writes(
    store: ResultStore, output: Path
) -> None:
    dead, alive, foreign = (
        output / f".res_{'0' * 32}.part",
        output / f".res_{'1' * 32}.part",
        output / ".cache.part",
    )
    for folder in (dead, alive, foreign):
        folder.mkdir(parents=True)
        (folder / "mask_0.png").touch()
    for folder in (dead, foreign):
        os.utime(folder, (1000, 1000))
    result = add_result(store)
    assert names(output) == {alive.name, foreign.name, result.name}


# Reading back


@pytest.mark.parametrize(
    "result_id",
    [
        "",
        ".",
        "..",
        "../secret",
        f"../results/res_{'a' * 32}",
        "{ours}/../../secret",
        "{ours}/",
        "{ours}\n",
        f"/tmp/res_{'a' * 32}",
        f"res_{'A' * 32}",
        f"res_{'a' * 33}",
        f"res_{'a' * 32}\n",
        f"res_{'a' * 31}\0",
        f".res_{'a' * 32}.part",
        f"res_{'a' * 32}",
    ],
)
def test_only_the_id_of_a_result_here_is_read(result_id: str, store: ResultStore, output: Path) -> None:
    result_id = result_id.replace("{ours}", add_result(store).name)
    (output.parent / "secret").mkdir()
    with pytest.raises(ResultNotFound):
        store.folder(result_id)
    with pytest.raises(ResultNotFound) as error:
        store.load(result_id)
    assert str(output) not in error.value.message


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"answer": 3}'])
def test_a_damaged_result_is_not_found(content: bytes, store: ResultStore) -> None:
    folder = add_result(store)
    (folder / "result.json").write_bytes(content)
    with pytest.raises(ResultNotFound, match="cannot be read"):
        store.load(folder.name)


def test_a_result_without_its_json_is_not_found(store: ResultStore) -> None:
    folder = add_result(store)
    (folder / "result.json").unlink()
    with pytest.raises(ResultNotFound, match="cannot be read"):
        store.load(folder.name)


def test_a_result_read_back_names_its_own_files_whatever_its_json_says(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results", Limits())
    folder = add_result(store)
    text = (folder / "result.json").read_text("utf-8")
    (folder / "result.json").write_text(text.replace(str(folder), "/home/ada/secret"), "utf-8")
    (tmp_path / "results").rename(tmp_path / "moved")
    result = ResultStore(tmp_path / "moved", Limits()).load(folder.name)
    paths = [mask.path for mask in result.masks] + ([result.overlay_path] if result.overlay_path else [])
    assert paths and all(Path(path).parent == tmp_path / "moved" / folder.name for path in paths)
