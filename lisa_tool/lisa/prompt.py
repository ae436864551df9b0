"""The words that LISA is asked with: templates, question forms, and user text made safe for both.

A prompt is one string that holds the image once. Templates and question forms are those of the models'
training (tests/golden/prompts.json): other words work less well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lisa_tool.errors import InvalidQuery
from lisa_tool.lisa.tokenizer import IM_END, IM_START, IMAGE, SEG

IMAGE_SLOT: Final = f"{IM_START}{IMAGE}{IM_END}\n"
"""Stands before the first question, whatever the template."""

SPECIALS: Final = frozenset({IMAGE, IM_START, IM_END, SEG, "<im_patch>", "<s>", "</s>", "<unk>"})
"""What LISA tokenizers take for more than text; one checkpoint's are `LisaTokenizer.special_strings`."""


@dataclass(frozen=True)
class Template:
    """What stands around the turns, in this order: opening, (question) question_end, (answer) answer_end,
    next_question, (question) question_end, and so on."""

    name: str
    opening: str
    question_end: str
    answer_end: str
    next_question: str


LLAVA_V1: Final = Template(
    name="llava_v1",
    opening=(
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions. USER: "
    ),
    question_end=" ASSISTANT:",
    answer_end="</s>",
    next_question="USER: ",
)
"""What every released LISA v1 checkpoint was trained with, those on Llama 2 too."""

LLAVA_LLAMA_2: Final = Template(
    name="llava_llama_2",
    opening=(
        "[INST] <<SYS>>\nYou are a helpful language and vision assistant. "
        "You are able to understand the visual content that the user provides, "
        "and assist the user with a variety of tasks using natural language.\n<</SYS>>\n\n"
    ),
    question_end=" [/INST]",
    answer_end=" </s>",
    next_question="<s>[INST] ",
)

TEMPLATES: Final[Mapping[str, Template]] = {t.name: t for t in (LLAVA_V1, LLAVA_LLAMA_2)}


def build_prompt(template: Template, turns: Sequence[tuple[str, str | None]]) -> str:
    """The prompt of a conversation about one image.

    turns: (question, answer), the oldest first; an answer of None, the last only, leaves the prompt open for
    the model. Text is taken as it is: clean it first (`clean_user_text`, `clean_answer`).
    """
    if not turns or any(answer is None for _, answer in turns[:-1]):
        raise ValueError("a prompt needs at least one turn, and only the last may wait for its answer")
    parts = [template.opening, IMAGE_SLOT]
    for n, (question, answer) in enumerate(turns):
        parts += [template.next_question * (n > 0), question, template.question_end]
        if answer is not None:
            parts += [" ", answer, template.answer_end]
    return "".join(parts)


def validation_question(text: str, is_sentence: bool) -> str:
    """What the reference's validation asks for one ReasonSeg text; it begins with a blank, as there."""
    asked = text.strip() if is_sentence else f"What is {text.strip()} in this image?"
    return f" {asked} Please output segmentation mask."


def segmentation_question(text: str) -> str:
    """The trained form of what a user asks.

    'the cup' becomes "What is the cup in this image?", a question or sentence stays as it is. Behind it comes
    the request for a mask and for the reason, unless the text itself asks to segment. It is the same in every
    mode, so that the first mask is the same too; a mode only says how much of the answer is made.
    """
    if _ASKS_FOR_MASK.search(text):
        return text
    if _ENDED.search(text):
        asked = text
    elif mark := next((mark for mark, pattern in _SENTENCES if pattern.match(text)), ""):
        asked = text.rstrip(" ,;:") + mark
    else:
        # Class names and referring phrases were lower-cased in training.
        asked = f"What is {text.rstrip(' ,;:').lower()} in this image?"
    return f"{asked} Please output segmentation mask and explain why."


def clean_user_text(text: str, specials: Collection[str] = SPECIALS) -> str:
    """What a user wrote, on one line and without any mark of the prompt's own format.

    specials: strings that the tokenizer takes for more than text. Raises InvalidQuery when no words are left.
    """
    cleaned = _neutral(" ".join(text.split()), specials)
    if not any(c.isalnum() for c in cleaned):
        raise InvalidQuery("the question holds no words besides marks that only a prompt may hold")
    return " ".join(cleaned.split())


def clean_answer(text: str, specials: Collection[str] = SPECIALS) -> str:
    """What the model wrote, fit to be part of the next prompt: `[SEG]` may stay, no other mark."""
    return _neutral(text, {*specials} - {SEG})


def _neutral(text: str, specials: Collection[str]) -> str:
    """`text` without `specials` and without marks of a role, in any case.

    A blank takes the place of each, or what is left could join into another one; of 'USER:' the word stays,
    as it may be meant. This goes on until nothing is found, whatever was hidden in what.
    """
    pattern = re.compile("|".join([*map(re.escape, sorted(specials)), _ROLE_MARKS]), re.IGNORECASE)
    while (cleaned := pattern.sub(lambda found: f"{found['role'] or ''} ", text)) != text:
        text = cleaned
    return text


_ROLE_MARKS = r"\[/?INST\]|<</?SYS>>|(?P<role>USER|ASSISTANT)\s*:"
_ASKS_FOR_MASK = re.compile(
    r"^(?:(?:can|could|would|will) you )?(?:please )?segment\b|\bsegmentation\b", re.IGNORECASE
)
_ENDED = re.compile(r"""[.?!…。\uff1f\uff01]['"”’)\]]*$""")
# Without one of these behind it, 'can' may be a can and 'point' the point of a knife.
_GOES_ON = (
    r"(?:you|i|we|he|she|it|they|me|us|there|the|an?|this|that|these|those|all|any|some|every|each|"
    r"my|your|his|her|its|our|their|what|which|who|where|out)\b"
)
_QUESTION = (
    r"(?:what|which|who|whom|whose|where|when|why|how)\b|"
    rf"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have) {_GOES_ON}"
)
_STATEMENT = (
    r"(?:please|i|we|he|she|it|they|you|there)\b|"
    r"(?:find|show|point|highlight|mark|mask|select|identify|locate|outline|pick|detect|give|tell|get) "
    rf"{_GOES_ON}"
)
_SENTENCES = (("?", re.compile(_QUESTION, re.IGNORECASE)), (".", re.compile(_STATEMENT, re.IGNORECASE)))
