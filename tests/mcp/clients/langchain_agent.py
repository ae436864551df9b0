"""A LangChain agent that has our tools by `langchain.mcp`; its model follows a script.

    python langchain_agent.py LISA_MCP PHOTO OUT

LISA_MCP: the command of the server. PHOTO: coffee.jpg. Fails when the agent does not get what it should.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from langchain.agents import create_agent
from langchain.mcp import MCPAdapter
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import Runnable


class Scripted(GenericFakeChatModel):
    """Says what the script says next, whatever tools it is given; keeps the names of the tools."""

    bound: ClassVar[list[str]] = []

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Runnable[Any, BaseMessage]:
        self.bound.extend(tool.name for tool in tools)
        return self


def script(photo: str) -> Iterator[AIMessage]:
    """List, be refused, segment, give the answer."""
    calls = [
        ("list_images", {"name_contains": "coffee"}),
        ("segment_image", {"image": "/etc/passwd", "query": "the password"}),
        ("segment_image", {"image": photo, "query": "what would you drink from?", "preview": "overlay"}),
    ]
    for number, (name, args) in enumerate(calls):
        yield AIMessage("", tool_calls=[{"name": name, "args": args, "id": str(number)}])
    yield AIMessage("The cup.")


async def main(command: str, photo: str, out: str) -> None:
    args = ["--allow", str(Path(photo).parent), "--out", out]
    servers = {"mcpServers": {"lisa": {"command": command, "args": args, "transport": "stdio"}}}
    model = Scripted(messages=script(photo))
    async with MCPAdapter(servers) as adapter:
        agent = create_agent(model, await adapter.list_tools())
        state = await agent.ainvoke({"messages": [("user", "what would you drink from?")]})
    listed, refused, answer = (m for m in state["messages"] if isinstance(m, ToolMessage))
    assert {name.removeprefix("lisa_") for name in model.bound} >= {
        "segment_image",
        "list_images",
        "get_result",
    }
    assert photo in listed.text
    assert refused.status == "error" and "[path_not_allowed]" in refused.text
    assert answer.status == "success" and 'Mask 1 "cup"' in answer.text
    assert [block["type"] for block in answer.content_blocks] == ["text", "image"]
    result = answer.artifact["structured_content"]["result"]
    assert Path(result["masks"][0]["path"]).is_file()
    assert state["messages"][-1].text == "The cup."


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 180))
    print(f"langchain {importlib.metadata.version('langchain')}: all as it should be")
