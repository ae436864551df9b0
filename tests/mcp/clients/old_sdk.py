"""A client of the SDK before version 2, in an environment of its own: what programs in the field still use.

    python old_sdk.py LISA_MCP PHOTO OUT

LISA_MCP: the command of the server. PHOTO: coffee.jpg. Fails when an answer is not what it should be.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(command: str, photo: str, out: str) -> None:
    told: list[float] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    server = StdioServerParameters(command=command, args=["--allow", str(Path(photo).parent), "--out", out])
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        assert len((await session.list_tools()).tools) == 5
        arguments = {"image": photo, "query": "what would you drink from?", "preview": "overlay"}
        answer = await session.call_tool("segment_image", arguments, progress_callback=tell)
        assert not answer.isError and answer.structuredContent is not None
        assert [block.type for block in answer.content] == ["text", "image"]
        mask = answer.structuredContent["result"]["masks"][0]
        assert (
            mask["label"] == "cup" and Path(mask["path"]).is_file() and mask["path"] in answer.content[0].text
        )
        assert told and told == sorted(told)
        refused = await session.call_tool("segment_image", {"image": "/etc/passwd", "query": "x"})
        assert refused.isError and "[path_not_allowed]" in refused.content[0].text


if __name__ == "__main__":
    version = importlib.metadata.version("mcp")
    assert version.startswith("1."), version
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 180))
    print(f"mcp {version}: all as it should be")
