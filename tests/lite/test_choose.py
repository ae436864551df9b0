"""From a question and a scene made by hand to the objects that answer it: outcome, objects, doubts."""

from __future__ import annotations

import pytest

from lisa_tool.lite.choose import CROWD, choose
from lisa_tool.lite.lexicon import default_lexicon
from lisa_tool.lite.question import parse_question
from lisa_tool.lite.scene import CONFIRMED, SURE, Hint
from tests.lite.scenes import StubEyes, paint, scene_of, thing

# From left to right on one line, of one size.
DOGS = [thing("dog", (x, 180, x + 60, 240), score) for x, score in ((10, 0.9), (120, 0.8), (230, 0.7))]
CAT = thing("cat", (310, 180, 370, 240))
CUP, BOWL = thing("cup", (20, 60, 60, 100)), thing("bowl", (200, 60, 280, 110))
TABLE = thing("dining table", (0, 90, 390, 280))
MAN, WOMAN = thing("person", (20, 40, 120, 280)), thing("person", (250, 60, 340, 280), 0.8)
BUS = thing("bus", (130, 60, 240, 200))


@pytest.fixture
def ask(matcher):
    def ask(query, *objects, eyes=None, hints=(), scene=None):
        scene = scene or scene_of(*objects, hints=hints)
        return choose(parse_question(query, default_lexicon()), scene, eyes or StubEyes(), matcher)

    return ask


def boxes(choice):
    return sorted(o.box for o in choice.objects)


def boxes_of(*objects):
    return sorted(o.box for o in objects)


# Named things: found, uncertain, not found


def test_a_named_thing_that_is_seen_is_found(ask):
    choice = ask("the cup", CUP, TABLE)

    assert (choice.outcome, choice.objects, choice.doubts) == ("found", [CUP], [])
    assert (choice.match, choice.margin) == (None, None)


def test_a_named_thing_that_is_nowhere_is_not_found(ask):
    choice = ask("the laptop", CUP, TABLE)

    assert (choice.outcome, choice.objects, choice.wanted) == ("not_found", [], "laptop")


def test_a_kind_that_cannot_be_seen_is_not_found_and_said_to_be_unknown(ask):
    choice = ask("the hand", CUP)

    assert choice.outcome == "not_found"
    assert choice.doubts == ["'hand' is not among the kinds that lite can see"]


@pytest.mark.parametrize(("score", "outcome"), [(SURE, "found"), (SURE - 0.01, "uncertain")])
def test_a_detection_counts_as_seen_from_sure_on(ask, score, outcome):
    faint = thing("cup", (20, 60, 60, 100), score)

    choice = ask("the cup", faint, TABLE)

    assert (choice.outcome, choice.objects) == (outcome, [faint])
    assert (choice.doubts == []) == (outcome == "found")


def test_a_closer_look_finds_what_the_first_missed(ask):
    hidden = thing("spoon", (100, 100, 130, 160), 0.5)

    choice = ask("the spoon", CUP, eyes=StubEyes(hidden=[hidden]))

    assert (choice.outcome, choice.objects) == ("found", [hidden])


@pytest.mark.parametrize(("score", "outcome"), [(CONFIRMED, "found"), (CONFIRMED - 0.01, "uncertain")])
def test_a_kind_of_the_classifier_is_found_when_its_second_look_is_sure(ask, score, outcome):
    hat = thing("hat", (100, 20, 160, 60), score, "classifier")
    eyes = StubEyes(confirmed={"hat": hat})

    choice = ask("the hat", MAN, eyes=eyes, hints=[Hint("hat", 0.6, ((130, 40),))])

    assert (choice.outcome, choice.objects) == (outcome, [hat])


def test_a_hint_that_the_second_look_denies_is_nothing(ask):
    shadow = thing("hat", (100, 20, 160, 60), 0.1, "classifier")
    eyes = StubEyes(confirmed={"hat": shadow})

    assert ask("the hat", MAN, eyes=eyes, hints=[Hint("hat", 0.6, ((130, 40),))]).outcome == "not_found"


# How many


def test_without_a_number_only_the_prominent_ones_are_taken(ask):
    large, far_away = thing("dog", (10, 100, 150, 280)), thing("dog", (300, 50, 320, 70), 0.5)

    assert ask("the dog", large, far_away).objects == [large]


def test_a_plural_takes_all_even_the_small_ones(ask):
    large, far_away = thing("dog", (10, 100, 150, 280)), thing("dog", (300, 50, 320, 70), 0.5)

    assert boxes(ask("the dogs", large, far_away)) == boxes_of(large, far_away)


