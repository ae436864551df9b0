"""lisa-tool for LangChain and LangGraph: `LisaSegmentTool`, and `LisaToolkit` with the tools around it.

    agent = create_agent(model, LisaToolkit().get_tools())

Needs langchain-core only. The content of an answer is text for the model, its artifact the JSON result for
the program. Inside a LangGraph agent the tool also sees the thread: `image="latest"` is the image a person
attached last, and the thread's earlier questions about an image are known to the next one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from lisa_tool.engine.call import Progress, ProgressCallback
from lisa_tool.errors import LisaError
from lisa_tool.integrations import _common as common
from lisa_tool.integrations._common import Reply, ReturnImage, Toolbox, extra, only_lisa_errors
from lisa_tool.integrations._thread import Handles, Thread
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

with extra("langchain", "langchain-core"):
    from langchain_core.callbacks import (
        AsyncCallbackManagerForToolRun,
        CallbackManagerForToolRun,
        adispatch_custom_event,
        dispatch_custom_event,
    )
    from langchain_core.runnables import RunnableConfig
    from langchain_core.runnables.config import patch_config
    from langchain_core.tools import BaseTool, BaseToolkit, InjectedToolArg, ToolException

__all__ = ["LisaListImagesTool", "LisaSegmentTool", "LisaToolkit", "LisaViewResultTool"]

logger = logging.getLogger(__name__)

PROGRESS_EVENT = "lisa_progress"
"""The name of the custom events, and the `type` in each."""

Answer = tuple[str | list[dict[str, Any]], dict[str, Any]]
"""Content for the model, artifact for the program."""

# LangGraph fills the argument that is called `runtime`, which it looks for in the schema. It holds the whole
# state of the graph, so dumping the arguments must not walk into it; leaving it out would lose it.
_Runtime = Annotated[Any, InjectedToolArg, PlainSerializer(lambda _: None, return_type=None)]


class _Arguments(BaseModel):
    """A misspelt argument is an error that the model can correct; null is what it is without the argument."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


class SegmentArguments(_Arguments):
    """What a model may pass to `LisaSegmentTool`: flat, and every default has a type, for strict schemas."""

    query: common.QueryText
    image: str = Field(
        default="",
        description=f"{common.IMAGE_ARGUMENT} 'latest' is the image that the user attached last, 'image:2' "
        "the second one in this conversation.",
    )
    explain: common.WithReason = True
    conversation: common.ConversationHandle = ""
    runtime: _Runtime = None


class ViewArguments(_Arguments):
    """What a model may pass to `LisaViewResultTool`."""

    result_id: str = Field(description=common.RESULT_ARGUMENT)


class ListArguments(_Arguments):
    """What a model may pass to `LisaListImagesTool`."""

    folder: str = Field(default="", description=common.FOLDER_ARGUMENT)
    pattern: str = Field(default="", description=common.PATTERN_ARGUMENT)


def _say_what_is_wrong(error: ValidationError | Any) -> str:
    """Arguments that do not fit the schema, as a sentence for the model."""
    problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return f"The arguments do not fit: {problems}. Correct them and call again. [invalid_arguments]"


@contextmanager
def _told_to_the_model() -> Iterator[None]:
    """Every error becomes a ToolException: the model reads it, and the agent goes on."""
    try:
        with only_lisa_errors():
            yield
    except LisaError as e:
        raise ToolException(e.to_text()) from e


class _LisaTool(BaseTool):
    """What the three tools have in common: a toolbox, and errors that the model can act on."""

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    handle_validation_error: Any = _say_what_is_wrong
    toolbox: Toolbox = Field(default_factory=Toolbox, exclude=True, repr=False)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.toolbox.settings


