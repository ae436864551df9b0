from __future__ import annotations

import base64

import pytest

from lisa_tool.errors import ImageNotFound, ImageTooLarge
from lisa_tool.mcp.references import HANDLE, References
from lisa_tool.settings import Limits

LIMITS = Limits(max_inline_bytes=300, conversation_bytes=2_000)


@pytest.fixture
def references() -> References:
    return References(LIMITS)


def data_uri(n_bytes: int) -> str:
    return f"data:image/png;base64,{base64.b64encode(bytes(n_bytes)).decode()}"


@pytest.mark.parametrize(
    "image",
    [
        "/home/ada/cat.png",
        "~/cat.png",
        "file:///home/ada/cat.png",
        "https://example.org/cat.png",
        r"C:\Users\ada\cat.png",
        "c:/Users/ada/cat.png",
        r"\\host\share\cat.png",
        data_uri(3),
    ],
)
def test_what_may_lead_to_an_image_is_passed_on(references: References, image: str) -> None:
    assert references.resolve(None, f"  {image}\n") == image


@pytest.mark.parametrize("image", ["", "  ", "\n"])
def test_nothing_means_the_image_of_the_conversation(references: References, image: str) -> None:
    assert references.resolve(None, image) is None


@pytest.mark.parametrize(
    "image", ["cat.png", "./cat.png", "../cat.png", "Pictures/cat.png", "the cat", "%2fetc"]
)
def test_a_path_must_be_absolute(references: References, image: str) -> None:
    with pytest.raises(ImageNotFound, match="not an absolute path"):
        references.resolve(None, image)


def test_an_id_of_a_chat_app_is_explained(references: References) -> None:
    with pytest.raises(ImageNotFound, match="sandbox"):
        references.resolve(None, "file-abc123XYZ")


@pytest.mark.parametrize("n_bytes", [298, 299, 300])
def test_a_data_uri_may_be_as_large_as_the_limit(references: References, n_bytes: int) -> None:
    assert references.resolve(None, data_uri(n_bytes)) == data_uri(n_bytes)


def test_a_data_uri_over_the_limit_is_refused_before_it_is_decoded(references: References) -> None:
    with pytest.raises(ImageTooLarge, match="limit of 300 bytes"):
        references.resolve(None, data_uri(305))


def test_a_handle_is_the_same_each_time_and_leads_back(references: References) -> None:
    handle = references.handle(None, "/cat.png")
    assert HANDLE.fullmatch(handle)
    assert references.handle(None, "/cat.png") == handle
    assert references.handle(None, "/dog.png") != handle
    assert references.resolve(None, handle) == "/cat.png"


def test_a_handle_stands_for_a_path_that_no_keyboard_types(references: References) -> None:
    path = "/home/ada/Screenshot at 3.04\u202fPM \udcff.png"
    assert references.resolve(None, references.handle(None, path)) == path


def test_a_handle_is_of_no_use_to_another_user_and_cannot_be_guessed(references: References) -> None:
    handle = references.handle("ada", "/cat.png")
    assert references.resolve("ada", handle) == "/cat.png"
    for user in ("eve", None):
        with pytest.raises(ImageNotFound, match="no picture under the handle"):
            references.resolve(user, handle)
    assert References(LIMITS).handle("ada", "/cat.png") != handle


def test_handles_are_bounded_in_bytes_and_the_oldest_go(references: References) -> None:
    first = references.handle(None, "/0" + "x" * 300)
    for i in range(1, 4):
        last = references.handle(None, f"/{i}" + "x" * 300)
    assert references.resolve(None, last)
    with pytest.raises(ImageNotFound, match="any more"):
        references.resolve(None, first)