@pytest.mark.parametrize(("score", "more"), [(CROWD, 1), (CROWD - 0.01, 0)])
def test_a_crowd_takes_fainter_ones_of_its_kind_too(ask, score, more):
    faint = thing("dog", (310, 180, 370, 240), score)

    assert len(ask("all the dogs", *DOGS, faint).objects) == 3 + more


def test_a_crowd_takes_second_thoughts_of_the_detector(ask):
    perhaps = thing("dog", (310, 180, 370, 240), 0.1, second_name=True)

    assert len(ask("all the dogs", *DOGS, perhaps).objects) == 4
    assert len(ask("all the dogs", perhaps, CUP).objects) == 1  # alone it is no crowd, and faint


def test_a_number_takes_the_most_prominent(ask):
    assert boxes(ask("two dogs", *DOGS)) == boxes_of(*DOGS[:2])


def test_two_readings_of_one_place_are_one_object(ask):
    again = thing("dog", (12, 181, 71, 240), 0.6)

    assert ask("all the dogs", DOGS[0], again).objects == [DOGS[0]]


# Which one


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("the leftmost dog", 0),
        ("the dog on the right", 2),
        ("the second dog from the left", 1),
        ("the third dog from the right", 0),
        ("the last dog on the right", 0),
        ("the dog in the middle", 1),
    ],
)
def test_order_picks_one_of_several(ask, query, index):
    choice = ask(query, *DOGS)

    assert (choice.outcome, choice.objects) == ("found", [DOGS[index]])


def test_an_ordinal_past_the_end_is_uncertain_and_takes_the_last(ask):
    choice = ask("the fifth dog from the left", *DOGS)

    assert (choice.outcome, choice.objects, choice.doubts) == ("uncertain", [DOGS[2]], ["only 3 were seen"])


def test_a_plural_with_a_side_takes_that_half(ask):
    assert boxes(ask("the dogs on the left", *DOGS)) == boxes_of(*DOGS[:2])


def test_a_size_picks_the_largest_however_sure_the_others_are(ask):
    large = thing("boat", (100, 100, 300, 250), 0.5)

    assert ask("the largest boat", large, thing("boat", (10, 20, 60, 50), 0.99)).objects == [large]


def test_a_relation_picks_the_one_beside_the_anchor(ask):
    far_man = thing("person", (350, 60, 399, 280))

    choice = ask("the person next to the bus", MAN, far_man, BUS)

    assert (choice.outcome, choice.objects) == ("found", [MAN])


def test_a_relation_in_the_plural_keeps_all_that_fit(ask):
    assert boxes(ask("the people next to the bus", MAN, WOMAN, BUS)) == boxes_of(MAN, WOMAN)


def test_a_relation_that_nothing_fits_falls_back_to_the_nearest_and_is_uncertain(ask):
    near, far = thing("cup", (150, 210, 180, 240)), thing("cup", (20, 20, 40, 40))

    choice = ask("the cup on the bus", near, far, BUS)

    assert (choice.outcome, choice.objects) == ("uncertain", [near])
    assert choice.doubts == ["nothing was seen clearly on the bus"]


def test_a_relation_to_something_that_is_not_there_is_uncertain(ask):
    choice = ask("the cup next to the laptop", CUP, TABLE)

    assert (choice.outcome, choice.objects) == ("uncertain", [CUP])
    assert choice.doubts == ["no laptop was seen"]


def test_the_thing_beside_an_anchor_is_not_the_anchor(ask):
    second_bus = thing("bus", (245, 60, 355, 200))

    choice = ask("the object next to the bus", MAN, BUS, second_bus)

    assert choice.objects == [MAN]


def test_a_colour_picks_the_one_that_is_painted_so(ask):
    scene = scene_of(CUP, BOWL, thing("cup", (300, 60, 340, 100)))
    paint(scene, (300, 60, 340, 100), (210, 30, 30))

    choice = ask("the red cup", scene=scene)

    assert (choice.outcome, [o.box for o in choice.objects]) == ("found", [(300, 60, 340, 100)])


def test_a_colour_that_nothing_has_is_a_doubt(ask):
    choice = ask("the red cup", CUP)

    assert (choice.outcome, choice.objects, choice.doubts) == ("uncertain", [CUP], ["none of them looks red"])


# What not


def test_an_excluded_kind_is_left_out(ask):
    choice = ask("all the animals except the dog", *DOGS, CAT, CUP)

    assert (choice.outcome, choice.objects, choice.steps[0]) == ("found", [CAT], "left out: dog")


def test_everything_but_a_category_is_left(ask):
    choice = ask("which of these is not an animal?", DOGS[0], CAT, CUP)

    assert (choice.outcome, choice.objects) == ("found", [CUP])


