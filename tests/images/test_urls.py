"""Which URLs may be fetched, by their text alone."""

from __future__ import annotations

import pytest

from lisa_tool.errors import UrlNotAllowed
from lisa_tool.images.urls import check_url

HOSTS = ("ok.example",)


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("https://ok.example/a.png", "https://ok.example/a.png"),
        ("HTTPS://OK.EXAMPLE:443/A.png?x=1#frag", "https://ok.example/A.png?x=1"),
        ("https://ok.example", "https://ok.example/"),
        ("https://ok.example./a", "https://ok.example/a"),
        ("https://ok.example/a%20b@c:d.png", "https://ok.example/a%20b@c:d.png"),
        ("https://ok.example?u=https://a@b", "https://ok.example/?u=https://a@b"),
    ],
)
def test_an_allowed_url_is_built_anew_from_its_parts(url: str, want: str) -> None:
    assert check_url(url, HOSTS).url == want


@pytest.mark.parametrize(
    "url",
    [
        "http://ok.example/a.png",
        "https:ok.example/a.png",
        "https:/ok.example/a.png",
        "https://ok.example:8443/a.png",
        "https://ok.example:80/a.png",
        "https://ok.example:x/a.png",
        "https://ok.example:99999/",
        "https://user@ok.example/a.png",
        "https://ok.example@127.0.0.1/",
        "https://ok.example:443@127.0.0.1/",
        "https://ok.example%40127.0.0.1/",
        "https://ok.example\\@127.0.0.1/",
        "https://127.0.0.1\\@ok.example/",
        "https://ok.example\\.evil.example/",
        "https://ok.example\t.evil.example/",
        "https://ok.example/a\r\nHost: evil.example",
        "https://ok.example/a b",
        "https://ok.example/\ud800",
        "https://ok.example\0/",
        "https://evil.example/ok.example",
        "https://ok.example.evil.example/",
        "https://sub.ok.example/",
        "https://evilok.example/",
        "https://evil.example#ok.example",
        "https://evil.example?ok.example",
        "https:///a.png",
        "https://",
        "https://[::1]/",
        "https://[ok.example]/",
        "https://ok..example/",
        "https://ok_.example/",
        "https://" + "a" * 3000,
    ],
)
def test_what_is_not_plainly_an_allowed_url_is_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowed):
        check_url(url, HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0x1", "017700000001", "8.8.8.8"),
        *(
            "127.0.0.1.",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "①②⑦.0.0.1",
            "\uff11\uff12\uff17.0.0.1",
            "%31%32%37.0.0.1",
        ),
        *("127。0。0。1", "localhost", "intranet", "-a.example", "[fe80::1%25eth0]"),
    ],
)
def test_with_any_public_host_allowed_addresses_and_bare_names_are_refused(host: str) -> None:
    with pytest.raises(UrlNotAllowed):
        check_url(f"https://{host}/a.png", ("*",))


def test_a_bare_name_is_allowed_when_it_is_listed() -> None:
    assert check_url("https://images/a.png", ("images",)).host == "images"


def test_the_refusal_names_the_allowed_hosts_and_no_secret() -> None:
    with pytest.raises(UrlNotAllowed, match=r"'evil\.example' is not an allowed host: ok\.example") as caught:
        check_url("https://evil.example/a?token=secret", HOSTS)
    assert "secret" not in caught.value.to_text()
