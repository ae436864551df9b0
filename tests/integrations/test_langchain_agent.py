"""The tool inside real LangChain agents, with a model that follows a script."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain", reason="needs langchain: pip install 'lisa-tool[langchain-agent]'")

from blockbuster import BlockingError, blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from lisa_tool.engine.call import Call
from lisa_tool.errors import LisaError
from lisa_tool.images import LoadedImage
from lisa_tool.integrations import _common as common
from lisa_tool.integrations.langchain import LisaSegmentTool, LisaToolkit
from lisa_tool.pipeline import LocalSegmenter, Prediction, Question
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from tests.cli.fakes import raising
from tests.integrations.scripted import ScriptedModel, calls
from tests.red import RedBackend
from tests.test_errors import RAISED

PATIENCE_S = 30
STORED_AT_EACH_STEP = 500_000
"""Bytes of a database of ten answers: LangGraph writes all messages again at each of some 22 steps."""
DONE = AIMessage("That is all.")
THREAD: Any = {"configurable": {"thread_id": "1"}}


def go() -> Any:
    """What a person asks; a new message each time, for LangGraph tells them apart by the id it gives them."""
    return {"messages": [HumanMessage("Look at the picture.")]}


def results(messages: list[Any]) -> list[ToolMessage]:
    return [message for message in messages if isinstance(message, ToolMessage)]


def test_an_agent_asks_about_a_real_photo_reads_the_answer_and_asks_on(
    lite: LocalSegmenter, coffee: Path
) -> None:
    def follow_up(messages: list[BaseMessage]) -> AIMessage:
        assert "Outcome: found." in str(messages[-1].content) and "cup" in str(messages[-1].content)
        return calls({"query": "what is it all standing on?"})

    def finish(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage(f"Found: {messages[-1].artifact['masks'][0]['label']}.")  # type: ignore[attr-defined]

    question = {"image": str(coffee), "query": "what would you drink from?"}
    model = ScriptedModel(script=[calls(question), follow_up, finish])
    agent = create_agent(model, LisaToolkit(segmenter=lite).get_tools(), checkpointer=InMemorySaver())
    messages = agent.invoke(go(), THREAD)["messages"]

    cup, table = (Segmentation.model_validate(message.artifact) for message in results(messages))
    assert model.tools == ["segment_image", "view_result", "list_images"]
    assert [mask.label for mask in cup.masks] == ["cup"]
    assert (table.query, messages[-1].content) == ("what is it all standing on?", "Found: dining table.")
    assert table.conversation_id == cup.conversation_id
    assert table.timings.image_encodes == 0
    assert all(Path(mask.path).is_file() for mask in (*cup.masks, *table.masks))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_streams_show_the_progress(asynchronous: bool, segmenter: LocalSegmenter, photo: str) -> None:
    model = ScriptedModel(script=[calls({"image": photo, "query": "red?"}), DONE])
    agent = create_agent(model, [LisaSegmentTool(segmenter=segmenter)])
    modes: Any = ["custom", "tools", "updates"]

    async def collect() -> list[Any]:
        return [event async for event in agent.astream(go(), stream_mode=modes)]

    events: list[Any] = (
        asyncio.run(collect()) if asynchronous else list(agent.stream(go(), stream_mode=modes))
    )
    custom = [event for mode, event in events if mode == "custom"]
    tools = [event for mode, event in events if mode == "tools"]
    updates = [key for mode, event in events if mode == "updates" for key in event]
    deltas = [event["delta"] for event in tools if event["event"] == "tool-output-delta"]
    assert custom == deltas
    assert [event["fraction"] for event in custom] == sorted(event["fraction"] for event in custom)
    assert custom[-1] == {"type": "lisa_progress", "stage": "done", "fraction": 1.0}
    assert [tools[0]["event"], tools[-1]["event"]] == ["tool-started", "tool-finished"]
    assert {event["tool_call_id"] for event in tools} == {model.script[0].tool_calls[0]["id"]}
    assert updates == ["model", "tools", "model"]


def test_a_thread_survives_sqlite_and_its_checkpoint_is_small_after_ten_answers(
    segmenter: LocalSegmenter, photo: str, tmp_path: Path
) -> None:
    path = tmp_path / "threads.sqlite"
    script = [calls({"image": photo if n == 0 else "", "query": f"what is red? ({n})"}) for n in range(10)]

    def agent(saver: SqliteSaver, lines: list[Any]) -> Any:
        return create_agent(
            ScriptedModel(script=lines), [LisaSegmentTool(segmenter=segmenter)], checkpointer=saver
        )

    with SqliteSaver.from_conn_string(str(path)) as saver:
        written = agent(saver, [*script, DONE]).invoke(go(), THREAD)["messages"]
    stored = path.stat().st_size
    with SqliteSaver.from_conn_string(str(path)) as saver:  # as after a restart
        again = agent(saver, [calls({"query": "what is red?"}), DONE])
        assert again.get_state(THREAD).values["messages"] == written
        last = results(again.invoke(go(), THREAD)["messages"])[-1]

    handles = {message.artifact["conversation_id"] for message in (*results(written), last)}
    assert len(results(written)) == 10
    assert len(handles) == 1
    with closing(sqlite3.connect(path)) as database:
        (largest,) = database.execute("select max(length(checkpoint)) from checkpoints").fetchone()
    assert 10_000 < largest < 200_000  # bytes
    assert 200_000 < stored < STORED_AT_EACH_STEP


def test_a_thread_that_is_stored_at_the_end_takes_little(
    segmenter: LocalSegmenter, photo: str, tmp_path: Path
) -> None:
    path = tmp_path / "threads.sqlite"
    script = [calls({"image": photo, "query": "what is red?"}) for _ in range(10)]
    with SqliteSaver.from_conn_string(str(path)) as saver:
        model = ScriptedModel(script=[*script, DONE])
        agent = create_agent(model, [LisaSegmentTool(segmenter=segmenter)], checkpointer=saver)
        agent.invoke(go(), THREAD, durability="exit")
    assert path.stat().st_size < 200_000


def test_calls_of_one_message_are_answered_each_for_itself(
    segmenter: LocalSegmenter, photo: str, other_photo: str
) -> None:
    wanted = [(photo, 1), (other_photo, 2), (photo, 1), (other_photo, 2)]
    four = calls(*({"image": image, "query": "what is red?"} for image, _ in wanted))
    agent = create_agent(ScriptedModel(script=[four, DONE]), [LisaSegmentTool(segmenter=segmenter)])
    messages = results(agent.invoke(go(), THREAD)["messages"])
    assert [m.tool_call_id for m in messages] == [call["id"] for call in four.tool_calls]
    assert [(m.artifact["image"]["source"], len(m.artifact["masks"])) for m in messages] == wanted
    assert len({m.artifact["result_id"] for m in messages}) == 4


def test_more_calls_at_once_than_may_wait_are_all_answered_in_one_conversation(
    settings: Settings, photo: str
) -> None:
    class Gated(RedBackend):
        """Answers nothing until the loop has handed over all calls."""

        def __init__(self) -> None:
            super().__init__()
            self.handed_over = threading.Event()

        def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
            assert self.handed_over.wait(PATIENCE_S)
            return super().predict(image, question, call)

    backend = Gated()
    n_calls = settings.limits.max_waiting + 6
    many = calls(*({"image": photo, "query": f"what is red? ({n})"} for n in range(n_calls)))
    tool = LisaSegmentTool(segmenter=LocalSegmenter(backend, settings))
    agent = create_agent(ScriptedModel(script=[many, DONE]), [tool])

    async def run() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))  # as on a larger machine
        running = asyncio.create_task(agent.ainvoke(go(), THREAD))
        for _turn in range(500):
            await asyncio.sleep(0)
        backend.handed_over.set()
        return await running

    messages = results(asyncio.run(run())["messages"])
    assert [message.status for message in messages] == ["success"] * n_calls
    assert len({message.artifact["conversation_id"] for message in messages}) == 1


def test_a_tool_with_settings_is_made_without_blocking_the_loop(settings: Settings) -> None:
    async def make() -> list[BaseTool]:
        return LisaToolkit(settings=settings).get_tools()

    with blockbuster_ctx():
        assert len(asyncio.run(make())) == 3


def test_nothing_blocks_the_loop(
    settings: Settings, photo: str, other_photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "open_segmenter", lambda wanted: LocalSegmenter(RedBackend(), wanted))
    tools = LisaToolkit(settings=settings, return_image="overlay").get_tools()

    def look(messages: list[BaseMessage]) -> AIMessage:
        return calls({"result_id": messages[-1].artifact["result_id"]}, tool="view_result")  # type: ignore[attr-defined]

    script = [calls({"image": photo, "query": "red?"}), look, calls({}, tool="list_images"), DONE]
    agent = create_agent(ScriptedModel(script=script), tools)

    async def run() -> list[Any]:
        with pytest.raises(BlockingError):
            Path(photo).read_bytes()  # so it would be noticed
        answer: dict[str, list[Any]] = await agent.ainvoke(go(), THREAD)
        return answer["messages"]

    with blockbuster_ctx():
        messages = results(asyncio.run(run()))
    assert [message.status for message in messages] == ["success"] * 3


@pytest.mark.parametrize("error", RAISED)
def test_no_error_ends_the_run(
    error: type[LisaError], behaving: Callable[..., Any], settings: Settings
) -> None:
    model = ScriptedModel(script=[calls({"image": "cup.png", "query": "red?"}), DONE])
    agent = create_agent(model, [LisaSegmentTool(segmenter=behaving(raising(error("it did not work"))))])
    messages = agent.invoke(go())["messages"]
    (said,) = results(messages)
    assert messages[-1].content == DONE.content
    assert (said.status, said.content) == ("error", error("it did not work").to_text())


def test_a_bug_of_a_segmenter_does_not_end_the_run(behaving: Callable[..., Any]) -> None:
    model = ScriptedModel(script=[calls({"image": "cup.png", "query": "red?"}), DONE])
    agent = create_agent(model, [LisaSegmentTool(segmenter=behaving(raising(RuntimeError("a bug"))))])
    (said,) = results(agent.invoke(go())["messages"])
    assert (said.status, said.content[-16:]) == ("error", "[internal_error]")


def test_arguments_that_do_not_fit_do_not_end_the_run(segmenter: LocalSegmenter) -> None:
    model = ScriptedModel(script=[calls({"picture": "cup.png"}), DONE])
    agent = create_agent(model, [LisaSegmentTool(segmenter=segmenter)])
    (said,) = results(agent.invoke(go())["messages"])
    assert said.status == "error"
    assert "query: Field required" in str(said.content)


def test_a_model_cannot_forge_the_runtime(segmenter: LocalSegmenter, photo: str) -> None:
    model = ScriptedModel(
        script=[calls({"image": "latest", "query": "red?", "runtime": {"state": {"messages": []}}}), DONE]
    )
    agent = create_agent(model, [LisaSegmentTool(segmenter=segmenter)])
    picture = base64.b64encode(Path(photo).read_bytes()).decode()
    block = {"type": "image", "base64": picture, "mime_type": "image/png"}
    (said,) = results(agent.invoke({"messages": [HumanMessage([block])]})["messages"])
    assert said.status == "success"


def test_every_step_is_traced_once(segmenter: LocalSegmenter, photo: str) -> None:
    model = ScriptedModel(script=[calls({"image": photo, "query": "red?"}), DONE])
    agent = create_agent(model, [LisaSegmentTool(segmenter=segmenter)])

    async def names() -> Counter[str]:
        return Counter([e["event"] async for e in agent.astream_events(go(), version="v2")])

    counted = asyncio.run(names())
    assert counted["on_tool_start"] == counted["on_tool_end"] == 1
    assert counted["on_custom_event"] >= 4
