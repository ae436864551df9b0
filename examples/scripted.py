"""A stand-in for a chat model, so that the examples run without a key and without a network."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

Turn = Callable[[list[BaseMessage]], AIMessage]
REAL = {"ANTHROPIC_API_KEY": "anthropic:claude-sonnet-5-5", "OPENAI_API_KEY": "openai:gpt-5.5"}


def chat_model(*script: Turn) -> BaseChatModel:
    """The real model whose key is in the environment, else one that takes the turns of the script."""
    for key, name in REAL.items():
        if os.environ.get(key):
            return init_chat_model(name)
    return Scripted(script=script)


def call(tool: str, **arguments: Any) -> AIMessage:
    """What a model says when it calls a tool."""
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": os.urandom(4).hex()}])


class Scripted(BaseChatModel):
    """Takes one turn of the script each time it is called; a turn is a function of the messages so far."""

    script: Sequence[Turn]
    taken: int = 0

    def bind_tools(self, tools: Any, **options: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        turn = self.script[self.taken]
        self.taken += 1
        shown = [message for message in messages if message.type != "human"] or messages
        return ChatResult(generations=[ChatGeneration(message=turn(shown))])

    @property
    def _llm_type(self) -> str:
        return "scripted"
