"""What LISA wrote, split into what it says was found and why, without the mask tokens."""

from __future__ import annotations

import re

from lisa_tool.lisa.tokenizer import SEG

_SPACE_BEFORE_MARK = re.compile(r"\s+([.,;:!?])")
_MARKS = re.compile(r"([.,;:])(?:\s*[.,;:])+")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
# The answers of the reference's training, without [SEG]: they say that something is marked, not what.
_SAYS_NOTHING = {"", "and", "it is", "sure", "sure and", "sure it is", "sure the segmentation result is"}


def split_answer(text: str) -> tuple[str, str]:
    """(answer, reasoning) of the model's text.

    The answer reaches to the end of the sentence that holds the last [SEG]; what comes after is the
    reasoning. "Sure, [SEG]." names nothing, so it becomes "One region is marked.". Without [SEG] all of it is
    the answer: the model said why there is no mask.
    """
    n_segs = text.count(SEG)
    if not n_segs:
        return _tidy(text), ""
    after = text.rindex(SEG) + len(SEG)
    end = _SENTENCE_END.search(text, after)
    split = end.end() if end else len(text)
    answer, reasoning = _tidy(text[:split]), _tidy(text[split:])
    if " ".join(re.findall(r"[a-z]+", answer.lower())) in _SAYS_NOTHING:
        answer = "One region is marked." if n_segs == 1 else f"{n_segs} regions are marked."
    return answer, reasoning


def _tidy(text: str) -> str:
    """Without [SEG], and without the gaps that it leaves."""
    words = " ".join(text.replace(SEG, " ").split())
    return _MARKS.sub(r"\1", _SPACE_BEFORE_MARK.sub(r"\1", words)).strip()
