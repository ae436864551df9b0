"""What README.md shows is run, and what it says about the code is compared with the code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import lisa_tool
from lisa_tool.cli import COMMANDS
from lisa_tool.cli.checks.backends import all_backends
from lisa_tool.cli.checks.installation import extras
from lisa_tool.cli.exit_codes import MEANINGS
from lisa_tool.engine.machine import Memory
from lisa_tool.lisa.published import PUBLISHED
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from tests.cli.runner import CommandLine

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PHOTOS = ROOT / "lisa_tool" / "eval" / "photos"
TOO_LONG = ["bench", "eval"]  # commands that only have to parse


@dataclass(frozen=True)
class Block:
    """One fenced block, and the output that is shown after it."""

    language: str
    text: str
    shown: str | None

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip() and not line.startswith("#")]


def blocks() -> list[Block]:
    """All fenced blocks; a `text` or `json` block is what the block before it prints."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    following = [*found[1:], ("", "")]
    return [
        Block(language, text, shown if then in ("text", "json") else None)
        for (language, text), (then, shown) in zip(found, following, strict=True)
    ]


def commands(program: str) -> list[str]:
    """The lines of all bash blocks that run `program`."""
    return [
        line
        for block in blocks()
        if block.language == "bash"
        for line in block.lines
        if shlex.split(line)[0] == program
    ]


def table(heading: str) -> list[list[str]]:
    """The rows, as cells, of the table whose first column has this heading."""
    block = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert block, f"no table {heading!r}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in block[1].splitlines()]


