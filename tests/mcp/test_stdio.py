"""The server as a process, as desktop clients start it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.client import ConnectMode

from lisa_tool.pipeline import LocalSegmenter
from tests.conftest import PHOTOS
from tests.mcp.test_tools import data_of, error_of, segment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120

LOADED_AT_TOOLS_LIST = """
import anyio, json, sys
from mcp import Client
from lisa_tool.mcp.app import build_server
from lisa_tool.mcp.main import server_settings

async def list_tools():
    async with Client(build_server(server_settings())) as client:
        await client.list_tools()
        print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))

anyio.run(list_tools)
"""


def process(*arguments: str, command: tuple[str, ...] = ("-m", "lisa_tool.mcp")) -> StdioServerParameters:
    """How to start a server that may read the photos."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-W", "error::DeprecationWarning:lisa_tool", *command, "--allow", str(PHOTOS), *arguments],
        env={name: os.environ[name] for name in ("HOME", "PATH")},
    )


@pytest.mark.anyio
async def test_the_embedded_default_answers_on_a_real_photo(
    era: ConnectMode, lite: LocalSegmenter, tmp_path: Path
) -> None:
    with anyio.fail_after(PATIENCE_S):
        async with Client(process("--out", str(tmp_path)), mode=era) as client:
            early = data_of(
                await segment(client, PHOTOS / "coffee.jpg", "what would you drink from?", wait_seconds=0)
            )
            answer = await client.call_tool(
                "get_result", {"result_id": early["result_id"], "wait_seconds": 120, "preview": "overlay"}
            )
    result = data_of(answer)["result"]
    assert (result["outcome"], result["masks"][0]["label"]) == ("found", "cup")
    assert [block.type for block in answer.content] == ["text", "image"]
    assert Path(result["masks"][0]["path"]).is_relative_to(tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize("command", [("-m", "lisa_tool.mcp"), (str(ROOT / "mcp_server.py"),)])
async def test_it_answers_at_once_without_a_model(command: tuple[str, ...], tmp_path: Path) -> None:
    with anyio.fail_after(PATIENCE_S):
        async with Client(process("--out", str(tmp_path), command=command)) as client:
            assert len((await client.list_tools()).tools) == 5
            assert "[path_not_allowed]" in error_of(await segment(client, "/etc/passwd"))
            assert data_of(await client.call_tool("get_status", {}))["folders"] == [str(PHOTOS)]


def test_no_model_runtime_is_loaded_when_the_tools_are_listed() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADED_AT_TOOLS_LIST],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(ran.stdout))
    assert "mcp" in loaded
    assert not loaded & {"torch", "onnxruntime", "transformers", "tokenizers", "cv2", "lisa_tool_lite"}


def test_the_command_serves_and_ends_when_its_client_does(tmp_path: Path) -> None:
    command = shutil.which("lisa-mcp", path=str(Path(sys.executable).parent))
    assert command
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    ran = subprocess.run(
        [command, "--out", str(tmp_path)],
        input=json.dumps(asked) + "\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    answer = json.loads(ran.stdout)
    assert answer["result"]["serverInfo"]["name"] == "lisa"
    assert "sandbox" not in ran.stderr and "Traceback" not in ran.stderr
