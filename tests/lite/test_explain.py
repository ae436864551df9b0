"""What people read is English, and every word of it is a fact."""

from __future__ import annotations

import pytest

from lisa_tool.lite.choose import Choice
from lisa_tool.lite.explain import answer, count_words, plural, reasoning
from lisa_tool.lite.matching import Match
from tests.lite.scenes import scene_of, thing

CUP = thing("cup", (180, 120, 240, 180))
LEFT_DOG, RIGHT_DOG = thing("dog", (10, 200, 80, 290)), thing("dog", (300, 200, 390, 290))


@pytest.mark.parametrize(
    ("kind", "many"),
    [
        ("cup", "cups"),
        ("person", "people"),
        ("bus", "buses"),
        ("bench", "benches"),
        ("toothbrush", "toothbrushes"),
        ("wine glass", "wine glasses"),
        ("knife", "knives"),
        ("mouse", "mice"),
        ("wolf", "wolves"),
        ("sheep", "sheep"),
        ("skis", "skis"),
        ("strawberry", "strawberries"),
        ("toy", "toys"),
        ("goldfish", "goldfish"),
        ("sunglasses", "sunglasses"),
        ("giraffe", "giraffes"),
    ],
)
def test_plurals_are_english(kind, many):
    assert plural(kind) == many


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["cup"], "a cup"),
        (["apple"], "an apple"),
        (["umbrella"], "an umbrella"),
        (["uniform"], "a uniform"),
        (["hourglass"], "an hourglass"),
        (["scissors"], "some scissors"),
        (["dog", "dog"], "2 dogs"),
        (["dog", "cat", "dog"], "2 dogs and a cat"),
        (["person", "bus", "person", "apple"], "2 people, a bus and an apple"),
    ],
)
def test_things_are_counted_in_words(kinds, words):
    assert count_words(kinds) == words


def test_one_object_is_named_with_its_position():
    scene = scene_of(CUP)

    assert answer(Choice("found", [CUP], "cup"), scene) == "A cup, at the center of the picture."


def test_an_object_that_fills_the_image_is_said_to():
    wall = thing("bed", (0, 0, 400, 290))

    assert answer(Choice("found", [wall], "bed"), scene_of(wall)) == "A bed, filling most of the image."


def test_several_objects_are_counted_without_a_position():
    scene = scene_of(LEFT_DOG, RIGHT_DOG, CUP)

    assert answer(Choice("found", [LEFT_DOG, RIGHT_DOG], "dogs"), scene) == "2 dogs."


def test_an_uncertain_answer_says_perhaps():
    scene = scene_of(LEFT_DOG, RIGHT_DOG)

    assert answer(Choice("uncertain", [LEFT_DOG, RIGHT_DOG], "dogs"), scene) == "Perhaps 2 dogs."


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("laptop", "No laptop was seen."),
        ("laptops", "No laptops were seen."),
        ("people", "No people were seen."),
    ],
)
def test_what_was_named_and_not_found_is_said_with_what_is_there(wanted, said):
    scene = scene_of(LEFT_DOG, RIGHT_DOG, CUP)

    assert answer(Choice("not_found", [], wanted), scene) == f"{said} Seen: 2 dogs and a cup."


def test_an_image_without_known_things_is_said_to_hold_none():
    assert (
        answer(Choice("not_found", [], "cat"), scene_of())
        == "No cat was seen. Seen: nothing that lite knows."
    )


def test_a_description_that_nothing_fits_names_the_kind_that_would():
    choice = Choice("not_found", [], "what keeps you dry", absent=Match("umbrella", 0.8, "keeps you dry"))

    assert answer(choice, scene_of(CUP)) == (
        "Nothing in the picture fits the question; an umbrella would fit, but none was seen. Seen: a cup."
    )


def test_the_reasoning_quotes_the_fact_its_score_and_the_runner_up():
    choice = Choice(
        "found",
        [CUP],
        "cup",
        match=Match("cup", 0.654, "you drink from it"),
        others=[Match("bowl", 0.41, "holds soup"), Match("dog", 0.2, "barks")],
    )

    assert reasoning(choice, scene_of(CUP, LEFT_DOG)) == (
        "A cup fits best: “you drink from it” (match 0.65). Next in the picture: bowl (0.41). "
        "Seen: a cup and a dog."
    )


def test_a_match_of_a_pair_is_plural():
    scissors = thing("scissors", (10, 10, 60, 60))
    choice = Choice("found", [scissors], "scissors", match=Match("scissors", 0.7, "cuts paper"))

    assert reasoning(choice, scene_of(scissors)).startswith("Some scissors fit best: “cuts paper”")


def test_the_reasoning_of_a_named_thing_tells_steps_and_doubts():
    choice = Choice(
        "uncertain",
        [LEFT_DOG],
        "dog",
        steps=["left, number 1 of 2"],
        doubts=["no bus was seen", "it is dark"],
    )

    assert reasoning(choice, scene_of(LEFT_DOG, RIGHT_DOG)) == (
        "The question asks for 'dog'. Left, number 1 of 2. Doubt: no bus was seen; it is dark. Seen: 2 dogs."
    )
