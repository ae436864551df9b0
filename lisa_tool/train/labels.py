"""Conversations as tensors: what the model reads, and what it is asked to predict.

Only answers are learned: every other token is labelled IGNORE_INDEX. A conversation is one prompt string, as
`lisa_tool.lisa.prompt.build_prompt` makes it, about one image and with every turn answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lisa_tool.errors import LisaError
from lisa_tool.lisa.prompt import Template
from lisa_tool.lisa.tokenizer import IMAGE, IMAGE_TOKEN_INDEX, LisaTokenizer

IGNORE_INDEX: Final = -100
"""The label of what is not learned."""

PAD_ID: Final = 0
"""Fills up short conversations; it is the id of `<unk>`, as in the reference."""

MAX_LENGTH: Final = 512
"""Positions that the model sees of one conversation, patches of the image included."""

N_IMAGE_TOKENS: Final = 256
"""Positions that the one image slot becomes: CLIP's patches, 16 x 16 at 224 pixels."""


class ConversationInvalid(LisaError):
    """A conversation is not one that can be learned from."""

    code: ClassVar[str] = "conversation_invalid"
    default_hint: ClassVar[str] = "Make it with build_prompt from cleaned text, an answer for every question."


@dataclass(frozen=True)
class TrainingBatch:
    """Conversations about several images, padded on the right to the longest: n of them, `length` ids each.

    input_ids: int64 (n, length), IMAGE_TOKEN_INDEX for the image, PAD_ID behind the end.
    labels: int64 (n, length), an answer's ids where they stand in `input_ids`, IGNORE_INDEX elsewhere.
    attention_mask: bool (n, length), False at PAD_ID, also at an `<unk>` inside a text, as in the reference.
    offset: int64 (n_images + 1,); conversations offset[i] to offset[i + 1] are about image i.
    """

    input_ids: Tensor
    labels: Tensor
    attention_mask: Tensor
    offset: Tensor

    @property
    def image_index(self) -> Tensor:
        """int64 (n,): the image of each conversation."""
        return torch.repeat_interleave(self.offset.diff())


def collate(
    conversations: Sequence[Sequence[str]],
    template: Template,
    tokenizer: LisaTokenizer,
    *,
    max_length: int = MAX_LENGTH,
    n_image_tokens: int = N_IMAGE_TOKENS,
) -> TrainingBatch:
    """Make a batch of the conversations about each image.

    What goes beyond `max_length` positions is cut off, a [SEG] there too. Raises ConversationInvalid.
    """
    labelled = [label_answers(one, template, tokenizer) for about in conversations for one in about]
    max_ids = max_length - (n_image_tokens - 1)
    input_ids = _padded([ids for ids, _ in labelled], PAD_ID)[:, :max_ids]
    return TrainingBatch(
        input_ids=input_ids,
        labels=_padded([labels for _, labels in labelled], IGNORE_INDEX)[:, :max_ids],
        attention_mask=input_ids != PAD_ID,
        offset=torch.tensor([0, *map(len, conversations)]).cumsum(0),
    )


def label_answers(
    conversation: str, template: Template, tokenizer: LisaTokenizer
) -> tuple[list[int], list[int]]:
    """The ids of a conversation and, equally many, their labels. Raises ConversationInvalid.

    An answer is what stands behind `template.question_end`, with the token that ends the sequence.
    """
    ids = tokenizer.encode(conversation)
    labels = [IGNORE_INDEX] * len(ids)
    for start, end in _answers(conversation, template):
        # No token reaches over either border, so what lies before it has as many ids alone as it has here.
        first, stop = (len(tokenizer.encode(conversation[:border])) for border in (start, end))
        labels[first:stop] = ids[first:stop]
    return ids, labels


def spread_over_image(labels: Tensor, input_ids: Tensor, n_image_tokens: int = N_IMAGE_TOKENS) -> Tensor:
    """Labels for each position that the model sees, IGNORE_INDEX for each that the image slot becomes.

    labels, input_ids: int64 (n, length), one slot in each row, else ValueError.
    Returns int64 (n, length + n_image_tokens - 1).
    """
    rows, slots = (input_ids == IMAGE_TOKEN_INDEX).nonzero(as_tuple=True)
    if rows.tolist() != list(range(len(labels))):
        raise ValueError("each conversation needs one image slot")
    ignored = labels.new_full((n_image_tokens,), IGNORE_INDEX)
    spread = [
        torch.cat((row[:slot], ignored, row[slot + 1 :]))
        for row, slot in zip(labels, slots.tolist(), strict=True)
    ]
    return torch.stack(spread)


def _answers(conversation: str, template: Template) -> Iterator[tuple[int, int]]:
    """Start and end of each answer in a conversation, in characters."""
    closing = template.answer_end.strip()
    *turns, rest = conversation.split(closing)
    if rest or not turns:
        raise ConversationInvalid(f"a conversation ends in {conversation[-40:]!r}, expected {closing!r}")
    if conversation.count(IMAGE) != 1 or IMAGE not in turns[0].partition(template.question_end)[0]:
        raise ConversationInvalid(
            f"a conversation has not one {IMAGE} in its first question: {turns[0][-80:]!r}"
        )
    turn_start = 0
    for turn in turns:
        question, *answers = turn.split(f"{template.question_end} ")
        if len(answers) != 1 or not answers[0].strip():
            raise ConversationInvalid(
                f"a turn has not one answer behind {template.question_end!r}: {turn[-80:]!r}"
            )
        turn_end = turn_start + len(turn) + len(closing)
        yield turn_start + len(question) + len(template.question_end), turn_end
        turn_start = turn_end


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """int64 (n, length of the longest row)."""
    length = max(map(len, rows), default=0)
    padded = [[*row, *[filler] * (length - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.int64).view(len(rows), length)
