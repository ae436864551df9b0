"""A chat model that says what a test wrote down, and remembers what it was shown."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool
from pydantic import Field

_ids = itertools.count()


class ScriptedModel(BaseChatModel):
    """Says the lines of `script` one after the other: messages, or functions of what it was shown.

    shown: the messages of each call. tools: the names of those it may call.
    """

    script: list[Any]
    shown: list[list[BaseMessage]] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[BaseTool], **options: Any) -> ScriptedModel:  # type: ignore[override]
        self.tools = [tool.name for tool in tools]
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        self.shown.append(list(messages))
        line = self.script[len(self.shown) - 1]
        message = line(messages) if callable(line) else line
        return ChatResult(
            generations=[ChatGeneration(message=message.model_copy())]
        )  # LangChain gives it an id


def calls(*arguments: dict[str, Any], tool: str = "segment_image") -> AIMessage:
    """A message that calls the tool once for each set of arguments."""
    return AIMessage(
        "",
        tool_calls=[
            {"name": tool, "args": args, "id": f"call_{next(_ids)}", "type": "tool_call"}
            for args in arguments
        ],
    )
