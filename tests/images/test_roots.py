"""Local files: inside the allowed folders, regular, bounded."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from lisa_tool.errors import ImageNotFound, ImageTooLarge, ImageUnreadable, PathNotAllowed
from lisa_tool.images import load_image, roots
from lisa_tool.images.roots import Roots, open_inside, read_inside
from lisa_tool.settings import Limits, Settings, load_settings
from tests.images.samples import save

LIMITS = Limits()


def test_a_file_in_a_root_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a" / "cat.png")
    assert read_inside(str(path), Roots.of((tmp_path,)), LIMITS) == path.read_bytes()


def test_a_relative_path_is_relative_to_the_working_directory(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a" / "cat.png")
    monkeypatch.chdir(tmp_path / "a")
    assert load_image("cat.png", settings).info.width == 6
    assert load_image(Path("../a/cat.png"), settings).info.width == 6


def test_tilde_is_the_home_folder(tmp_path: Path, settings: Settings) -> None:
    save(tmp_path / "home" / "cat.png")
    assert load_image("~/cat.png", settings).info.source == "~/cat.png"


def test_a_root_may_itself_be_a_symlink(tmp_path: Path) -> None:
    save(tmp_path / "real" / "cat.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    allowed = Roots.of((tmp_path / "link",))
    assert read_inside(str(tmp_path / "link" / "cat.png"), allowed, LIMITS)
    assert read_inside(str(tmp_path / "real" / "cat.png"), allowed, LIMITS)


def test_a_symlink_inside_the_root_is_followed(tmp_path: Path) -> None:
    save(tmp_path / "cat.png")
    (tmp_path / "link.png").symlink_to("cat.png")
    assert read_inside(str(tmp_path / "link.png"), Roots.of((tmp_path,)), LIMITS)


def test_the_byte_limit_allows_its_edge_and_refuses_the_next(tmp_path: Path) -> None:
    path = save(tmp_path / "cat.png")
    size = path.stat().st_size
    assert read_inside(str(path), Roots.of((tmp_path,)), Limits(max_file_bytes=size))
    with pytest.raises(ImageTooLarge, match="the limit is"):
        read_inside(str(path), Roots.of((tmp_path,)), Limits(max_file_bytes=size - 1))


def test_a_file_that_grows_after_it_was_opened_is_read_to_one_byte_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "log.png"
    path.write_bytes(b"x" * 10)
    with open_inside(str(path), Roots.of((tmp_path,)), Limits(max_file_bytes=10)) as (file, info):
        path.write_bytes(b"x" * 1000)
        assert info.st_size == 10
        assert len(file.read(11)) == 11


def test_a_folder_says_that_it_is_one_and_names_up_to_five_images(tmp_path: Path) -> None:
    for name in "gfedcba":
        save(tmp_path / "album" / f"{name}.png")
    with pytest.raises(ImageUnreadable) as caught:
        read_inside(str(tmp_path / "album"), Roots.of((tmp_path,)), LIMITS)
    assert caught.value.message.endswith(
        "is a folder with 'a.png', 'b.png', 'c.png', 'd.png', 'e.png' and 2 more"
    )


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageUnreadable, match="is not a regular file"):
        read_inside(str(tmp_path / "pipe.png"), Roots.of((tmp_path,)), LIMITS)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.png")
        with pytest.raises(ImageUnreadable, match="is not a regular file"):
            read_inside("s.png", Roots.of((tmp_path,)), LIMITS)


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageUnreadable, match=r"is empty \(0 bytes\)"):
        read_inside(str(tmp_path / "a.png"), Roots.of((tmp_path,)), LIMITS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_says_so(tmp_path: Path) -> None:
    save(tmp_path / "a.png").chmod(0)
    with pytest.raises(ImageUnreadable, match="permission denied"):
        read_inside(str(tmp_path / "a.png"), Roots.of((tmp_path,)), LIMITS)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("cat foto.png", "cat photo.png"),
        ("CAT PHOTO.PNG", "cat photo.png"),
        ("cat photo.jpg", "cat photo.png"),
    ],
)
def test_a_wrong_name_is_answered_with_the_name_that_is_close(tmp_path: Path, wrong: str, right: str) -> None:
    save(tmp_path / "cat photo.png")
    save(tmp_path / "zebra.png")
    with pytest.raises(ImageNotFound, match=f"did you mean '{right}'\\?"):
        read_inside(str(tmp_path / wrong), Roots.of((tmp_path,)), LIMITS)


def test_a_wrong_name_without_a_close_one_is_answered_with_what_is_there(tmp_path: Path) -> None:
    save(tmp_path / "zebra.png")
    with pytest.raises(ImageNotFound, match=r"its folder holds 'zebra\.png'"):
        read_inside(str(tmp_path / "q.png"), Roots.of((tmp_path,)), LIMITS)


def test_a_wrong_name_where_there_is_no_folder_is_just_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match=r"there is no file '.*b\.png'$"):
        read_inside(str(tmp_path / "a" / "b.png"), Roots.of((tmp_path,)), LIMITS)


def test_the_refusal_lists_the_allowed_folders(tmp_path: Path) -> None:
    names = [tmp_path / f"root{n}" for n in range(7)]
    with pytest.raises(PathNotAllowed) as caught:
        read_inside("/etc/hostname", Roots.of(tuple(names)), LIMITS)
    assert str(names[4]) in caught.value.message
    assert caught.value.message.endswith("and 2 more")


def test_no_roots_allow_nothing(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(PathNotAllowed, match="allowed folders: none"):
        load_image(tmp_path / "a.png", load_settings(roots=()))


def test_descriptors_are_closed_whatever_happens(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "empty.png").touch()
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a.png", "empty.png", "missing.png", ".", "../x"):
        with contextlib.suppress(ImageNotFound, ImageUnreadable, PathNotAllowed):
            read_inside(str(tmp_path / name), Roots.of((tmp_path,)), LIMITS)
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_proc_the_path_must_lead_to_the_very_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of systems that cannot say where a descriptor is."""

    def no_proc(path: str) -> str:
        raise FileNotFoundError(path)

    good, evil = save(tmp_path / "in" / "a.png"), save(tmp_path / "out" / "b.png")
    fd = os.open(evil, os.O_RDONLY)
    monkeypatch.setattr(os, "readlink", no_proc)
    try:
        assert roots._real_path(fd, str(evil)) == str(evil)
        assert roots._real_path(fd, str(good)) == ""
    finally:
        os.close(fd)
    assert not Roots.of((tmp_path,)).contain("")


def test_a_working_directory_that_is_gone_is_a_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ImageNotFound):
        read_inside("cat.png", Roots.of((tmp_path,)), LIMITS)
