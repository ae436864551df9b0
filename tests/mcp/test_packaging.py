"""The bundle, the registry entry, the front door and the documents agree with the code."""

from __future__ import annotations

import importlib.metadata
import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server import MCPServer
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import lisa_tool
import lisa_tool.mcp.main
from lisa_tool.mcp import texts
from lisa_tool.mcp.install import CLIENTS, server_entry
from lisa_tool.mcp.main import install_parser, parser
from lisa_tool.settings import Settings
from tests.mcp.test_surface import surface

ROOT = Path(__file__).parents[2]
MANIFEST: dict[str, Any] = json.loads((ROOT / "mcpb" / "manifest.json").read_text("utf-8"))
REGISTRY: dict[str, Any] = json.loads((ROOT / "server.json").read_text("utf-8"))
BUNDLE = tomllib.loads((ROOT / "mcpb" / "pyproject.toml").read_text("utf-8"))
GUIDE = (ROOT / "docs" / "mcp.md").read_text("utf-8")


def test_the_version_is_the_same_in_bundle_and_registry() -> None:
    version = lisa_tool.__version__
    (package,) = REGISTRY["packages"]
    assert {MANIFEST["version"], BUNDLE["project"]["version"], REGISTRY["version"], package["version"]} == {
        version
    }
    whole = Requirement(f"lisa-tool[lite,mcp]=={version}")
    assert [Requirement(argument["value"]) for argument in package["runtimeArguments"]] == [whole]
    lite = importlib.metadata.version("lisa-tool-lite")
    bundled = [Requirement(line) for line in BUNDLE["project"]["dependencies"]]
    assert bundled == [whole, Requirement(f"lisa-tool-lite=={lite}")]
    assert BUNDLE["tool"]["uv"]["sources"] == {
        "lisa-tool": {"path": f"wheels/lisa_tool-{version}-py3-none-any.whl"},
        "lisa-tool-lite": {"path": f"wheels/lisa_tool_lite-{lite}-py3-none-any.whl"},
    }
    assert "find-links" not in BUNDLE["tool"]["uv"]


def test_the_same_pythons_are_named_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bundled = SpecifierSet(BUNDLE["project"]["requires-python"])
    assert SpecifierSet(MANIFEST["compatibility"]["runtimes"]["python"].replace(" ", ",")) == bundled
    assert set(SpecifierSet(project["requires-python"])) <= set(bundled)
    assert bundled.contains((ROOT / "mcpb" / ".python-version").read_text().strip())


def test_the_registry_entry_is_one_that_the_registry_takes() -> None:
    assert REGISTRY["$schema"].startswith("https://static.modelcontextprotocol.io/schemas/")
    assert re.fullmatch(r"io\.github\.[a-z0-9-]+/lisa-tool", REGISTRY["name"])
    assert len(REGISTRY["description"]) <= 100
    assert f"mcp-name: {REGISTRY['name']}" in (ROOT / "README.md").read_text("utf-8")


def test_the_bundle_lists_the_tools_and_prompts_of_the_server(settings: Settings) -> None:
    shown = anyio.run(surface, settings)
    assert [tool["name"] for tool in MANIFEST["tools"]] == [tool["name"] for tool in shown["tools"]]
    assert [
        (prompt["name"], prompt["description"], prompt["arguments"]) for prompt in MANIFEST["prompts"]
    ] == [
        (prompt["name"], prompt["description"], [argument["name"] for argument in prompt["arguments"]])
        for prompt in shown["prompts"]
    ]
    assert MANIFEST["description"] == REGISTRY["description"] == texts.DESCRIPTION


def test_the_bundle_asks_for_what_it_hands_on() -> None:
    command = MANIFEST["server"]["mcp_config"]
    used = re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(command))
    assert set(used) == set(MANIFEST["user_config"])
    assert command["args"][:4] == ["run", "--directory", "${__dirname}", MANIFEST["server"]["entry_point"]]
    assert (ROOT / "mcpb" / MANIFEST["server"]["entry_point"]).is_file()
    assert (ROOT / "mcpb" / MANIFEST["icon"]).is_file()
    known = {f"LISA_{name.upper()}" for name in Settings.model_fields}
    assert set(command["env"]) <= known


def test_the_bundle_allows_the_folders_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(lisa_tool.mcp.main, "main", lambda words: given.append(words) or 0)
    monkeypatch.setattr("sys.argv", ["server.py", "/a b", "/c"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / "mcpb" / "src" / "server.py"), run_name="__main__")
    assert (caught.value.code, given) == (0, [["--allow", "/a b", "--allow", "/c"]])


def test_the_front_door_offers_the_server_to_mcp_dev() -> None:
    assert isinstance(runpy.run_path(str(ROOT / "mcp_server.py"))["mcp"], MCPServer)


def test_the_installed_command_is_the_one_that_is_declared() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="lisa-mcp")
    assert script.load() is lisa_tool.mcp.main.main


# docs/mcp.md


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


@pytest.mark.parametrize(
    ("title", "client"),
    [
        ("Claude Desktop", "claude-desktop"),
        ("Claude Code", "claude-code"),
        ("VS Code", "vscode"),
        ("Cursor", "cursor"),
    ],
)
def test_each_client_has_a_section_with_the_entry_that_its_command_writes(
    title: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr("shutil.which", lambda name, path: f"/home/ada/venv/bin/{name}")
    text = section(title)
    (line,) = re.findall(rf"^lisa-mcp install --client {client} .*$", text, re.MULTILINE)
    args = install_parser().parse_args(shlex.split(line)[2:])
    (snippet,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    entry = server_entry(args, typed=CLIENTS[client].typed)
    assert json.loads(snippet) == {CLIENTS[client].key: {"lisa": entry}}
    assert parser().parse_args(entry["args"]).allow


def test_where_mcp_dev_is_named_so_is_what_it_needs() -> None:
    for text in (GUIDE, (ROOT / "mcp_server.py").read_text("utf-8")):
        assert ("mcp dev" in text) is ("mcp[cli]" in text) is True


def test_every_command_of_the_guide_parses() -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    ours = [shlex.split(line) for line in lines if line.startswith("lisa-mcp")]
    assert len(ours) >= 6
    for _, *words in ours:
        if words[0] == "install":
            install_parser().parse_args(words[1:])
        else:
            parser().parse_args(words)
    added = [shlex.split(line) for line in lines if line.startswith("claude mcp add")]
    assert added
    for words in added:
        assert parser().parse_args(words[words.index("--") + 2 :]).allow
    assert {line.split()[0] for line in lines} <= {
        "lisa-mcp",
        "claude",
        "pip",
        "curl",
        "python",
        "mcp",
        "make",
    }


def test_the_guide_names_every_tool_and_every_client(settings: Settings) -> None:
    for tool in anyio.run(surface, settings)["tools"]:
        assert f"| `{tool['name']}`" in GUIDE
    assert all(f"--client {client}" in GUIDE for client in CLIENTS)
