"""lisa-tool for smolagents.

    tool = SegmentTool()
    agent = CodeAgent(tools=[tool], model=model, step_callbacks=[tool.show_overlay])

An answer is the JSON result as a dict that prints as its text: code works with the one, a model reads the
other. The overlay reaches a model that sees through the step callback. `image` may also be a PIL image.
"""

from __future__ import annotations

import io
from collections import deque
from typing import Any

from PIL import Image

from lisa_tool.errors import LisaError
from lisa_tool.integrations import _common as common
from lisa_tool.integrations._common import Toolbox, extra
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

with extra("smolagents", "smolagents"):
    from smolagents import Tool

__all__ = ["Answer", "SegmentTool"]

SHOWN = 4
"""Overlays of one step that the model is shown, the newest, at most."""


class Answer(dict[str, Any]):
    """The JSON result of a question; `str()` of it is the text for a model."""

    def __init__(self, data: dict[str, Any], text: str) -> None:
        super().__init__(data)
        self.text = text

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class SegmentTool(Tool):  # type: ignore[misc,unused-ignore]
    """The tool `segment_image`; raises RuntimeError with a text that the agent hands to the model."""

    name = common.SEGMENT_NAME
    description = common.SEGMENT_DESCRIPTION
    inputs = {  # noqa: RUF012  # smolagents wants a dict here; "image" would refuse PIL images
        "query": {"type": "string", "description": common.QUERY_ARGUMENT},
        "image": {"type": "any", "description": common.IMAGE_ARGUMENT, "nullable": True},
        "explain": {"type": "boolean", "description": common.EXPLAIN_ARGUMENT, "nullable": True},
        "conversation": {"type": "string", "description": common.CONVERSATION_ARGUMENT, "nullable": True},
    }
    output_type = "object"

    def __init__(self, settings: Settings | None = None, segmenter: Segmenter | None = None) -> None:
        super().__init__()
        self._toolbox = Toolbox(settings, segmenter, return_image="overlay")
        self._overlays: deque[Image.Image] = deque(maxlen=SHOWN)

    def forward(
        self, query: str, image: Any = "", explain: bool | None = True, conversation: str | None = ""
    ) -> Answer:
        """Answer a question about an image; see `Segmenter.segment`."""
        try:
            reply = self._toolbox.segment(
                image or "", query, explain=explain is not False, conversation=conversation or ""
            )
        except LisaError as e:
            raise RuntimeError(e.to_text()) from e
        if reply.picture:
            self._overlays.append(Image.open(io.BytesIO(reply.picture)))
        return Answer(reply.data, reply.text)

    def show_overlay(self, step: Any, agent: Any = None) -> None:
        """A step callback: shows the model the overlays of the step, beside what else it observes."""
        if self._overlays:
            step.observations_images = [*(step.observations_images or []), *self._overlays]
            self._overlays.clear()
