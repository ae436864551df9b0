from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lisa_tool.errors import LisaError
from lisa_tool.lisa.prompt import LLAVA_LLAMA_2, LLAVA_V1, Template, build_prompt
from lisa_tool.lisa.tokenizer import LisaTokenizer
from lisa_tool.train.labels import (
    IGNORE_INDEX,
    ConversationInvalid,
    TrainingBatch,
    collate,
    label_answers,
    spread_over_image,
)

GOLDEN = Path(__file__).parents[1] / "golden"

ASKED = build_prompt(LLAVA_V1, [("Please segment the cup in this image.", "Sure, [SEG].")])
ASKED_TWICE = [
    ("Can you segment the cup in this image?", "Sure, it is [SEG]."),
    ("And the spoon?", "[SEG], as it stirs."),
]
OPEN = build_prompt(LLAVA_V1, [("Please segment the cup in this image.", None)])


@pytest.fixture(scope="module")
def tokenizer() -> LisaTokenizer:
    return LisaTokenizer.from_folder(GOLDEN / "tokenizer" / "legacy_true")


@pytest.fixture(scope="module")
def batch(tokenizer: LisaTokenizer) -> TrainingBatch:
    """The batch that the reference was trained with: two questions on one image, one on another."""
    meta = json.loads((GOLDEN / "nano" / "meta.json").read_text("utf-8"))
    first, second, third = meta["cases"]["train_losses"]["conversations"]
    return collate([[first, second], [third]], LLAVA_V1, tokenizer)


@pytest.mark.parametrize(
    ("field", "recorded"),
    [
        ("input_ids", "input_ids"),
        ("labels", "labels"),
        ("attention_mask", "attention_masks"),
        ("offset", "offset"),
    ],
)
def test_a_batch_is_that_of_the_reference(field: str, recorded: str, batch: TrainingBatch) -> None:
    expected = load_file(GOLDEN / "nano" / "train_losses.safetensors")[recorded]
    assert torch.equal(getattr(batch, field).to(expected.dtype), expected)


def test_each_conversation_knows_its_image(batch: TrainingBatch) -> None:
    assert batch.image_index.tolist() == [0, 0, 1]


@pytest.mark.parametrize("legacy", ["legacy_true", "legacy_false"])
@pytest.mark.parametrize("template", [LLAVA_V1, LLAVA_LLAMA_2], ids=lambda template: template.name)
def test_the_answers_of_all_turns_are_learned_and_nothing_else(template: Template, legacy: str) -> None:
    tokenizer = LisaTokenizer.from_folder(GOLDEN / "tokenizer" / legacy)
    ids, labels = label_answers(build_prompt(template, ASKED_TWICE), template, tokenizer)
    assert all(label in (id_, IGNORE_INDEX) for id_, label in zip(ids, labels, strict=True))
    learned = [label for label in labels if label != IGNORE_INDEX]
    expected = [tokenizer.encode(f"{answer}{template.answer_end}")[1:] for _, answer in ASKED_TWICE]
    assert learned == expected[0] + expected[1]


def test_of_a_question_with_a_mask_in_it_only_the_answer_is_learned(tokenizer: LisaTokenizer) -> None:
    conversation = build_prompt(LLAVA_V1, [("Is [SEG] the cup?", "Yes.")])
    _, labels = label_answers(conversation, LLAVA_V1, tokenizer)
    assert tokenizer.seg_token_id not in labels


@pytest.mark.parametrize("over", [0, 1, 5])
def test_what_is_longer_than_the_limit_is_cut_off(over: int, tokenizer: LisaTokenizer) -> None:
    ids, labels = label_answers(ASKED, LLAVA_V1, tokenizer)
    length = len(ids) - over
    batch = collate([[ASKED]], LLAVA_V1, tokenizer, max_length=length + 15, n_image_tokens=16)
    assert batch.input_ids.tolist() == [ids[:length]]
    assert batch.labels.tolist() == [labels[:length]]
    assert batch.attention_mask.tolist() == [[True] * length]


def test_as_a_rule_a_conversation_takes_512_positions_at_most(tokenizer: LisaTokenizer) -> None:
    long = build_prompt(LLAVA_V1, [("Why? " * 300, "Sure, [SEG].")])
    batch = collate([[long]], LLAVA_V1, tokenizer)
    assert spread_over_image(batch.labels, batch.input_ids).shape == (1, 512)


def test_an_image_without_conversations_has_none(tokenizer: LisaTokenizer) -> None:
    batch = collate([[ASKED], [], [ASKED]], LLAVA_V1, tokenizer)
    assert batch.offset.tolist() == [0, 1, 1, 2]
    assert batch.image_index.tolist() == [0, 2]


def test_no_conversations_make_an_empty_batch(tokenizer: LisaTokenizer) -> None:
    batch = collate([], LLAVA_V1, tokenizer)
    assert (batch.input_ids.shape, batch.offset.tolist()) == ((0, 0), [0])


def test_labels_move_behind_the_patches_of_the_image() -> None:
    input_ids = torch.tensor([[1, -200, 7, 8, 9], [1, 6, -200, 8, 0]])
    labels = torch.tensor([[-100, -100, -100, 8, 9], [-100, -100, -100, 8, -100]])
    assert spread_over_image(labels, input_ids, n_image_tokens=3).tolist() == [
        [-100, -100, -100, -100, -100, 8, 9],
        [-100, -100, -100, -100, -100, 8, -100],
    ]


@pytest.mark.parametrize("row", [[1, 5, 6, 7], [1, -200, -200, 7]])
def test_labels_cannot_be_spread_over_no_image_or_two(row: list[int]) -> None:
    input_ids = torch.tensor([[1, -200, 6, 7], row])
    with pytest.raises(ValueError, match="one image slot"):
        spread_over_image(torch.full_like(input_ids, IGNORE_INDEX), input_ids)


@pytest.mark.parametrize(
    ("conversation", "complaint"),
    [
        ("", "ends in ''"),
        (OPEN, "ASSISTANT:'"),
        (ASKED + "USER: And the spoon? ASSISTANT:", "ASSISTANT:'"),
        (ASKED.removesuffix("</s>"), "expected '</s>'"),
        (f"{OPEN}</s>", "not one answer"),
        (f"{OPEN}  </s>", "not one answer"),
        (OPEN.replace(" ASSISTANT:", " Sure.</s>"), "not one answer"),
        (ASKED.replace("the cup", "ASSISTANT: the cup"), "not one answer"),
        (ASKED.replace("<image>", ""), "not one <image>"),
        (ASKED.replace("the cup", "<image>"), "not one <image>"),
        (ASKED.replace("<image>", "").replace("Sure", "<image>"), "not one <image>"),
        (build_prompt(LLAVA_LLAMA_2, ASKED_TWICE), "not one answer"),
    ],
)
def test_a_conversation_that_cannot_be_learned_from_is_refused(
    conversation: str, complaint: str, tokenizer: LisaTokenizer
) -> None:
    with pytest.raises(ConversationInvalid, match=complaint) as error:
        collate([[ASKED, conversation]], LLAVA_V1, tokenizer)
    assert isinstance(error.value, LisaError) and error.value.hint
