"""A Hugging Face hub on the loopback: one repository, as much of the protocol as a download needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class FakeHub:
    """What the hub holds: `files` of `name` at the commit of each branch.

    requests: the path of every request. before_file: called with a file's name before it is sent.
    status: what every request is answered with when it is not 200, and `error_code` beside it.
    """

    name: str
    files: dict[str, bytes]
    branches: dict[str, str] = field(default_factory=lambda: {"main": "a" * 40})
    requests: list[str] = field(default_factory=list)
    before_file: Callable[[str], object] = lambda name: None
    status: int = 200
    error_code: str = ""

    def answer(self, path: str) -> tuple[dict[str, str], bytes]:
        """Headers and body for a path; KeyError when there is nothing."""
        commits = self.branches | {commit: commit for commit in self.branches.values()}
        api = f"/api/models/{self.name}"
        if path == api or path.startswith(f"{api}/revision/"):
            branch = path.removeprefix(api).removeprefix("/revision/") or "main"
            return self._info(commits[unquote(branch)])
        if path.startswith(f"{api}/tree/"):
            return {}, json.dumps([self._entry(name) for name in self.files]).encode()
        prefix = f"/{self.name}/resolve/"
        if not path.startswith(prefix):
            raise KeyError(path)
        commit, _, name = path.removeprefix(prefix).partition("/")
        data = self.files[name]
        return {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commits[commit]}, data

    def _info(self, commit: str) -> tuple[dict[str, str], bytes]:
        siblings = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
        return {}, json.dumps({"id": self.name, "sha": commit, "siblings": siblings}).encode()

    def _entry(self, name: str) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": "0" * 40}

    @property
    def sent(self) -> list[str]:
        """The names of the files that were asked for."""
        return [path.rpartition("/")[2] for path in self.requests if "/resolve/" in path]


@contextmanager
def serve(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[FakeHub]:
    """Let huggingface_hub meet `hub`, with an empty cache."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(path)
            if hub.status != 200:
                self._send(hub.status, {"X-Error-Code": hub.error_code}, b"")
                return
            try:
                headers, body = hub.answer(path)
            except KeyError:
                self._send(404, {"X-Error-Code": "EntryNotFound"}, b"")
                return
            if self.command == "GET" and "/resolve/" in path:
                hub.before_file(path.rpartition("/")[2])
            self._send(200, headers, body)

        do_HEAD = do_GET

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
