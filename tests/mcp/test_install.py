"""`lisa-mcp install`: shows or writes the entry, and never damages a configuration."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lisa_tool.mcp.install import CLIENTS, server_entry
from lisa_tool.mcp.main import install_parser, main

SCRIPT = str(Path(sys.executable).with_name("lisa-mcp"))
KEYS = {
    "claude-desktop": "mcpServers",
    "claude-code": "mcpServers",
    "cursor": "mcpServers",
    "vscode": "servers",
}


@pytest.fixture(params=KEYS)
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each client, with a home and a project of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "config"))
    name: str = request.param
    return name


@pytest.fixture
def config(client: str) -> Path:
    """Where the client keeps its configuration."""
    path = CLIENTS[client].file()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def install(client: str, *words: str) -> int:
    return main(["install", "--client", client, "--allow", "/photos", *words])


def everything_beside(config: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in config.parent.iterdir() if path.is_file()}


def test_without_write_the_entry_is_only_shown(
    client: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(client) == 0
    printed = capsys.readouterr().out
    shown = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    assert list(shown) == [KEYS[client]]
    entry = shown[KEYS[client]]["lisa"]
    assert (entry["command"], entry["args"]) == (SCRIPT, ["--allow", "/photos"])
    assert str(config) in printed
    assert not config.exists()


def test_a_configuration_is_made_where_there_is_none(client: str, config: Path) -> None:
    assert install(client, "--write") == 0
    assert json.loads(config.read_text())[KEYS[client]]["lisa"]["command"] == SCRIPT
    assert list(everything_beside(config)) == [config.name]


def test_what_was_there_stays_and_the_old_file_is_kept(client: str, config: Path) -> None:
    before = (
        '{\n\t"theme": "dark",\n\t"'
        + KEYS[client]
        + '": {"other": {"command": "ö"}},\n\t"big": 12345678901234567890\n}'
    )
    config.write_text(before, "utf-8")
    config.chmod(0o600)
    assert install(client, "--write") == 0
    after = config.read_text("utf-8")
    wanted = json.loads(before)
    read = json.loads(after)
    assert read[KEYS[client]].pop("lisa")
    assert read == wanted and list(read) == list(wanted)
    assert '\n\t"theme"' in after and "ö" in after
    assert config.with_name(config.name + ".before-lisa").read_text("utf-8") == before
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_writing_twice_changes_nothing(client: str, config: Path) -> None:
    install(client, "--write")
    once = everything_beside(config)
    assert install(client, "--write") == 0
    assert everything_beside(config) == once


def test_another_entry_of_the_name_is_replaced_only_when_told_so(
    client: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(json.dumps({KEYS[client]: {"lisa": {"command": "mine"}}}))
    before = everything_beside(config)
    assert install(client, "--write") == 2
    assert "--replace" in capsys.readouterr().err
    assert everything_beside(config) == before
    assert install(client, "--write", "--replace") == 0
    assert json.loads(config.read_text())[KEYS[client]]["lisa"]["command"] == SCRIPT


def test_writing_again_keeps_the_first_file_too(client: str, config: Path) -> None:
    config.write_text('{"theme": "mine"}')
    assert install(client, "--write") == 0
    second = config.read_text()
    assert install(client, "--write", "--replace", "--model", "lite") == 0
    kept = {name: data.decode() for name, data in everything_beside(config).items() if name != config.name}
    assert kept == {
        f"{config.name}.before-lisa": '{"theme": "mine"}',
        f"{config.name}.before-lisa-2": second,
    }


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_entry_runs_nothing_of_the_folder_that_it_is_started_in(
    is_installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mcp", "lisa_tool", "argparse"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')")
    if not is_installed:
        monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    args = install_parser().parse_args(["--client", "cursor", "--allow", str(tmp_path)])
    entry = server_entry(args, typed=False)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        [entry["command"], *entry["args"]], cwd=tmp_path, env=clean, input="", capture_output=True, text=True
    )
    assert (ran.returncode, (tmp_path / "ran").exists()) == (0, False), ran.stderr
    assert (entry["command"] == SCRIPT) is is_installed


@pytest.mark.parametrize(
    "text",
    [
        '{"mcpServers": {}, // mine\n "servers": {}}',
        '{"mcpServers": {}, "servers": {},}',
        '{"a": 1, "a": 2}',
        '{"mcpServers": [], "servers": []}',
        "[]",
        '{"mcpServers": {"lis',
        '{"a": 1e999}',
        '{"a": NaN}',
        r'{"a": "\ud800"}',
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        b'{"a": "\xff"}',
    ],
)
def test_what_cannot_be_merged_is_left_alone(
    client: str, config: Path, text: str | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = everything_beside(config)
    assert install(client, "--write") == 2
    assert everything_beside(config) == before
    assert "was left as it is" in capsys.readouterr().err


def test_a_write_that_fails_leaves_the_file_as_it_was(
    client: str, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('{"theme": "dark"}')

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    before = everything_beside(config)
    assert install(client, "--write") == 2
    assert everything_beside(config) == before
    assert "No space left" in capsys.readouterr().err


def test_a_link_stays_a_link(client: str, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.json"
    target.write_text("{}")
    config.symlink_to(target)
    assert install(client, "--write") == 0
    assert config.is_symlink() and "lisa" in target.read_text()


def test_options_reach_the_entry(client: str, config: Path) -> None:
    assert install(client, "--write", "--out", "masks", "--model", "lite") == 0
    entry: dict[str, Any] = json.loads(config.read_text())[KEYS[client]]["lisa"]
    assert entry["args"][2:] == ["--out", str(Path("masks").absolute()), "--model", "lite"]
