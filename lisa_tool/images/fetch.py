"""Fetch an image over https without becoming anybody's door into a private network. Needs the extra `urls`.

The text of each URL is checked by urls.py, redirects included. `microsoft-antissrf` then looks the host up
once, refuses it when any answer is private, and connects to the very address it checked, so a name that
changes its answer gains nothing. Added here: two kinds of address that it lets through, a cap on the bytes
that arrive (Content-Length is not believed), and a deadline over everything.

No proxy, cookie, credential or compressed answer is used. Messages never hold an address: they would map
the network for the caller.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from concurrent.futures import Future
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3
from AntiSSRF import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    AntiSSRFError,
    AntiSSRFPolicy,
    PolicyConfigOptions,
)
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from lisa_tool.errors import ImageTooLarge, LisaError, UrlFetchFailed, UrlNotAllowed
from lisa_tool.images.naming import megabytes, shown_url
from lisa_tool.images.urls import CheckedUrl, check_url
from lisa_tool.settings import Limits

_CHUNK = 65_536
_REDIRECTS = (301, 302, 303, 307, 308)
_GAPS = ("::/96",)  # IPv4-compatible addresses: the system may route ::127.0.0.1 to 127.0.0.1
_ISATAP = 0x5EFE  # RFC 5214: interface id 0[02]00:5efe:<IPv4>, below any prefix


def fetch(url: str, hosts: tuple[str, ...], limits: Limits) -> bytes:
    """The body of an https URL, at most `limits.max_file_bytes`, within `limits.url_timeout_s` in all.

    Raises UrlNotAllowed, UrlFetchFailed or ImageTooLarge.
    """
    checked = check_url(url, hosts)
    download = _Download(hosts, limits)
    done: Future[bytes] = Future()

    def work() -> None:
        try:
            done.set_result(download.run(checked))
        except BaseException as e:
            done.set_exception(e)

    # A thread, because a look-up or a server that sends a byte now and then outlasts every socket timeout.
    threading.Thread(target=work, name="lisa-fetch", daemon=True).start()
    try:
        return done.result(limits.url_timeout_s)
    except TimeoutError as e:
        raise UrlFetchFailed(
            f"{shown_url(url)!r} took longer than {limits.url_timeout_s:g} s",
            "Save the image to a file and pass its path.",
        ) from e
    finally:
        download.stop()


class _Download:
    """One fetch with its redirects. `stop` ends it from another thread by shutting its socket down."""

    def __init__(self, hosts: tuple[str, ...], limits: Limits) -> None:
        self.hosts = hosts
        self.limits = limits
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._stopped = False

    def connected(self, sock: socket.socket | None) -> None:
        """Called with each new socket, after the TLS handshake."""
        with self._lock:
            self._socket = sock
            if self._stopped:
                self._shut_down()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # closed already
                # Below TLS: `SSLSocket.shutdown` would drop the TLS state under the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def run(self, checked: CheckedUrl) -> bytes:
        for _ in range(self.limits.url_max_redirects + 1):
            answer = self._get(checked)
            if isinstance(answer, bytes):
                return answer
            checked = check_url(urljoin(checked.url, answer), self.hosts)
        raise UrlFetchFailed(
            f"{shown_url(checked.url)!r}: more than {self.limits.url_max_redirects} redirects",
            "Pass the URL that the image itself has.",
        )

    def _get(self, checked: CheckedUrl) -> bytes | str:
        """The body, or where a redirect leads."""
        name = repr(shown_url(checked.url))
        try:
            with (
                _session(self) as session,
                session.get(
                    checked.url,
                    stream=True,
                    allow_redirects=False,
                    timeout=self.limits.url_timeout_s,
                    headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "lisa-tool"},
                ) as response,
            ):
                if response.status_code in _REDIRECTS and response.headers.get("Location"):
                    return response.headers["Location"]
                if response.status_code != 200:
                    raise UrlFetchFailed(f"{name}: the server answered {response.status_code}")
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise UrlFetchFailed(f"{name}: the server sent a compressed answer")
                return self._body(response, name)
        except LisaError:
            raise
        except AntiSSRFError as e:
            raise _not_public(checked.host) from e
        except socket.gaierror as e:
            if e.errno == socket.EAI_AGAIN:
                raise UrlFetchFailed(f"{checked.host!r} cannot be looked up just now") from e
            raise _not_public(checked.host) from e  # the same words: which internal names exist is not told
        except requests.exceptions.SSLError as e:
            raise UrlFetchFailed(f"{name}: the server's certificate is not valid for it") from e
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as e:
            raise UrlFetchFailed(f"{name}: the download failed") from e

    def _body(self, response: requests.Response, name: str) -> bytes:
        body = bytearray()
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            body += chunk
            if len(body) > self.limits.max_file_bytes:
                raise ImageTooLarge(f"{name} is over the limit of {megabytes(self.limits.max_file_bytes)}")
        return bytes(body)


class _GuardedAdapter(HTTPAdapter):
    """Connects where antissrf's adapter says, unless that is an address it should have refused."""

    def __init__(self, guard: HTTPAdapter, download: _Download) -> None:
        self._guard = guard
        self._download = download
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"https": _watched_pool(self._download)}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, pool = self._guard.build_connection_pool_key_attributes(request, verify, cert)
        if not _is_public(host["host"]):
            raise AntiSSRFError("the address is not public")
        return host, pool


def _session(download: _Download) -> requests.Session:
    policy = AntiSSRFPolicy(PolicyConfigOptions.EXTERNAL_ONLY_LATEST)
    policy.add_denied_addresses(list(_GAPS))
    session = requests.Session()
    session.trust_env = False
    session.adapters.clear()  # no http://
    session.mount(
        "https://", _GuardedAdapter(policy.get_antissrf_session().get_adapter("https://"), download)
    )
    return session


def _watched_pool(download: _Download) -> type[HTTPSConnectionPool]:
    class WatchedConnection(HTTPSConnection):
        def connect(self) -> None:
            _connect(self)
            download.connected(self.sock)

    class WatchedPool(HTTPSConnectionPool):
        ConnectionCls = WatchedConnection

    return WatchedPool


def _connect(connection: HTTPSConnection) -> None:
    """Connect and shake hands; the tests lead it to their own server."""
    HTTPSConnection.connect(connection)


def _is_public(address: str) -> bool:
    """The last look at the address about to be connected to: no ISATAP form of any prefix."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (ip.version == 6 and int(ip) >> 32 & 0xFDFFFFFF == _ISATAP)


def _not_public(host: str) -> UrlNotAllowed:
    return UrlNotAllowed(f"{host!r} is not a public host, or does not exist")