def codes(cell: str) -> list[str]:
    """What a cell sets in code."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds the photos, also under their path in the repository."""
    folder = tmp_path / "work"
    inside = folder / PHOTOS.relative_to(ROOT)
    inside.mkdir(parents=True)
    for name in ("astronaut.jpg", "coffee.jpg", "suits.jpg"):
        shutil.copy(PHOTOS / name, folder)
        shutil.copy(PHOTOS / name, inside)
    (folder / "questions.txt").write_text("what would you drink from?\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def shared_model(lite_cli: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python code and the doctor meet the loaded model too."""
    from lisa_tool.cli import segment

    open_shared = vars(segment)["open_segmenter"]
    monkeypatch.setattr(lisa_tool, "open_segmenter", open_shared)
    monkeypatch.setattr("lisa_tool.integrations._common.open_segmenter", open_shared)
    monkeypatch.setattr("lisa_tool.cli.checks.selftest.open_segmenter", open_shared)


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a released checkpoint is named, the small one stands in for it: a machine with much memory."""
    monkeypatch.setenv("LISA_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setattr("lisa_tool.cli.doctor.memory", lambda: Memory(64 * 2**30, 64 * 2**30))


def run(cli: CommandLine, line: str) -> str:
    """Run a `lisa-tool` line; returns its standard output. It must have an answer."""
    line = re.sub(r"xinlai/[\w.-]+", str(ROOT / "tests" / "golden" / "nano" / "checkpoint"), line)
    words, _, stdin = line.partition(" < ")
    data = Path(stdin.strip()).read_bytes() if stdin else b""
    ran = cli(*shlex.split(words)[1:], stdin=data)
    expected = 3 if "cofee.jpg" in line else 0  # the misspelt name is there to show an error
    assert (ran.code, ran.err) == (expected, ""), line
    return ran.out


# Commands


def test_every_kind_of_command_in_it_is_known() -> None:
    programs = {
        shlex.split(line)[0] for block in blocks() if block.language == "bash" for line in block.lines
    }
    assert programs == {"claude", "lisa-mcp", "lisa-tool", "make", "pip"}


def test_every_checkpoint_in_it_is_a_published_one() -> None:
    named = set(re.findall(r"xinlai/[\w.-]+", README + (ROOT / "docs" / "lisa.md").read_text("utf-8")))
    assert named and named <= set(PUBLISHED)


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = [shlex.split(line)[1] for line in commands("make")] + re.findall(r"`make ([a-z]+)`", README)
    assert len(named) > 3
    assert set(named) <= targets


def test_every_pip_command_names_a_package_of_this_version() -> None:
    names = [word for line in commands("pip") for word in shlex.split(line)[2:]]
    known = {"./packages/lisa-tool-lite", ".", *(f".[{extra.name}]" for extra in extras())}
    for name in names:
        if name.startswith("dist/"):
            assert f"-{lisa_tool.__version__}-py3-none-any.whl" in name
        else:
            assert name in known


@pytest.mark.parametrize(
    "line", [line for line in commands("lisa-tool") if shlex.split(line)[1] not in TOO_LONG]
)
def test_every_command_has_an_answer(
    line: str, cli: CommandLine, shared_model: None, released: None, photos: Path
) -> None:
    printed = run(cli, line)
    if "--json" in line:
        json.loads(printed)
    for block in blocks():
        if block.language == "bash" and block.lines == [line] and block.shown:
            assert json.loads(printed) == json.loads(block.shown)


def test_commands_that_take_long_and_those_of_the_documents_parse() -> None:
    lines = [line for line in commands("lisa-tool") if shlex.split(line)[1] in TOO_LONG]
    for document in ("benchmarks.md", "lisa.md"):
        text = (ROOT / "docs" / document).read_text("utf-8")
        lines += re.findall(r"^    (lisa-tool .*)$", text, re.MULTILINE)
    assert len(lines) > 8
    for line in lines:
        _, name, *rest = shlex.split(re.sub(r"~/[\w./-]+", str(ROOT), line))  # folders that are there
        parser: argparse.ArgumentParser = importlib.import_module(f"lisa_tool.cli.{name}").parser()
        parser.parse_intermixed_args(rest)


def test_the_demo_prints_what_is_shown(
    cli: CommandLine, shared_model: None, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    image, query = (re.search(rf"^{name} = (.*)$", makefile, re.MULTILINE) for name in ("IMAGE", "QUERY"))
    assert image and query
    printed = run(cli, f"lisa-tool segment {image[1]} '{query[1]}'").splitlines()
    shown = next(b.shown for b in blocks() if b.lines == ["make demo"])
    assert shown is not None
    assert printed[0] == shown.splitlines()[0]
    for line in shown.splitlines():  # the numbers may change with the knowledge, the parts do not
        assert line.split()[0] in {other.split()[0] for other in printed} or line.split()[1] == "s,"


@pytest.mark.parametrize("line", [line for line in commands("lisa-tool") if "protects her head" in line])
def test_the_picture_shows_the_answer_of_its_caption(
    line: str, cli: CommandLine, shared_model: None, photos: Path
) -> None:
    caption = re.search(r"`(lisa-tool segment astronaut[^`]+)`", README)
    assert caption and caption[1] in line
    result = Segmentation.model_validate_json(run(cli, line))
    assert (result.outcome, [mask.label for mask in result.masks]) == ("found", ["helmet"])
    assert (ROOT / "docs" / "images" / "demo.jpg").stat().st_size <= 150_000


# Python


def test_every_python_snippet_does_what_it_shows(shared_model: None, photos: Path) -> None:
    names: dict[str, object] = {}
    snippets = [block for block in blocks() if block.language == "python"]
    assert len(snippets) >= 3
    for block in snippets:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, "README.md", "exec"), names)
        if block.shown is not None:
            assert without_numbers(printed.getvalue()) == without_numbers(block.shown)
    pixels = names["pixels"]
    assert isinstance(pixels, np.ndarray)
    assert pixels.dtype == bool
    assert pixels.any()


def without_numbers(text: str) -> str:
    """Coordinates are measurements, which may move by a pixel."""
    return re.sub(r"=\d+", "=N", text)


# What it says


def test_exit_codes_are_those_of_the_code() -> None:
    assert {int(code): meaning for code, meaning in table("exit code")} == MEANINGS


def test_settings_are_those_of_the_code() -> None:
    named = {codes(row[0])[0] for row in table("variable")}
    assert named == {
        "LISA_CONFIG",
        "LISA_LIMITS__...",
        *(f"LISA_{name.upper()}" for name in Settings.model_fields if name != "limits"),
    }


def test_every_field_it_names_is_one_of_the_result() -> None:
    fields = {name for row in table("field") for name in codes(row[0])}
    assert fields <= set(Segmentation.model_fields)
    assert {"outcome", "answer", "masks", "overlay_path", "evidence"} <= fields
    (masks,) = (row[1] for row in table("field") if codes(row[0]) == ["masks"])
    assert set(codes(masks)) <= set(lisa_tool.Mask.model_fields)


def test_backends_are_those_that_the_doctor_knows() -> None:
    rows = table("name")
    assert [codes(row[0])[0] for row in rows] == [backend.name for backend in all_backends()]
    assert [row[1].startswith("works") for row in rows] == [True, True, False]


def test_extras_are_those_that_can_be_installed() -> None:
    rows = {codes(row[0])[0]: row[1] for row in table("extra")}
    declared = {extra.name: list(extra.packages) for extra in extras()}
    assert set(rows) == set(declared)
    for name, packages in declared.items():
        for package in packages:
            word = {"lisa-tool-lite": "weights", "opencv-python-headless": "opencv"}.get(package, package)
            assert word in rows[name], package


def test_every_command_of_the_program_is_shown() -> None:
    assert set(COMMANDS) == {shlex.split(line)[1] for line in commands("lisa-tool")}


def test_the_map_of_folders_is_the_tree() -> None:
    (text,) = (block.text for block in blocks() if block.text.startswith("lisa_tool/ "))
    named: set[str] = set()
    parent = ""
    for line in text.splitlines():
        name = line.split()[0]
        parent = parent if line.startswith(" ") else name
        named.add(name if name == parent else parent + name)
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    package = {
        f"lisa_tool/{path.name}{'/' if path.is_dir() else ''}"
        for path in (ROOT / "lisa_tool").iterdir()
        if path.name not in ("__init__.py", "py.typed") and not path.name.startswith("__pycache__")
    }
    assert package == {path for path in named if path.startswith("lisa_tool/") and path != "lisa_tool/"}
    assert {f"{name}/" for name in folders()} == {
        path for path in named if path.count("/") == 1 and path[-1] == "/"
    }


def folders() -> set[str]:
    """The folders at the top that are part of the project: all but what git ignores or hides."""
    names = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    return {name for name in names if f"/{name}/" not in ignored and f"{name}/" not in ignored}


def test_the_map_is_not_fooled_by_a_folder_that_git_would_commit() -> None:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tops = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert {name for name in tops if not name.startswith(".")} == folders()


def test_it_is_about_as_long_as_a_stranger_reads() -> None:
    assert 150 <= len(README.splitlines()) <= 375


def test_the_table_of_the_benchmark_has_its_place() -> None:
    assert README.count("<!-- eval:start -->") == README.count("<!-- eval:end -->") == 1
