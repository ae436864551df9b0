from __future__ import annotations

import pytest

from lisa_tool.lisa.answer import split_answer


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("Sure, [SEG].", "One region is marked.", ""),
        ("[SEG].", "One region is marked.", ""),
        ("Sure, it is [SEG].", "One region is marked.", ""),
        ("It is [SEG].", "One region is marked.", ""),
        ("Sure, the segmentation result is [SEG].", "One region is marked.", ""),
        ("[SEG], [SEG] and [SEG].", "3 regions are marked.", ""),
        ("The cup [SEG] is on the table.", "The cup is on the table.", ""),
        (
            "Sure, [SEG]. The stool lets her reach higher.",
            "One region is marked.",
            "The stool lets her reach higher.",
        ),
        ("The ladder [SEG] helps. She can climb it.", "The ladder helps.", "She can climb it."),
        ("Sure, [SEG] and [SEG]. They are hot.", "2 regions are marked.", "They are hot."),
        ("There is no dog in the picture.", "There is no dog in the picture.", ""),
        ("There is none. Look again.", "There is none. Look again.", ""),
        ("", "", ""),
        ("[SEG] is 3.5 m long", "is 3.5 m long", ""),
    ],
)
def test_an_answer_is_split_behind_the_sentence_of_its_last_mask(
    text: str, answer: str, reasoning: str
) -> None:
    assert split_answer(text) == (answer, reasoning)
