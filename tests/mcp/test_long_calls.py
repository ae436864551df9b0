"""Calls that take long: progress, soft deadlines, cancellation, clients that vanish, too many at once."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client

from lisa_tool.errors import OutOfMemory
from lisa_tool.mcp.app import build_server
from lisa_tool.mcp.backend import OpenBackend
from lisa_tool.mcp.http import Endpoint
from lisa_tool.mcp.service import Service
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings
from tests.mcp.conftest import PATIENCE_S, Connect, PatientBackend
from tests.mcp.test_tools import data_of, error_of, segment, text_of

pytestmark = pytest.mark.anyio


async def happened(event: threading.Event) -> None:
    """Wait for what another thread does."""
    assert await anyio.to_thread.run_sync(event.wait, PATIENCE_S)


async def until_idle(client: Client) -> None:
    """Wait until the server answers no call."""
    with anyio.fail_after(PATIENCE_S):
        while data_of(await client.call_tool("get_status", {}))["running"]:
            await anyio.sleep(0.01)


async def test_progress_rises_and_names_its_stages(
    connect: Connect, photo: Path, backend: PatientBackend
) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))
        if len(told) == 3:
            backend.go.set()

    async with connect() as client:
        with anyio.fail_after(PATIENCE_S):
            await client.call_tool(
                "segment_image", {"image": str(photo), "query": "wait for red"}, progress_callback=tell
            )
    values = [progress for progress, _, _ in told]
    assert len(values) >= 3 and values == sorted(set(values))
    assert {total for _, total, _ in told} == {100}
    assert "thinking" in {message for _, _, message in told}


async def test_the_first_question_opens_the_model_in_the_background_and_says_so(
    settings: Settings, photo: Path, open_backend: OpenBackend
) -> None:
    begun, go = threading.Event(), threading.Event()

    def open_slowly(settings: Settings) -> Segmenter:
        begun.set()
        assert go.wait(PATIENCE_S)
        return open_backend(settings)

    async with Client(build_server(settings, open_slowly)) as client:
        job_id = data_of(await segment(client, photo, wait_seconds=0))["result_id"]
        await happened(begun)
        assert len((await client.list_tools()).tools) == 5
        assert data_of(await client.call_tool("get_status", {}))["state"] == "starting"
        early = data_of(await client.call_tool("get_result", {"result_id": job_id, "wait_seconds": 0}))
        assert (early["status"], early["stage"]) == ("running", "opening the model")
        go.set()
        with anyio.fail_after(PATIENCE_S):
            done = data_of(await client.call_tool("get_result", {"result_id": job_id}))
    assert done["status"] == "done"


async def test_a_soft_deadline_answers_running_and_get_result_waits_for_the_end(
    anywhere: Connect, photo: Path, backend: PatientBackend
) -> None:
    async with anywhere() as client:
        early = await segment(client, photo, "wait for red", wait_seconds=0)
        job_id = data_of(early)["result_id"]
        assert (data_of(early)["status"], data_of(early)["result"]) == ("running", None)
        assert job_id in text_of(early) and "get_result" in text_of(early)
        still = await client.call_tool("get_result", {"result_id": job_id, "wait_seconds": 0})
        assert data_of(still)["status"] == "running"
        assert "still running" in error_of(await client.call_tool("view_result", {"result_id": job_id}))
        backend.go.set()
        with anyio.fail_after(PATIENCE_S):
            done = data_of(await client.call_tool("get_result", {"result_id": job_id}))
        assert (done["status"], done["result"]["outcome"]) == ("done", "found")
        assert not (await client.call_tool("view_result", {"result_id": job_id})).is_error


async def test_an_error_after_the_soft_deadline_is_told_by_get_result(
    anywhere: Connect, photo: Path, backend: PatientBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert backend.go.wait(PATIENCE_S)
        raise OutOfMemory("there was not enough memory for this image")

    monkeypatch.setattr(backend, "predict", fail)
    async with anywhere() as client:
        early = data_of(await segment(client, photo, wait_seconds=0))
        assert early["status"] == "running"
        backend.go.set()
        for _ in range(2):
            late = await client.call_tool("get_result", {"result_id": early["result_id"]})
            assert "[out_of_memory]" in error_of(late)


async def test_a_cancelled_call_does_not_keep_its_place_while_another_opens_the_model(
    settings: Settings, photo: Path, open_backend: OpenBackend
) -> None:
    begun, go = threading.Event(), threading.Event()

    def open_slowly(settings: Settings) -> Segmenter:
        begun.set()
        assert go.wait(3 * PATIENCE_S)
        return open_backend(settings)

    async with Client(build_server(settings, open_slowly)) as client:
        await segment(client, photo, wait_seconds=0)
        await happened(begun)
        with anyio.move_on_after(0.2):
            await client.call_tool("segment_image", {"image": str(photo), "query": "the red"})
        try:
            with anyio.fail_after(PATIENCE_S):
                while data_of(await client.call_tool("get_status", {}))["running"] > 1:
                    await anyio.sleep(0.01)
        finally:
            go.set()
        await until_idle(client)


async def cancelled_in_its_first_step(client: Client, photo: Path, backend: PatientBackend) -> None:
    async with anyio.create_task_group() as calls:
        calls.start_soon(segment, client, photo, "wait for red")
        await happened(backend.working)
        calls.cancel_scope.cancel()
    assert data_of(await segment(client, photo))["status"] == "done"
    assert backend.steps <= 2
    await until_idle(client)


async def test_cancelling_stops_within_a_step_and_the_next_call_is_served(
    connect: Connect, photo: Path, backend: PatientBackend
) -> None:
    async with connect() as client:
        await cancelled_in_its_first_step(client, photo, backend)


async def test_cancelling_over_http_stops_within_a_step_and_the_next_call_is_served(
    endpoint: Endpoint, photo: Path, backend: PatientBackend
) -> None:
    # A client of 2025 hangs up instead: without a session nothing tells whose call it cancels (see below).
    async with Client(endpoint.url) as client:
        await cancelled_in_its_first_step(client, photo, backend)


async def test_giving_up_waiting_for_a_result_leaves_the_call_alone(
    connect: Connect, photo: Path, backend: PatientBackend
) -> None:
    async with connect() as client:
        job_id = data_of(await segment(client, photo, "wait for red", wait_seconds=0))["result_id"]
        with anyio.move_on_after(0.2):
            await client.call_tool("get_result", {"result_id": job_id})
        backend.go.set()
        with anyio.fail_after(PATIENCE_S):
            assert data_of(await client.call_tool("get_result", {"result_id": job_id}))["status"] == "done"


async def test_a_client_that_vanishes_frees_its_place(
    endpoint: Endpoint, photo: Path, backend: PatientBackend
) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "segment_image", "arguments": {"image": str(photo), "query": "wait for red"}},
    }
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    async with (
        httpx2.AsyncClient() as program,
        program.stream("POST", endpoint.url, json=message, headers=headers) as response,
    ):
        assert response.status_code == 200
        await happened(backend.working)
    async with Client(endpoint.url) as client:
        await until_idle(client)
        assert data_of(await segment(client, photo))["status"] == "done"
    assert backend.steps <= 2


async def test_of_fifty_calls_at_once_none_is_lost_and_those_beyond_the_bound_are_told_to_wait(
    anywhere: Connect, photo: Path, backend: PatientBackend, settings: Settings
) -> None:
    outcomes: list[str] = []
    most = settings.limits.max_waiting + 1

    async def ask(client: Client) -> None:
        answer = await segment(client, photo, "wait for red")
        outcomes.append("done" if not answer.is_error else error_of(answer))
        if len(outcomes) == 50 - most:  # the refused ones are there, the others still wait
            backend.go.set()

    async with anywhere() as client:
        with anyio.fail_after(3 * PATIENCE_S):
            async with anyio.create_task_group() as calls:
                for _ in range(50):
                    calls.start_soon(ask, client)
        await until_idle(client)
    counted = Counter("busy" if "[server_busy]" in outcome else outcome for outcome in outcomes)
    assert counted == {"done": most, "busy": 50 - most}
    assert all("send the same call again" in outcome for outcome in outcomes if outcome != "done")


async def test_the_model_is_not_let_go_while_a_thread_uses_it(
    settings: Settings, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn(PatientBackend):
        """Hears nothing until it is let go on."""

        def predict(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
            self.working.set()
            assert self.go.wait(PATIENCE_S)
            return super().predict(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("lisa_tool.mcp.service.SHUTDOWN_S", 0.1)
    backend = Stubborn()
    service = Service(settings, lambda settings: LocalSegmenter(backend, settings))
    job = service.begin(None, str(photo), "the red", "")
    await happened(backend.working)
    await anyio.to_thread.run_sync(service.close)
    assert (backend.closed, job.finished.is_set(), service.jobs.running) == (0, False, 1)
    backend.go.set()
    await happened(job.finished)
    await anyio.to_thread.run_sync(service.close)
    assert (backend.closed, service.jobs.running) == (1, 0)


async def test_the_end_of_the_server_stops_its_calls_and_lets_go_of_the_model(
    settings: Settings,
    photo: Path,
    backend: PatientBackend,
    open_backend: OpenBackend,
) -> None:
    async with Client(build_server(settings, open_backend)) as client:
        await segment(client, photo, "wait for red", wait_seconds=0)
        await happened(backend.working)
    assert backend.closed == 1
    assert not backend.go.is_set()
