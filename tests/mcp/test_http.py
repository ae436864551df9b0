"""HTTP: who may call, from where, how much, and with which token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.transport_security import TransportSecurityMiddleware
from starlette.requests import Request

from lisa_tool.errors import BadSettings, DeviceFailed
from lisa_tool.mcp.backend import OpenBackend
from lisa_tool.mcp.http import Endpoint, Tokens, is_loopback
from lisa_tool.settings import MIB, Settings
from tests.mcp.conftest import Connect, PatientBackend, free_port, served
from tests.mcp.test_tools import data_of, error_of, segment, text_of

ADA, EVE = "a" * 40, "e" * 40
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def post(endpoint: Endpoint, headers: dict[str, str] | None = None, body: Any = PING) -> httpx2.Response:
    return httpx2.post(endpoint.url, headers=HEADERS | (headers or {}), content=json.dumps(body))


@pytest.fixture
def guarded(settings: Settings, open_backend: OpenBackend, tmp_path: Path) -> Iterator[Endpoint]:
    """A server over HTTP that two users may call."""
    file = tmp_path / "tokens"
    file.write_text(f"# who may call\n\nada {ADA}\neve\t{EVE}\n")
    with served(settings, open_backend, Endpoint(port=free_port(), tokens=Tokens.read(file))) as it:
        yield it


@asynccontextmanager
async def as_user(endpoint: Endpoint, token: str) -> AsyncIterator[Client]:
    """A client that sends this token."""
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(endpoint.url, http_client=http)) as client,
    ):
        yield client


@pytest.mark.anyio
async def test_a_question_is_answered_over_http(connect_http: Connect, photo: Path) -> None:
    async with connect_http() as client:
        assert data_of(await segment(client, photo, preview="overlay"))["result"]["outcome"] == "found"


def test_a_plain_request_is_served(endpoint: Endpoint) -> None:
    assert post(endpoint).status_code == 200


def test_a_request_to_another_host_is_misdirected(endpoint: Endpoint) -> None:
    assert post(endpoint, {"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_a_web_page_of_another_origin_is_refused(endpoint: Endpoint, origin: str) -> None:
    assert post(endpoint, {"origin": origin}).status_code == 403


def test_a_request_may_be_as_large_as_the_limit_and_no_larger(endpoint: Endpoint, settings: Settings) -> None:
    room = settings.limits.max_request_bytes - len(json.dumps({**PING, "params": {"x": ""}}))
    assert post(endpoint, body={**PING, "params": {"x": "a" * room}}).status_code == 200
    assert post(endpoint, body={**PING, "params": {"x": "a" * (room + 1)}}).status_code == 413


def test_a_health_check_needs_no_token(guarded: Endpoint) -> None:
    answer = httpx2.get(guarded.url.replace("/mcp", "/healthz"))
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "model": "not started"})


@pytest.mark.anyio
async def test_a_health_check_fails_when_only_a_restart_helps(
    endpoint: Endpoint, photo: Path, backend: PatientBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DeviceFailed("the GPU failed")

    monkeypatch.setattr(backend, "predict", fail)
    async with Client(endpoint.url) as client:
        assert "[device_failed]" in error_of(await segment(client, photo))
        status = await client.call_tool("get_status", {})
    assert data_of(status)["state"] == "needs restart" and "has to be restarted" in text_of(status)
    answer = httpx2.get(endpoint.url.replace("/mcp", "/healthz"))
    assert (answer.status_code, answer.json()) == (503, {"status": "failed", "model": "needs restart"})


@pytest.mark.parametrize("header", ["", "Bearer wrong", f"Basic {ADA}", f"Bearer {ADA}x", "Bearer \xe4"])
def test_without_a_known_token_nothing_is_served(guarded: Endpoint, header: str) -> None:
    answer = httpx2.post(guarded.url, headers=[(b"authorization", header.encode())], json=PING)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_with_its_token_a_request_is_served(guarded: Endpoint) -> None:
    assert post(guarded, {"authorization": f"Bearer {ADA}"}).status_code == 200


@pytest.mark.anyio
async def test_a_user_meets_only_what_is_theirs(guarded: Endpoint, photo: Path) -> None:
    async with as_user(guarded, ADA) as ada, as_user(guarded, EVE) as eve:
        mine = data_of(await segment(ada, photo))
        result_id, conversation_id = mine["result_id"], mine["result"]["conversation_id"]
        job_id = data_of(await segment(ada, photo, wait_seconds=0))["result_id"]
        for handle in (result_id, job_id):
            for tool in ("get_result", "view_result"):
                text = error_of(await eve.call_tool(tool, {"result_id": handle}))
                assert "[result_not_found]" in text
        with pytest.raises(Exception, match="there is no result"):
            await eve.read_resource(f"lisa://results/{result_id}/overlay.jpg")
        assert "[conversation_not_found]" in error_of(
            await segment(eve, photo, conversation_id=conversation_id)
        )
        assert "[image_not_found]" in error_of(await segment(eve, mine["image_handle"]))
        again = await ada.call_tool("get_result", {"result_id": result_id})
        assert data_of(again)["result"] == mine["result"]
        assert data_of(await segment(ada, "", conversation_id=conversation_id))["status"] == "done"
        assert (await ada.read_resource(f"lisa://results/{result_id}/overlay.jpg")).contents


@pytest.mark.anyio
async def test_on_disk_nothing_says_whose_a_result_is_so_after_a_restart_no_user_gets_it(
    guarded: Endpoint, photo: Path, settings: Settings, open_backend: OpenBackend
) -> None:
    async with as_user(guarded, ADA) as ada:
        result_id = data_of(await segment(ada, photo))["result_id"]
    restarted = Endpoint(port=free_port(), tokens=guarded.tokens)
    with served(settings, open_backend, restarted):
        async with as_user(restarted, ADA) as ada:
            assert "[result_not_found]" in error_of(
                await ada.call_tool("get_result", {"result_id": result_id})
            )


# Where it listens


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert Endpoint(host).verifier() is None


@pytest.mark.parametrize(
    ("host", "port", "url", "names"),
    [
        ("127.0.0.1", 8931, "http://127.0.0.1:8931/mcp", ["127.0.0.1:8931", "localhost:8931", "[::1]:8931"]),
        ("127.8.8.8", 8931, "http://127.8.8.8:8931/mcp", ["127.8.8.8:8931"]),
        ("[::1]", 8931, "http://[::1]:8931/mcp", ["[::1]:8931", "127.0.0.1:8931"]),
        ("LocalHost", 80, "http://localhost:80/mcp", ["localhost", "127.0.0.1", "[::1]", "localhost:80"]),
    ],
)
def test_the_url_that_is_printed_is_answered(host: str, port: int, url: str, names: list[str]) -> None:
    endpoint = Endpoint(host, port)
    assert endpoint.url == url and "[" not in endpoint.host
    checks = TransportSecurityMiddleware(endpoint.security())
    assert all(status_for(checks, {"host": name}) == 200 for name in names)
    assert all(status_for(checks, {"host": names[0], "origin": f"http://{name}"}) == 200 for name in names)
    assert status_for(checks, {"host": "evil.example"}) == 421
    assert status_for(checks, {"host": "localhost"}) == (200 if port == 80 else 421)


def status_for(checks: TransportSecurityMiddleware, headers: dict[str, str]) -> int:
    """The HTTP status that a request with these headers gets from the checks."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = anyio.run(checks.validate_request, Request({"type": "http", "headers": raw}))
    return answer.status_code if answer else 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_public_name_in_front_of_loopback_needs_a_token(host: str) -> None:
    with pytest.raises(BadSettings, match="other computers"):
        Endpoint(host, allowed_hosts=("lisa.example.org",))
    assert Endpoint(host, allowed_hosts=("lisa.example.org",), tokens=Tokens({"ada": b""})).verifier()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "lisa.example.org"])
