"""`build_server`: the MCP server around any backend, for any transport."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

import anyio
import anyio.to_thread

import lisa_tool
from lisa_tool.errors import MissingExtra
from lisa_tool.mcp import texts
from lisa_tool.mcp.backend import OpenBackend
from lisa_tool.segmenter import open_segmenter
from lisa_tool.settings import Settings

try:
    from mcp.server import CacheHint, MCPServer
    from mcp.server.auth.provider import TokenVerifier
    from mcp.server.auth.settings import AuthSettings
    from mcp.types import Icon
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    from lisa_tool.mcp.resources import add_completions, add_prompts, add_resources
    from lisa_tool.mcp.service import Service
    from lisa_tool.mcp.tools import build_tools
except ModuleNotFoundError as e:
    raise MissingExtra("`lisa_tool.mcp` needs the MCP SDK: pip install 'lisa-tool[mcp]'") from e

NAME = "lisa"
_AN_HOUR = CacheHint(ttl_ms=3_600_000, scope="public")  # for what never changes while the server runs


def build_server(
    settings: Settings,
    open_backend: OpenBackend = open_segmenter,
    *,
    token_verifier: TokenVerifier | None = None,
    auth: AuthSettings | None = None,
) -> MCPServer[None]:
    """Make a server; it reads images only from `settings.roots`.

    open_backend: opens the backend when the first question needs it. The server closes it when it ends.
    token_verifier, auth: who may call it over HTTP; each token's `client_id` is a user of their own.

    Raises MissingExtra when the MCP SDK is not installed.
    """
    service = Service(settings, open_backend)

    @asynccontextmanager
    async def lifespan(server: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(service.close)

    server = MCPServer(
        NAME,
        title="LISA: find things in pictures",
        description=texts.DESCRIPTION,
        instructions=texts.INSTRUCTIONS,
        icons=[_icon()],
        version=lisa_tool.__version__,
        token_verifier=token_verifier,
        auth=auth,
        tools=build_tools(service),
        lifespan=lifespan,
        cache_hints={
            "tools/list": _AN_HOUR,
            "prompts/list": _AN_HOUR,
            "resources/list": _AN_HOUR,
            "resources/templates/list": _AN_HOUR,
        },
        subscriptions=False,
        log_level="WARNING",
    )
    add_resources(server, service)
    add_prompts(server)
    add_completions(server, service)

    @server.custom_route("/healthz", methods=["GET"])  # type: ignore[untyped-decorator]
    async def healthz(request: Request) -> Response:
        state = service.backend.state
        if state == "needs restart":
            return JSONResponse({"status": "failed", "model": state}, status_code=503)
        return JSONResponse({"status": "ok", "model": state})

    return server


def _icon() -> Icon:
    data = base64.b64encode(files("lisa_tool.mcp").joinpath("icon.png").read_bytes()).decode()
    return Icon(src=f"data:image/png;base64,{data}", mime_type="image/png", sizes=["48x48"])