def test_what_is_not_alive_goes_by_what_things_are_and_not_by_likeness(ask):
    choice = ask("something that is not alive", DOGS[0], MAN, CUP)

    assert (choice.outcome, choice.objects) == ("found", [CUP])


def test_excluding_by_meaning_is_uncertain(ask):
    choice = ask("everything that does not bark", DOGS[0], CUP)

    assert choice.objects == [CUP]
    assert choice.outcome == "uncertain"
    assert "judged by meaning" in choice.doubts[0]


def test_when_all_is_excluded_nothing_is_found(ask):
    assert ask("the animals that are not dogs", *DOGS).outcome == "not_found"


# Questions that name nothing


def test_a_description_finds_the_kind_that_fits_and_says_how_well(ask):
    choice = ask("what would you drink from?", CUP, TABLE, DOGS[0])

    assert (choice.outcome, choice.objects) == ("found", [CUP])
    assert choice.match.kind == "cup"
    assert choice.match.score > 0.45
    assert choice.margin > 0.03
    assert {m.kind for m in choice.others} == {"dining table", "dog"}


def test_a_description_of_something_absent_is_not_found_and_names_it(ask):
    choice = ask("what keeps you dry in the rain?", CUP, TABLE)

    assert (choice.outcome, choice.objects, choice.absent.kind) == ("not_found", [], "umbrella")


def test_a_second_best_kind_is_uncertain_when_a_better_one_is_not_there(ask):
    choice = ask("what would you drink wine from?", CUP, DOGS[0])

    assert (choice.outcome, choice.objects, choice.absent.kind) == ("uncertain", [CUP], "wine glass")
    assert choice.doubts == ["'wine glass' would fit better but was not seen"]


def test_an_empty_scene_answers_no_description(ask):
    choice = ask("what would you drink from?")

    assert (choice.outcome, choice.objects, choice.match) == ("not_found", [], None)
    assert choice.absent is not None


def test_a_kind_that_fits_best_is_looked_for_before_another_is_taken(ask):
    spoon = thing("spoon", (100, 100, 130, 160), 0.5)

    choice = ask("something to stir the coffee with", CUP, eyes=StubEyes(hidden=[spoon]))

    assert choice.objects == [spoon]


def test_what_stands_where_a_surer_thing_was_seen_is_not_taken_for_another(ask):
    mirage = thing("bowl", CUP.box, 0.2)

    choice = ask("what would you eat soup from?", CUP, eyes=StubEyes(hidden=[mirage]))

    assert "bowl" not in {o.kind for o in choice.objects}


def test_a_description_in_the_plural_takes_all_kinds_that_fit_as_well(ask):
    choice = ask("all the animals that are kept as pets", *DOGS, CAT, CUP)

    assert {o.kind for o in choice.objects} == {"dog", "cat"}


# Categories and premises


def test_a_category_takes_its_members(ask):
    choice = ask("the animals", DOGS[0], CAT, CUP)

    assert (choice.outcome, boxes(choice)) == ("found", boxes_of(DOGS[0], CAT))


def test_a_category_is_narrowed_by_what_is_said_of_it(ask):
    choice = ask("which animal purrs?", DOGS[0], CAT, MAN)

    assert (choice.outcome, choice.objects) == ("found", [CAT])


def test_a_premise_that_does_not_hold_is_a_doubt(ask):
    choice = ask("the animal you drink from", CUP, TABLE)

    assert choice.outcome in {"uncertain", "not_found"}
    assert "no animal was seen" in choice.doubts


# Who


def test_who_is_a_person_even_when_the_description_fits_weakly(ask):
    choice = ask("who would fly to space?", MAN, DOGS[0])

    assert (choice.outcome, choice.objects) == ("found", [MAN])


def test_who_may_be_an_animal_when_that_fits_clearly_better(ask):
    choice = ask("who would chase a mouse and purr?", MAN, CAT)

    assert (choice.outcome, choice.objects) == ("found", [CAT])


def test_who_is_never_a_thing(ask):
    choice = ask("who would hold the coffee?", CUP, TABLE)

    assert (choice.outcome, choice.objects) == ("not_found", [])


def test_who_with_a_relation_picks_the_person_there(ask):
    bicycle = thing("bicycle", (240, 160, 350, 290))

    choice = ask("who is riding the bicycle?", MAN, WOMAN, bicycle)

    assert (choice.outcome, choice.objects) == ("found", [WOMAN])


def test_the_same_question_on_the_same_scene_has_the_same_answer(ask):
    scene = scene_of(*DOGS, CAT, CUP, TABLE)

    assert ask("which animal purrs?", scene=scene) == ask("which animal purrs?", scene=scene)
