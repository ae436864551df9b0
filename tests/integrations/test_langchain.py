from __future__ import annotations

import asyncio
import base64
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from lisa_tool.engine.call import Progress
from lisa_tool.errors import ImageNotFound, LisaError
from lisa_tool.integrations import _common as common
from lisa_tool.integrations.langchain import LisaSegmentTool, LisaToolkit
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from lisa_tool.store import ResultStore
from tests.cli.fakes import answer, raising, waits_for_cancel
from tests.test_errors import RAISED
from tests.test_import import loaded_by

PATIENCE_S = 30
Behaving = Callable[[Callable[..., Segmentation]], Any]


@pytest.fixture
def tool(segmenter: LocalSegmenter) -> LisaSegmentTool:
    return LisaSegmentTool(segmenter=segmenter)


@pytest.fixture
def tools(segmenter: LocalSegmenter) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in LisaToolkit(segmenter=segmenter).get_tools()}


def tool_call(tool: BaseTool, **arguments: Any) -> Any:
    return {"name": tool.name, "args": arguments, "id": "call_1", "type": "tool_call"}


def ask(tool: BaseTool, config: Any = None, **arguments: Any) -> ToolMessage:
    """What the model gets for a call."""
    message = tool.invoke(tool_call(tool, **arguments), config)
    assert isinstance(message, ToolMessage)
    return message


# Import


def test_importing_it_imports_no_model_and_no_framework_but_langchain_core() -> None:
    loaded = loaded_by("import lisa_tool.integrations.langchain")
    assert "langchain_core" in loaded
    assert not {"torch", "transformers", "onnxruntime", "langgraph", "langchain", "mcp", "cv2"} & loaded


# Answers


def test_the_model_reads_the_text_and_the_program_gets_the_json(tool: LisaSegmentTool, photo: str) -> None:
    message = ask(tool, image=photo, query="what is red?")
    result = Segmentation.model_validate(message.artifact)
    assert message.status == "success"
    assert message.content == result.to_text()
    assert result.outcome == "found"


def test_the_artifact_leaves_to_result_json_what_only_an_inquiry_needs(
    tool: LisaSegmentTool, photo: str
) -> None:
    artifact = ask(tool, image=photo, query="what is red?").artifact
    kept = Segmentation.model_validate(artifact)
    full = ResultStore(tool.settings.output_dir, tool.settings.limits).load(kept.result_id)
    assert full.timings.stages and full.evidence.missing and full.versions
    assert not (kept.timings.stages or kept.evidence.missing or kept.versions)
    assert (kept.masks, kept.image, kept.model) == (full.masks, full.image, full.model)
    assert kept.evidence.match == full.evidence.match


def test_called_without_a_tool_call_it_returns_the_text(tool: LisaSegmentTool, photo: str) -> None:
    assert str(tool.invoke({"image": photo, "query": "what is red?"})).startswith("Outcome: found.")


def test_with_an_overlay_the_text_comes_first_and_then_a_jpeg(segmenter: LocalSegmenter, photo: str) -> None:
    message = ask(LisaSegmentTool(segmenter=segmenter, return_image="overlay"), image=photo, query="red?")
    content: Any = message.content
    text, picture = content
    assert text == {"type": "text", "text": Segmentation.model_validate(message.artifact).to_text()}
    assert set(picture) == {"type", "mime_type", "base64"}  # an id that changes would spoil providers' caches
    assert (picture["type"], picture["mime_type"]) == ("image", "image/jpeg")
    assert base64.b64decode(picture["base64"]).startswith(b"\xff\xd8")


def test_the_async_way_gives_the_same(tool: LisaSegmentTool, photo: str) -> None:
    message = asyncio.run(tool.ainvoke(tool_call(tool, image=photo, query="what is red?")))
    assert message.content == Segmentation.model_validate(message.artifact).to_text()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_result_can_be_looked_at_later(asynchronous: bool, tools: dict[str, BaseTool], photo: str) -> None:
    first = ask(tools["segment_image"], image=photo, query="red?")
    view = tools["view_result"]
    call = tool_call(view, result_id=first.artifact["result_id"])
    message = asyncio.run(view.ainvoke(call)) if asynchronous else view.invoke(call)
    assert [block["type"] for block in message.content] == ["text", "image"]
    assert message.artifact == first.artifact


@pytest.mark.parametrize("asynchronous", [False, True])
def test_images_are_listed(asynchronous: bool, tools: dict[str, BaseTool], photo: str) -> None:
    listing = tools["list_images"]
    call = tool_call(listing, pattern="cup")
    message = asyncio.run(listing.ainvoke(call)) if asynchronous else listing.invoke(call)
    assert message.content.startswith(photo)
    assert [image["path"] for image in message.artifact["images"]] == [photo]


