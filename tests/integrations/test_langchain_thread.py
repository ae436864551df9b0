"""What the tool knows of the thread it is called in: attached images, and the conversation so far."""

from __future__ import annotations

import base64
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from lisa_tool.errors import ImageNotFound
from lisa_tool.integrations import _thread
from lisa_tool.integrations._thread import Handles
from lisa_tool.integrations.langchain import LisaSegmentTool
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from tests.cli.fakes import answer
from tests.integrations.scripted import calls
from tests.red import RedBackend, red_photo

PNG = "image/png"
PATIENCE_S = 30


@pytest.fixture
def tool(segmenter: LocalSegmenter) -> LisaSegmentTool:
    return LisaSegmentTool(segmenter=segmenter)


def base64_of(path: str | Path) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


def attached(path: str | Path) -> HumanMessage:
    return HumanMessage([{"type": "image", "base64": base64_of(path), "mime_type": PNG}])


def ask(
    tool: LisaSegmentTool,
    messages: Sequence[AnyMessage] = (),
    thread: str | None = None,
    state: Any = None,
    configurable: dict[str, str] | None = None,
    **arguments: Any,
) -> ToolMessage:
    """Call the tool as LangGraph does: the runtime beside the model's arguments, the thread in the config."""
    runtime = SimpleNamespace(state={"messages": list(messages)} if state is None else state)
    args = {"query": "what is red?", **arguments, "runtime": runtime}
    config = {"configurable": configurable or ({"thread_id": thread} if thread else {})}
    message = tool.invoke(
        {"name": tool.name, "args": args, "id": "call_1", "type": "tool_call"},
        config,  # type: ignore[arg-type]
    )
    assert isinstance(message, ToolMessage)
    return message


def forget_conversations(settings: Settings) -> None:
    for file in (settings.output_dir / "conversations").iterdir():
        file.unlink()


def n_masks(message: ToolMessage) -> int:
    assert message.status == "success", message.content
    return len(message.artifact["masks"])


# Attached images


