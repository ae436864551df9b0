"""Words name kinds: plurals, synonyms, categories, the longest name first."""

from __future__ import annotations

import pytest

from lisa_tool.lite.knowledge import Kind
from lisa_tool.lite.lexicon import Lexicon, default_lexicon, singular, tokenize

LEXICON = default_lexicon()


def find(text, lexicon=LEXICON):
    return lexicon.find(tokenize(text))


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("cups", "cup"),
        ("people", "person"),
        ("women", "woman"),
        ("children", "child"),
        ("knives", "knife"),
        ("mice", "mouse"),
        ("buses", "bus"),
        ("glasses", "glass"),
        ("benches", "bench"),
        ("brushes", "brush"),
        ("boxes", "box"),
        ("berries", "berry"),
        ("ties", "tie"),
        ("horses", "horse"),
        ("vases", "vase"),
        ("tomatoes", "tomato"),
        ("bus", "bus"),
        ("glass", "glass"),
        ("scissors", "scissors"),
        ("skis", "skis"),
        ("dress", "dress"),
        ("cactus", "cactus"),
        ("tennis", "tennis"),
        ("gas", "gas"),
        ("cup", "cup"),
    ],
)
def test_singulars_are_english(word, one):
    assert singular(word) == one


def test_words_are_lower_case_and_hyphens_split_them():
    assert tokenize("The T-shirt, 2 cups!") == ["the", "t", "shirt", "2", "cups"]


@pytest.mark.parametrize("apostrophe", ["'", "\u2019"])
def test_a_possessive_is_a_word_of_its_own(apostrophe):
    assert tokenize(f"the man{apostrophe}s hat isn{apostrophe}t") == ["the", "man", "'s", "hat", "isn't"]


@pytest.mark.parametrize(
    ("phrase", "kinds"),
    [
        ("mug", {"cup"}),
        ("mugs", {"cup"}),
        ("wine glass", {"wine glass"}),
        ("wine glasses", {"wine glass"}),
        ("cyclist", {"person"}),
        ("puppy", {"dog"}),
        ("kitty", {"cat"}),
        ("sofa", {"couch"}),
        ("television", {"tv"}),
        ("mobile phone", {"cell phone"}),
        ("motorbike", {"motorcycle"}),
        ("fridge", {"refrigerator"}),
        ("teddy bear", {"teddy bear"}),
        ("fire hydrant", {"fire hydrant"}),
        ("hot dog", {"hot dog"}),
    ],
)
def test_a_name_means_its_kind_and_is_no_category(phrase, kinds):
    (named,) = find(f"the {phrase}")

    assert kinds <= set(named.kinds)
    assert len(named.kinds) <= 3
    assert (named.word, named.category) == (phrase, False)


@pytest.mark.parametrize(
    ("word", "some", "none"),
    [
        ("animal", {"dog", "cat", "bird", "sheep"}, {"person", "cup"}),
        ("creatures", {"dog", "cat"}, {"person"}),
        ("vehicles", {"car", "bus", "bicycle", "boat"}, {"dog"}),
        ("fruit", {"apple", "banana", "orange"}, {"carrot", "cup"}),
        ("furniture", {"chair", "couch", "bed"}, {"dog"}),
        ("cutlery", {"knife", "fork", "spoon"}, {"cup"}),
    ],
)
def test_a_category_means_all_its_kinds(word, some, none):
    (named,) = find(word)

    assert named.category
    assert some <= set(named.kinds)
    assert none.isdisjoint(named.kinds)


@pytest.mark.parametrize(
    ("phrase", "plural"),
    [("dog", False), ("dogs", True), ("bus", False), ("people", True), ("scissors", False)],
)
def test_plural_words_are_told_from_singular_ones(phrase, plural):
    assert [named.plural for named in find(phrase)] == [plural]


def test_names_come_left_to_right_and_say_where_they_stood():
    found = find("the dogs next to the wine glass")

    assert [(named.word, named.start, named.end) for named in found] == [("dogs", 1, 2), ("wine glass", 5, 7)]


def test_the_longest_name_wins():
    kinds = (
        Kind("glass", None, (1,), ("glass",), ("material",), ("is clear",)),
        Kind("wine glass", "wine glass", (), ("wine glass",), ("container",), ("holds wine",)),
    )

    (named,) = find("a wine glass", Lexicon(kinds))

    assert named.kinds == ("wine glass",)


def test_a_word_that_is_a_name_and_a_category_means_both_and_is_a_name():
    kinds = (
        Kind("boat", "boat", (), ("boat",), (), ("floats",)),
        Kind("canoe", None, (1,), ("canoe",), ("boat",), ("is paddled",)),
    )

    (named,) = find("boats", Lexicon(kinds))

    assert named.kinds == ("boat", "canoe")
    assert not named.category


def test_one_word_may_name_several_kinds():
    assert set(find("the mouse")[0].kinds) >= {"mouse"}
    assert find("cup of coffee")[0].kinds[:2] == ("cup", "coffee")


def test_words_without_a_name_name_nothing():
    assert find("whatever happens over there") == []
    assert find("") == []


def test_what_can_be_seen_and_what_the_detector_knows_are_told():
    cup, lion, hand = (find(word)[0] for word in ("cup", "lion", "hand"))

    assert (LEXICON.visible(cup), LEXICON.detectable(cup)) == (True, True)
    assert (LEXICON.visible(lion), LEXICON.detectable(lion)) == (True, False)
    assert (LEXICON.visible(hand), LEXICON.detectable(hand)) == (False, False)


def test_a_body_part_belongs_to_a_person():
    hand, cup = find("hand")[0], find("cup")[0]

    assert "person" in LEXICON.whole(hand).kinds
    assert LEXICON.whole(cup) is cup
