"""`lisa-mcp install`: the entry that a client's configuration needs, shown or written.

An existing file is never damaged: one that is not plain JSON is left alone, what is in it stays as it was,
and each old file is kept beside the new one.

Clients start the server in the folder that they have open, which may be a stranger's: nothing of that folder
is imported.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_tool.errors import BadSettings

NAME = "lisa"
_BACKUP_SUFFIX = ".before-lisa"


@dataclass(frozen=True)
class Client:
    """A program that starts MCP servers.

    file: its configuration. key: where the servers stand in it. typed: whether an entry names its transport.
    """

    file: Callable[[], Path]
    key: str = "mcpServers"
    typed: bool = False
    note: str = ""


def _claude_desktop() -> Path:
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "Claude" / "claude_desktop_config.json"


CLIENTS = {
    "claude-desktop": Client(_claude_desktop, note="Quit Claude Desktop and start it again."),
    "claude-code": Client(
        lambda: Path.cwd() / ".mcp.json",
        typed=True,
        note="It holds for this folder; Claude Code asks once whether it may start the server.",
    ),
    "cursor": Client(lambda: Path.home() / ".cursor" / "mcp.json"),
    "vscode": Client(
        lambda: Path.cwd() / ".vscode" / "mcp.json",
        key="servers",
        typed=True,
        note="It holds for the workspace in this folder.",
    ),
}


def run(args: argparse.Namespace) -> None:
    """Show the entry, or write it with `--write`. Raises BadSettings where that would damage the file."""
    client = CLIENTS[args.client]
    path, entry = client.file(), server_entry(args, typed=client.typed)
    if args.write:
        write_entry(path, client.key, entry, replace=args.replace)
        print(f"Written to {path}. {client.note}".rstrip())
        return
    print(f"Put this into {path}, or let --write do it:\n")
    print(json.dumps({client.key: {NAME: entry}}, indent=2))
    if not args.allow:
        print("\nNo folder is allowed in it yet: add --allow DIR.")
    if args.client == "claude-code":
        print("\nor run:\n")
        print(shlex.join(["claude", "mcp", "add", NAME, "--", entry["command"], *entry["args"]]))


def add_install_options(it: argparse.ArgumentParser) -> None:
    """Add the options of `lisa-mcp install`."""
    it.add_argument("--client", required=True, choices=CLIENTS, help="whose configuration")
    it.add_argument("--write", action="store_true", help="write the entry instead of showing it")
    it.add_argument("--replace", action="store_true", help="write it over another entry of the same name")


def server_entry(args: argparse.Namespace, *, typed: bool) -> dict[str, Any]:
    """What starts the server: `lisa-mcp` of this Python by its absolute path, and the options given here."""
    command, *words = _starter()
    for folder in args.allow or []:
        words += ["--allow", os.path.abspath(folder)]
    if args.out:
        words += ["--out", os.path.abspath(args.out.expanduser())]
    for option in ("model", "precision", "device"):
        if value := getattr(args, option):
            words += [f"--{option}", value]
    return {**({"type": "stdio"} if typed else {}), "command": command, "args": words}


def _starter() -> list[str]:
    script = shutil.which("lisa-mcp", path=os.path.dirname(os.path.abspath(sys.executable)))
    # Without -P, Python would import the modules of the folder that it is started in.
    return [script] if script else [sys.executable, "-P", "-m", "lisa_tool.mcp"]


def write_entry(path: Path, key: str, entry: dict[str, Any], *, replace: bool = False) -> None:
    """Put the entry into the file at `path`, which is made when there is none.

    Raises BadSettings, and changes nothing, when the file is not a JSON object (one with comments or repeated
    names is none), when what is in it cannot be written again as it was, or when it has another entry of our
    name and `replace` is not set.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    text = _read(path)
    config = _parse(text, path) if text.strip() else {}
    servers = config.setdefault(key, {})
    if not isinstance(servers, dict):
        raise _left_alone(path, f"{key!r} in it is no object")
    if servers.get(NAME) == entry:
        return
    if NAME in servers and not replace:
        raise BadSettings(f"{str(path)!r} has another entry {NAME!r}", "--replace writes over it.")
    servers[NAME] = entry
    indent = re.search(r"^[ \t]+(?=\")", text, re.MULTILINE)
    try:
        new = json.dumps(config, ensure_ascii=False, indent=indent[0] if indent else 2, allow_nan=False)
        data = f"{new}\n".encode()
    except (ValueError, RecursionError) as e:
        raise _left_alone(path, "what is in it cannot be written again as it was") from e
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if text:
            _keep(path, text.encode())
        _write(path, data)
    except OSError as e:
        raise BadSettings(f"{str(path)!r} cannot be written: {e.strerror}") from e


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as e:
        raise _left_alone(path, "it cannot be read as text") from e


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as e:
        raise _left_alone(path, "it is not plain JSON") from e
    if not isinstance(config, dict):
        raise _left_alone(path, "it is no JSON object")
    return config


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _left_alone(path: Path, reason: str) -> BadSettings:
    return BadSettings(
        f"{str(path)!r} was left as it is: {reason}", "Leave out --write, and put the entry in by hand."
    )


def _keep(path: Path, data: bytes) -> None:
    """Write a copy beside `path`, under a name that is not taken: the first copy is the one worth most."""
    for number in itertools.count(1):
        name = path.name + _BACKUP_SUFFIX + (f"-{number}" if number > 1 else "")
        with suppress(FileExistsError):
            _create(path.with_name(name), data, like=path)
            return


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, with the permissions that it had."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    _create(part, data, like=path)
    try:
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _create(path: Path, data: bytes, *, like: Path) -> None:
    """Make a new file, whole or not at all, with the permissions of `like` where that is there."""
    with path.open("xb") as file:
        try:
            with suppress(FileNotFoundError):
                path.chmod(like.stat().st_mode & 0o777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise
