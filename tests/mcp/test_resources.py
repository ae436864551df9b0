"""Files as resources, prompts, completions."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from mcp import Client, MCPError
from mcp.types import BlobResourceContents, ResourceTemplateReference, TextContent, TextResourceContents

from lisa_tool.mcp.resources import MAX_RESOURCE_BYTES
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from tests.mcp.conftest import Connect
from tests.mcp.test_tools import data_of, segment

pytestmark = pytest.mark.anyio


async def read(client: Client, uri: str) -> tuple[bytes, str | None]:
    """Content and type of a resource that is a file."""
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, BlobResourceContents)
    return base64.b64decode(content.blob), content.mime_type


async def test_every_file_of_a_result_can_be_read_under_the_uri_that_the_answer_names(
    connect: Connect, photo: Path
) -> None:
    async with connect() as client:
        answer = data_of(await segment(client, photo))
        found = {uri.rpartition("/")[2]: await read(client, uri) for uri in answer["resources"]}
    assert {name: kind for name, (_, kind) in found.items()} == {
        "mask_0.png": "image/png",
        "mask_1.png": "image/png",
        "overlay.jpg": "image/jpeg",
        "result.json": "application/json",
    }
    result = Segmentation.model_validate_json(found["result.json"][0])
    assert found["mask_1.png"][0] == Path(result.masks[1].path).read_bytes()


async def test_about_says_what_is_allowed(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        (content,) = (await client.read_resource("lisa://about")).contents
    assert isinstance(content, TextResourceContents)
    assert str(tmp_path) in content.text and "20 MiB" in content.text


HOSTILE = [
    "lisa://results/RESULT/mask_2.png",
    "lisa://results/RESULT/mask_00.png",
    "lisa://results/RESULT/mask_0.png.bak",
    "lisa://results/RESULT/mask_../../photo.png",
    "lisa://results/RESULT/mask_%2e%2e%2f%2e%2e%2fphoto.png",
    "lisa://results/RESULT/mask_..%2f..%2f..%2fetc%2fpasswd%00.png",
    "lisa://results/RESULT/..%2fRESULT%2foverlay.jpg",
    "lisa://results/RESULT/../../etc/passwd",
    "lisa://results/RESULT/notes.txt",
    "lisa://results/../conversations/overlay.jpg",
    "lisa://results/%2e%2e/overlay.jpg",
    "lisa://results/..%5c..%5cWindows/overlay.jpg",
    "lisa://results/%2fetc/result.json",
    "lisa://results/C:%5cWindows/result.json",
    "lisa://results/%5c%5chost%5cshare/result.json",
    "lisa://results/RESULT%00/result.json",
    "lisa://results/.RESULT.part/result.json",
    "lisa://results/res_00000000000000000000000000000000/result.json",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("uri", HOSTILE)
async def test_a_uri_leads_to_files_of_results_only(connect: Connect, photo: Path, uri: str) -> None:
    async with connect() as client:
        result_id = data_of(await segment(client, photo))["result_id"]
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri.replace("RESULT", result_id))
    assert caught.value.error.code == -32602


async def test_a_result_folder_that_is_a_link_is_none(
    connect: Connect, photo: Path, settings: Settings
) -> None:
    async with connect() as client:
        result_id = data_of(await segment(client, photo))["result_id"]
        link = "res_" + "1" * 32
        (settings.output_dir / link).symlink_to(settings.output_dir / result_id)
        with pytest.raises(MCPError, match="no result"):
            await client.read_resource(f"lisa://results/{link}/result.json")


async def test_a_file_too_large_for_a_message_is_named_instead(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        answer = data_of(await segment(client, photo))
        overlay = Path(answer["result"]["overlay_path"])
        uri = f"lisa://results/{answer['result_id']}/overlay.jpg"
        overlay.write_bytes(b"x" * MAX_RESOURCE_BYTES)
        assert len((await read(client, uri))[0]) == MAX_RESOURCE_BYTES
        overlay.write_bytes(b"x" * (MAX_RESOURCE_BYTES + 1))
        with pytest.raises(MCPError, match=r"overlay\.jpg is over 7 MiB: open the file at /"):
            await client.read_resource(uri)


async def test_prompts_name_the_tools_and_what_was_asked(connect: Connect) -> None:
    async with connect() as client:
        one = await client.get_prompt("segment_file", {"path": "/a b.png", "query": "the dog"})
        other = await client.get_prompt("find_and_segment", {"query": "the dog"})
    texts = [
        message.content.text
        for prompt in (one, other)
        for message in prompt.messages
        if isinstance(message.content, TextContent)
    ]
    assert "segment_image" in texts[0] and "'/a b.png'" in texts[0] and "'the dog'" in texts[0]
    assert "list_images" in texts[1] and "'the dog'" in texts[1]


async def test_result_ids_are_completed_newest_first(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        old, new = [data_of(await segment(client, photo))["result_id"] for _ in range(2)]
        ref = ResourceTemplateReference(type="ref/resource", uri="lisa://results/{result_id}/overlay.jpg")
        both = (await client.complete(ref, {"name": "result_id", "value": "res_"})).completion
        one = (await client.complete(ref, {"name": "result_id", "value": old})).completion
        none = (await client.complete(ref, {"name": "index", "value": ""})).completion
    assert (both.values, both.total, both.has_more) == ([new, old], 2, False)
    assert (one.values, none.values) == ([old], [])
