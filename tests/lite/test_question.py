"""Questions are taken apart into what, which, where and how many.

Each row states everything that is parsed: what a row does not name has its default.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from lisa_tool.lite.lexicon import default_lexicon
from lisa_tool.lite.question import Question, parse_question

LEXICON = default_lexicon()
DEFAULTS = {f.name: f.default for f in fields(Question) if f.name != "text"}


def parsed(query):
    """What is not the default; names as the words that stood there."""
    question = parse_question(query, LEXICON)
    found = {
        name: value for name, default in DEFAULTS.items() if (value := getattr(question, name)) != default
    }
    if "named" in found:
        found["named"] = found["named"].word
    if "excluded_named" in found:
        found["excluded_named"] = tuple(named.word for named in found["excluded_named"])
    if "relation" in found:
        relation = found["relation"]
        found["relation"] = (relation.place, *(named.word for named in relation.anchors))
    return found


def row(query, **expected):
    return pytest.param(query, expected, id=query)


PLAIN = [
    row("dog", named="dog"),
    row("the cup", named="cup"),
    row("a wine glass", named="wine glass"),
    row("THE CUP", named="cup"),
    row("the old man", named="man", unchecked="old"),
    row("the fire hydrant", named="fire hydrant"),
    row("the animal", named="animal"),
]
POLITE = [
    row("Please segment the dog.", named="dog"),
    row("Could you outline the chair for me, please?", named="chair"),
    row("Can you find the cup in this picture?", named="cup"),
    row("Hello, can you show me the cat?", named="cat"),
    row("I want to see the dog", named="dog"),
    row("show me the cat please", named="cat"),
    row("mask out the bus", named="bus"),
    row("is there a cat in this picture?", named="cat"),
    row("where is the cat?", named="cat"),
    row("where's the dog?", named="dog"),
]
PLURAL = [
    row("cups", named="cups", wants_all=True),
    row("people", named="people", wants_all=True),
    row("all the chairs", named="chairs", wants_all=True),
    row("every chair", named="chair", wants_all=True),
    row("both dogs", named="dogs", wants_all=True),
    row("two cups", named="cups", wants_all=True, count=2),
    row("three apples", named="apples", wants_all=True, count=3),
    row("are there any people?", named="people", wants_all=True),
    row("count the cups", named="cups", wants_all=True),
    row("how many cups", named="cups", wants_all=True),
    row("all of them", anything=True, wants_all=True),
]
ORDINAL = [
    row("the second cup from the left", named="cup", order="left", rank=2),
    row("the third person from the right", named="person", order="right", rank=3),
    row("the third book from the top", named="book", order="top", rank=3),
    row("the last bottle on the right", named="bottle", order="right", rank=-1),
    row("the second largest dog", named="dog", order="largest", rank=2),
    row("the 2nd car from the left", named="car", order="left", rank=2),
]
SIDED = [
    row("the man on the left", named="man", order="left"),
    row("the leftmost bicycle", named="bicycle", order="left"),
    row("the dog on the right side of the picture", named="dog", order="right"),
    row("the people on the left", named="people", wants_all=True, order="left"),
    row("the middle chair", named="chair", order="middle"),
    row("the woman in the background", named="woman", order="far"),
    row("the dog in front", named="dog", order="near"),
    row("the one behind", anything=True, order="far"),
    row("which person is on the left?", named="person", order="left"),
]
SUPERLATIVE = [
    row("the largest boat", named="boat", order="largest"),
    row("the bigger dog", named="dog", order="largest"),
    row("the tallest building", named="building", order="largest"),
    row("the smallest cup", named="cup", order="smallest"),
    row("the tiny bird", named="bird", order="smallest", mild=True),
    row("the highest bird", named="bird", order="top"),
    row("the closest car", named="car", order="near"),
    row("the person closest to the camera", named="person", order="near"),
    row("what is the biggest animal", named="animal", order="largest"),
]
RELATED = [
    row("all the people next to the bus", named="people", wants_all=True, relation=("next to", "bus")),
    row("the cup to the left of the laptop", named="cup", relation=("left of", "laptop")),
    row("the dog behind the fence", named="dog", relation=("behind", "fence")),
    row("the man in front of the car", named="man", relation=("in front of", "car")),
    row("the bird on top of the house", named="bird", relation=("on", "house")),
    row("the man sitting on the bench", named="man", relation=("on", "bench")),
    row("the book under the lamp", named="book", relation=("under", "lamp")),
    row("the bird above the boat", named="bird", relation=("above", "boat")),
    row("the boat below the bridge", named="boat", relation=("below", "bridge")),
    row("the girl with the umbrella", named="girl", relation=("with", "umbrella")),
    row("the man riding the horse", named="man", relation=("with", "horse")),
    row("the person wearing a hat", named="person", relation=("with", "hat")),
    row("the car nearest to the bus", named="car", relation=("next to", "bus")),
    row("the chair between the table and the sofa", named="chair", relation=("between", "table", "sofa")),
]
GENERIC = [
    row("the object left of the laptop", anything=True, relation=("left of", "laptop")),
    row("the objects right of the cup", anything=True, wants_all=True, relation=("right of", "cup")),
    row("the thing behind the dog", anything=True, relation=("behind", "dog")),
    row("which thing is behind the dog?", anything=True, relation=("behind", "dog")),
    row("what is next to the laptop?", anything=True, relation=("next to", "laptop")),
    row("the object on the table", anything=True, relation=("on", "table")),
    row("everything on the table", anything=True, wants_all=True, relation=("on", "table")),
]
NEGATED = [
    row(
        "all animals except the dog",
        named="animals",
        wants_all=True,
        excluded="the dog",
        excluded_named=("dog",),
    ),
    row(
        "vehicles other than cars",
        named="vehicles",
        wants_all=True,
        excluded="cars",
        excluded_named=("cars",),
    ),
    row("the animal that is not a dog", named="animal", excluded="a dog", excluded_named=("dog",)),
    row("not the cup but the bowl", named="bowl", excluded="the cup", excluded_named=("cup",)),
    row(
        "everything that is not a person",
        anything=True,
        wants_all=True,
        excluded="a person",
        excluded_named=("person",),
    ),
    row("anything but the car", anything=True, wants_all=True, excluded="the car", excluded_named=("car",)),
    row("what isn't an animal?", anything=True, excluded="an animal", excluded_named=("animal",)),
    row("what isn\u2019t an animal?", anything=True, excluded="an animal", excluded_named=("animal",)),
    row("something that is not alive", anything=True, excluded="alive"),
    row("what can't you eat?", anything=True, excluded="you eat"),
    row(
        "which of these is not an animal?",
        anything=True,
        wants_all=True,
        excluded="an animal",
        excluded_named=("animal",),
    ),
]
WHO = [
    row("who is on the left?", who=True, named="person", order="left"),
    row("who is riding the bicycle?", who=True, named="person", relation=("with", "bicycle")),
    row("who is sitting on the bench?", who=True, named="person", relation=("on", "bench")),
    row("who would chase a mouse?", who=True, named="person", predicate="would chase a mouse"),
]
COLOUR = [
    row("the red car", named="car", colour="red"),
    row("the white cup", named="cup", colour="white"),
    row("a red thing", anything=True, colour="red"),
    row("the person in the yellow jacket", named="person", colour="yellow"),
    row("which fruit is yellow?", named="fruit", predicate="is yellow", colour="yellow"),
]
PERSON = [
    row("what is he riding?", predicate="what is he riding", relation=("with", "person")),
    row("what is she holding?", predicate="what is she holding", anything=True, relation=("with", "person")),
    row("what is the man riding?", predicate="what is the man riding", relation=("with", "man")),
    row("what is the dog lying on?", predicate="what is the dog lying on", relation=("supporting", "dog")),
    row("the hat on his head", named="hat", relation=("with", "person")),
    row("the thing around her neck", predicate="the thing around her neck", relation=("with", "person")),
]
NARROWED = [
    row("which animal purrs?", named="animal", predicate="purrs"),
    row("the animal that purrs", named="animal", predicate="that purrs"),
    row("the vegetable that rabbits like", named="vegetable", predicate="that rabbits like"),
]
UNNAMED = [
    "what would you drink from?",
    "what keeps you dry in the rain?",
    "what protects her head",
    "what covers his feet",
    "something to sit on",
    "something with four wheels",
    "where can i sit?",
    "where would you put the flowers?",
    "the object that can be used to cut paper",
    "the battery is always flat",
    "i'm hungry, what can i eat?",
    "what carries people through the air?",
]


@pytest.mark.parametrize(("query", "expected"), [*PLAIN, *POLITE])
def test_a_name_is_found_in_plain_and_in_polite_words(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize(("query", "expected"), PLURAL)
def test_a_plural_or_a_number_wants_more_than_one(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize(("query", "expected"), [*ORDINAL, *SIDED, *SUPERLATIVE])
def test_ordinals_sides_and_superlatives_are_orders(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize(("query", "expected"), [*RELATED, *GENERIC])
def test_a_place_beside_something_that_can_be_seen_is_a_relation(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize(("query", "expected"), NEGATED)
def test_what_is_not_wanted_is_excluded(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize(("query", "expected"), [*WHO, *PERSON])
def test_who_he_and_her_neck_mean_a_person(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize(("query", "expected"), COLOUR)
def test_colours_are_taken_out(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize(("query", "expected"), NARROWED)
def test_a_category_is_narrowed_by_what_is_said_of_it(query, expected):
    assert parsed(query) == expected


@pytest.mark.parametrize("query", UNNAMED)
def test_an_implicit_question_names_nothing_and_is_compared_whole(query):
    assert parsed(query) == {"predicate": query.rstrip("?")}


def test_a_request_before_the_description_is_cut_off():
    question = parse_question("Please find something that can cut paper in this image.", LEXICON)

    assert question.text == question.predicate == "something that can cut paper"


def test_names_inside_a_description_are_not_what_is_wanted():
    assert parsed("What would you use to feed the dog?") == {
        "predicate": "what would you use to feed the dog"
    }


@pytest.mark.parametrize(
    "query", ["?!", "not", "the", "of the", "who", "what is", "7", "日本", "not not not", "x " * 900]
)
def test_odd_questions_are_taken_apart_without_an_error(query):
    assert isinstance(parse_question(query, LEXICON), Question)
