"""Which URLs may be fetched, decided on the text alone.

Stricter than any parser: what two parsers could read differently is refused, and the URL that is requested
is built anew from the parts that were checked. Whether the host's address is public is decided in fetch.py,
when it is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from lisa_tool.errors import UrlNotAllowed
from lisa_tool.images.naming import shown, shown_url

ACCEPTED = "a path, a file:// URL, a data:image/... URI"
_MAX_CHARS = 2_048
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class CheckedUrl:
    """An https URL on port 443 of an allowed host."""

    host: str
    target: str

    @property
    def url(self) -> str:
        """The URL to request."""
        return f"https://{self.host}{self.target}"


def check_url(url: str, hosts: tuple[str, ...]) -> CheckedUrl:
    """Check a URL against the allowed hosts; '*' allows every public host. Raises UrlNotAllowed."""
    name = shown_url(url)
    if not url.lower().startswith("https://"):
        raise UrlNotAllowed(f"{name!r}: only https URLs can be fetched")
    if not hosts:
        raise UrlNotAllowed(
            f"{name!r}: fetching URLs is off",
            f"Pass {ACCEPTED}; or allow the URL's host: LISA_URL_HOSTS.",
        )
    if len(url) > _MAX_CHARS:
        raise UrlNotAllowed(f"the URL has {len(url)} characters, the limit is {_MAX_CHARS}")
    if _UNSAFE.search(url):
        raise UrlNotAllowed(f"{name!r} contains a backslash, space or control character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise UrlNotAllowed(f"{name!r} is not a valid URL") from e
    if "@" in parts.netloc:
        raise UrlNotAllowed(f"{name!r}: URLs with a user name or password are not fetched")
    if port not in (None, 443):
        raise UrlNotAllowed(f"{name!r}: only port 443 is allowed")
    host = _check_host(parts.netloc.partition(":")[0].lower(), name)
    if "*" not in hosts and host not in hosts:
        allowed = ", ".join(shown(h, 80) for h in hosts[:10])
        raise UrlNotAllowed(f"{host!r} is not an allowed host: {allowed}")
    if "." not in host and host not in hosts:
        raise UrlNotAllowed(f"{host!r} is not a public host")
    query = f"?{parts.query}" if parts.query else ""
    return CheckedUrl(host, f"{parts.path or '/'}{query}")


def _check_host(host: str, name: str) -> str:
    """Plain ASCII names only: no address in any notation, nothing that IDNA or percent-decoding rewrites."""
    host = host.removesuffix(".")
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        raise UrlNotAllowed(
            f"{name!r}: the host must be a plain name such as 'example.org' (punycode if need be)"
        )
    if _NUMBER.fullmatch(labels[-1]):
        raise UrlNotAllowed(f"{name!r}: the host must be a name, not an address")
    return host
