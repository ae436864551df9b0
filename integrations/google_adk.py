"""lisa-tool for Google's Agent Development Kit.

    agent = LlmAgent(name="...", model="gemini-...", tools=[segment_tool()])

The model gets the text of an answer as `result` and, when asked for, its overlay as a picture beside it. The
JSON result is in the session's state under `RESULT_KEY`. An error is `{"error": text}`: the model reads it.
"""

from __future__ import annotations

from typing import Any

from lisa_tool.errors import LisaError
from lisa_tool.integrations import _common as common
from lisa_tool.integrations._common import ReturnImage, Toolbox, extra
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

with extra("google-adk", "Google ADK"):
    from google.adk.tools import FunctionTool, ToolContext
    from google.genai.types import Part

__all__ = ["RESULT_KEY", "segment_tool"]

RESULT_KEY = "lisa_result"
"""Where the session's state holds the last result."""


def segment_tool(
    settings: Settings | None = None, segmenter: Segmenter | None = None, return_image: ReturnImage = "none"
) -> FunctionTool:
    """The tool `segment_image`. return_image: "overlay" adds the overlay for models that see."""
    toolbox = Toolbox(settings, segmenter, return_image)

    async def segment_image(
        query: common.QueryText,
        tool_context: ToolContext,
        image: common.ImageName = "",
        explain: common.WithReason = True,
        conversation: common.ConversationHandle = "",
    ) -> dict[str, Any]:
        try:
            reply = await toolbox.asegment(image, query, explain, conversation)
        except LisaError as e:
            return {"error": e.to_text()}
        tool_context.state[RESULT_KEY] = reply.data
        answer: dict[str, Any] = {"result": reply.text}
        if reply.picture:
            answer["overlay"] = Part.from_bytes(data=reply.picture, mime_type="image/jpeg")
        return answer

    segment_image.__doc__ = common.SEGMENT_DESCRIPTION  # ADK reads the description off the function
    return FunctionTool(segment_image)
