"""The written knowledge is whole, and the vectors that ship with it were made from it."""

from __future__ import annotations

from collections import Counter
from importlib import resources

import numpy as np
import pytest

from lisa_tool.errors import WeightsCorrupt
from lisa_tool.lite import knowledge, matching
from lisa_tool.lite.detector import KINDS
from lisa_tool.lite.embedder import SentenceEmbedder
from lisa_tool.lite.knowledge import Kind, all_facts, kinds_by_id, load_knowledge, parse_knowledge
from lisa_tool.lite.lexicon import tokenize
from lisa_tool.lite.matching import Matcher, load_vectors

FILES = sorted(
    (f for f in (resources.files("lisa_tool.lite") / "knowledge").iterdir() if f.name.endswith(".txt")),
    key=lambda f: f.name,
)
COCO = [name for name in KINDS[1:] if name]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_block_of_every_file_is_a_kind(file):
    text = file.read_text("utf-8")

    kinds = parse_knowledge(text)

    assert len(kinds) == text.count("\n## ") + text.startswith("## ") > 0


def test_a_block_is_read_into_its_fields():
    block = """## cup
coco: cup
imagenet: 504, 966-968
names: cup, Mug, cup
is: container, tableware
you drink from it
hot: careful
"""

    assert parse_knowledge(block) == [
        Kind(
            id="cup",
            coco="cup",
            imagenet=(504, 966, 967, 968),
            names=("cup", "mug"),
            categories=("container", "tableware"),
            facts=("you drink from it", "hot: careful"),
        )
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("## cup\ncoco: cup\n", "cup"),
        ("## cup\nyou drink from it\n\n## gobletto\nnames: gobletto\n", "gobletto"),
        ("## cup\nimagenet: 504 five\nyou drink from it\n", "cup"),
        ("## cup\nimagenet: 1000\nyou drink from it\n", "cup"),
        ("## cup\nnames: \nyou drink from it\n\n## \na fact of nothing\n", "a fact of nothing"),
    ],
)
def test_a_block_that_is_wrong_is_named_in_the_error(text, named):
    with pytest.raises(ValueError, match=named):
        parse_knowledge(text)


def test_blocks_of_one_kind_in_several_files_are_joined(monkeypatch):
    texts = ["## cup\ncoco: cup\nnames: cup\na\n", "## owl\nb\n", "## cup\nimagenet: 504\nnames: mug\nc\na\n"]
    monkeypatch.setattr(knowledge, "_texts", lambda: texts)

    cup, owl = load_knowledge.__wrapped__()

    assert (cup.coco, cup.imagenet, cup.names, cup.facts) == ("cup", (504,), ("cup", "mug"), ("a", "c"))
    assert owl.facts == ("b",)


def test_the_detector_knows_eighty_names():
    assert len(COCO) == len(set(COCO)) == 80
    assert {"fire hydrant", "teddy bear", "wine glass", "hair drier"} < set(COCO)


@pytest.mark.parametrize("name", COCO)
def test_each_name_of_the_detector_is_exactly_one_kind_with_forty_facts(name):
    (kind,) = [kind for kind in load_knowledge() if kind.coco == name]

    assert kind.visible
    assert len(kind.facts) >= 40


def test_no_kind_has_a_label_that_the_detector_does_not():
    assert {kind.coco for kind in load_knowledge() if kind.coco} == set(COCO)


def test_classes_of_the_classifier_are_valid_and_listed_once():
    for kind in load_knowledge():
        assert all(0 <= index < 1000 for index in kind.imagenet), kind.id
        assert len(set(kind.imagenet)) == len(kind.imagenet), kind.id


def test_no_id_name_category_or_fact_is_empty():
    for kind in load_knowledge():
        assert tokenize(kind.id), kind
        assert all(tokenize(name) for name in kind.names), kind.id
        assert all(category.strip() for category in kind.categories), kind.id
        assert kind.facts and all(fact.strip() for fact in kind.facts), kind.id


def test_no_fact_is_written_twice_for_one_kind():
    twice = {(kind.id, fact) for kind in load_knowledge() for fact, n in Counter(kind.facts).items() if n > 1}

    assert twice == set()


def test_kinds_are_found_by_their_id():
    assert len(kinds_by_id()) == len(load_knowledge())
    assert kinds_by_id()["cup"].coco == "cup"


def test_there_is_a_vector_of_length_one_for_every_fact():
    vectors = load_vectors()

    assert vectors.shape == (len(all_facts()), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.01)


def test_the_shipped_vectors_are_those_of_the_facts():
    some = range(0, len(all_facts()), len(all_facts()) // 40)

    made = SentenceEmbedder().embed([all_facts()[i] for i in some])

    assert (np.sum(made * load_vectors()[list(some)], axis=1) > 0.998).all()


def test_a_fact_that_was_changed_without_new_vectors_is_noticed(monkeypatch):
    texts = knowledge._texts()
    first, *rest = parse_knowledge(texts[0])
    changed = (first, *rest, Kind("umbrella", None, (), (), (), ("a fact that nobody embedded",)))
    monkeypatch.setattr(knowledge, "load_knowledge", lambda: changed)
    matching.load_vectors.cache_clear()

    with pytest.raises(WeightsCorrupt, match="does not belong to this version"):
        Matcher()