@pytest.mark.parametrize(
    "given", [{}, {"allowed_hosts": ("lisa.example.org",)}, {"tokens": Tokens({"ada": b""})}]
)
def test_off_loopback_it_needs_a_token_and_an_allowed_host(host: str, given: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="other computers"):
        Endpoint(host, **given)
    assert Endpoint(host, allowed_hosts=("lisa.example.org",), tokens=Tokens({"ada": b""}))


def test_off_loopback_the_checks_stay_on_and_loopback_names_are_not_among_the_hosts() -> None:
    endpoint = Endpoint("0.0.0.0", allowed_hosts=("lisa.example.org",), tokens=Tokens({"ada": b""}))
    checks = endpoint.security()
    assert checks.enable_dns_rebinding_protection
    assert checks.allowed_hosts == ["lisa.example.org", "lisa.example.org:*"]
    assert checks.allowed_origins == ["https://lisa.example.org", "https://lisa.example.org:*"]
    assert endpoint.url == "https://lisa.example.org/mcp"


@pytest.mark.parametrize("name", ["https://lisa.example.org", "*", "a b", "", "host/path"])
def test_an_allowed_host_is_a_name(name: str) -> None:
    with pytest.raises(BadSettings, match="not a host name"):
        Endpoint(allowed_hosts=(name,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nobody\n",
        "ada\n",
        f"ada {'a' * 31}\n",
        f"ada {ADA}\nada {EVE}\n",
        f"ada {ADA} x\n",
        f"a/b {ADA}\n",
        b"\xff",
    ],
)
def test_a_token_file_that_is_not_one_is_refused_without_telling_a_token(
    text: str | bytes, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadSettings) as caught:
        Tokens.read(file)
    assert "a" * 31 not in caught.value.to_text()


def test_a_token_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read"):
        Tokens.read(tmp_path / "none")


def test_tokens_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"ada {ADA}\n")
    assert ADA not in repr(vars(Tokens.read(tmp_path / "tokens")))


def test_a_data_uri_of_the_largest_size_fits_into_a_request() -> None:
    limits = Settings().limits
    assert limits.max_inline_bytes * 4 / 3 + 100_000 < limits.max_request_bytes == 4 * MIB