FORMS: dict[str, Callable[[str], Any]] = {
    "LangChain": lambda data: {"type": "image", "base64": data, "mime_type": PNG},
    "LangChain v0": lambda data: {"type": "image", "source_type": "base64", "data": data, "mime_type": PNG},
    "OpenAI Chat Completions": lambda data: {
        "type": "image_url",
        "image_url": {"url": f"data:{PNG};base64,{data}"},
    },
    "image_url as text": lambda data: {"type": "image_url", "image_url": f"data:{PNG};base64,{data}"},
    "OpenAI Responses": lambda data: {"type": "input_image", "image_url": f"data:{PNG};base64,{data}"},
    "Anthropic": lambda data: {
        "type": "image",
        "source": {"type": "base64", "media_type": PNG, "data": data},
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_the_latest_image_is_found_in_every_form_that_people_attach_one(
    form: str, tool: LisaSegmentTool, photo: str, other_photo: str
) -> None:
    newer = HumanMessage([FORMS[form](base64_of(other_photo))])
    messages: list[AnyMessage] = [attached(photo), AIMessage("nice"), newer]
    assert n_masks(ask(tool, messages, image="latest")) == 2


def test_images_are_numbered_in_their_order(tool: LisaSegmentTool, photo: str, other_photo: str) -> None:
    messages = [attached(photo), attached(other_photo)]
    assert [n_masks(ask(tool, messages, image=f"image:{n}")) for n in (1, 2)] == [1, 2]
    assert n_masks(ask(tool, messages, image=" Image:2 ")) == 2


@pytest.mark.parametrize("state", ["list", "object"])
def test_the_state_of_a_graph_may_also_be_a_list_or_an_object(
    state: str, tool: LisaSegmentTool, photo: str
) -> None:
    messages = [attached(photo)]
    shape = messages if state == "list" else SimpleNamespace(messages=messages)
    assert n_masks(ask(tool, state=shape, image="latest")) == 1


@pytest.mark.parametrize(
    ("image", "said"), [("latest", "holds 0 images"), ("image:3", "holds 1 image, so there is no image 3")]
)
def test_an_image_that_is_not_there_is_said_to_be_missing(
    image: str, said: str, tool: LisaSegmentTool, photo: str
) -> None:
    messages = [attached(photo)] if image != "latest" else []
    message = ask(tool, messages, image=image)
    assert message.status == "error"
    assert said in str(message.content)
    assert str(message.content).endswith("[image_not_found]")


@pytest.mark.parametrize("number", ["0", "9" * 5000])
def test_no_number_of_an_image_ends_the_run(number: str, tool: LisaSegmentTool, photo: str) -> None:
    assert ask(tool, [attached(photo)], image=f"image:{number}").status == "error"


def test_an_image_that_only_the_provider_has_is_asked_for(tool: LisaSegmentTool) -> None:
    message = ask(tool, [HumanMessage([{"type": "image", "file_id": "file-1"}])], image="latest")
    assert message.status == "error"
    assert "file id" in str(message.content)


def test_pictures_that_tools_made_are_not_attached_images(tool: LisaSegmentTool, photo: str) -> None:
    made = ToolMessage(attached(photo).content, tool_call_id="1", name="view_result")
    assert ask(tool, [made], image="latest").status == "error"


def test_langgraph_fills_in_the_thread_without_an_agent(tool: LisaSegmentTool, photo: str) -> None:
    pytest.importorskip("langgraph", reason="needs langgraph")
    from langgraph.graph import MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    graph = StateGraph(MessagesState).add_node("tools", ToolNode([tool])).set_entry_point("tools").compile()
    asked = calls({"image": "latest", "query": "what is red?"})
    answer = graph.invoke({"messages": [attached(photo), asked]})["messages"][-1]  # type: ignore[arg-type]
    assert n_masks(answer) == 1


def test_without_a_word_about_the_image_it_is_the_one_attached(tool: LisaSegmentTool, photo: str) -> None:
    assert n_masks(ask(tool, [attached(photo)])) == 1


# Conversations


def test_the_next_question_of_a_thread_goes_on_with_its_conversation(
    tool: LisaSegmentTool, backend: RedBackend, photo: str
) -> None:
    first = ask(tool, thread="1", image=photo)
    second = ask(tool, thread="1", query="and what else?")
    assert second.artifact["conversation_id"] == first.artifact["conversation_id"]
    assert [turn.query for turn in backend.asked[1].history] == ["what is red?"]


def test_another_thread_knows_nothing_of_it(tool: LisaSegmentTool, photo: str) -> None:
    first = ask(tool, thread="1", image=photo)
    assert ask(tool, thread="2").status == "error"
    second = ask(tool, thread="2", image=photo)
    assert second.artifact["conversation_id"] != first.artifact["conversation_id"]


def test_without_a_thread_nothing_is_remembered(tool: LisaSegmentTool, photo: str) -> None:
    ask(tool, image=photo)
    assert ask(tool).status == "error"


def test_each_image_of_a_thread_has_its_own_conversation(
    tool: LisaSegmentTool, backend: RedBackend, photo: str, other_photo: str
) -> None:
    first = ask(tool, thread="1", image=photo)
    other = ask(tool, thread="1", image=other_photo)
    assert other.artifact["conversation_id"] != first.artifact["conversation_id"]
    back = ask(tool, thread="1", image=photo, query="and?")
    assert back.artifact["conversation_id"] == first.artifact["conversation_id"]
    assert [turn.query for turn in backend.asked[2].history] == ["what is red?"]


def test_an_attached_image_keeps_its_conversation_too(
    tool: LisaSegmentTool, backend: RedBackend, photo: str
) -> None:
    messages: list[AnyMessage] = [attached(photo)]
    messages.append(ask(tool, messages, thread="1", image="latest"))
    again = ask(tool, messages, thread="1", image="latest", query="and?")
    assert [turn.query for turn in backend.asked[1].history] == ["what is red?"]
    assert again.artifact["conversation_id"] == messages[1].artifact["conversation_id"]  # type: ignore[union-attr]


def test_after_a_restart_the_conversation_is_found_in_the_messages(
    tool: LisaSegmentTool, backend: RedBackend, segmenter: LocalSegmenter, photo: str
) -> None:
    before = ask(tool, thread="1", image=photo)
    restarted = LisaSegmentTool(segmenter=segmenter)
    after = ask(restarted, [before], thread="1", query="and?")
    assert after.artifact["conversation_id"] == before.artifact["conversation_id"]
    assert [turn.query for turn in backend.asked[1].history] == ["what is red?"]


def test_messages_win_over_memory_so_that_a_fork_of_a_thread_goes_its_own_way(
    tool: LisaSegmentTool, photo: str, other_photo: str
) -> None:
    first = ask(tool, thread="1", image=photo)
    ask(tool, [first], thread="1", image=other_photo)
    forked = ask(tool, [first], thread="1")
    assert forked.artifact["image"]["source"] == photo


def test_an_image_attached_since_the_last_answer_is_the_new_subject(
    tool: LisaSegmentTool, photo: str, other_photo: str
) -> None:
    first = ask(tool, thread="1", image=photo)
    assert n_masks(ask(tool, [first, attached(other_photo)], thread="1")) == 2
    assert n_masks(ask(tool, [attached(other_photo), first], thread="1")) == 1


def test_a_conversation_that_the_model_names_wins(
    tool: LisaSegmentTool, photo: str, other_photo: str
) -> None:
    first = ask(tool, thread="1", image=photo)
    ask(tool, thread="1", image=other_photo)
    named = ask(tool, thread="1", conversation=first.artifact["conversation_id"])
    assert named.artifact["image"]["source"] == photo


def test_the_program_may_name_the_thread_or_the_conversation(tool: LisaSegmentTool, photo: str) -> None:
    first = ask(tool, configurable={"thread_id": "1", "lisa_conversation_id": "shared"}, image=photo)
    handle = first.artifact["conversation_id"]
    for configurable in (
        {"thread_id": "2", "lisa_conversation_id": "shared"},
        {"thread_id": "3", "lisa_conversation_id": handle},
    ):
        assert ask(tool, configurable=configurable).artifact["conversation_id"] == handle


def test_in_place_of_a_conversation_that_has_ended_a_new_one_begins(
    tool: LisaSegmentTool, segmenter: LocalSegmenter, photo: str
) -> None:
    first = ask(tool, thread="1", image=photo)
    forget_conversations(segmenter.settings)
    second = ask(tool, thread="1", image=photo)
    assert "has ended" in str(second.content)
    third = ask(tool, thread="1")
    assert third.artifact["conversation_id"] == second.artifact["conversation_id"]
    assert third.artifact["conversation_id"] != first.artifact["conversation_id"]


@pytest.mark.parametrize("artifact", [None, "text", {}, {"conversation_id": "x"}, {"image": {}}])
def test_a_message_that_is_no_result_is_passed_over(artifact: Any, tool: LisaSegmentTool, photo: str) -> None:
    strange = ToolMessage("?", tool_call_id="1", name="segment_image", artifact=artifact)
    assert ask(tool, [strange], image=photo).status == "success"


def test_a_damaged_attachment_is_an_error_of_the_image(tool: LisaSegmentTool) -> None:
    broken = HumanMessage([{"type": "image", "base64": "?", "mime_type": PNG}])
    message = ask(tool, [broken], thread="1", image="latest")
    assert str(message.content).endswith("[image_unreadable]")


def test_an_attached_image_is_known_after_a_restart(
    tool: LisaSegmentTool, settings: Settings, photo: str, other_photo: str
) -> None:
    messages: list[AnyMessage] = [attached(photo), attached(other_photo)]
    messages.append(ask(tool, messages, thread="1", image="image:1"))
    restarted = RedBackend()
    after = ask(LisaSegmentTool(segmenter=LocalSegmenter(restarted, settings)), messages, thread="1")
    assert n_masks(after) == 1
    assert [turn.query for turn in restarted.asked[0].history] == ["what is red?"]


@pytest.mark.parametrize("named", [False, True])
def test_without_a_word_about_the_image_an_ended_conversation_begins_anew(
    named: bool, tool: LisaSegmentTool, settings: Settings, photo: str, other_photo: str
) -> None:
    messages: list[AnyMessage] = [attached(photo)]
    messages.append(ask(tool, messages, thread="1", image="latest"))
    messages.append(ask(tool, messages, thread="1", image=other_photo))
    forget_conversations(settings)
    handle = messages[2].artifact["conversation_id"] if named else ""  # type: ignore[union-attr]
    after = ask(tool, messages, thread="1", conversation=handle)
    assert n_masks(after) == 2
    assert "has ended" in str(after.content)


def test_the_image_of_the_conversation_that_the_model_names_is_the_subject(
    tool: LisaSegmentTool, photo: str, other_photo: str
) -> None:
    messages: list[AnyMessage] = [attached(photo)]
    messages.append(ask(tool, messages, thread="1", image=other_photo))
    messages.append(ask(tool, messages, thread="1", image="latest"))
    handle = messages[1].artifact["conversation_id"]  # type: ignore[union-attr]
    assert n_masks(ask(tool, messages, thread="1", conversation=handle)) == 2


def test_a_path_in_a_result_is_read_only_where_the_model_may_read(
    tool: LisaSegmentTool, tmp_path: Path
) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    red_photo((10, 10, 20, 30)).save(outside)
    image = {"source": str(outside), "sha256": "0" * 64}
    artifact = {"conversation_id": "conv_" + "0" * 32, "image": image}
    forged = ToolMessage("ok", tool_call_id="1", name="segment_image", artifact=artifact)
    assert str(ask(tool, [forged], thread="1").content).endswith("[path_not_allowed]")


def test_ways_to_write_one_path_are_one_image(
    tool: LisaSegmentTool, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    messages: list[AnyMessage] = [ask(tool, thread="1", image="./cup.png")]
    for image, seen in ((photo, messages), ("cup.png", messages), (photo, [])):
        again = ask(tool, seen, thread="1", image=image)
        assert again.artifact["conversation_id"] == messages[0].artifact["conversation_id"]


# Memory


def test_threads_of_one_name_without_a_message_in_common_are_two(tool: LisaSegmentTool, photo: str) -> None:
    alices, bobs = ([HumanMessage(name, id=name)] for name in ("alice", "bob"))
    first = ask(tool, alices, thread="1", image=photo)
    assert ask(tool, bobs, thread="1").status == "error"
    theirs = ask(tool, bobs, thread="1", image=photo)
    assert theirs.artifact["conversation_id"] != first.artifact["conversation_id"]
    again = ask(tool, alices, thread="1")
    assert again.artifact["conversation_id"] == first.artifact["conversation_id"]


@pytest.mark.parametrize(
    "left",
    [
        AIMessage("It is a cup."),
        HumanMessage("So far: a cup.", additional_kwargs={"lc_source": "summarization"}, id="summary"),
    ],
)
def test_where_messages_were_cut_the_thread_is_known_by_its_name(
    left: AnyMessage, tool: LisaSegmentTool, photo: str
) -> None:
    first = ask(tool, [HumanMessage("Look.", id="1")], thread="1", image=photo)
    again = ask(tool, [left], thread="1")
    assert again.artifact["conversation_id"] == first.artifact["conversation_id"]


def test_a_thread_that_the_program_names_is_one_whatever_its_messages(
    tool: LisaSegmentTool, photo: str
) -> None:
    handles = {
        ask(
            tool,
            [HumanMessage(name, id=name)],
            configurable={"thread_id": name, "lisa_conversation_id": "shared"},
            image=photo,
        ).artifact["conversation_id"]
        for name in ("alice", "bob")
    }
    assert len(handles) == 1


def test_a_conversation_of_the_program_that_has_ended_begins_anew_once(
    tool: LisaSegmentTool, photo: str
) -> None:
    pinned = {"thread_id": "1", "lisa_conversation_id": "conv_" + "0" * 32}
    messages: list[AnyMessage] = [HumanMessage("Look.", id="1")]
    messages.append(ask(tool, messages, configurable=pinned, image=photo))
    assert "has ended" in str(messages[1].content)
    for image in (photo, ""):
        again = ask(tool, messages, configurable=pinned, image=image)
        assert "has ended" not in str(again.content)
        assert again.artifact["conversation_id"] == messages[1].artifact["conversation_id"]  # type: ignore[union-attr]


def test_first_questions_about_an_image_that_come_at_once_share_a_conversation(
    segmenter: LocalSegmenter, backend: RedBackend, photo: str
) -> None:
    tool, both = LisaSegmentTool(segmenter=segmenter), threading.Barrier(4)

    def one(number: int) -> ToolMessage:
        both.wait(PATIENCE_S)
        return ask(tool, [HumanMessage("Look.", id="1")], thread="1", image=photo, query=f"red {number}?")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(one, range(4)))
    assert len({message.artifact["conversation_id"] for message in answers}) == 1


def test_when_the_first_of_them_fails_the_next_begins(behaving: Callable[..., Any]) -> None:
    asked = 0

    def behave(conversation_id: str | None, **_: Any) -> Segmentation:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ImageNotFound("not yet")
        return answer(conversation_id="conv_1")

    tool = LisaSegmentTool(segmenter=behaving(behave))
    assert [ask(tool, thread="1", image="cup.png").status for _ in range(2)] == ["error", "success"]


def remembered(handles: Handles, thread: str) -> str:
    with handles.conversation(thread, "a") as handle:
        return handle


def test_what_is_remembered_is_bounded_and_the_longest_unused_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_thread, "KEPT", 4)
    handles = Handles()
    handles.keep("1", "a", "conv_1a")
    handles.keep("2", "a", "conv_2a")
    assert remembered(handles, "1") == "conv_1a"  # used again, so now the last to go
    handles.keep("3", "a", "conv_3a")
    assert [remembered(handles, name) for name in ("1", "2", "3")] == ["conv_1a", "", "conv_3a"]


def test_a_pickled_memory_is_empty() -> None:
    handles = Handles()
    handles.keep("1", "a", "conv_1a")
    assert remembered(pickle.loads(pickle.dumps(handles)), "1") == ""


def test_a_large_attachment_is_remembered_by_its_digest(tool: LisaSegmentTool, tmp_path: Path) -> None:
    red_photo((10, 10, 20, 30), size=(400, 400)).save(tmp_path / "large.bmp")
    ask(tool, [attached(tmp_path / "large.bmp")], thread="1", image="latest")
    assert max(len(image) for _, image in tool._handles._handles) == 64
