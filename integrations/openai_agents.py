"""lisa-tool for the OpenAI Agents SDK.

    agent = Agent(name="...", tools=[segment_tool()])

The model gets the text of an answer and, when asked for, its overlay; the Responses API shows the picture,
while the SDK's Chat Completions model drops it. Errors come back as text and the run goes on.
"""

from __future__ import annotations

from typing import Any

from lisa_tool.errors import LisaError
from lisa_tool.integrations import _common as common
from lisa_tool.integrations._common import ReturnImage, Toolbox, extra
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

with extra("openai-agents", "the OpenAI Agents SDK"):
    from agents import (
        FunctionTool,
        ToolOutputImage,
        ToolOutputText,
        default_tool_error_function,
        function_tool,
    )

__all__ = ["segment_tool"]


def segment_tool(
    settings: Settings | None = None, segmenter: Segmenter | None = None, return_image: ReturnImage = "none"
) -> FunctionTool:
    """The tool `segment_image`. return_image: "overlay" adds the overlay for models that see."""
    toolbox = Toolbox(settings, segmenter, return_image)

    def say(context: Any, error: Exception) -> str:
        return (
            error.to_text() if isinstance(error, LisaError) else default_tool_error_function(context, error)
        )

    async def segment_image(
        query: common.QueryText,
        image: common.ImageName = "",
        explain: common.WithReason = True,
        conversation: common.ConversationHandle = "",
    ) -> list[ToolOutputText | ToolOutputImage]:
        reply = await toolbox.asegment(image, query, explain, conversation)
        picture = f"data:image/jpeg;base64,{reply.picture_base64}"
        return [
            ToolOutputText(text=reply.text),
            *([ToolOutputImage(image_url=picture)] if reply.picture else []),
        ]

    return function_tool(
        segment_image,
        name_override=common.SEGMENT_NAME,
        description_override=common.SEGMENT_DESCRIPTION,
        failure_error_function=say,
    )
