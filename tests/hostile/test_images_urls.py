"""Server-side request forgery: no URL makes this process talk to a private address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("AntiSSRF")

from lisa_tool.errors import ImageTooLarge, LisaError, UrlFetchFailed, UrlNotAllowed
from lisa_tool.images import load_image
from lisa_tool.images.fetch import fetch
from lisa_tool.settings import Limits, load_settings
from tests.images.network import PUBLIC, Network
from tests.images.samples import encode, plain

ANY = ("*",)
PNG = encode(plain())


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """Nothing but the test's own server can be connected to."""
    network = Network(monkeypatch)
    real = socket.socket.connect

    def only_loopback(self: socket.socket, address: Any) -> None:
        assert address == network._server.getsockname(), f"a real connection to {address}"
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)
    yield network
    network.close()


PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
    *("192.168.0.1", "169.254.169.254", "100.64.0.1", "168.63.129.16", "192.0.0.1", "192.0.2.1"),
    *(
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "192.88.99.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:100.64.0.1", "::ffff:169.254.169.254"),
    *("::127.0.0.1", "::7f00:1", "::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::"),
    *("2001:0:7f00:1::", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    *("2001:db8::1", "100::1", "5f00::1", "2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:10.0.0.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_a_private_address_is_refused_before_connecting(
    network: Network, address: str
) -> None:
    network.names["evil.example"] = [[address]]
    with pytest.raises(UrlNotAllowed) as caught:
        fetch("https://evil.example/a.png", ANY, Limits())
    assert network.connected == []
    assert address not in caught.value.to_text()


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_in_the_url_is_refused_before_any_look_up(network: Network, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    for hosts in (ANY, (host,), (address,)):
        with pytest.raises(UrlNotAllowed):
            fetch(f"https://{host}/a.png", hosts, Limits())
    assert network.looked_up == []


@pytest.mark.parametrize("answers", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "fe80::1%eth0"]])
def test_one_private_answer_among_public_ones_is_enough_to_refuse(
    network: Network, answers: list[str]
) -> None:
    network.names["evil.example"] = [answers]
    with pytest.raises(UrlNotAllowed):
        fetch("https://evil.example/a.png", ANY, Limits())
    assert network.connected == []


def test_a_host_on_the_list_is_refused_too_when_its_address_is_private(network: Network) -> None:
    network.names["ok.example"] = [["10.0.0.1"]]
    with pytest.raises(UrlNotAllowed):
        fetch("https://ok.example/a.png", ("ok.example",), Limits())
    assert network.connected == []


def test_a_name_that_changes_its_answer_is_looked_up_once_and_the_checked_address_used(
    network: Network,
) -> None:
    network.names["evil.example"] = [[PUBLIC], ["127.0.0.1"]]
    network.serve_file(PNG)
    assert fetch("https://evil.example/a.png", ANY, Limits()) == PNG
    assert network.looked_up == ["evil.example"]
    assert network.connected == [(PUBLIC, 443)]


def test_a_name_that_changes_its_answer_between_redirects_is_refused(network: Network) -> None:
    network.names["evil.example"] = [[PUBLIC], ["127.0.0.1"]]
    network.serve_redirects({"/a.png": "/b.png"}, PNG)
    with pytest.raises(UrlNotAllowed):
        fetch("https://evil.example/a.png", ANY, Limits())
    assert len(network.connected) == 1


@pytest.mark.parametrize(
    "where",
    [
        "http://ok.example/b.png",
        "https://127.0.0.1/b.png",
        "https://[::1]/b.png",
        "https://inside.example/b.png",
        "//inside.example/b.png",
        "https://ok.example:8443/b.png",
        "https://user:pw@ok.example/b.png",
        "https://ok.example\\@127.0.0.1/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "gopher://ok.example/",
        "javascript:alert(1)",
    ],
)
def test_a_redirect_to_what_may_not_be_fetched_is_refused(network: Network, where: str) -> None:
    network.names["inside.example"] = [["127.0.0.1"]]
    network.serve_redirects({"/a.png": where}, PNG)
    with pytest.raises(UrlNotAllowed):
        fetch("https://ok.example/a.png", ANY, Limits())
    assert network.connected == [(PUBLIC, 443)]


def test_a_redirect_to_a_host_that_is_not_listed_is_refused(network: Network) -> None:
    network.names["other.example"] = [[PUBLIC]]
    network.serve_redirects({"/a.png": "https://other.example/b.png"}, PNG)
    with pytest.raises(UrlNotAllowed, match=r"other\.example"):
        fetch("https://ok.example/a.png", ("ok.example",), Limits())
    assert network.looked_up == ["ok.example"]


def test_a_redirect_loop_ends_after_four_requests(network: Network) -> None:
    network.serve_redirects({"/a.png": "/a.png"})
    with pytest.raises(UrlFetchFailed, match="more than 3 redirects"):
        fetch("https://ok.example/a.png", ANY, Limits())
    assert len(network.connected) == 4


@pytest.mark.parametrize(
    "url",
    [
        "https://ok.example\\@127.0.0.1/",
        "https://ok.example%5c@127.0.0.1/",
        "https://127.0.0.1\\@ok.example/",
        "https://ok.example#@127.0.0.1/",
        "https://ok.example/\\@127.0.0.1/",
        "https:\\\\127.0.0.1/",
        "https:ok.example",
    ],
)
def test_a_url_that_two_parsers_read_differently_never_reaches_another_host(
    network: Network, url: str
) -> None:
    network.serve_file(PNG)
    try:
        load_image(url, load_settings(url_hosts=("ok.example",)))
    except LisaError as e:
        assert isinstance(e, UrlNotAllowed)
    assert set(network.looked_up) <= {"ok.example"}


@pytest.mark.parametrize(
    "head", ["200 OK", "200 OK\r\nContent-Length: 10", "200 OK\r\nTransfer-Encoding: chunked"]
)
def test_an_endless_body_is_cut_off_and_the_server_hung_up_on(network: Network, head: str) -> None:
    hung_up = threading.Event()
    part = b"x" * 65_536
    part = b"10000\r\n" + part + b"\r\n" if "chunked" in head else part

    def endless(sock: socket.socket, path: str) -> None:
        try:
            sock.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode())
            while True:
                sock.sendall(part)
        except OSError:
            hung_up.set()

    network.serve(endless)
    limits = Limits(max_file_bytes=1_000_000)
    if "Length" in head:
        assert fetch("https://ok.example/a.png", ANY, limits) == b"x" * 10
    else:
        with pytest.raises(ImageTooLarge):
            fetch("https://ok.example/a.png", ANY, limits)
    assert hung_up.wait(5)


def test_endless_headers_end_in_a_failed_download(network: Network) -> None:
    def endless(sock: socket.socket, path: str) -> None:
        try:
            sock.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                sock.sendall(b"X-A: " + b"a" * 1000 + b"\r\n")
        except OSError:
            pass

    network.serve(endless)
    with pytest.raises(UrlFetchFailed):
        fetch("https://ok.example/a.png", ANY, Limits())


def test_interim_answers_without_end_meet_the_deadline(network: Network) -> None:
    def endless(sock: socket.socket, path: str) -> None:
        try:
            while True:
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        except OSError:
            pass

    network.serve(endless)
    with pytest.raises(UrlFetchFailed):
        fetch("https://ok.example/a.png", ANY, Limits(url_timeout_s=0.3))