class LisaSegmentTool(_LisaTool):
    """Answers a question about an image with masks.

    settings: without them those of `segmenter`, else of the environment (`LISA_*`) and the config file, which
      is read at once: pass them where the tool is made inside an event loop.
    segmenter: an open one; without it the first question opens the one that the settings name.
    return_image: "overlay" adds the overlay as a picture to the content. It stays in the thread's state, so
      prefer `LisaMiddleware`, or `LisaViewResultTool`.
    toolbox: takes the place of these three; tools with the same one share a segmenter.

    The conversation is the LangGraph thread's, one for each image; `configurable.lisa_conversation_id` names
    another thread, or a handle. Progress goes to the stream modes "custom" and "tools" and to custom events,
    as `{"type": "lisa_progress", "stage", "fraction", ...}`. Cancelling an `ainvoke` stops the model at its
    next step.
    """

    name: str = common.SEGMENT_NAME
    description: str = common.SEGMENT_DESCRIPTION
    args_schema: Any = SegmentArguments
    _handles: Handles = PrivateAttr(default_factory=Handles)

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        segmenter: Segmenter | None = None,
        return_image: ReturnImage = "none",
        toolbox: Toolbox | None = None,
        **options: Any,
    ) -> None:
        super().__init__(toolbox=toolbox or Toolbox(settings, segmenter, return_image), **options)

    def _run(
        self,
        query: str,
        image: str = "",
        explain: bool = True,
        conversation: str = "",
        runtime: Any = None,
        *,
        config: RunnableConfig,  # filled in because its type is exactly this
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> Answer:
        child = patch_config(config, callbacks=run_manager.get_child()) if run_manager else None

        def tell(progress: Progress) -> None:
            event = _event(progress)
            _stream(runtime, event)
            if child:
                dispatch_custom_event(PROGRESS_EVENT, event, config=child)

        thread = Thread.of(config, runtime, self._handles)
        return self._segment(thread, query, image, explain, conversation, tell, threading.Event())

    async def _arun(
        self,
        query: str,
        image: str = "",
        explain: bool = True,
        conversation: str = "",
        runtime: Any = None,
        *,
        config: RunnableConfig,  # filled in because its type is exactly this
        run_manager: AsyncCallbackManagerForToolRun | None = None,
    ) -> Answer:
        child = patch_config(config, callbacks=run_manager.get_child()) if run_manager else None

        async def tell(event: dict[str, Any]) -> None:
            _stream(runtime, event)
            if child:
                await adispatch_custom_event(PROGRESS_EVENT, event, config=child)

        thread = Thread.of(config, runtime, self._handles)
        async with _relayed(tell) as progress:
            return await self.toolbox.in_thread(
                lambda cancel: self._segment(thread, query, image, explain, conversation, progress, cancel)
            )

    def _segment(
        self,
        thread: Thread,
        query: str,
        image: str,
        explain: bool,
        conversation: str,
        progress: ProgressCallback,
        cancel: threading.Event,
    ) -> Answer:
        """All the work of a call; it blocks."""
        with _told_to_the_model():
            subject = thread.subject(image, conversation, self.name)
            with thread.conversation(subject.image, conversation, self.name) as handle:
                reply = self.toolbox.segment(
                    subject.image,
                    query,
                    explain=explain,
                    conversation=handle,
                    again=subject.again,
                    progress=progress,
                    cancel=cancel,
                )
                thread.keep(subject.image, reply.data["conversation_id"] or "")
        return _answer(reply)


class LisaViewResultTool(_LisaTool):
    """Shows an earlier result: its overlay as a picture, and the answer as text.

    attach: False leaves the picture to `LisaMiddleware`, which shows it without storing it in the thread.
    """

    name: str = common.VIEW_NAME
    description: str = common.VIEW_DESCRIPTION
    args_schema: Any = ViewArguments
    attach: bool = True

    def _run(self, result_id: str) -> Answer:
        with _told_to_the_model():
            reply = self.toolbox.view_result(result_id)
        return _answer(reply, attach=self.attach)

    async def _arun(self, result_id: str) -> Answer:
        return await asyncio.to_thread(self._run, result_id)


class LisaListImagesTool(_LisaTool):
    """Lists the images that can be read."""

    name: str = common.LIST_NAME
    description: str = common.LIST_DESCRIPTION
    args_schema: Any = ListArguments

    def _run(self, folder: str = "", pattern: str = "") -> Answer:
        with _told_to_the_model():
            reply = self.toolbox.list_images(folder, pattern)
        return reply.text, reply.data

    async def _arun(self, folder: str = "", pattern: str = "") -> Answer:
        return await asyncio.to_thread(self._run, folder, pattern)


class LisaToolkit(BaseToolkit):
    """The tools of *propose, look, refine* on one segmenter: segment an image, view a result, list images."""

    _toolbox: Toolbox = PrivateAttr()

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        segmenter: Segmenter | None = None,
        return_image: ReturnImage = "none",
        toolbox: Toolbox | None = None,
    ) -> None:
        """The arguments are those of `LisaSegmentTool`; `toolbox` takes their place."""
        super().__init__()
        self._toolbox = toolbox or Toolbox(settings, segmenter, return_image)

    def get_tools(self) -> list[BaseTool]:
        """`LisaSegmentTool`, `LisaViewResultTool` and `LisaListImagesTool`."""
        return [
            LisaSegmentTool(toolbox=self._toolbox),
            LisaViewResultTool(toolbox=self._toolbox),
            LisaListImagesTool(toolbox=self._toolbox),
        ]