# Arguments


@pytest.mark.parametrize("strict", [False, True])
def test_the_schemas_are_flat_and_without_anything_that_a_strict_provider_refuses(
    strict: bool, tools: dict[str, BaseTool]
) -> None:
    for tool in tools.values():
        parameters = convert_to_openai_tool(tool, strict=strict)["function"]["parameters"]
        for name, schema in parameters["properties"].items():
            assert set(schema) <= {"type", "description", "default"}, name
            assert schema["type"] in ("string", "boolean")
            assert schema["description"]
    assert set(tools["segment_image"].args) == {"query", "image", "explain", "conversation"}


def test_arguments_that_do_not_fit_say_which_and_why(tool: LisaSegmentTool) -> None:
    message = ask(tool, question="red?", explain="perhaps")
    assert message.status == "error"
    assert "query: Field required" in str(message.content)
    assert "explain: Input should be a valid boolean" in str(message.content)
    assert str(message.content).endswith("[invalid_arguments]")


def test_what_a_strict_model_fills_in_for_optional_arguments_is_harmless(
    tool: LisaSegmentTool, photo: str
) -> None:
    assert ask(tool, image=photo, query="red?", explain=True, conversation="").status == "success"


def test_a_misspelt_argument_is_an_error_and_not_lost(tools: dict[str, BaseTool], photo: str) -> None:
    message = ask(tools["segment_image"], image=photo, query="red?", conversation_id="conv_1")
    assert message.status == "error"
    assert "conversation_id: Extra inputs are not permitted" in str(message.content)
    assert ask(tools["list_images"], path="/etc").status == "error"


def test_null_for_an_optional_argument_is_its_default(tools: dict[str, BaseTool], photo: str) -> None:
    nulls = {"explain": None, "conversation": None}
    assert ask(tools["segment_image"], image=photo, query="red?", **nulls).status == "success"
    assert ask(tools["list_images"], folder=None, pattern=None).status == "success"
    assert "[image_not_found]" in str(ask(tools["segment_image"], image=None, query="red?").content)


# Errors


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("error", RAISED)
def test_every_error_reaches_the_model_as_one_line_that_says_what_to_do(
    error: type[LisaError], asynchronous: bool, behaving: Behaving
) -> None:
    tool = LisaSegmentTool(segmenter=behaving(raising(error("it did not work"))))
    call = tool_call(tool, image="cup.png", query="red?")
    message = asyncio.run(tool.ainvoke(call)) if asynchronous else tool.invoke(call)
    assert message.status == "error"
    assert message.content.startswith("it did not work")
    assert message.content.endswith(f"[{error.code}]")
    assert len(message.content.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("view_result", {"result_id": "res_1"}, "result_not_found"),
        ("list_images", {"folder": "/etc"}, "path_not_allowed"),
        ("segment_image", {"query": "red?"}, "image_not_found"),
        ("segment_image", {"query": "?", "image": "cup.png"}, "invalid_query"),
    ],
)
def test_mistakes_of_the_model_are_errors_it_can_correct(
    name: str, arguments: dict[str, Any], code: str, tools: dict[str, BaseTool]
) -> None:
    message = ask(tools[name], **arguments)
    assert message.status == "error"
    assert f"[{code}]" in str(message.content)


def test_a_program_that_wants_the_exception_gets_it_with_its_cause(segmenter: LocalSegmenter) -> None:
    tool = LisaSegmentTool(segmenter=segmenter, handle_tool_error=False)
    with pytest.raises(ToolException) as error:
        tool.invoke({"image": "none.png", "query": "red?"})
    assert isinstance(error.value.__cause__, LisaError)


# Progress and cancelling


class Listener(BaseCallbackHandler):
    """Keeps the custom events it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.heard.append((name, data))


class AsyncListener(AsyncCallbackHandler):
    """Keeps the custom events it hears; slower than they come."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    async def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        for _turn in range(20):
            await asyncio.sleep(0)
        self.heard.append((name, data))


class Broken(BaseCallbackHandler):
    """Fails at the first event, and lets it be known."""

    raise_error = True

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        raise ValueError("no ears")


