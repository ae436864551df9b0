"""The command line of `lisa-mcp`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lisa_tool
from lisa_tool.mcp import main as command
from lisa_tool.mcp.main import main, parser, server_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have been served: nothing for stdio, host and port and so on for HTTP."""
    import uvicorn
    from mcp.server import MCPServer

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(MCPServer, "run", lambda self: calls.append({}))
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: calls.append(options))
    return calls


def test_stdio_is_the_default(served: list[dict[str, Any]]) -> None:
    assert main([]) == 0
    assert served == [{}]


def test_http_is_on_loopback(served: list[dict[str, Any]]) -> None:
    assert main(["--http", "--port", "9000"]) == 0
    assert (served[0]["host"], served[0]["port"]) == ("127.0.0.1", 9000)


@pytest.mark.parametrize(
    "words",
    [
        ["--host", "0.0.0.0"],
        ["--host", "0.0.0.0", "--allowed-host", "lisa.example.org"],
        ["--allowed-host", "lisa.example.org"],
    ],
)
def test_what_others_can_reach_refuses_to_start_without_a_token_and_a_host(
    words: list[str], served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--http", *words]) == 2
    assert served == []
    assert "--token-file" in capsys.readouterr().err


def test_off_loopback_it_starts_with_both(served: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("ada " + "a" * 32)
    words = [
        "--host",
        "0.0.0.0",
        "--allowed-host",
        "lisa.example.org",
        "--token-file",
        str(tmp_path / "tokens"),
    ]
    assert main(["--http", *words]) == 0
    assert served[0]["host"] == "0.0.0.0"


def test_no_folder_is_allowed_until_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server_settings().roots == ()
    monkeypatch.setenv("LISA_ROOTS", str(tmp_path))
    assert server_settings().roots == (tmp_path,)
    args = parser().parse_args(["--allow", "/a", "--allow", "~/b"])
    assert server_settings(args).roots == (Path("/a"), Path.home() / "b")


def test_a_folder_that_is_not_there_is_warned_of_and_does_not_stop_it(
    served: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["--allow", "/no/such/folder"]) == 0
    assert "/no/such/folder is not a folder" in caplog.text


def test_wrong_settings_are_told_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__MAX_WAITING", "-1")
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "LISA_LIMITS__MAX_WAITING" in printed.err and "[bad_settings]" in printed.err


def test_a_bug_is_logged_under_an_id(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(command, "server_settings", fail)
    assert main([]) == 1
    assert "secret" not in capsys.readouterr().err
    assert "/secret/path" in caplog.text


@pytest.mark.parametrize(
    "words", [["--prot", "1"], ["--port", "0"], ["--port", "65536"], ["--port", "x"], ["serve"]]
)
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_it_names_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"lisa-mcp {lisa_tool.__version__}\n"


def test_help_and_install_need_no_sdk_and_a_server_says_what_to_install() -> None:
    script = "import sys; sys.modules['mcp'] = None; from lisa_tool.mcp.main import main; sys.exit(main())"
    shown = subprocess.run(
        [sys.executable, "-c", script, "install", "--client", "cursor"], capture_output=True
    )
    assert shown.returncode == 0
    missing = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert missing.returncode == 5
    assert "pip install 'lisa-tool[mcp]'" in missing.stderr
    assert "Traceback" not in missing.stderr
