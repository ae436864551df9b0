"""Hostile paths: nothing outside the roots is read, listed, or even told to exist."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lisa_tool.errors import ImageError, ImageNotFound, ImageUnreadable, PathNotAllowed, UrlNotAllowed
from lisa_tool.images import list_images, load_image, roots
from lisa_tool.settings import Settings, load_settings
from tests.images.samples import save

SECRET = b"secret"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that must not be read, beside the root `tmp_path/pics`, which holds cat.png."""
    save(tmp_path / "pics" / "cat.png")
    (tmp_path / "secret.png").write_bytes(SECRET)
    save(tmp_path / "pics-old" / "old.png")
    return tmp_path / "secret.png"


@pytest.fixture
def narrow(tmp_path: Path, outside: Path) -> Settings:
    return load_settings(roots=(tmp_path / "pics",))


@pytest.mark.parametrize(
    "path",
    [
        "{0}/secret.png",
        "{0}/pics/../secret.png",
        "{0}/pics/nothing/../../secret.png",
        "{0}/pics/./.././secret.png",
        "{0}/pics-old/old.png",
        "{0}/pics-old",
        "{0}",
        "file://{0}/secret.png",
        "file://{0}/pics/%2e%2e/secret.png",
        "file://{0}/pics/..%2Fsecret.png",
        "/etc/passwd",
        "/etc/shadow",
        "/proc/self/environ",
        "/proc/self/fd/0",
        "/dev/zero",
        "/dev/stdin",
        "../secret.png",
        "~root/.ssh/id_rsa",
        "/",
    ],
)
def test_a_path_outside_gives_the_same_refusal_whether_or_not_it_exists(
    tmp_path: Path, narrow: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "pics")
    texts = []
    for tail in ("", "-not-there"):
        reference = path.format(tmp_path) + tail
        with pytest.raises(PathNotAllowed, match="outside the allowed folders") as caught:
            load_image(reference, narrow)
        shown = reference.removeprefix("file://")
        texts.append(caught.value.to_text().partition("' is ")[2])
        assert "secret" not in texts[-1]
        assert shown
    assert texts[0] == texts[1]


@pytest.mark.parametrize("target", ["../secret.png", "../nothing.png", "/etc/passwd", "/dev/zero", "hop.png"])
def test_a_symlink_that_leads_out_is_refused_whether_or_not_it_ends_somewhere(
    tmp_path: Path, narrow: Settings, target: str
) -> None:
    (tmp_path / "pics" / "hop.png").symlink_to("../secret.png")
    (tmp_path / "pics" / "link.png").symlink_to(target)
    with pytest.raises(PathNotAllowed):
        load_image(tmp_path / "pics" / "link.png", narrow)


def test_a_folder_symlink_that_leads_out_is_refused(tmp_path: Path, narrow: Settings) -> None:
    (tmp_path / "pics" / "way").symlink_to("..")
    for path in ("way/secret.png", "way/nothing.png", "way", "way/pics/../secret.png"):
        with pytest.raises(PathNotAllowed) as caught:
            load_image(str(tmp_path / "pics" / path), narrow)
        assert "pics-old" not in caught.value.to_text()
    assert load_image(tmp_path / "pics" / "way" / "pics" / "cat.png", narrow).info.width == 6


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("a\0.png", PathNotAllowed),
        ("{0}/pics/cat.png\0.jpg", PathNotAllowed),
        ("file://{0}/pics/cat.png%00.jpg", PathNotAllowed),
        ("\\\\server\\share\\a.png", PathNotAllowed),
        ("//server/share/a.png", PathNotAllowed),
        ("\\\\?\\C:\\a.png", PathNotAllowed),
        ("\\\\.\\PhysicalDrive0", PathNotAllowed),
        ("C:\\Users\\me\\a.png", ImageNotFound),
        ("c:/Users/me/a.png", ImageNotFound),
        ("/" + "a" * 5000, PathNotAllowed),
        ("{0}/pics/" + "a" * 5000, ImageNotFound),
        ("{0}/pics/cat.png/x.png", ImageNotFound),
        ("{0}/pics/\udcff.png", ImageNotFound),
        ("{0}/pics/\ud800.png", ImageNotFound),
        ("file://{0}/pics/\ud800.png", ImageUnreadable),
        ("data:image/png,\ud800", ImageUnreadable),
        ("data:image/png;base64,%\ud800", ImageUnreadable),
        ("data:image/png;base64,\ud800", ImageUnreadable),
        ("https://ok.example/\ud800", UrlNotAllowed),
        ("\ud800", ImageNotFound),
    ],
)
def test_paths_that_cannot_be_are_refused(
    tmp_path: Path, narrow: Settings, path: str, error: type[ImageError]
) -> None:
    with pytest.raises(error) as caught:
        load_image(path.format(tmp_path), narrow)
    assert len(caught.value.message) < 800


def test_devices_and_process_files_are_refused_even_when_everything_is_allowed() -> None:
    everything = load_settings(roots=("/",))
    for path in ("/dev/zero", "/dev/tty", "/proc/self/environ", "/proc/self/mem", "/sys/kernel/notes"):
        with pytest.raises(PathNotAllowed):
            load_image(path, everything)


def test_a_link_in_proc_does_not_lead_around_the_check(
    tmp_path: Path, narrow: Settings, outside: Path
) -> None:
    with outside.open("rb") as file, pytest.raises(PathNotAllowed):
        load_image(f"/proc/self/fd/{file.fileno()}", narrow)


def _check_then_open(path: Path, root: Path) -> bytes:
    """How not to do it."""
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise PathNotAllowed("outside")
    fd = os.open(path, os.O_RDONLY)
    with os.fdopen(fd, "rb") as file:
        return file.read()


def _swap_before_open(monkeypatch: pytest.MonkeyPatch, swap: Callable[[], None]) -> None:
    """Let the attacker win the race every time: `swap` runs between any check and the open."""
    real = os.open

    def racing(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        swap()
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", racing)


def _point(link: Path, target: str) -> None:
    new = link.with_name(f"{link.name}.new")
    new.symlink_to(target)
    new.replace(link)


def test_a_symlink_swapped_after_the_check_leaks_from_check_then_open_but_not_from_us(
    tmp_path: Path, narrow: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "pics" / "link.png"
    _swap_before_open(monkeypatch, lambda: _point(link, "../secret.png"))
    _point(link, "cat.png")
    assert _check_then_open(link, tmp_path / "pics") == SECRET
    _point(link, "cat.png")
    with pytest.raises(PathNotAllowed):
        load_image(link, narrow)


def test_a_folder_swapped_after_the_check_does_not_leak_its_names(
    tmp_path: Path, narrow: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "pics" / "sub"
    _point(link, ".")
    names = roots.image_names(str(link), roots.Roots.of(narrow.roots))
    assert names == ["cat.png"]
    _swap_before_open(monkeypatch, lambda: _point(link, "../pics-old"))
    assert roots.image_names(str(link), roots.Roots.of(narrow.roots)) == []
    assert [Path(i.path).name for i in list_images(narrow)] == ["cat.png"]


def test_no_read_leaks_while_a_symlink_is_swapped_all_the_time(tmp_path: Path, narrow: Settings) -> None:
    link = tmp_path / "pics" / "link.png"
    _point(link, "cat.png")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            _point(link, "../secret.png")
            _point(link, "cat.png")

    thread = threading.Thread(target=swap)
    thread.start()
    refused = 0
    try:
        for _ in range(300):
            try:
                assert load_image(link, narrow).info.width == 6  # the secret would be ImageUnreadable
            except PathNotAllowed:
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert refused < 300
