from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from PIL import Image

from lisa_tool.engine.conversation import Conversation, Conversations, Turn
from lisa_tool.errors import ConversationNotFound, ImageNotFound
from lisa_tool.settings import Limits

CAT, DOG = "c" * 64, "d" * 64


@pytest.fixture
def kept(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path / "conversations", Limits())


def begun(kept: Conversations, *questions: str, image: str | bytes | Image.Image = "cat.png") -> Conversation:
    """A conversation about the cat with these questions, each answered 'Sure, [SEG].'"""
    handle = kept.resume(None).id
    for question in questions:
        kept.add(handle, image, CAT, Turn(question, "Sure, [SEG]."))
    return kept.resume(handle)


def test_a_conversation_is_found_under_its_handle_with_its_image_and_turns(kept: Conversations) -> None:
    handle = begun(kept, "the ears", "the tail").id
    resumed = kept.resume(handle)
    assert resumed.reference(None) == os.path.abspath("cat.png")
    assert [turn.query for turn in resumed.about(CAT)] == ["the ears", "the tail"]


def test_another_process_with_the_same_folder_goes_on_with_it(kept: Conversations, tmp_path: Path) -> None:
    handle = begun(kept, "the ears").id
    elsewhere = Conversations(tmp_path / "conversations", Limits())
    assert elsewhere.resume(handle) == kept.resume(handle)


def test_two_conversations_never_have_the_same_handle(kept: Conversations) -> None:
    assert kept.resume(None).id != kept.resume(None).id


@pytest.mark.parametrize(
    "handle", ["", "conv_", "conv_" + "0" * 32, "../conv_" + "0" * 32, "conv_" + "g" * 32, "1", "x" * 5000]
)
def test_a_handle_that_was_not_given_out_is_not_found(handle: str, kept: Conversations) -> None:
    with pytest.raises(ConversationNotFound) as error:
        kept.resume(handle)
    assert len(error.value.message) < 200


def test_another_image_begins_anew(kept: Conversations) -> None:
    conversation = begun(kept, "the ears")
    assert conversation.about(DOG) == ()
    kept.add(conversation.id, "dog.png", DOG, Turn("the nose", "[SEG]"))
    assert kept.resume(conversation.id).turns == (Turn("the nose", "[SEG]"),)


def test_the_oldest_turns_go_when_there_are_too_many(tmp_path: Path) -> None:
    kept = Conversations(tmp_path, Limits(max_history_turns=2))
    handle = begun(kept, "one", "two", "three").id
    assert [turn.query for turn in kept.resume(handle).turns] == ["two", "three"]


def test_the_oldest_conversations_go_when_there_are_too_many(tmp_path: Path) -> None:
    kept = Conversations(tmp_path / "kept", Limits(max_conversations=2))
    handles = []
    for i in range(3):
        handles.append(begun(kept, "one").id)
        os.utime(tmp_path / "kept" / f"{handles[-1]}.json", (i, i))
    newest = begun(kept, "one").id
    assert sorted(path.stem for path in (tmp_path / "kept").iterdir()) == sorted([handles[-1], newest])


def test_a_conversation_expires(tmp_path: Path) -> None:
    kept = Conversations(tmp_path, Limits(conversation_idle_s=60))
    handle = begun(kept, "one").id
    assert kept.resume(handle).turns
    os.utime(tmp_path / f"{handle}.json", (0, 0))
    with pytest.raises(ConversationNotFound):
        kept.resume(handle)


@pytest.mark.parametrize("image", [b"bytes of a file", Image.new("RGB", (4, 4)), "data:image/png;base64,AA"])
def test_an_image_given_as_itself_is_kept_in_memory_only(
    image: str | bytes | Image.Image, kept: Conversations, tmp_path: Path
) -> None:
    handle = begun(kept, "one", image=image).id
    assert kept.resume(handle).reference(None) is image
    later = Conversations(tmp_path / "conversations", Limits()).resume(handle)
    assert later.turns
    with pytest.raises(ImageNotFound):
        later.reference(None)


def test_images_in_memory_are_bounded(tmp_path: Path) -> None:
    kept = Conversations(tmp_path, Limits(conversation_bytes=10))
    small, large = begun(kept, "one", image=b"x" * 10), begun(kept, "one", image=b"x" * 11)
    assert kept.resume(small.id).image == b"x" * 10
    assert kept.resume(large.id).image is None


def test_the_files_are_private_and_a_damaged_one_is_as_good_as_none(tmp_path: Path) -> None:
    kept = Conversations(tmp_path / "in" / "here", Limits())
    handle = begun(kept, "one").id
    (file,) = (tmp_path / "in" / "here").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("{")
    with pytest.raises(ConversationNotFound):
        kept.resume(handle)


def test_a_link_planted_under_a_handle_is_not_followed(kept: Conversations, tmp_path: Path) -> None:
    handle = begun(kept, "one").id
    file = tmp_path / "conversations" / f"{handle}.json"
    file.rename(tmp_path / "moved.json")
    file.symlink_to(tmp_path / "moved.json")
    with pytest.raises(ConversationNotFound):
        kept.resume(handle)


def test_a_folder_that_cannot_be_written_costs_the_conversation_not_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Conversations(tmp_path / "file", Limits())
    handle = kept.resume(None).id
    kept.add(handle, "cat.png", CAT, Turn("one", "[SEG]"))
    with pytest.raises(ConversationNotFound):
        kept.resume(handle)