def told(heard: list[tuple[str, Any]]) -> list[Any]:
    assert {name for name, _ in heard} == {"lisa_progress"}
    return [data for _, data in heard]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_progress_is_heard_as_custom_events_from_the_start_to_the_end(
    asynchronous: bool, tool: LisaSegmentTool, photo: str
) -> None:
    listener = AsyncListener() if asynchronous else Listener()
    call, config = tool_call(tool, image=photo, query="red?"), {"callbacks": [listener]}
    if asynchronous:
        asyncio.run(tool.ainvoke(call, config))  # type: ignore[arg-type]
    else:
        tool.invoke(call, config)  # type: ignore[arg-type]
    events = told(listener.heard)
    fractions = [event["fraction"] for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert all(event["type"] == "lisa_progress" and event["stage"] for event in events)
    (mask,) = (event["mask"] for event in events if "mask" in event)
    assert mask["box"] == {"x": 10, "y": 10, "width": 20, "height": 30}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_listener_that_fails_does_not_cost_the_answer(
    asynchronous: bool, tool: LisaSegmentTool, photo: str, caplog: pytest.LogCaptureFixture
) -> None:
    call, config = tool_call(tool, image=photo, query="red?"), {"callbacks": [Broken()]}
    message = asyncio.run(tool.ainvoke(call, config)) if asynchronous else tool.invoke(call, config)  # type: ignore[arg-type]
    assert message.status == "success"
    assert "no ears" in caplog.text


def test_progress_before_an_error_is_heard_too(behaving: Behaving) -> None:
    def behave(progress: Any, **_: Any) -> Segmentation:
        for stage in ("one", "two"):
            progress(Progress(stage, 0.1))
        raise ImageNotFound("there is none")

    tool, listener = LisaSegmentTool(segmenter=behaving(behave)), AsyncListener()
    call, config = tool_call(tool, image="cup.png", query="red?"), {"callbacks": [listener]}
    message = asyncio.run(tool.ainvoke(call, config))  # type: ignore[arg-type]
    assert message.status == "error"
    assert [event["stage"] for event in told(listener.heard)] == ["one", "two"]


def test_progress_is_an_event_of_astream_events(tool: LisaSegmentTool, photo: str) -> None:
    async def stages() -> list[str]:
        events: Any = tool.astream_events({"image": photo, "query": "red?"}, version="v2")
        return [e["data"]["stage"] async for e in events if e["event"] == "on_custom_event"]

    assert asyncio.run(stages())[-1] == "done"


def test_a_cancelled_call_stops_the_segmenter(behaving: Behaving) -> None:
    began = threading.Event()
    stopped = threading.Event()

    def behave(cancel: threading.Event, **_: Any) -> Segmentation:
        began.set()
        waits_for_cancel(cancel)
        stopped.set()
        return answer()

    tool = LisaSegmentTool(segmenter=behaving(behave))

    async def cancel_it() -> None:
        asking = asyncio.create_task(tool.ainvoke({"image": "cup.png", "query": "red?"}))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(cancel_it())
    assert stopped.wait(PATIENCE_S)


def test_a_cancelled_call_may_outlive_the_loop(behaving: Behaving) -> None:
    began, closed, told_nobody = (threading.Event() for _ in range(3))

    def behave(progress: Any, **_: Any) -> Segmentation:
        began.set()
        assert closed.wait(PATIENCE_S)
        progress(Progress("late", 0.5))
        told_nobody.set()
        return answer(conversation_id="conv_1")

    tool = LisaSegmentTool(segmenter=behaving(behave))

    async def give_up() -> None:
        asking = asyncio.create_task(tool.ainvoke({"image": "cup.png", "query": "red?"}))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(give_up())
    closed.set()
    assert told_nobody.wait(PATIENCE_S)


def test_the_loop_is_free_while_the_segmenter_works(behaving: Behaving) -> None:
    free = threading.Event()

    def behave(**_: Any) -> Segmentation:
        assert free.wait(PATIENCE_S), "the loop did not run"
        return answer(conversation_id="conv_1")

    tool = LisaSegmentTool(segmenter=behaving(behave))

    async def both() -> None:
        asking = asyncio.create_task(tool.ainvoke({"image": "cup.png", "query": "red?"}))
        await asyncio.sleep(0)
        free.set()
        await asking

    asyncio.run(both())


# Copies


@pytest.mark.parametrize("copied", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy])
def test_a_copy_works_by_itself(
    copied: Callable[[Any], Any],
    tool: LisaSegmentTool,
    segmenter: LocalSegmenter,
    photo: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common, "open_segmenter", lambda settings: segmenter)
    other = copied(tool)
    assert other.toolbox is not tool.toolbox
    assert other.settings == tool.settings
    assert ask(other, image=photo, query="red?").status == "success"


def test_the_tools_of_a_toolkit_share_one_segmenter(
    settings: Settings, segmenter: LocalSegmenter, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Settings] = []

    def open_red(settings: Settings) -> LocalSegmenter:
        opened.append(settings)
        return segmenter

    monkeypatch.setattr(common, "open_segmenter", open_red)
    kit = LisaToolkit(settings=settings)
    for tool in (kit.get_tools()[0], kit.get_tools()[0]):
        ask(tool, image=photo, query="red?")
    assert opened == [settings]
