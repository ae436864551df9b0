"""lisa-tool as middleware of `create_agent`: the tools, and the newest overlay where the model can see it.

    agent = create_agent(model, middleware=[LisaMiddleware()])

A picture in a tool's message is stored again at every step of a thread, and not every provider shows it to
the model. So the tools answer in text, and just before a model is called the overlay of the newest result is
read from disk and put into the request alone: the thread's state never holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeGuard

from lisa_tool.errors import LisaError
from lisa_tool.integrations._common import SEGMENT_NAME, VIEW_NAME, Toolbox, extra
from lisa_tool.integrations.langchain import (
    LisaListImagesTool,
    LisaSegmentTool,
    LisaViewResultTool,
    image_block,
)
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

with extra("langchain-agent", "langchain"):
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
    from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
    from langchain_core.tools import BaseTool

__all__ = ["LisaMiddleware"]

Place = Literal["auto", "tool", "user", "none"]
"""Where the overlay goes: into the tool's message, a message of the user after it, or nowhere. "auto" asks
the model's profile; OpenAI's Chat Completions get "user": they do not show pictures in tool messages."""

Block = dict[str, Any]


class LisaMiddleware(AgentMiddleware[Any, Any, Any]):
    """Carries the tools of `LisaToolkit`; shows the model the overlay of the newest result, and no other.

    settings, segmenter: as for `LisaSegmentTool`. place: see `Place`.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        segmenter: Segmenter | None = None,
        place: Place = "auto",
    ) -> None:
        super().__init__()
        self._toolbox = Toolbox(settings, segmenter)
        self._place = place
        self.tools: Sequence[BaseTool] = [
            LisaSegmentTool(toolbox=self._toolbox),
            LisaViewResultTool(toolbox=self._toolbox, attach=False),
            LisaListImagesTool(toolbox=self._toolbox),
        ]

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with the newest overlay in place."""
        return handler(self._with_newest_overlay(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Call the model with the newest overlay in place; the disk is read in a thread."""
        return await handler(await asyncio.to_thread(self._with_newest_overlay, request))

    def _with_newest_overlay(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        messages = [_without_pictures(m) if _is_ours(m) else m for m in request.messages]
        ours = [(index, m) for index, m in enumerate(request.messages) if _is_ours(m)]
        place = _best_place(request.model) if self._place == "auto" else self._place
        if ours and place != "none":
            index, newest = ours[-1]
            if pictures := _pictures(newest) or self._overlay(newest):
                _put(messages, index, newest, pictures, place)
        return request.override(messages=messages)

    def _overlay(self, message: ToolMessage) -> list[Block]:
        """The overlay of the result that a tool's message carries, as one block; none when it is gone."""
        # The artifact is only asked for the id: where a client may write messages, a path in it is not ours.
        try:
            reply = self._toolbox.view_result(str(message.artifact["result_id"]))
        except LisaError:
            return []
        return [image_block(reply)] if reply.picture else []


def _is_ours(message: AnyMessage) -> TypeGuard[ToolMessage]:
    """Whether a message is a result of ours, not an error."""
    return (
        isinstance(message, ToolMessage)
        and message.name in (SEGMENT_NAME, VIEW_NAME)
        and isinstance(message.artifact, dict)
        and "result_id" in message.artifact
    )


def _blocks(message: AnyMessage) -> list[Block]:
    content = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block if isinstance(block, dict) else {"type": "text", "text": block} for block in content]


def _pictures(message: AnyMessage) -> list[Block]:
    return [block for block in _blocks(message) if block.get("type") == "image"]


def _texts(message: AnyMessage) -> list[Block]:
    return [block for block in _blocks(message) if block.get("type") != "image"]


def _without_pictures(message: ToolMessage) -> ToolMessage:
    if not _pictures(message):
        return message
    return message.model_copy(update={"content": _texts(message)})


def _best_place(model: Any) -> Place:
    """Where this model can see a picture that a tool made. All that see at all see one of the user's."""
    profile = getattr(model, "profile", None) or {}
    if profile.get("image_inputs") is False:
        return "none"
    chat_completions = (
        any(base.__name__ == "BaseChatOpenAI" for base in type(model).__mro__)
        and getattr(model, "use_responses_api", None) is not True
    )
    return "tool" if profile.get("image_tool_message") and not chat_completions else "user"


def _put(
    messages: list[AnyMessage], index: int, newest: ToolMessage, pictures: list[Block], place: Place
) -> None:
    """Put the pictures of `newest`, which stands at `index`, into the messages."""
    if place == "tool":
        messages[index] = newest.model_copy(update={"content": [*_texts(newest), *pictures]})
        return
    after = index + 1
    while after < len(messages) and isinstance(messages[after], ToolMessage):
        after += 1  # the answers to one message's calls belong together
    said = f"(The overlay of result {newest.artifact['result_id']}, from the tool {newest.name}.)"
    messages.insert(after, HumanMessage([{"type": "text", "text": said}, *pictures]))
