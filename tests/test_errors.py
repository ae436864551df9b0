from __future__ import annotations

import pickle
import re

import pytest

from lisa_tool import errors
from lisa_tool.errors import LisaError


def children(error: type[LisaError]) -> list[type[LisaError]]:
    """Subclasses that errors.py itself defines; a surface may have its own."""
    return [child for child in error.__subclasses__() if child.__module__ == errors.__name__]


def family(error: type[LisaError]) -> list[type[LisaError]]:
    return [error, *(one for child in children(error) for one in family(child))]


ALL = family(LisaError)
RAISED = [error for error in ALL if not children(error)]
RETRYABLE = {"server_busy", "deadline_exceeded", "download_failed", "out_of_memory", "url_fetch_failed"}


def drawn(error: type[LisaError], lead: str = "") -> list[str]:
    """The tree below `error` as the docstring draws it."""
    lines = []
    for child in children(error):
        last = child is children(error)[-1]
        lines.append(f"{lead}{'└' if last else '├'}── {child.__name__}")
        lines += drawn(child, lead + ("    " if last else "│   "))
    return lines


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    doc = (errors.__doc__ or "").splitlines()
    tree = [re.match(r"[\s│├└─]*\w+", line) for line in doc if "── " in line]
    assert [match.group()[4:] for match in tree if match] == drawn(LisaError)


@pytest.mark.parametrize("error", RAISED)
def test_every_error_has_a_code_named_after_it_and_says_what_to_do(error: type[LisaError]) -> None:
    assert error.code == re.sub(r"(?<!^)([A-Z])", r"_\1", error.__name__).lower()
    assert error.default_hint.endswith((".", "lisa-tool-lite"))
    assert error.__doc__ and len(error.__doc__.splitlines()) == 1


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    assert {error.code for error in RAISED if error.retryable} == RETRYABLE


@pytest.mark.parametrize("error", ALL)
def test_an_error_survives_pickling(error: type[LisaError]) -> None:
    copy = pickle.loads(pickle.dumps(error("what happened", "what to do")))
    assert (type(copy), copy.message, copy.hint) == (error, "what happened", "what to do")


@pytest.mark.parametrize("error", ALL)
def test_the_json_form_has_four_fields(error: type[LisaError]) -> None:
    assert error("what happened").to_dict() == {
        "code": error.code,
        "message": "what happened",
        "hint": error.default_hint,
        "retryable": error.retryable,
    }


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ImageTooLarge("it is big"), "it is big. Send a smaller copy. [image_too_large]"),
        (errors.ImageTooLarge("too big!", "Shrink it."), "too big! Shrink it. [image_too_large]"),
        (errors.Cancelled("stopped", ""), "stopped. [cancelled]"),
        (errors.Cancelled("two\nlines", ""), "two lines. [cancelled]"),
    ],
)
def test_the_text_form_is_one_line(error: LisaError, text: str) -> None:
    assert error.to_text() == text
