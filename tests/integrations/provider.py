"""A model provider on the loopback interface: answers from a script and keeps what it was sent.

So a test sees the very bytes that a LangChain provider package puts on the wire.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Provider:
    """`replies` are sent in their order; `requests` are the JSON bodies that came. `url` has no path."""

    def __init__(self, replies: list[dict[str, Any]], url: str) -> None:
        self.replies = replies
        self.requests: list[dict[str, Any]] = []
        self.url = url


@contextmanager
def provider(*replies: dict[str, Any]) -> Iterator[Provider]:
    """Serve until the `with` body ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            served.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            reply = json.dumps(served.replies.pop(0)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Provider(list(replies), f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