def _answer(reply: Reply, *, attach: bool = True) -> Answer:
    if not (reply.picture and attach):
        return reply.text, _kept(reply.data)
    return [{"type": "text", "text": reply.text}, image_block(reply)], _kept(reply.data)


def _kept(data: dict[str, Any]) -> dict[str, Any]:
    """A result without what only result.json needs to hold: a thread stores it again at every step."""
    timings = {name: data["timings"][name] for name in ("total_s", "image_encodes")}
    evidence = {name: value for name, value in data["evidence"].items() if name != "missing"}
    return {**data, "timings": timings, "evidence": evidence, "versions": {}}


def image_block(reply: Reply) -> dict[str, Any]:
    """The picture of a reply in LangChain's form. Without an id: the same picture is the same text, so that
    providers can cache it."""
    return {"type": "image", "base64": reply.picture_base64, "mime_type": "image/jpeg"}


def _event(progress: Progress) -> dict[str, Any]:
    """A progress as JSON; `text` and `mask` only when there is something in them."""
    event: dict[str, Any] = {
        "type": PROGRESS_EVENT,
        "stage": progress.stage,
        "fraction": progress.fraction,
    }
    if progress.text:
        event["text"] = progress.text
    if progress.mask:
        event["mask"] = progress.mask.model_dump(mode="json")
    return event


def _stream(runtime: Any, event: Mapping[str, Any]) -> None:
    """To the stream modes "custom" and "tools", inside LangGraph."""
    for name in ("stream_writer", "emit_output_delta"):  # the second came with langgraph 1.2
        write = getattr(runtime, name, None)
        if write:
            write(dict(event))


@asynccontextmanager
async def _relayed(tell: Callable[[dict[str, Any]], Any]) -> AsyncIterator[ProgressCallback]:
    """A progress callback for another thread; `tell` gets the events on this loop, all before the end.

    When `tell` fails that is logged, and no more is told: it must not cost the caller the answer.
    """
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def relay() -> None:
        try:
            while (event := await events.get()) is not None:
                await tell(event)
        except Exception:
            logger.exception("telling of progress failed and is not tried again")

    def hand_over(progress: Progress) -> None:
        with suppress(RuntimeError):  # the loop is closed: the caller has gone, and nobody listens
            loop.call_soon_threadsafe(events.put_nowait, _event(progress))

    relaying = asyncio.create_task(relay())
    try:
        yield hand_over
    except asyncio.CancelledError:
        relaying.cancel()
        raise
    finally:
        if not relaying.cancelling():
            loop.call_soon(events.put_nowait, None)  # behind all that the thread has handed over
            await relaying
