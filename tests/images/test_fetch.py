"""Fetching: what is asked, what is taken, when it ends. Attacks are in tests/hostile/test_images_urls.py."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("AntiSSRF")

from urllib3.connection import HTTPSConnection

from lisa_tool.errors import ImageTooLarge, LisaError, UrlFetchFailed, UrlNotAllowed
from lisa_tool.images import fetch as fetch_module
from lisa_tool.images import load_image
from lisa_tool.images.fetch import fetch
from lisa_tool.settings import Limits, load_settings
from tests.images.network import PUBLIC, Network
from tests.images.samples import encode, plain

URL = "https://ok.example/a.png"
HOSTS = ("ok.example",)
PNG = encode(plain())
_REQUEST = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network(monkeypatch)
    yield network
    network.close()


def test_an_image_is_fetched_and_named_without_its_query(network: Network) -> None:
    network.serve_file(PNG)
    loaded = load_image(f"{URL}?token=secret", load_settings(url_hosts=HOSTS))
    assert (loaded.info.width, loaded.info.source) == (6, URL)
    assert network.connected == [(PUBLIC, 443)]


def test_the_request_is_plain_and_carries_nothing_of_ours(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    (Path.home() / ".netrc").write_text("machine ok.example login me password secret")
    network.serve_file(PNG)
    fetch(URL, HOSTS, Limits())
    (request,) = network.requests
    assert request.startswith("GET /a.png HTTP/1.1\r\n")
    assert "Host: ok.example\r\n" in request
    assert "Accept-Encoding: identity\r\n" in request
    assert not any(word in request for word in ("Authorization", "Cookie", "secret", PUBLIC))


def test_a_cookie_is_not_carried_over_a_redirect(network: Network) -> None:
    def answer(sock: socket.socket, path: str) -> None:
        move = "302 Found\r\nSet-Cookie: id=1; Secure\r\nLocation: /b" if path == "/a.png" else "200 OK"
        sock.sendall(f"HTTP/1.1 {move}\r\n\r\n".encode())

    network.serve(answer)
    fetch(URL, HOSTS, Limits())
    assert len(network.requests) == 2
    assert "Cookie" not in network.requests[1]


def test_redirects_are_followed_up_to_their_limit_and_no_further(network: Network) -> None:
    network.serve_redirects({"/a.png": "/1", "/1": "2", "/2": "https://ok.example/3"}, PNG)
    assert fetch(URL, HOSTS, Limits(url_max_redirects=3)) == PNG
    with pytest.raises(UrlFetchFailed, match="more than 2 redirects"):
        fetch(URL, HOSTS, Limits(url_max_redirects=2))


def test_the_byte_limit_allows_its_edge_and_refuses_the_next(network: Network) -> None:
    network.serve_file(PNG)
    assert fetch(URL, HOSTS, Limits(max_file_bytes=len(PNG))) == PNG
    with pytest.raises(ImageTooLarge, match="over the limit"):
        fetch(URL, HOSTS, Limits(max_file_bytes=len(PNG) - 1))


def test_a_chunked_answer_is_put_together(network: Network) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in PNG) + b"0\r\n\r\n"
    network.serve_file(body, "200 OK\r\nTransfer-Encoding: chunked")
    assert fetch(URL, HOSTS, Limits()) == PNG


@pytest.mark.parametrize(
    ("head", "word"),
    [
        ("404 Not Found", "the server answered 404"),
        ("500 Oops", "the server answered 500"),
        ("206 Partial Content", "the server answered 206"),
        ("302 Found", "the server answered 302"),
        ("200 OK\r\nContent-Encoding: gzip", "a compressed answer"),
        ("200 OK\r\nContent-Length: 9999", "the download failed"),
    ],
)
def test_an_answer_that_is_no_complete_file_says_so(network: Network, head: str, word: str) -> None:
    network.serve_file(PNG, head)
    with pytest.raises(UrlFetchFailed, match=word):
        fetch(URL, HOSTS, Limits())


def test_nonsense_and_a_closed_connection_are_a_failed_download(network: Network) -> None:
    network.serve(lambda sock, path: sock.sendall(b"\0\xff nonsense\r\n\r\n"))
    with pytest.raises(UrlFetchFailed, match="the download failed"):
        fetch(URL, HOSTS, Limits())


def test_a_name_that_does_not_exist_reads_like_one_that_is_private(network: Network) -> None:
    network.names["private.example"] = [["10.0.0.1"]]
    texts = set()
    for host in ("private.example", "nowhere.example"):
        with pytest.raises(UrlNotAllowed) as caught:
            fetch(f"https://{host}/", ("*",), Limits())
        texts.add(caught.value.to_text().replace(host, ""))
    assert len(texts) == 1


def test_a_look_up_that_fails_for_now_can_be_tried_again(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(*args: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    monkeypatch.setattr(socket, "getaddrinfo", later)
    with pytest.raises(UrlFetchFailed) as caught:
        fetch(URL, HOSTS, Limits())
    assert caught.value.retryable


def test_a_refused_connection_is_a_failed_download_without_its_address(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: Any) -> None:
        raise ConnectionRefusedError(f"no one at {connection.host}")

    monkeypatch.setattr(fetch_module, "_connect", refuse)
    with pytest.raises(UrlFetchFailed) as caught:
        fetch(URL, HOSTS, Limits())
    assert PUBLIC not in caught.value.to_text()


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set it, and the deadline of the fetch has come: no clock is needed."""
    event = threading.Event()

    class Deadline(Future[bytes]):
        def result(self, timeout: float | None = None) -> bytes:
            assert timeout == Limits().url_timeout_s
            assert event.wait(5)
            raise TimeoutError

    monkeypatch.setattr(fetch_module, "Future", Deadline)
    return event


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: a", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"]
)
def test_a_server_that_stalls_meets_the_deadline_and_its_socket_is_closed(
    network: Network, stalled: threading.Event, start: bytes
) -> None:
    hung_up = threading.Event()

    def answer(sock: socket.socket, path: str) -> None:
        sock.sendall(start)
        stalled.set()
        if sock.recv(1) == b"":
            hung_up.set()

    network.serve(answer)
    with pytest.raises(UrlFetchFailed, match="took longer than 10 s"):
        fetch(URL, HOSTS, Limits())
    assert hung_up.wait(5)


