import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lisa_tool.cli.images import _age
from tests.cli.runner import CommandLine
from tests.hostile.pictures import encoded, scene

YEAR_2001 = datetime(2001, 1, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory with three pictures, `new.png` the newest, and a text."""
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    for age, name in enumerate(["new.png", "middle.jpg", "sub/old.png"]):
        kind = "PNG" if name.endswith("png") else "JPEG"
        (folder / name).write_bytes(encoded(scene(96 + age, 64), kind))
        os.utime(folder / name, (YEAR_2001, YEAR_2001 - age))
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.chdir(folder)
    return folder


def names(document: list[dict[str, object]]) -> list[str]:
    return [Path(str(image["path"])).name for image in document]


def test_the_working_directory_is_listed_newest_first(cli: CommandLine, place: Path) -> None:
    ran = cli("images", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert names(ran.document) == ["new.png", "middle.jpg", "old.png"]
    first = ran.document[0]
    assert (first["path"], first["width"], first["height"]) == (str(place / "new.png"), 96, 64)
    assert first["bytes"] == (place / "new.png").stat().st_size
    assert first["modified"] == "2001-01-01T00:00:00+00:00"


def test_a_person_reads_a_table_of_path_size_and_age(cli: CommandLine, place: Path) -> None:
    lines = cli("images").out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(str(place / "new.png"))
    assert "96x64" in lines[0]
    assert lines[0].endswith("days ago")
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--limit", "2"], ["new.png", "middle.jpg"]),
        (["--pattern", "*.png"], ["new.png", "old.png"]),
        (["--pattern", "MID"], ["middle.jpg"]),
        (["sub"], ["old.png"]),
        (["--pattern", "nothing"], []),
    ],
)
def test_the_list_can_be_narrowed(
    cli: CommandLine, place: Path, options: list[str], expected: list[str]
) -> None:
    assert names(cli("images", *options, "--json").document) == expected


def test_an_empty_list_is_said_in_words(cli: CommandLine, place: Path) -> None:
    ran = cli("images", "--pattern", "nothing")
    assert (ran.code, ran.out.startswith("No images in the allowed folders")) == (0, True)


def test_a_folder_that_is_named_may_be_listed_wherever_it_lies(
    cli: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path / "home")
    assert names(cli("images", place, "--limit", "1", "--json").document) == ["new.png"]


def test_only_the_folders_that_were_allowed_count_when_there_are_any(
    cli: CommandLine, place: Path, tmp_path: Path
) -> None:
    assert names(cli("images", "--allow", place / "sub", "--json").document) == ["old.png"]
    ran = cli("images", place, "--allow", place / "sub", "--json")
    assert (ran.code, ran.error["code"]) == (3, "path_not_allowed")


def test_a_folder_that_is_not_there_is_an_image_error(cli: CommandLine, place: Path) -> None:
    ran = cli("images", "gone", "--json")
    assert (ran.code, ran.error["code"]) == (3, "image_not_found")
    assert ran.error["hint"]


def test_a_file_name_cannot_write_to_the_terminal(cli: CommandLine, place: Path) -> None:
    (place / "\x1b[2J\nfake.png").write_bytes((place / "new.png").read_bytes())
    ran = cli("images")
    assert "\x1b" not in ran.out
    assert len(ran.out.splitlines()) == 4


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (7_200, "2 hours ago"), (86_400, "1 day ago")],
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, words: str) -> None:
    now = datetime(2001, 1, 1, tzinfo=UTC)
    modified = datetime.fromtimestamp(now.timestamp() - seconds, UTC)
    assert _age(modified.isoformat(timespec="seconds"), now) == words
