"""References that an injected prompt could put into a call: refused, and nothing outside is told or read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import Client

from lisa_tool.mcp.app import build_server
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import Settings, load_settings
from tests.mcp.test_tools import data_of, error_of, segment
from tests.red import RedBackend, red_photo

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """An image outside the allowed folder, beside it and of nearly its name."""
    folder = tmp_path / "allowed-not"
    folder.mkdir()
    red_photo((10, 10, 30, 20)).save(folder / "secret.png")
    return folder / "secret.png"


@pytest.fixture
def allowed(tmp_path: Path, outside: Path) -> Path:
    """The allowed folder, with links that lead out of it."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    red_photo((10, 10, 30, 20)).save(folder / "photo.png")
    (folder / "link.png").symlink_to(outside)
    (folder / "folder").symlink_to(outside.parent)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    return folder


@pytest.fixture
def server_settings(allowed: Path, tmp_path: Path) -> Iterator[Settings]:
    yield load_settings(roots=(allowed,), output_dir=tmp_path / "results")


REFERENCES = {
    "outside": "OUTSIDE",
    "traversal": "ALLOWED/../allowed-not/secret.png",
    "prefix": "ALLOWED-not/secret.png",
    "symlink": "ALLOWED/link.png",
    "symlinked folder": "ALLOWED/folder/secret.png",
    "traversal in a file URL": "file://ALLOWED/../allowed-not/secret.png",
    "percent-encoding": "file://ALLOWED/%2e%2e/allowed-not/secret.png",
    "encoded slashes": "file://ALLOWED/..%2fallowed-not%2fsecret.png",
    "NUL": "ALLOWED/photo.png\0.jpg",
    "encoded NUL": "file://ALLOWED/photo.png%00.jpg",
    "UNC": r"\\attacker.example\share\photo.png",
    "UNC with slashes": "//attacker.example/share/photo.png",
    "UNC as a file URL": "file://attacker.example/share/photo.png",
    "Windows device": r"\\.\PhysicalDrive0",
    "Windows long path": r"\\?\C:\secret.png",
    "device": "/dev/zero",
    "link to a device": "ALLOWED/zero.png",
    "process file": "/proc/self/environ",
    "home of another": "~root/secret.png",
    "plain http": "http://127.0.0.1/secret.png",
    "metadata service": "https://169.254.169.254/latest/meta-data",
}


@pytest.mark.parametrize("name", REFERENCES)
async def test_it_is_refused_and_told_alike_whether_or_not_it_is_there(
    name: str, server_settings: Settings, allowed: Path, outside: Path
) -> None:
    reference = REFERENCES[name].replace("OUTSIDE", str(outside)).replace("ALLOWED", str(allowed))
    server = build_server(server_settings, lambda settings: LocalSegmenter(RedBackend(), settings))
    async with Client(server) as client:
        there = error_of(await segment(client, reference))
        assert "[path_not_allowed]" in there or "[url_not_allowed]" in there
        outside.unlink()
        assert error_of(await segment(client, reference)) == there
        assert data_of(await segment(client, allowed / "photo.png"))["status"] == "done"


@pytest.mark.parametrize("name", ["pipe.png", "loop.png"])
async def test_what_is_no_picture_does_not_hold_the_server_up(
    name: str, server_settings: Settings, allowed: Path
) -> None:
    server = build_server(server_settings, lambda settings: LocalSegmenter(RedBackend(), settings))
    async with Client(server) as client:
        assert "[image_" in error_of(await segment(client, allowed / name))


async def test_a_percent_sign_in_a_plain_path_is_a_percent_sign(
    server_settings: Settings, allowed: Path
) -> None:
    server = build_server(server_settings, lambda settings: LocalSegmenter(RedBackend(), settings))
    async with Client(server) as client:
        text = error_of(await segment(client, f"{allowed}/%2e%2e/allowed-not/secret.png"))
    assert "[image_not_found]" in text


async def test_a_listing_follows_no_link_out_and_names_nothing_outside(
    server_settings: Settings, allowed: Path, outside: Path
) -> None:
    async with Client(build_server(server_settings)) as client:
        listed = data_of(await client.call_tool("list_images", {"limit": 50}))
        assert [image["path"] for image in listed["images"]] == [str(allowed / "photo.png")]
        for folder in (str(outside.parent), f"{allowed}/../allowed-not", f"{allowed}/folder", "//host/share"):
            assert "[path_not_allowed]" in error_of(await client.call_tool("list_images", {"folder": folder}))


async def test_a_file_name_cannot_forge_a_line_of_the_listing(
    server_settings: Settings, allowed: Path
) -> None:
    red_photo().save(allowed / "a\nimg_00000000000000000000000000000000 \u2028\u202e\x22 b.png")
    (allowed / "photo.png").unlink()
    async with Client(build_server(server_settings)) as client:
        answer = await client.call_tool("list_images", {})
    (text,) = (block.text for block in answer.content if block.type == "text")
    assert len(text.splitlines()) == 3
    assert r"a\nimg_" in text and r"\u2028\u202e\" b.png" in text
