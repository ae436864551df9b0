"""Files of results as resources, `lisa://about`, prompts, and completions for result ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import (
    Annotations,
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from lisa_tool.errors import ResultNotFound
from lisa_tool.images.naming import megabytes
from lisa_tool.mcp import texts
from lisa_tool.mcp.service import Service
from lisa_tool.mcp.tools import current_user
from lisa_tool.settings import MIB

MAX_RESOURCE_BYTES = 7 * MIB
"""Base64 of more does not fit into the 10 MiB that common clients read as one message."""
MAX_COMPLETIONS = 100

_TELL = "Tell me the outcome and the paths of the files."
_FILES = {
    "mask_{index}.png": ("image/png", "Mask", "One mask: 255 where the object is, 0 elsewhere."),
    "overlay.jpg": ("image/jpeg", "Overlay", "The picture with its masks drawn on it."),
    "result.json": ("application/json", "Result", "The whole result and where it came from."),
}
"""File of a result -> its type, title and description."""


def add_resources(server: MCPServer, service: Service) -> None:
    """Serve `lisa://about` and `lisa://results/{result_id}/{name}`, one template for each kind of file."""

    @server.resource("lisa://about", title="About this server", mime_type="text/markdown")
    def about() -> str:
        """What this server does, with which model, and what it allows."""
        return about_text(service)

    async def read(result_id: str, name: str) -> bytes:
        try:
            path = await anyio.to_thread.run_sync(service.file, current_user(), result_id, name)
            return await anyio.to_thread.run_sync(_read, path)
        except ResultNotFound as e:
            raise ResourceNotFoundError(e.to_text()) from e

    async def read_mask(result_id: str, index: str) -> bytes:
        return await read(result_id, f"mask_{index}.png")

    def reader(name: str) -> Callable[..., object]:
        async def read_file(result_id: str) -> bytes:
            return await read(result_id, name)

        return read_file

    for name, (mime_type, title, description) in _FILES.items():
        server.resource(
            f"lisa://results/{{result_id}}/{name}",
            name=title.lower(),
            title=title,
            description=description,
            mime_type=mime_type,
            annotations=Annotations(audience=["user"]),
        )(read_mask if "{" in name else reader(name))


def add_prompts(server: MCPServer) -> None:
    """Offer the two ways to begin."""

    @server.prompt(title="Segment a file", description=texts.SEGMENT_FILE)
    def segment_file(path: str, query: str) -> str:
        return f"Call segment_image with image {path!r} and query {query!r}. {_TELL}"

    @server.prompt(title="Find a picture and segment it", description=texts.FIND_AND_SEGMENT)
    def find_and_segment(query: str) -> str:
        return (
            f"I want to know: {query!r}. Call list_images, choose the picture that I most likely mean (ask "
            f"me when it is not clear), then call segment_image with its handle. {_TELL}"
        )


def add_completions(server: MCPServer, service: Service) -> None:
    """Complete result ids, the newest first, with those of the user."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        if argument.name != "result_id":
            return None
        ids = [result.result_id for _, result in service.jobs.results(current_user())]
        matching = [name for name in dict.fromkeys(ids) if name.startswith(argument.value)]
        return Completion(
            values=matching[:MAX_COMPLETIONS], total=len(matching), has_more=len(matching) > MAX_COMPLETIONS
        )


def about_text(service: Service) -> str:
    """`lisa://about`."""
    status = service.status()
    folders = (
        "\n".join(f"- {folder}" for folder in status.folders)
        or "- none: --allow DIR or LISA_ROOTS allows one"
    )
    return f"""\
# lisa-tool {status.version}

{texts.DESCRIPTION} Code: Apache-2.0; weights: see NOTICE of their package.

Model: {status.backend}. Results go to {status.output_dir}; the oldest are removed past
{megabytes(int(status.limits["output_max_bytes"]))} or {status.limits["output_max_results"]:.0f} results.

Pictures may be read from:
{folders}

Each may be a JPEG, PNG, WebP, GIF or BMP of up to {megabytes(int(status.limits["max_file_bytes"]))}
and {status.limits["max_pixels"] / 1e6:.0f} megapixels.
"""


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RESOURCE_BYTES + 1)
    except OSError as e:
        raise ResourceNotFoundError(f"{path.name} of this result cannot be read (any more)") from e
    if len(data) > MAX_RESOURCE_BYTES:
        raise ResourceError(f"{path.name} is over {megabytes(MAX_RESOURCE_BYTES)}: open the file at {path}")
    return data
