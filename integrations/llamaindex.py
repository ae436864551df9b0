"""lisa-tool for LlamaIndex.

    agent = FunctionAgent(tools=[segment_tool()], llm=llm)

The model gets the text of an answer and, when asked for, its overlay as blocks. A failure is an exception
whose text the agent hands to the model.
"""

# No postponed annotations here: LlamaIndex reads the arguments' types off the function as they are.
from typing import Any

from lisa_tool.errors import LisaError
from lisa_tool.integrations import _common as common
from lisa_tool.integrations._common import Reply, ReturnImage, Toolbox, extra
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

with extra("llamaindex", "llama-index-core"):
    from llama_index.core.base.llms.types import ImageBlock, TextBlock
    from llama_index.core.tools import FunctionTool

__all__ = ["segment_tool"]


def segment_tool(
    settings: Settings | None = None, segmenter: Segmenter | None = None, return_image: ReturnImage = "none"
) -> FunctionTool:
    """The tool `segment_image`. return_image: "overlay" adds the overlay for models that see."""
    toolbox = Toolbox(settings, segmenter, return_image)

    def segment_image(
        query: common.QueryText,
        image: common.ImageName = "",
        explain: common.WithReason = True,
        conversation: common.ConversationHandle = "",
    ) -> list[Any]:
        try:
            return _blocks(toolbox.segment(image, query, explain=explain, conversation=conversation))
        except LisaError as e:
            raise RuntimeError(e.to_text()) from e

    async def asegment_image(
        query: str, image: str = "", explain: bool = True, conversation: str = ""
    ) -> list[Any]:
        try:
            return _blocks(await toolbox.asegment(image, query, explain, conversation))
        except LisaError as e:
            raise RuntimeError(e.to_text()) from e

    return FunctionTool.from_defaults(
        segment_image,
        async_fn=asegment_image,
        name=common.SEGMENT_NAME,
        description=common.SEGMENT_DESCRIPTION,
    )


def _blocks(reply: Reply) -> list[Any]:
    pictures = [ImageBlock(image=reply.picture, image_mimetype="image/jpeg")] if reply.picture else []
    return [TextBlock(text=reply.text), *pictures]
