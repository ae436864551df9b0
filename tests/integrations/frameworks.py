"""Each framework for real, with a model that calls `segment_image` once and then ends.

Every function here runs an agent of its framework and tells what the model was shown for its call.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from lisa_tool.segmenter import Segmenter

REQUIRED = bool(os.environ.get("LISA_TEST_FRAMEWORKS"))
"""Whether CI wants every framework to be here; read at once, for a fixture clears `LISA_*` variables."""

Arguments = dict[str, Any]


@dataclass
class Run:
    """What a run came to.

    text, pictures: what the model was shown for its call. end: what the run gave its user. described: the
    arguments that the model was told of -> their descriptions.
    """

    end: str = ""
    text: str = ""
    pictures: list[bytes] = field(default_factory=list)
    described: dict[str, str] = field(default_factory=dict)
    program: Any = None

    def describe(self, schema: Any) -> None:
        """Note the arguments of a JSON schema."""
        self.described = {name: part.get("description", "") for name, part in schema["properties"].items()}

    def picture(self, data_url: str) -> None:
        """Note a picture in a data URL."""
        self.pictures.append(base64.b64decode(data_url.split(",", 1)[1]))


def llamaindex(segmenter: Segmenter, arguments: Arguments, **options: Any) -> Run:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
    from llama_index.core.llms.mock import MockFunctionCallingLLM

    from lisa_tool.integrations.llamaindex import segment_tool

    run = Run()
    tool = segment_tool(segmenter=segmenter, **options)
    run.describe(tool.metadata.get_parameters_dict())

    def say(messages: Any, **_: Any) -> ChatMessage:
        answers = [message for message in messages if message.role == "tool"]
        if not answers:
            call = ToolCallBlock(tool_call_id="1", tool_name="segment_image", tool_kwargs=arguments)
            return ChatMessage(role="assistant", blocks=[call])
        for block in answers[-1].blocks:
            if isinstance(block, TextBlock):
                run.text += block.text
            elif isinstance(block, ImageBlock):
                run.pictures.append(block.resolve_image().read())
        return ChatMessage(role="assistant", content="done")

    async def go() -> str:
        llm = MockFunctionCallingLLM(response_generator=say, is_chat_model=True)
        return str(await FunctionAgent(tools=[tool], llm=llm, streaming=False).run("Where?"))

    run.end = asyncio.run(go())
    return run


def openai_agents(segmenter: Segmenter, arguments: Arguments, **options: Any) -> Run:
    from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage
    from openai.types.responses import (
        ResponseFunctionToolCall,
        ResponseOutputMessage,
        ResponseOutputText,
    )

    from lisa_tool.integrations.openai_agents import segment_tool

    run = Run()
    tool = segment_tool(segmenter=segmenter, **options)
    run.describe(tool.params_json_schema)

    class Scripted(Model):
        async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> Any:
            answers = [item for item in input if isinstance(item, dict) and "output" in item]
            if not answers:
                call = ResponseFunctionToolCall(
                    type="function_call",
                    call_id="1",
                    name="segment_image",
                    arguments=json.dumps(arguments),
                )
                return ModelResponse(output=[call], usage=Usage(), response_id=None)
            output = answers[-1]["output"]
            for part in [{"type": "input_text", "text": output}] if isinstance(output, str) else output:
                if part["type"] == "input_text":
                    run.text += part["text"]
                else:
                    run.picture(part["image_url"])
            text = ResponseOutputText(type="output_text", text="done", annotations=[])
            message = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=[text]
            )
            return ModelResponse(output=[message], usage=Usage(), response_id=None)

        def stream_response(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    agent = Agent(name="looker", tools=[tool], model=Scripted())
    config = RunConfig(tracing_disabled=True)
    run.end = str(asyncio.run(Runner.run(agent, "Where?", run_config=config)).final_output)
    return run


def pydantic_ai(segmenter: Segmenter, arguments: Arguments, **options: Any) -> Run:
    from pydantic_ai import Agent, BinaryContent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    from lisa_tool.integrations.pydantic_ai import segment_tool

    run = Run()
    tool = segment_tool(segmenter=segmenter, **options)
    run.describe(tool.function_schema.json_schema)

    def say(messages: Any, info: Any) -> ModelResponse:
        (part,) = [part for part in messages[-1].parts if part.part_kind != "user-prompt"] or [None]
        if part is None:
            return ModelResponse([ToolCallPart("segment_image", arguments)])
        content = part.content if isinstance(part.content, list) else [part.content]
        for item in content:
            if isinstance(item, BinaryContent):
                run.pictures.append(item.data)
            else:
                run.text += item
        run.program = part.metadata
        return ModelResponse([TextPart("done")])

    run.end = Agent(FunctionModel(say), tools=[tool]).run_sync("Where?").output
    return run


def google_adk(segmenter: Segmenter, arguments: Arguments, **options: Any) -> Run:
    from google.adk.agents import LlmAgent
    from google.adk.models import BaseLlm, LlmResponse
    from google.adk.runners import InMemoryRunner
    from google.genai.types import Content, Part

    from lisa_tool.integrations.google_adk import RESULT_KEY, segment_tool

    run = Run()

    class Scripted(BaseLlm):
        async def generate_content_async(
            self, request: Any, stream: bool = False
        ) -> AsyncGenerator[Any, None]:
            (declared,) = request.config.tools[0].function_declarations
            run.describe(declared.parameters_json_schema)
            answers = [
                part.function_response
                for content in request.contents
                for part in content.parts
                if part.function_response
            ]
            if answers:
                response = answers[-1].response
                run.text = response.get("result") or response["error"]
                run.pictures = [part.inline_data.data for part in answers[-1].parts or []]
                part = Part(text="done")
            else:
                part = Part.from_function_call(name="segment_image", args=arguments)
            yield LlmResponse(content=Content(role="model", parts=[part]))

    tool = segment_tool(segmenter=segmenter, **options)
    agent = LlmAgent(name="looker", model=Scripted(model="scripted"), tools=[tool])

    async def go() -> str:
        runner = InMemoryRunner(agent=agent)
        events = await runner.run_debug("Where?", session_id="s", user_id="u", quiet=True)
        session = await runner.session_service.get_session(
            app_name=runner.app_name, user_id="u", session_id="s"
        )
        run.program = session.state.get(RESULT_KEY) if session else None
        return str(events[-1].content.parts[0].text)  # type: ignore[union-attr, index]

    run.end = asyncio.run(go())
    return run


def smolagents(segmenter: Segmenter, arguments: Arguments, return_image: str = "none") -> Run:
    from smolagents import ToolCallingAgent
    from smolagents.models import (
        ChatMessage,
        ChatMessageToolCall,
        ChatMessageToolCallFunction,
        MessageRole,
        Model,
    )
    from smolagents.monitoring import LogLevel

    from lisa_tool.integrations.smolagents import SegmentTool

    run = Run()
    tool = SegmentTool(segmenter=segmenter)
    run.described = {name: part["description"] for name, part in tool.inputs.items()}

    class Scripted(Model):
        def generate(self, messages: Any, **_: Any) -> ChatMessage:
            answers = [m for m in messages if m.role == MessageRole.TOOL_RESPONSE]
            if answers:
                run.text = "".join(part["text"] for part in answers[-1].content)
                name, args = "final_answer", {"answer": "done"}
                for message in messages:
                    for part in message.content if isinstance(message.content, list) else []:
                        if part["type"] == "image":
                            file = io.BytesIO()
                            part["image"].save(file, format="JPEG")
                            run.pictures.append(file.getvalue())
            else:
                name, args = "segment_image", arguments
            function = ChatMessageToolCallFunction(name=name, arguments=args)
            call = ChatMessageToolCall(id=name, type="function", function=function)
            return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])

    callbacks = [tool.show_overlay] if return_image == "overlay" else []
    agent = ToolCallingAgent(
        tools=[tool], model=Scripted(), step_callbacks=callbacks, verbosity_level=LogLevel.OFF
    )
    run.end = str(agent.run("Where?"))
    return run


FRAMEWORKS: dict[str, tuple[str, Callable[..., Run]]] = {
    "llamaindex": ("llama_index.core", llamaindex),
    "openai-agents": ("agents", openai_agents),
    "pydantic-ai": ("pydantic_ai", pydantic_ai),
    "google-adk": ("google.adk", google_adk),
    "smolagents": ("smolagents", smolagents),
}
"""Extra -> the module that shows that it is installed, and how to run it."""
