"""A network of our own: names resolve as the test says, every connection ends at a server in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from urllib3.connection import HTTPSConnection

from lisa_tool.images import fetch

PUBLIC = "93.184.215.14"
Answer = Callable[[socket.socket, str], None]


class Network:
    """`names` maps a host to the answers of one look-up after the other; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {"ok.example": [[PUBLIC]]}
        self.looked_up: list[str] = []
        self.connected: list[tuple[str, int | None]] = []
        self.requests: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._answer: Answer | None = None
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)
        monkeypatch.setattr(fetch, "_connect", self.connect)

    def resolve(self, host: str, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        self.looked_up.append(host)
        answers = self.names.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        now = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in now]

    def connect(self, connection: HTTPSConnection) -> None:
        """In place of TCP and TLS to the pinned address."""
        self.connected.append((connection.host, connection.port))
        connection.sock = socket.socket()
        connection.sock.connect(self._server.getsockname())
        connection.is_verified = True

    def serve(self, answer: Answer) -> None:
        """Answer every connection with `answer(connection, path)` in a thread of its own."""
        self._answer = answer
        threading.Thread(target=self._accept, daemon=True).start()

    def serve_file(self, body: bytes, head: str = "200 OK\r\nContent-Type: image/png") -> None:
        self.serve(lambda sock, path: sock.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode() + body))

    def serve_redirects(self, where: dict[str, str], body: bytes = b"") -> None:
        """Redirect the paths in `where`; everything else gets the body."""

        def answer(sock: socket.socket, path: str) -> None:
            head = f"302 Found\r\nLocation: {where[path]}" if path in where else "200 OK"
            sock.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode() + (b"" if path in where else body))

        self.serve(answer)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:  # closed at the end of the test
                return
            threading.Thread(target=self._handle, args=(sock,), daemon=True).start()

    def _handle(self, sock: socket.socket) -> None:
        assert self._answer
        with sock:
            request = b""
            while b"\r\n\r\n" not in request:
                part = sock.recv(4096)
                if not part:
                    return
                request += part
            self.requests.append(request.decode())
            self._answer(sock, request.split(b" ")[1].decode())

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._server.close()
