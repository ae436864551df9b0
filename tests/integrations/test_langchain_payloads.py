"""What really goes to each provider for a result with an overlay: valid by its own types, and as on record.

The records are in payloads/; to renew them after a look at the change:

    LISA_TEST_RENEW=1 python -m pytest tests/integrations/test_langchain_payloads.py
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_anthropic", reason="needs the dependency group `frameworks`")
pytest.importorskip("langchain_openai", reason="needs the dependency group `frameworks`")
pytest.importorskip("langchain_google_genai", reason="needs the dependency group `frameworks`")

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from pydantic import TypeAdapter

from lisa_tool.integrations.langchain_middleware import LisaMiddleware
from lisa_tool.pipeline import LocalSegmenter
from tests.integrations.provider import provider

RECORDS = Path(__file__).with_name("payloads")
RENEW = bool(os.environ.get("LISA_TEST_RENEW"))  # read before the fixture that clears LISA_*
NO_USAGE = {"input_tokens": 0, "output_tokens": 0}


@dataclass(frozen=True)
class Speaker:
    """One protocol: its client for a URL, its reply that calls a tool, its reply that ends, its own types."""

    client: Callable[[str], BaseChatModel]
    calls: Callable[[str, dict[str, Any]], dict[str, Any]]
    ends: dict[str, Any]
    check: Callable[[dict[str, Any]], object]


def validate(kind: Any, value: Any) -> None:
    """Raises when `value` is not of this type of the provider's package."""
    adapter = TypeAdapter(kind)  # has to outlive what it makes
    walk(adapter.validate_python(value))


def walk(value: Any) -> None:
    """Pydantic checks what is in an `Iterable` when it is taken out."""
    if isinstance(value, dict):
        walk(list(value.values()))
    elif isinstance(value, Iterator | list):
        for item in value:
            walk(item)


def anthropic() -> Speaker:
    from anthropic.types import MessageParam

    def message(block: dict[str, Any], reason: str) -> dict[str, Any]:
        frame = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "usage": NO_USAGE}
        return {**frame, "content": [block], "stop_reason": reason, "stop_sequence": None}

    return Speaker(
        lambda url: ChatAnthropic(model="claude-sonnet-5-5", api_key="none", base_url=url, max_retries=0),  # type: ignore[call-arg, arg-type]
        lambda name, args: message(
            {"type": "tool_use", "id": "toolu_1", "name": name, "input": args}, "tool_use"
        ),
        message({"type": "text", "text": "done"}, "end_turn"),
        lambda body: validate(list[MessageParam], body["messages"]),
    )


def openai_chat() -> Speaker:
    from openai.types.chat import ChatCompletionMessageParam

    def message(reason: str, **fields: Any) -> dict[str, Any]:
        choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", **fields}}
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}

    def calling(name: str, args: dict[str, Any]) -> dict[str, Any]:
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(args)},
        }
        return message("tool_calls", content=None, tool_calls=[call])

    return Speaker(
        lambda url: ChatOpenAI(model="gpt-4.1", api_key="none", base_url=url, max_retries=0),  # type: ignore[arg-type]
        calling,
        message("stop", content="done"),
        lambda body: validate(list[ChatCompletionMessageParam], body["messages"]),
    )


def openai_responses() -> Speaker:
    from openai.types.responses import ResponseInputParam

    def response(id: str, item: dict[str, Any]) -> dict[str, Any]:
        frame = {"object": "response", "created_at": 1, "model": "m", "status": "completed", "metadata": {}}
        options = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        return {**frame, **options, "id": id, "output": [item]}

    def calling(name: str, args: dict[str, Any]) -> dict[str, Any]:
        call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed"}
        return response("resp_1", {**call, "name": name, "arguments": json.dumps(args)})

    said = {"type": "output_text", "text": "done", "annotations": []}
    end = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [said],
    }
    return Speaker(
        lambda url: ChatOpenAI(
            model="gpt-4.1",
            api_key="none",  # type: ignore[arg-type]
            base_url=url,
            max_retries=0,
            use_responses_api=True,
        ),
        calling,
        response("resp_2", end),
        lambda body: validate(ResponseInputParam, body["input"]),
    )


def gemini() -> Speaker:
    from google.genai.types import Content

    def candidate(part: dict[str, Any]) -> dict[str, Any]:
        content = {"role": "model", "parts": [part]}
        return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}

    return Speaker(
        lambda url: ChatGoogleGenerativeAI(
            model="gemini-2.5-flash", api_key="none", base_url=url, max_retries=1
        ),
        lambda name, args: candidate({"functionCall": {"name": name, "args": args}}),
        candidate({"text": "done"}),
        lambda body: validate(list[Content], body["contents"]),
    )


SPEAKERS = {
    "anthropic": anthropic,
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "gemini": gemini,
}


@pytest.mark.usefixtures("swept")
@pytest.mark.filterwarnings("default")  # a warning of a provider's package is not ours to mend
@pytest.mark.parametrize("name", SPEAKERS)
def test_a_result_with_its_overlay_arrives_in_a_form_that_the_provider_takes(
    name: str, segmenter: LocalSegmenter, photo: str
) -> None:
    speaker = SPEAKERS[name]()
    question = {"image": photo, "query": "what is red?"}
    with provider(speaker.calls("segment_image", question), speaker.ends) as served:
        agent = create_agent(speaker.client(served.url), middleware=[LisaMiddleware(segmenter=segmenter)])
        messages = agent.invoke({"messages": [HumanMessage("Where is the red cup?")]})["messages"]
    assert messages[-1].text == "done"
    body = served.requests[1]
    speaker.check(body)
    payload = without_chance(body, photo)
    assert json.dumps(payload).count("<JPEG>") == 1

    record = RECORDS / f"{name}.json"
    if RENEW:
        record.write_text(json.dumps(payload, indent=1) + "\n", encoding="utf-8")
    assert payload == json.loads(record.read_text("utf-8"))


def without_chance(value: Any, photo: str) -> Any:
    """A payload with names in place of what differs from run to run: paths, ids, pictures."""
    if isinstance(value, dict):
        return {key: without_chance(item, photo) for key, item in value.items()}
    if isinstance(value, list):
        return [without_chance(item, photo) for item in value]
    if not isinstance(value, str):
        return value
    text = value.replace(str(Path(photo).parent), "/photos")
    text = re.sub(r"(res|conv)_[0-9a-f]{32}", r"\1_<id>", text)
    return re.sub(r"[A-Za-z0-9+/_-]{400,}={0,2}", _kind, text)


def _kind(found: re.Match[str]) -> str:
    data = base64.b64decode(found[0].replace("-", "+").replace("_", "/"))
    return "<JPEG>" if data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9") else "<?>"
