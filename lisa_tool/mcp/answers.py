"""What the tools answer with, as text and as structured data: each alone says everything.

Clients show a model one of the two (Claude Code and VS Code drop the text when there is structured data),
and many drop pictures. So both carry all facts and absolute paths, there is never base64 in the structured
data, and no resource link (LangChain would send it to the model's provider as an image).

The whole of an answer is at most `MAX_ANSWER_BYTES`: 400 kB of picture, 100 kB of data, a few kB of text; a
listing is 200 kB of data and text.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Literal

from mcp.types import Annotations, CallToolResult, ContentBlock, ImageContent, TextContent
from pydantic import BaseModel, ConfigDict, Field

from lisa_tool.images import ListedImage
from lisa_tool.mcp import texts
from lisa_tool.mcp.backend import State
from lisa_tool.mcp.jobs import Job
from lisa_tool.results import ModelInfo, Segmentation

MAX_ANSWER_BYTES = 600_000
MAX_DATA_BYTES = 100_000
MAX_LISTING_BYTES = 200_000
_STATES: dict[State, str] = {
    "opened": "opened, loads with the first question",
    "failed": "failed, tried again by the next question",
    "needs restart": "its GPU failed, the server has to be restarted",
}
_NOT_FOR_MODELS = {"result": {"versions"}}  # they are in result.json


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SegmentationAnswer(_Answer):
    """The answer of segment_image and get_result."""

    status: Literal["done", "running"]
    result_id: str = Field(description="of the result; of the call while it is running")
    next_step: str = Field(description="what to do with this answer")
    progress: float = Field(default=1.0, description="0 to 1")
    stage: str = Field(default="done", description="what is being done while it is running")
    image_handle: str = Field(default="", description="stands for the same picture in a later call")
    resources: tuple[str, ...] = Field(
        default=(), description="the files as resources, for clients on another computer"
    )
    result: Segmentation | None = Field(default=None, description="null while it is running")


class HandledImage(ListedImage):
    """A picture that may be read, and the handle that stands for its path."""

    handle: str = Field(description="pass it as `image` instead of the path")


class ImageList(_Answer):
    """The answer of list_images."""

    images: tuple[HandledImage, ...] = Field(description="newest first")
    folders: tuple[str, ...] = Field(description="the allowed folders")
    left_out: int = Field(default=0, description="more that were found and did not fit in this answer")


class Status(_Answer):
    """The answer of get_status."""

    version: str
    backend: str = Field(description="the model as configured")
    state: State = Field(description="of the model; opened: it is loaded by the first question")
    model: ModelInfo | None = Field(description="known once it has been opened")
    running: int = Field(description="calls being answered or waiting")
    max_running: int = Field(description="more are refused as busy")
    folders: tuple[str, ...] = Field(description="folders that pictures may be read from")
    url_hosts: tuple[str, ...] = Field(description="hosts that https pictures may come from")
    output_dir: str
    limits: dict[str, float] = Field(description="LISA_LIMITS__*: every bound")


def running(job: Job) -> CallToolResult:
    """The answer for a job that is not finished yet."""
    progress = job.progress
    answer = SegmentationAnswer(
        status="running",
        result_id=job.id,
        next_step=f"Call get_result with result_id {job.id}; it waits for the answer.",
        progress=progress.fraction,
        stage=progress.stage,
        image_handle=job.image_handle,
    )
    text = f"Still running: {progress.stage}, {progress.fraction:.0%}. {answer.next_step}"
    return CallToolResult(content=[_text(text)], structured_content=answer.model_dump(mode="json"))


def done(result: Segmentation, image_handle: str, preview: bytes | None) -> CallToolResult:
    """The answer for a finished result, with a JPEG where one was asked for."""
    answer = SegmentationAnswer(
        status="done",
        result_id=result.result_id,
        next_step=_next_step(result),
        image_handle=image_handle,
        resources=resource_uris(result),
        result=result,
    )
    lines = [result.to_text(), f"Result: {result.result_id}"]
    if image_handle:
        lines.append(f"Image handle: {image_handle}")
    lines += [answer.next_step, texts.LABEL]
    content: list[ContentBlock] = [_text("\n".join(lines))]
    if preview is not None:
        content.append(picture(preview))
    return CallToolResult(content=content, structured_content=_data(answer))


def listed(images: ImageList) -> CallToolResult:
    """The answer of list_images; the paths are quoted, for they may hold anything.

    Of long paths only as many fit as take `MAX_LISTING_BYTES`; the rest is counted.
    """
    lines: list[str] = []
    room = MAX_LISTING_BYTES
    for image in images.images:
        line = _line(image)
        room -= _bytes(line) + _bytes(image.model_dump(mode="json"))
        if room < 0:
            break
        lines.append(line)
    left_out = len(images.images) - len(lines)
    shown = images.model_copy(update={"images": images.images[: len(lines)], "left_out": left_out})
    heading = f"{len(lines)} found, newest first." if lines else "No images found."
    if left_out:
        heading += f" {left_out} more do not fit in this answer: name a folder, or a part of the name."
    text = "\n".join([heading, *lines, f"Allowed folders: {_folders(images.folders)}"])
    return CallToolResult(content=[_text(text)], structured_content=shown.model_dump(mode="json"))


def told(status: Status) -> CallToolResult:
    """The answer of get_status."""
    model = f"{status.model.name} on {status.model.device}" if status.model else status.backend
    text = "\n".join(
        [
            f"lisa-tool {status.version}, model {model}: {_STATES.get(status.state, status.state)}.",
            f"{status.running} of at most {status.max_running} calls are being answered or waiting.",
            f"Pictures may be read from: {_folders(status.folders)}",
            f"Hosts for https pictures: {', '.join(status.url_hosts) or 'none'}",
            f"Results go to: {status.output_dir}",
            "Limits: " + ", ".join(f"{name} {value:.12g}" for name, value in status.limits.items()),
        ]
    )
    return CallToolResult(content=[_text(text)], structured_content=status.model_dump(mode="json"))


def picture(jpeg: bytes) -> ImageContent:
    """A picture for the user and for the model."""
    return ImageContent(
        type="image",
        data=base64.b64encode(jpeg).decode(),
        mime_type="image/jpeg",
        annotations=Annotations(audience=["user", "assistant"], priority=0.8),
    )


def resource_uris(result: Segmentation) -> tuple[str, ...]:
    """The URIs under which the files of a result can be read."""
    names = [f"mask_{index}.png" for index in range(len(result.masks))]
    names += ["overlay.jpg"] if result.overlay_path else []
    return tuple(f"lisa://results/{result.result_id}/{name}" for name in (*names, "result.json"))


def _line(image: HandledImage) -> str:
    size = f"{image.width}x{image.height} px, {image.bytes} bytes"
    return f"{image.handle} {_quoted(image.path)} {size}, {image.modified}"


def _quoted(path: str) -> str:
    """A path between quotation marks; escaped where it holds what could forge or reorder a line."""
    return json.dumps(path, ensure_ascii=not path.isprintable())


def _folders(folders: tuple[str, ...]) -> str:
    return ", ".join(folders) or "none; the server's option --allow DIR, or LISA_ROOTS, allows one"


def _next_step(result: Segmentation) -> str:
    if result.outcome == "found":
        return "Tell the user the paths of the masks and the overlay; view_result shows the picture."
    if result.outcome == "uncertain":
        return "Look at it with view_result before you rely on it, or ask in other words."
    return (
        "Nothing was found, and nothing was written that shows it. Ask in other words if it should be there."
    )


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _data(answer: SegmentationAnswer) -> dict[str, Any]:
    """The structured data; long lists are cut, and the cut is told, until it is at most `MAX_DATA_BYTES`."""
    whole = answer.result
    data = answer.model_dump(mode="json", exclude=_NOT_FOR_MODELS)
    shown = max(len(answer.resources), len(whole.warnings) if whole else 0, 64)
    while whole is not None and _bytes(data) > MAX_DATA_BYTES and shown:
        shown //= 2
        cut = f"long lists are cut to {shown} here: all {len(whole.masks)} masks are in result.json"
        evidence = whole.evidence.model_copy(update={"alternatives": whole.evidence.alternatives[:shown]})
        result = whole.model_copy(
            update={
                "masks": whole.masks[:shown],
                "warnings": (cut, *whole.warnings[:shown]),
                "evidence": evidence,
            }
        )
        part = answer.model_copy(update={"result": result, "resources": answer.resources[:shown]})
        data = part.model_dump(mode="json", exclude=_NOT_FOR_MODELS)
    return data


def _bytes(data: dict[str, Any] | str) -> int:
    """Bytes of it on the wire."""
    return len(json.dumps(data, ensure_ascii=False).encode())
