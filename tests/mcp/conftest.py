"""A server around a tiny backend, and clients of both eras of the protocol, in memory and over HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
import uvicorn
from mcp import Client
from mcp.client.client import ConnectMode
from starlette.applications import Starlette

from lisa_tool.engine.call import Call
from lisa_tool.images import LoadedImage
from lisa_tool.mcp.app import build_server
from lisa_tool.mcp.backend import OpenBackend
from lisa_tool.mcp.http import Endpoint, http_app
from lisa_tool.pipeline import LocalSegmenter, Prediction, Question
from lisa_tool.settings import Settings
from tests.red import RedBackend, red_photo

PATIENCE_S = 20


class PatientBackend(RedBackend):
    """Where the question says "wait", each step lasts until the call is cancelled or `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.working = threading.Event()
        self.go = threading.Event()

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        while "wait" in question.text and not self.go.is_set():
            with call.stage("thinking", 0.1):
                self.steps += 1
                self.working.set()
                for _ in range(50 * PATIENCE_S):
                    if call.cancel.wait(0.02) or self.go.is_set():
                        break
        return super().predict(image, question, call)


Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An image with two red pieces."""
    path = tmp_path / "photo.png"
    red_photo((10, 10, 30, 20), (70, 40, 20, 20)).save(path)
    return path


@pytest.fixture
def backend() -> PatientBackend:
    return PatientBackend()


@pytest.fixture
def open_backend(backend: PatientBackend) -> OpenBackend:
    """What a server opens at its first question."""
    return lambda settings: LocalSegmenter(backend, settings)


@pytest.fixture(params=["auto", "legacy"])
def era(request: pytest.FixtureRequest) -> ConnectMode:
    """Which protocol the client speaks: the newest one that both know, or that of 2025."""
    mode: ConnectMode = request.param
    return mode


@pytest.fixture
def connect(era: ConnectMode, settings: Settings, open_backend: OpenBackend) -> Connect:
    """Connects a client in memory."""
    return lambda: Client(build_server(settings, open_backend), mode=era)


@contextmanager
def serving(app: Starlette, port: int) -> Iterator[None]:
    """Serve an app on loopback from a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
        return port


@contextmanager
def served(
    settings: Settings, open_backend: OpenBackend, endpoint: Endpoint | None = None
) -> Iterator[Endpoint]:
    """A server over HTTP, as `lisa-mcp --http` makes it."""
    endpoint = endpoint or Endpoint(port=free_port())
    server = build_server(settings, open_backend, token_verifier=endpoint.verifier(), auth=endpoint.auth())
    with serving(http_app(server, endpoint, settings.limits), endpoint.port):
        yield endpoint


@pytest.fixture
def endpoint(settings: Settings, open_backend: OpenBackend) -> Iterator[Endpoint]:
    """A server over HTTP without tokens."""
    with served(settings, open_backend) as it:
        yield it


@pytest.fixture
def connect_http(era: ConnectMode, endpoint: Endpoint) -> Connect:
    """Connects a client over HTTP."""
    return lambda: Client(endpoint.url, mode=era)


@pytest.fixture(params=["memory", "http"])
def anywhere(request: pytest.FixtureRequest, era: ConnectMode) -> Connect:
    """Connects a client in memory, and one over HTTP."""
    connect: Connect = request.getfixturevalue("connect" if request.param == "memory" else "connect_http")
    return connect