def test_a_server_that_trickles_meets_the_deadline(network: Network, stalled: threading.Event) -> None:
    """Each byte comes well within any socket timeout; only the whole takes too long."""
    hung_up = threading.Event()

    def answer(sock: socket.socket, path: str) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        sock.settimeout(0.02)
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x")
                stalled.set()
                with contextlib.suppress(TimeoutError):  # stands for a pause
                    if sock.recv(1) == b"":
                        break
        hung_up.set()

    network.serve(answer)
    with pytest.raises(UrlFetchFailed, match="took longer"):
        fetch(URL, HOSTS, Limits())
    assert hung_up.wait(5)


def test_a_socket_that_opens_after_the_deadline_is_shut_at_once(
    network: Network, stalled: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, seen = threading.Event(), Future[bytes]()

    def slow_connect(connection: HTTPSConnection) -> None:
        stalled.set()
        late.wait(5)
        network.connect(connection)

    def until_closed(sock: socket.socket) -> None:
        with sock:
            seen.set_result(sock.recv(1))

    monkeypatch.setattr(fetch_module, "_connect", slow_connect)
    monkeypatch.setattr(network, "_handle", until_closed)
    network.serve(lambda sock, path: None)
    with pytest.raises(UrlFetchFailed, match="took longer"):
        fetch(URL, HOSTS, Limits())
    late.set()
    assert seen.result(5) == b""


def test_a_look_up_that_hangs_meets_the_deadline(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*args: Any) -> list[Any]:
        release.wait(5)
        raise socket.gaierror(socket.EAI_NONAME, "gone")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(UrlFetchFailed, match="took longer"):
        fetch(URL, HOSTS, Limits(url_timeout_s=0.1))
    release.set()
    assert network.connected == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
@pytest.mark.parametrize("name", ["ok.example", "other.example", None])
def test_the_certificate_must_be_trusted_and_for_the_host_that_was_asked(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Real TLS to the pinned address; None is a good certificate of an unknown issuer."""
    host, cert, key = name or "ok.example", tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", *_REQUEST, "-subj"]
    names = ["-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*make, f"/CN={host}", *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def lead_here(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        network.connected.append(address)
        sock = socket.socket()
        sock.connect(network._server.getsockname())
        return sock

    def accept() -> None:
        try:
            with context.wrap_socket(network._server.accept()[0], server_side=True) as sock:
                sock.recv(4096)
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
        except OSError:  # the client hung up during the handshake
            pass

    monkeypatch.setattr(fetch_module, "_connect", HTTPSConnection.connect)
    monkeypatch.setattr("urllib3.util.connection.create_connection", lead_here)
    if name:
        monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(cert))
    server = threading.Thread(target=accept, daemon=True)
    server.start()
    got: bytes | LisaError
    try:
        got = fetch(URL, HOSTS, Limits())
    except LisaError as e:
        got = e
    server.join(5)
    assert network.connected == [(PUBLIC, 443)]
    if name == "ok.example":
        assert got == PNG
    else:
        assert isinstance(got, UrlFetchFailed)
        assert "certificate" in got.message
