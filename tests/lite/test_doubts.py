"""Questions that a stranger asked and that were once answered wrongly or too surely."""

from __future__ import annotations

import pytest

from lisa_tool.lite.choose import choose
from lisa_tool.lite.lexicon import default_lexicon, singulars
from lisa_tool.lite.question import parse_question
from tests.lite.scenes import StubEyes, paint, scene_of, thing

LEFT, MIDDLE, RIGHT = (thing("person", (x, 60, x + 90, 280)) for x in (10, 150, 300))
FAR_AWAY = thing("person", (395, 100, 400, 108), 0.5)
DOG, CAT = thing("dog", (10, 180, 110, 280)), thing("cat", (250, 180, 350, 280))
FORK, KNIFE = thing("fork", (10, 20, 40, 120)), thing("knife", (60, 20, 90, 120))


@pytest.fixture
def ask(matcher):
    def ask(query, *objects, eyes=None, scene=None):
        question = parse_question(query, default_lexicon())
        return choose(question, scene or scene_of(*objects), eyes or StubEyes(), matcher)

    return ask


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("the knife and the fork", {"fork", "knife"}),
        ("everything but the dog", {"cat", "fork", "knife"}),
        ("all the animals but the dog", {"cat"}),
        ("forks", {"fork"}),
    ],
)
def test_names_joined_by_and_are_all_wanted_and_but_leaves_out(ask, query, wanted):
    choice = ask(query, DOG, CAT, FORK, KNIFE)

    assert {o.kind for o in choice.objects} == wanted


def test_except_the_one_on_the_left_leaves_out_that_one_only(ask):
    choice = ask("the people except the man on the left", LEFT, MIDDLE, RIGHT)

    assert sorted(o.box for o in choice.objects) == sorted((MIDDLE.box, RIGHT.box))


def test_a_chain_of_exclusions_is_followed_once_and_ends(ask):
    choice = ask("the left person " + "not the left person " * 90, LEFT, MIDDLE, RIGHT)

    assert [o.box for o in choice.objects] == [MIDDLE.box]


def test_not_the_red_one_leaves_out_by_colour(ask):
    scene = scene_of(DOG, thing("dog", (250, 180, 350, 280), 0.8))
    paint(scene, DOG.box, (220, 20, 20))

    choice = ask("all the dogs but the red one", scene=scene)

    assert [o.box for o in choice.objects] == [(250, 180, 350, 280)]


def test_somebody_far_away_is_not_counted_in_the_second_from_the_right(ask):
    choice = ask("the second person from the right", LEFT, MIDDLE, RIGHT, FAR_AWAY)

    assert [o.box for o in choice.objects] == [MIDDLE.box]


def test_the_middle_one_of_several_is_in_their_middle_not_in_that_of_the_image(ask):
    dogs = [thing("dog", (x, 180, x + 60, 240)) for x in (0, 80, 160)]

    assert [o.box for o in ask("the middle dog", *dogs).objects] == [dogs[1].box]


@pytest.mark.parametrize("query", ["the bald man", "the second person", "the man"])
def test_what_cannot_be_checked_among_several_is_a_doubt(ask, query):
    assert ask(query, LEFT, RIGHT).outcome == "uncertain"


def test_a_noun_without_a_name_here_is_never_found_for_sure(ask):
    choice = ask("the goalkeeper", thing("sports ball", (10, 10, 60, 60)))

    assert choice.outcome != "found"


def test_a_fact_that_denies_does_not_speak_for_a_kind(matcher):
    barks = matcher.match("the animal that barks")

    assert barks["dog"].score > barks["cat"].score
    assert "not" not in barks["cat"].fact.split()


def test_what_a_closer_look_calls_otherwise_is_a_doubt(ask):
    squirrel = thing("squirrel", (10, 10, 200, 200), 0.9, "classifier")
    eyes = StubEyes(hidden=[thing("bird", (12, 12, 198, 198), 0.6)])

    choice = ask("the bird", squirrel, eyes=eyes)

    assert choice.outcome == "uncertain"
    assert choice.doubts == ["it may be a squirrel instead"]


def test_the_subject_of_a_question_is_not_its_answer(ask):
    choice = ask("what do they play with?", LEFT, thing("sports ball", (80, 200, 110, 230)))

    assert "person" not in {o.kind for o in choice.objects}


@pytest.mark.parametrize(
    ("plural", "right"),
    [
        ("shoes", "shoe"),
        ("canoes", "canoe"),
        ("knives", "knife"),
        ("taxis", "taxi"),
        ("tvs", "tv"),
        ("boxes", "box"),
    ],
)
def test_the_singular_is_among_the_guesses(plural, right):
    assert right in singulars(plural)
