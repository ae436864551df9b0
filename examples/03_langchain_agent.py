"""A LangChain agent that works on a photo: python examples/03_langchain_agent.py [REQUEST]

Without a key a scripted model plays the agent's part; with ANTHROPIC_API_KEY or OPENAI_API_KEY a real one
does (then also: pip install langchain-anthropic or langchain-openai). The middleware brings the tools and
shows the model the newest overlay. Needs: pip install 'lisa-tool[lite,langchain-agent]'
"""

import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from scripted import call, chat_model

import lisa_tool
from lisa_tool.integrations.langchain_middleware import LisaMiddleware

PHOTOS = Path(lisa_tool.__file__).parent / "eval" / "photos"
PHOTO = str(PHOTOS / "suits.jpg")
REQUEST = f"In {PHOTO}: cut out what would keep the sun off a head, and the man who wears it."


def script() -> list[Any]:
    """What a model would do: ask, look at an answer that is uncertain, ask on without naming the photo."""
    question = "what would stop his head from getting sunburnt?"
    return [
        lambda seen: call("segment_image", image=PHOTO, query=question),
        lambda seen: call("view_result", result_id=seen[-1].artifact["result_id"]),
        lambda seen: call("segment_image", query="the man on the left"),
        lambda seen: AIMessage("The hat, and the man on the left, who wears it: the masks are above."),
    ]


def main(request: str = REQUEST) -> None:
    settings = lisa_tool.load_settings(roots=[PHOTOS, Path.cwd()], output_dir="lisa-results")
    agent = create_agent(
        chat_model(*script()), middleware=[LisaMiddleware(settings=settings)], checkpointer=InMemorySaver()
    )
    asked = {"messages": [HumanMessage(request)]}
    thread = {"configurable": {"thread_id": "1"}}
    for mode, event in agent.stream(asked, thread, stream_mode=["custom", "updates"]):
        if mode == "custom":
            print(f"  {event['fraction']:4.0%} {event['stage']}")
        else:
            for update in event.values():
                update["messages"][-1].pretty_print()


if __name__ == "__main__":
    main(*sys.argv[1:])
