"""The same agent over MCP: python examples/05_mcp.py [REQUEST]

The tools come from `lisa-mcp`, started here as a process of its own, as any MCP client would start it.
Needs: pip install 'lisa-tool[lite,mcp,langchain-agent]' 'langchain[mcp]'
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.mcp import MCPAdapter
from langchain_core.messages import AIMessage, HumanMessage
from scripted import call, chat_model

import lisa_tool

PHOTOS = Path(lisa_tool.__file__).parent / "eval" / "photos"
PHOTO = str(PHOTOS / "coffee.jpg")
REQUEST = f"In {PHOTO}: what would you drink from, and what would you stir with?"
SERVER = {
    "command": sys.executable,  # installed, it is the command "lisa-mcp" with the arguments after the module
    "args": ["-m", "lisa_tool.mcp", "--allow", str(PHOTOS)],
    "env": {"LISA_OUTPUT_DIR": str(Path("lisa-results").absolute())},
}


def script() -> list[Any]:
    """What a model would do; over MCP it hands the conversation on itself."""

    def ask_on(seen: list[Any]) -> AIMessage:
        conversation = seen[-1].artifact["structured_content"]["result"]["conversation_id"]
        return call("segment_image", query="what would you stir with?", conversation_id=conversation)

    return [
        lambda seen: call("segment_image", image=PHOTO, query="what would you drink from?"),
        ask_on,
        lambda seen: AIMessage("The cup, and the spoon beside it. The masks are in the files above."),
    ]


async def main(request: str = REQUEST) -> None:
    async with MCPAdapter({"mcpServers": {"lisa": SERVER}}) as adapter:
        agent = create_agent(chat_model(*script()), await adapter.list_tools())
        async for update in agent.astream({"messages": [HumanMessage(request)]}, stream_mode="updates"):
            for step in update.values():
                step["messages"][-1].pretty_print()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
