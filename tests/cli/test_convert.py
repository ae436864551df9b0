from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lisa_tool.lisa.checkpoint.manifest import read_manifest
from tests.cli.runner import CommandLine
from tests.cli.test_eval import without
from tests.lisa.checkpoint.checkpoints import BIN, NANO, copy_of, cut, edit_json
from tests.lisa.checkpoint.fake_hub import FakeHub, serve


@pytest.fixture(autouse=True)
def weights_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where converted checkpoints go."""
    monkeypatch.setenv("LISA_WEIGHTS_DIR", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_a_folder_is_converted_to_where_segment_finds_it(cli: CommandLine, weights_dir: Path) -> None:
    ran = cli("convert", NANO, "--json")
    assert ran.code == 0
    folder = Path(ran.document["folder"])
    manifest = read_manifest(folder)
    assert manifest and folder.is_relative_to(weights_dir)
    assert ran.document == {
        "folder": str(folder),
        "source": "checkpoint",
        "revision": None,
        "tensors": 210,
        "bytes": manifest.n_bytes,
        "weights_sha256": manifest.weights_sha256,
        "seconds": ran.document["seconds"],
    }


def test_a_person_reads_where_it_lies_and_what_it_is(cli: CommandLine, tmp_path: Path) -> None:
    ran = cli("convert", NANO, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"checkpoint is ready in {tmp_path / 'out'}\n  210 tensors, 1.6 MB, ")
    assert ran.out.endswith(f"sha256 {manifest.weights_sha256}\n")


def test_a_target_is_relative_to_the_working_directory(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("convert", NANO, "out", "--json").document["folder"] == str(tmp_path / "out")


def test_a_name_on_the_hub_is_downloaded_and_its_commit_told(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights_dir: Path
) -> None:
    files = {path.name: path.read_bytes() for path in NANO.iterdir()}
    hub = FakeHub("xinlai/LISA-nano", files, branches={"main": "a" * 40, "v2": "b" * 40})
    with serve(hub, monkeypatch, tmp_path / "cache"):
        ran = cli("convert", "xinlai/LISA-nano", "--revision", "v2")
    folder = weights_dir / "xinlai--LISA-nano" / ("b" * 40)
    assert ran.out.startswith(f"xinlai/LISA-nano at {'b' * 40} is ready in {folder}\n")


def test_what_is_ready_already_is_told_again(cli: CommandLine) -> None:
    first = cli("convert", NANO, "--json").document
    again = cli("convert", NANO, "--json").document
    of_the_result = cli("convert", first["folder"], "--json").document
    for other in (again, of_the_result):
        assert {**other, "seconds": 0} == {**first, "seconds": 0}


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda folder: cut(folder / BIN), "weights_corrupt"),
        (lambda folder: (folder / BIN).write_bytes(b"\x80\x04N."), "unsafe_weights"),
        (lambda folder: (folder / "tokenizer.model").unlink(), "checkpoint_not_found"),
        (lambda folder: (folder / "adapter_config.json").touch(), "checkpoint_unsupported"),
        (
            lambda folder: edit_json(folder / "config.json", lambda config: config.update(vocab_size=5)),
            "checkpoint_invalid",
        ),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_an_error_with_code_5(
    cli: CommandLine, tmp_path: Path, damage: object, code: str
) -> None:
    folder = copy_of(NANO, tmp_path / "nano")
    damage(folder)  # type: ignore[operator]
    ran = cli("convert", folder, tmp_path / "out", "--json")
    assert (ran.code, ran.error["code"]) == (5, code)
    assert not (tmp_path / "out").exists()


def test_a_target_that_holds_something_is_an_error_with_code_4(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    ran = cli("convert", NANO, tmp_path, "--json")
    assert (ran.code, ran.error["code"]) == (4, "output_not_writable")


def test_a_file_where_the_target_should_be_is_an_error_with_code_4(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", "utf-8")
    for target in (tmp_path / "out", tmp_path / "out" / "below", tmp_path / "out" / "far" / "below"):
        ran = cli("convert", NANO, target, "--json")
        assert (ran.code, ran.error["code"]) == (4, "output_not_writable")
        assert f"{str(target)!r} cannot be written: a file is in its way" in ran.error["message"]
        assert "LISA_WEIGHTS_DIR" not in ran.error["hint"]
    assert (tmp_path / "out").read_text("utf-8") == "mine"


@pytest.mark.parametrize("missing", ["torch", "filelock"])
def test_a_part_that_is_not_installed_is_named_with_the_command(tmp_path: Path, missing: str) -> None:
    code, error = without(missing, "convert", str(NANO), str(tmp_path / "out"), tmp=tmp_path)
    assert (code, error["code"]) == (5, "missing_extra")
    assert "pip install 'lisa-tool[lisa]'" in error["message"]


def test_the_help_needs_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['huggingface_hub'] = None;"
        "from lisa_tool.cli import main; sys.exit(main(['convert', '--help', '--json']))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "pickles, which can run code" in json.loads(ran.stdout)["help"]
