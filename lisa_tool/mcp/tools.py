"""The five tools: their arguments, and how a call is followed, given up and answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import anyio
import anyio.to_thread
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from lisa_tool.errors import ImageNotFound, LisaError
from lisa_tool.images.naming import shown
from lisa_tool.mcp import answers, texts
from lisa_tool.mcp.answers import ImageList, SegmentationAnswer, Status
from lisa_tool.mcp.jobs import Job, User
from lisa_tool.mcp.service import Service
from lisa_tool.previews import PREVIEW_SIDE, What, jpeg_of
from lisa_tool.results import Segmentation

T = TypeVar("T")

POLL_S = 0.05  # how often a waiting call looks at its job
PROGRESS_S = 0.5  # between two progress messages
WAIT_S = 45  # below the 60 s after which many clients give up
MAX_WAIT_S = 240
MAX_READERS = 2  # threads that open pictures for clients
INVALID_ARGUMENTS = "invalid_arguments"  # its code; there is no LisaError, for only MCP has arguments by name
_MAX_WRONG = 4  # arguments named in one answer
_MAX_NAME_CHARS = 60
_PROBLEMS = {"missing": "is missing", "extra_forbidden": "is no argument of it"}

Preview = Literal["none", "overlay"]
ResultId = Annotated[str, Field(description=texts.RESULT_ID)]
PreviewArgument = Annotated[Preview, Field(description=texts.PREVIEW)]
WaitSeconds = Annotated[int, Field(description=texts.WAIT_SECONDS, ge=0, le=MAX_WAIT_S)]


def current_user() -> User:
    """Whose request is being answered; None where requests carry no token."""
    token = get_access_token()
    return token.client_id if token else None


def build_tools(service: Service) -> list[Tool]:
    """The tools around a service."""
    tools = _Tools(service)
    open_world = bool(service.settings.url_hosts)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    writes = ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=open_world
    )
    return [
        _tool(tools.segment_image, "Segment an image", texts.SEGMENT_IMAGE, writes),
        _tool(tools.get_result, "Get a result", texts.GET_RESULT, reads),
        _tool(tools.view_result, "View a result", texts.VIEW_RESULT, reads),
        _tool(tools.list_images, "List images", texts.LIST_IMAGES, reads),
        _tool(tools.get_status, "Get the status", texts.GET_STATUS, reads),
    ]


class _Tools:
    """One method a tool. Its arguments are the tool's schema."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._readers = anyio.Semaphore(MAX_READERS)

    async def segment_image(
        self,
        ctx: Context,
        *,
        image: Annotated[str, Field(description=texts.IMAGE)] = "",
        query: Annotated[str, Field(description=texts.QUERY)],
        conversation_id: Annotated[str, Field(description=texts.CONVERSATION_ID)] = "",
        preview: PreviewArgument = "none",
        wait_seconds: WaitSeconds = WAIT_S,
    ) -> Annotated[CallToolResult, SegmentationAnswer]:
        with self._tool_errors():
            job = self._service.begin(current_user(), image, query, conversation_id)
            try:
                await _follow(job, wait_seconds, ctx)
            except BaseException:  # the client cancelled or is gone: nobody wants this answer
                job.stop.set()
                raise
            return await self._answer_of(job, preview)

    async def get_result(
        self,
        ctx: Context,
        result_id: ResultId,
        preview: PreviewArgument = "none",
        wait_seconds: WaitSeconds = WAIT_S,
    ) -> Annotated[CallToolResult, SegmentationAnswer]:
        with self._tool_errors():
            user = current_user()
            if job := self._service.job(user, result_id):
                await _follow(job, wait_seconds, ctx)
                return await self._answer_of(job, preview)
            result, handle = await anyio.to_thread.run_sync(self._service.result, user, result_id)
            return await self._done(result, handle, preview)

    async def view_result(
        self,
        result_id: ResultId,
        what: Annotated[What, Field(description=texts.WHAT)] = "overlay",
        mask: Annotated[int, Field(description=texts.MASK, ge=1)] = 1,
        max_side: Annotated[int, Field(description=texts.MAX_SIDE, ge=256, le=1568)] = PREVIEW_SIDE,
    ) -> CallToolResult:
        with self._tool_errors():
            user = current_user()
            if job := self._service.job(user, result_id):
                result = job.answer()
            else:
                result, _ = await anyio.to_thread.run_sync(self._service.result, user, result_id)
            jpeg = await self._in_thread(partial(jpeg_of, result, what, mask, max_side))
            shown = what if what == "overlay" else f"{what} of mask {mask}"
            text = f"The {shown} of {result.result_id}. {texts.LABEL}"
            return CallToolResult(content=[answers.picture(jpeg), TextContent(type="text", text=text)])

    async def list_images(
        self,
        folder: Annotated[str, Field(description=texts.FOLDER)] = "",
        name_contains: Annotated[str, Field(description=texts.NAME_CONTAINS)] = "",
        limit: Annotated[int, Field(description=texts.LIMIT, ge=1, le=50)] = 10,
    ) -> Annotated[CallToolResult, ImageList]:
        with self._tool_errors():
            images = partial(self._service.images, current_user(), folder, name_contains, limit)
            return answers.listed(await self._in_thread(images))

    async def get_status(self) -> Annotated[CallToolResult, Status]:
        return answers.told(self._service.status())

    async def _answer_of(self, job: Job, preview: Preview) -> CallToolResult:
        if not job.finished.is_set():
            return answers.running(job)
        return await self._done(job.answer(), job.image_handle, preview)

    async def _done(self, result: Segmentation, handle: str, wanted: Preview) -> CallToolResult:
        jpeg = None
        if wanted == "overlay" and result.masks:
            jpeg = await self._in_thread(partial(jpeg_of, result))
        return answers.done(result, handle, jpeg)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run what opens pictures in a thread; few at a time, for each may be large."""
        async with self._readers:
            return await anyio.to_thread.run_sync(work)

    @contextmanager
    def _tool_errors(self) -> Iterator[None]:
        """Say a LisaError in the way that reaches the model: what, why, what next."""
        try:
            yield
        except LisaError as e:
            told = e
            if isinstance(e, ImageNotFound):
                folders = ", ".join(self._service.folders()) or "none"
                own = "" if e.hint == e.default_hint else f"{e.hint} "
                hint = f"{own}list_images shows what can be read; allowed folders: {folders}."
                told = ImageNotFound(e.message, hint)
            raise ToolError(told.to_text()) from e


class _StrictTool(Tool):
    """A tool that says in one line which of its arguments are wrong, and what they may be."""

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:
        try:
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as e:
            errors = e.errors(include_url=False, include_context=False, include_input=False)
            wrong = "; ".join(map(_wrong, errors[:_MAX_WRONG]))
            names = ", ".join(self.parameters["properties"]) or "none"
            raise ToolError(f"{self.name}: {wrong}. Its arguments: {names}. [{INVALID_ARGUMENTS}]") from e
        return await super().run(arguments, context, convert_result)


def _wrong(error: ErrorDetails) -> str:
    name = shown(".".join(map(str, error["loc"])), _MAX_NAME_CHARS)
    return f"{name!r} {_PROBLEMS.get(error['type']) or error['msg'].removeprefix('Input ')}"


async def _follow(job: Job, wait_s: float, ctx: Context) -> None:
    """Wait until the job is finished or `wait_s` seconds have passed, and pass its progress on."""
    told, told_at = -1.0, -PROGRESS_S
    with anyio.move_on_after(wait_s):
        while not job.finished.is_set():
            now = anyio.current_time()
            if now - told_at >= PROGRESS_S:
                # It has to rise each time; a hundredth more says that a long stage is still alive.
                told, told_at = round(max(100 * job.progress.fraction, told + 0.01), 2), now
                await ctx.report_progress(told, 100, job.progress.stage)
            await anyio.sleep(POLL_S)


def _tool(
    run: Callable[..., Awaitable[CallToolResult]], title: str, description: str, annotations: ToolAnnotations
) -> Tool:
    """A tool that refuses arguments it does not have: a misspelt one would be lost in silence."""
    tool = _StrictTool.from_function(run, title=title, description=description, annotations=annotations)
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    tool.parameters = arguments.model_json_schema(by_alias=True)
    return tool
