"""What a client is told before it asks: kept as a snapshot, so that a change is seen as one.

After a change that is meant: python -m tests.mcp.test_surface
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from lisa_tool.mcp.app import build_server
from lisa_tool.settings import Settings, load_settings

SNAPSHOT = Path(__file__).with_name("surface.json")


async def surface(settings: Settings) -> dict[str, Any]:
    """Everything static that a client can list, without the version and the icon."""
    async with Client(build_server(settings)) as client:
        listed = {
            "tools": (await client.list_tools()).tools,
            "resources": (await client.list_resources()).resources,
            "resource_templates": (await client.list_resource_templates()).resource_templates,
            "prompts": (await client.list_prompts()).prompts,
        }
        dumped = {
            name: [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in items]
            for name, items in listed.items()
        }
        return {"instructions": client.instructions, **dumped}


@pytest.fixture
def shown(settings: Settings) -> dict[str, Any]:
    return anyio.run(surface, settings)


def test_what_models_are_told_is_what_was_agreed(shown: dict[str, Any]) -> None:
    assert shown == json.loads(SNAPSHOT.read_text("utf-8"))


def test_nothing_of_the_users_computer_is_in_it(shown: dict[str, Any], tmp_path: Path) -> None:
    assert str(tmp_path) not in json.dumps(shown)


def test_tools_say_truly_what_they_do(shown: dict[str, Any]) -> None:
    hints = {tool["name"]: tool["annotations"] for tool in shown["tools"]}
    assert hints.pop("segment_image") == {
        "readOnlyHint": False,
        "destructiveHint": False,
        "idempotentHint": False,
        "openWorldHint": False,
    }
    assert len(hints) == 4
    assert all(hint == {"readOnlyHint": True, "openWorldHint": False} for hint in hints.values())


def test_with_urls_allowed_segmenting_reaches_the_open_world(settings: Settings) -> None:
    tools = anyio.run(surface, settings.model_copy(update={"url_hosts": ("example.org",)}))["tools"]
    assert {tool["name"] for tool in tools if tool["annotations"]["openWorldHint"]} == {"segment_image"}


def test_names_are_short_and_plain_and_every_argument_is_described(shown: dict[str, Any]) -> None:
    assert [tool["name"] for tool in shown["tools"]] == [
        "segment_image", "get_result", "view_result", "list_images", "get_status",
    ]  # fmt: skip
    for tool in shown["tools"]:
        assert re.fullmatch(r"[a-z_]{1,40}", tool["name"])
        assert tool["title"] and len(tool["description"]) > 80
        for argument in tool["inputSchema"]["properties"].values():
            assert argument["description"]


def test_arguments_are_of_kinds_that_every_model_api_takes(shown: dict[str, Any]) -> None:
    for tool in shown["tools"]:
        schema = tool["inputSchema"]
        assert not re.search("anyOf|prefixItems|\\$ref", json.dumps(schema))
        assert schema["additionalProperties"] is False
        optional = set(schema["properties"]) - set(schema.get("required", []))
        assert all("default" in schema["properties"][name] for name in optional)


def test_only_the_tool_that_shows_a_picture_has_no_output_schema(shown: dict[str, Any]) -> None:
    assert [tool["name"] for tool in shown["tools"] if "outputSchema" not in tool] == ["view_result"]


if __name__ == "__main__":
    text = json.dumps(anyio.run(surface, load_settings()), indent=1, ensure_ascii=False)
    SNAPSHOT.write_text(text + "\n", "utf-8")
