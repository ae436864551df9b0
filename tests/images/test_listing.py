"""Listing: newest first, inside the roots, bounded, never tripping over a bad file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lisa_tool.errors import ImageNotFound, PathNotAllowed
from lisa_tool.images import list_images
from lisa_tool.settings import Limits, Settings, load_settings
from tests.images.samples import corners, encode, exif, flat_png, plain, save


def dated(path: Path, day: int) -> Path:
    os.utime(path, (86_400 * day, 86_400 * day))
    return path


def names(settings: Settings, *args: object, **kwargs: object) -> list[str]:
    return [Path(i.path).name for i in list_images(settings, *args, **kwargs)]  # type: ignore[arg-type]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three images in two folders: b.png is the newest, then a.jpg, then sub/c.webp."""
    dated(save(tmp_path / "a.jpg", kind="JPEG"), 2)
    dated(save(tmp_path / "b.png"), 3)
    dated(save(tmp_path / "sub" / "c.webp", plain(9, 7), "WEBP"), 1)
    return tmp_path


def test_images_are_listed_newest_first_with_subfolders(album: Path, settings: Settings) -> None:
    assert names(settings) == ["b.png", "a.jpg", "c.webp"]


def test_each_image_has_path_size_bytes_and_date(album: Path, settings: Settings) -> None:
    last = list_images(settings)[-1]
    assert last.path == str(album / "sub" / "c.webp")
    assert (last.width, last.height) == (9, 7)
    assert last.bytes == (album / "sub" / "c.webp").stat().st_size
    assert last.modified == "1970-01-02T00:00:00+00:00"


def test_a_folder_a_pattern_and_a_limit_narrow_the_list(
    album: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(settings, album / "sub") == ["c.webp"]
    assert names(settings, pattern="*.PNG") == ["b.png"]
    assert names(settings, pattern="A.") == ["a.jpg"]
    assert names(settings, limit=2) == ["b.png", "a.jpg"]
    assert names(settings, limit=0) == []
    monkeypatch.chdir(album)
    assert names(settings, "sub") == ["c.webp"]


def test_limits_bound_the_list_and_the_scan(album: Path) -> None:
    assert len(list_images(load_settings(roots=(album,), limits=Limits(max_listed_images=2)), limit=50)) == 2
    for n in range(30):
        save(album / "many" / f"{n}.png")
    few = load_settings(roots=(album / "many",), limits=Limits(max_scanned_files=10))
    assert len(list_images(few)) == 10


def test_size_is_that_of_the_upright_image(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(corners(), "JPEG", exif=exif(6)))
    (image,) = list_images(settings)
    assert (image.width, image.height) == (64, 96)


@pytest.mark.skipif(os.name == "nt", reason="names are UTF-16 there")
def test_a_name_that_is_not_utf_8_leads_to_its_file_and_is_text_in_json(
    tmp_path: Path, settings: Settings
) -> None:
    save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (image,) = list_images(settings)
    assert Path(image.path).is_file()
    assert image.model_dump(mode="json")["path"] == str(tmp_path / "caf?.png")


def test_what_cannot_be_segmented_is_left_out(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(encode(plain())[:20])
    (tmp_path / "cut.gif").write_bytes(encode(plain(), "GIF")[:12])
    (tmp_path / "bomb.png").write_bytes(flat_png(9400, 9400))
    (tmp_path / "thin.png").write_bytes(flat_png(1, 300))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    save(tmp_path / "good.gif", kind="GIF")
    assert names(settings) == ["good.gif"]


def test_hidden_files_results_and_ways_out_are_left_out(tmp_path: Path, settings: Settings) -> None:
    secret = save(tmp_path.parent / f"{tmp_path.name}-outside" / "secret.png")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".git" / "a.png")
    save(settings.output_dir / "res_1" / "mask_0.png")
    (tmp_path / "way_out.png").symlink_to(secret)
    (tmp_path / "way_out").symlink_to(secret.parent)
    (tmp_path / "up").symlink_to(tmp_path)
    assert names(settings) == []
    assert names(settings, settings.output_dir) == ["mask_0.png"]


def test_results_of_other_output_folders_are_left_out_unless_asked_for(
    tmp_path: Path, settings: Settings
) -> None:
    result = tmp_path / "masks" / f"res_{'0a' * 16}"
    save(result / "mask_0.png")
    save(tmp_path / "masks" / "res_thesis" / "figure.png")
    save(tmp_path / "masks" / f"res_{'0' * 31}" / "short.png")
    assert sorted(names(settings)) == ["figure.png", "short.png"]
    assert names(settings, result) == ["mask_0.png"]
    assert names(load_settings(roots=(result,))) == ["mask_0.png"]


def test_nested_roots_list_an_image_once(album: Path) -> None:
    assert names(load_settings(roots=(album, album / "sub"))) == ["b.png", "a.jpg", "c.webp"]


def test_a_folder_outside_is_refused_whether_or_not_it_exists(tmp_path: Path, settings: Settings) -> None:
    for folder in ("/etc", "/no/such/folder", tmp_path / ".." / "x", "/proc/self/fd"):
        with pytest.raises(PathNotAllowed, match="outside the allowed folders"):
            list_images(settings, folder)


def test_a_missing_folder_and_a_file_are_not_found(album: Path, settings: Settings) -> None:
    for folder in (album / "nothing", album / "b.png"):
        with pytest.raises(ImageNotFound, match="there is no folder"):
            list_images(settings, folder)


def test_a_root_that_does_not_exist_lists_nothing(tmp_path: Path) -> None:
    assert list_images(load_settings(roots=(tmp_path / "nothing",))) == ()
