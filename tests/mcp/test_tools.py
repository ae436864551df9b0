"""The tools as a client meets them, in both eras of the protocol."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client
from mcp.types import CallToolResult, ImageContent, TextContent

from lisa_tool.mcp.app import build_server
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.results import Segmentation
from lisa_tool.settings import Limits, Settings, load_settings
from lisa_tool.store import read_mask
from tests.mcp.conftest import PATIENCE_S, Connect, PatientBackend
from tests.red import red_photo

pytestmark = pytest.mark.anyio


def text_of(result: CallToolResult) -> str:
    """All text of an answer."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def data_of(result: CallToolResult) -> dict[str, Any]:
    """The structured part of an answer that is no error."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


def error_of(result: CallToolResult) -> str:
    """The text of an answer that is an error."""
    assert result.is_error
    assert result.structured_content is None
    return text_of(result)


async def segment(
    client: Client, image: Path | str, query: str = "the red", **arguments: Any
) -> CallToolResult:
    with anyio.fail_after(PATIENCE_S):
        return await client.call_tool("segment_image", {"image": str(image), "query": query, **arguments})


# Answers


async def test_text_and_data_each_carry_all_facts(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        answer = await segment(client, photo)
    data, text = data_of(answer), text_of(answer)
    result = Segmentation.model_validate(data["result"])
    assert (data["status"], result.outcome, len(result.masks)) == ("done", "found", 2)
    for mask in result.masks:
        assert Path(mask.path).is_absolute() and read_mask(mask.path).sum() == mask.area_px
        assert mask.box is not None
        for fact in (
            mask.path,
            f"x={mask.box.x} y={mask.box.y} w={mask.box.width}",
            mask.position,
            mask.label,
        ):
            assert fact in text
    assert result.overlay_path is not None and result.conversation_id is not None
    for fact in (
        data["result_id"],
        result.overlay_path,
        result.conversation_id,
        result.answer,
        data["image_handle"],
    ):
        assert fact in text
    assert "Outcome: found" in text


async def test_the_text_says_not_to_describe_a_picture_that_is_not_visible(
    connect: Connect, photo: Path
) -> None:
    async with connect() as client:
        assert "If no picture is visible to you, do not describe it" in text_of(await segment(client, photo))


async def test_not_found_is_an_answer(connect: Connect, tmp_path: Path) -> None:
    red_photo().save(tmp_path / "grey.png")
    async with connect() as client:
        answer = await segment(client, tmp_path / "grey.png", preview="overlay")
    assert data_of(answer)["result"]["outcome"] == "not_found"
    assert "Outcome: not_found" in text_of(answer)
    assert [block.type for block in answer.content] == ["text"]


async def test_a_picture_comes_only_as_asked(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        without = await segment(client, photo)
        wanted = await segment(client, photo, preview="overlay")
    assert [block.type for block in without.content] == ["text"]
    assert [block.type for block in wanted.content] == ["text", "image"]
    image = wanted.content[1]
    assert isinstance(image, ImageContent) and image.mime_type == "image/jpeg"
    assert image.data not in json.dumps(wanted.structured_content)


# Conversations, handles, results


async def test_a_conversation_goes_on_without_its_image(
    connect: Connect, photo: Path, backend: PatientBackend
) -> None:
    async with connect() as client:
        first = data_of(await segment(client, photo, "the red"))["result"]
        again = data_of(await segment(client, "", "and the other", conversation_id=first["conversation_id"]))
    assert again["result"]["image"]["sha256"] == first["image"]["sha256"]
    assert [turn.query for turn in backend.asked[1].history] == ["the red"]


async def test_a_handle_stands_for_its_image(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        listed = data_of(await client.call_tool("list_images", {}))
        (image,) = listed["images"]
        assert image["path"] == str(photo)
        answer = data_of(await segment(client, image["handle"]))
        assert answer["image_handle"] == image["handle"]
    assert answer["result"]["image"]["source"] == str(photo)


async def test_an_image_may_come_inside_the_call_and_its_handle_is_enough_afterwards(
    connect: Connect, photo: Path
) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    async with connect() as client:
        first = data_of(await segment(client, uri))
        again = data_of(await segment(client, first["image_handle"]))
    assert uri not in json.dumps(first)
    assert again["result"]["image"] == first["result"]["image"]


async def test_a_finished_result_can_be_had_again(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        first = await segment(client, photo)
        again = await client.call_tool("get_result", {"result_id": data_of(first)["result_id"]})
    assert again.structured_content == first.structured_content
    assert text_of(again) == text_of(first)


async def test_a_result_of_an_earlier_run_can_be_had_again(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        first = data_of(await segment(client, photo))
    async with connect() as client:
        again = data_of(await client.call_tool("get_result", {"result_id": first["result_id"]}))
    assert again["result"] == first["result"]


@pytest.mark.parametrize("arguments", [{}, {"what": "closeup", "mask": 2}, {"what": "mask", "mask": 1}])
async def test_a_view_is_a_picture_and_a_line(
    connect: Connect, photo: Path, arguments: dict[str, Any]
) -> None:
    async with connect() as client:
        result_id = data_of(await segment(client, photo))["result_id"]
        view = await client.call_tool("view_result", {"result_id": result_id, **arguments})
    assert not view.is_error and view.structured_content is None
    assert [block.type for block in view.content] == ["image", "text"]
    assert result_id in text_of(view)


async def test_the_newest_images_are_listed_and_nothing_outside(connect: Connect, photo: Path) -> None:
    async with connect() as client:
        assert str(photo) in text_of(await client.call_tool("list_images", {"name_contains": "PHOTO"}))
        assert data_of(await client.call_tool("list_images", {"name_contains": "cat"}))["images"] == []
        outside = error_of(await client.call_tool("list_images", {"folder": "/etc"}))
    assert "[path_not_allowed]" in outside


async def test_the_status_tells_what_is_allowed_and_opens_nothing(
    connect: Connect, photo: Path, settings: Settings
) -> None:
    async with connect() as client:
        before = data_of(await client.call_tool("get_status", {}))
        await segment(client, photo)
        after = data_of(await client.call_tool("get_status", {}))
    assert (before["state"], before["model"]) == ("not started", None)
    assert (after["state"], after["model"]["name"]) == ("ready", "red")
    assert after["folders"] == [str(folder) for folder in settings.roots]
    assert after["output_dir"] == str(settings.output_dir)
    assert after["limits"] == json.loads(Limits().model_dump_json())


async def test_a_result_read_back_leads_to_no_file_but_its_own(
    connect: Connect, photo: Path, settings: Settings
) -> None:
    async with connect() as client:
        result_id = data_of(await segment(client, photo))["result_id"]
    file = settings.output_dir / result_id / "result.json"
    true = Segmentation.model_validate_json(file.read_text())
    foreign = photo.with_name("foreign")
    masks = tuple(mask.model_copy(update={"path": f"{foreign}/{i}.png"}) for i, mask in enumerate(true.masks))
    paths = {"masks": masks, "overlay_path": f"{foreign}/overlay.jpg"}
    changed = true.model_copy(update={"result_id": "../..", **paths})
    file.write_text(changed.model_dump_json())
    async with connect() as client:
        again = data_of(await client.call_tool("get_result", {"result_id": result_id}))
        assert not (await client.call_tool("view_result", {"result_id": result_id, "what": "mask"})).is_error
    assert Segmentation.model_validate(again["result"]).masks == true.masks
    assert again["result"]["overlay_path"] == true.overlay_path


# Errors

KNOWN_ARGUMENTS = {
    "segment_image": ("image", "query", "conversation_id", "preview", "wait_seconds"),
    "view_result": ("result_id", "what", "mask", "max_side"),
    "list_images": ("folder", "name_contains", "limit"),
}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"image": "/etc/passwd", "query": "the red"}, "path_not_allowed"),
        ({"image": "photo.png", "query": "the red"}, "image_not_found"),
        ({"image": "/mnt/user-data/uploads/cat.png", "query": "the red"}, "image_not_found"),
        ({"image": "img_" + "0" * 32, "query": "the red"}, "image_not_found"),
        ({"image": "https://example.org/cat.png", "query": "the red"}, "url_not_allowed"),
        ({"image": "", "query": "the red"}, "image_not_found"),
        ({"image": "PHOTO", "query": " "}, "invalid_query"),
        ({"image": "PHOTO", "query": "x", "conversation_id": "conv_" + "0" * 32}, "conversation_not_found"),
    ],
)
async def test_what_goes_wrong_says_what_and_what_next(
    connect: Connect, photo: Path, arguments: dict[str, str], code: str
) -> None:
    given = {name: str(photo) if value == "PHOTO" else value for name, value in arguments.items()}
    async with connect() as client:
        text = error_of(await client.call_tool("segment_image", given))
        assert f"[{code}]" in text
        assert len(text) > 60
        assert data_of(await segment(client, photo))["status"] == "done"


async def test_a_path_of_a_chat_app_is_explained_with_a_way_out(connect: Connect, tmp_path: Path) -> None:
    async with connect() as client:
        text = error_of(await segment(client, "/mnt/user-data/uploads/cat.png"))
    assert "sandbox" in text
    assert "list_images" in text and str(tmp_path) in text


@pytest.mark.parametrize("name", ["/mnt/user-data/uploads/cat.png", "none.png", "MISSING"])
async def test_a_picture_that_is_not_there_is_told_once_with_the_code_last(
    connect: Connect, tmp_path: Path, name: str
) -> None:
    async with connect() as client:
        text = error_of(await segment(client, name.replace("MISSING", str(tmp_path / "none.png"))))
    assert text.endswith("[image_not_found]")
    assert (text.count("list_images"), text.count("images that can be read")) == (1, 0)


async def test_without_an_allowed_folder_the_refusal_names_the_setting(
    settings: Settings, photo: Path, open_backend: Any
) -> None:
    closed = settings.model_copy(update={"roots": ()})
    async with Client(build_server(closed, open_backend)) as client:
        text = error_of(await segment(client, photo))
    assert "--allow DIR" in text and "LISA_ROOTS" in text


@pytest.mark.parametrize(
    ("tool", "arguments", "wrong"),
    [
        (
            "segment_image",
            {"image": "/a.png", "query": "x", "previw": "overlay"},
            "'previw' is no argument of it",
        ),
        (
            "segment_image",
            {"image": "/a.png", "query": "x", "preview": "mask"},
            "'preview' should be 'none' or 'overlay'",
        ),
        (
            "segment_image",
            {"image": "/a.png", "query": "x", "wait_seconds": 241},
            "'wait_seconds' should be less than or equal to 240",
        ),
        ("segment_image", {"image": "/a.png"}, "'query' is missing"),
        (
            "view_result",
            {"result_id": "res_" + "0" * 32, "max_side": 255},
            "'max_side' should be greater than or equal to 256",
        ),
        ("list_images", {"limit": 51}, "'limit' should be less than or equal to 50"),
    ],
)
async def test_wrong_arguments_are_refused_by_name_in_one_line(
    connect: Connect, tool: str, arguments: dict[str, Any], wrong: str
) -> None:
    async with connect() as client:
        text = error_of(await client.call_tool(tool, arguments))
    assert wrong in text and "[invalid_arguments]" in text
    assert "\n" not in text and "pydantic" not in text and "Error" not in text
    assert tool in text and all(name in text for name in KNOWN_ARGUMENTS[tool])


async def test_a_name_that_is_no_argument_cannot_fill_the_answer(connect: Connect) -> None:
    async with connect() as client:
        text = error_of(await client.call_tool("get_status", {f"{i}\n" + "x" * 9_000: 1 for i in range(99)}))
    assert len(text) < 600 and "\n" not in text


@pytest.mark.parametrize("tool", ["get_result", "view_result"])
@pytest.mark.parametrize("result_id", ["res_" + "0" * 32, "job_" + "0" * 32, "../photo", "res_0\0", ""])
async def test_an_unknown_result_is_refused(connect: Connect, tool: str, result_id: str) -> None:
    async with connect() as client:
        assert "[result_not_found]" in error_of(await client.call_tool(tool, {"result_id": result_id}))


async def test_a_bug_is_told_without_its_details(
    connect: Connect,
    photo: Path,
    backend: PatientBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(backend, "predict", fail)
    async with connect() as client:
        text = error_of(await segment(client, photo))
    assert "[internal_error]" in text and "secret" not in text
    assert "/secret/path" in caplog.text


async def test_a_backend_that_cannot_be_opened_is_an_error_and_is_tried_again(
    settings: Settings, photo: Path, backend: PatientBackend
) -> None:
    tries: list[int] = []

    def open_at_last(settings: Settings) -> LocalSegmenter:
        tries.append(1)
        if len(tries) == 1:
            load_settings(model=3)  # raises BadSettings
        return LocalSegmenter(backend, settings)

    async with Client(build_server(settings, open_at_last)) as client:
        assert "[bad_settings]" in error_of(await segment(client, photo))
        assert data_of(await client.call_tool("get_status", {}))["state"] == "failed"
        assert data_of(await segment(client, photo))["status"] == "done"
