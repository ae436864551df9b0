"""Over HTTP: which hosts and origins may call, and with which tokens.

On loopback no token is needed; the Host and Origin checks keep web pages out that reach loopback by DNS
rebinding. Anything else, and loopback behind a public name, must have both tokens and the host names that it
is called by, or it does not start. Encryption is left to the proxy in front.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette

from lisa_tool.errors import BadSettings
from lisa_tool.settings import Limits

PATH = "/mcp"
SCOPE = "segment"
MIN_TOKEN_CHARS = 32
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")
_LINE = re.compile(r"(?P<user>[A-Za-z0-9._@-]{1,64})[ \t]+(?P<token>[\x21-\x7e]+)")


@dataclass(frozen=True)
class Endpoint:
    """Where to listen, and under which names.

    host: a name or an address, one of IPv6 with or without brackets. allowed_hosts: Host headers of other
    computers, a name or name:port.
    """

    host: str = "127.0.0.1"
    port: int = 8931
    allowed_hosts: tuple[str, ...] = ()
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        """Raises BadSettings for what would be open to others than was meant."""
        object.__setattr__(self, "host", self.host.strip("[]").lower())
        for name in self.allowed_hosts:
            if not _HOST.fullmatch(name):
                raise BadSettings(
                    f"{name!r} is not a host name", "Write a name, or name:port, without https://"
                )
        is_public = bool(self.allowed_hosts) or not is_loopback(self.host)
        if is_public and not (self.tokens and self.allowed_hosts):
            name = self.allowed_hosts[0] if self.allowed_hosts else self.host
            raise BadSettings(
                f"{name!r} can be reached from other computers",
                "Give both --token-file FILE and --allowed-host NAME, or listen on 127.0.0.1 without a name.",
            )

    @property
    def url(self) -> str:
        """The URL that clients are given."""
        if self.allowed_hosts:
            return f"https://{self.allowed_hosts[0]}{PATH}"
        return f"http://{self._bracketed}:{self.port}{PATH}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def security(self) -> TransportSecuritySettings:
        """The Host and Origin checks, on in every case."""
        names = [name for host in self.allowed_hosts for name in (host, f"{host}:*")]
        here = dict.fromkeys((*_LOOPBACK, self._bracketed)) if is_loopback(self.host) else {}
        hosts = [f"{host}:*" for host in here]
        if self.port == 80:  # clients leave it out
            hosts += here
        origins = [f"http://{host}" for host in hosts] + [f"https://{name}" for name in names]
        return TransportSecuritySettings(allowed_hosts=hosts + names, allowed_origins=origins)

    def auth(self) -> AuthSettings | None:
        """What says that tokens are wanted; None where they are not."""
        if self.tokens is None:
            return None
        url = AnyHttpUrl(self.url)
        return AuthSettings(
            issuer_url=url, resource_server_url=url, required_scopes=[SCOPE], validate_token_resource=True
        )

    def verifier(self) -> StaticTokens | None:
        """What checks tokens; None where none are wanted."""
        return StaticTokens(self.tokens, self.url) if self.tokens else None


@dataclass(frozen=True)
class Tokens:
    """Who may call: user -> sha256 of the token. The tokens themselves are not kept."""

    digests: dict[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Read a file with a line `user token` for each user; '#' begins a comment. Raises BadSettings."""
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise BadSettings(f"the token file {str(path)!r} cannot be read") from e
        digests: dict[str, bytes] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if not match or len(match["token"]) < MIN_TOKEN_CHARS or match["user"] in digests:
                raise BadSettings(
                    f"line {number} of the token file is not a new user and a token",
                    f"Write: user token. A token has {MIN_TOKEN_CHARS} characters or more, such as those of "
                    "python -c 'import secrets; print(secrets.token_urlsafe())'",
                )
            digests[match["user"]] = hashlib.sha256(match["token"].encode()).digest()
        if not digests:
            raise BadSettings(f"the token file {str(path)!r} names no user", "Write a line: user token")
        return cls(digests)


class StaticTokens:
    """A `TokenVerifier` that knows its tokens from a file; each is made for this server alone."""

    def __init__(self, tokens: Tokens, resource: str) -> None:
        self._tokens = tokens
        self._resource = resource

    async def verify_token(self, token: str) -> AccessToken | None:
        """The user whose token it is, compared without telling by its time how much was right."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        users = [user for user, known in self._tokens.digests.items() if hmac.compare_digest(digest, known)]
        if not users:
            return None
        return AccessToken(token=token, client_id=users[0], scopes=[SCOPE], resource=self._resource)


def http_app(server: MCPServer[None], endpoint: Endpoint, limits: Limits) -> Starlette:
    """The server as a web application: stateless, with every check on."""
    return server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=limits.max_request_bytes,
        transport_security=endpoint.security(),
    )


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
