"""lisa-tool for Pydantic AI.

    agent = Agent(model, tools=[segment_tool()])

The model gets the text of an answer and, when asked for, its overlay; the program gets the JSON result as the
tool return's `metadata`. A failure is a failed result that the model reads, and takes no retry of the run.
"""

from __future__ import annotations

from lisa_tool.errors import LisaError
from lisa_tool.integrations import _common as common
from lisa_tool.integrations._common import ReturnImage, Toolbox, extra
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

with extra("pydantic-ai", "Pydantic AI"):
    from pydantic_ai import BinaryContent, Tool, ToolReturn
    from pydantic_ai.exceptions import ToolFailed

__all__ = ["segment_tool"]


def segment_tool(
    settings: Settings | None = None, segmenter: Segmenter | None = None, return_image: ReturnImage = "none"
) -> Tool[object]:
    """The tool `segment_image`. return_image: "overlay" adds the overlay for models that see."""
    toolbox = Toolbox(settings, segmenter, return_image)

    async def segment_image(
        query: common.QueryText,
        image: common.ImageName = "",
        explain: common.WithReason = True,
        conversation: common.ConversationHandle = "",
    ) -> ToolReturn:
        try:
            reply = await toolbox.asegment(image, query, explain, conversation)
        except LisaError as e:
            raise ToolFailed(e.to_text()) from e
        pictures = [BinaryContent(reply.picture, media_type="image/jpeg")] if reply.picture else []
        return ToolReturn([reply.text, *pictures] if pictures else reply.text, metadata=reply.data)

    return Tool(segment_image, name=common.SEGMENT_NAME, description=common.SEGMENT_DESCRIPTION)
