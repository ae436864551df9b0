"""Which words name which kinds: 'mugs' -> cup, 'the animals' -> every kind that is an animal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from lisa_tool.lite.knowledge import Kind, load_knowledge

_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "knives": "knife",
    "wolves": "wolf", "mice": "mouse", "geese": "goose", "feet": "foot", "teeth": "tooth", "leaves": "leaf",
    "loaves": "loaf", "shelves": "shelf", "scarves": "scarf", "calves": "calf", "policemen": "policeman",
    "firemen": "fireman", "halves": "half", "oxen": "ox", "ladies": "lady", "babies": "baby", "buses": "bus",
    "glasses": "glass", "taxis": "taxi", "skis": "skis",
}  # fmt: skip
_NEVER_PLURAL = frozenset(
    "glass bus dress grass scissors skis jeans cross compass gas lens canvas".split()  # noqa: SIM905
)
_CATEGORY_WORDS = {
    "creature": "animal", "beast": "animal", "critter": "animal", "living thing": "animal",
    "livestock": "farm animal", "automobile": "road vehicle", "transport": "vehicle",
    "transportation": "vehicle", "means of transport": "vehicle", "utensil": "cutlery",
    "silverware": "cutlery", "flatware": "cutlery", "crockery": "tableware", "dish": "tableware",
    "gadget": "electronic device", "electronics": "electronic device", "electronic": "electronic device",
    "fixture": "appliance", "edible": "food", "veggie": "vegetable", "produce": "fruit", "seating": "seat",
    "sports gear": "sports equipment", "sport equipment": "sports equipment",
    "sporting good": "sports equipment", "baggage": "luggage", "garment": "clothing", "clothes": "clothing",
    "hat": "headwear", "shoe": "footwear", "watercraft": "boat", "vessel": "boat",
    "flying machine": "aircraft", "sweet": "dessert", "plaything": "toy",
    "everyone": "person", "everybody": "person", "anyone": "person", "anybody": "person", "folk": "person",
    "feline": "cat", "canine": "dog",
    "bovine": "cow",
}  # fmt: skip


_PLURALS = {"crowd", "everyone", "everybody", *_IRREGULAR}


@dataclass(frozen=True)
class Named:
    """What a phrase names.

    word: as it stood there; kinds: ids of the kinds it may mean; category: it names a whole category;
    start, end: its place in the list of words.
    """

    word: str
    kinds: tuple[str, ...]
    category: bool
    plural: bool
    start: int
    end: int


def singular(word: str) -> str:
    """The likeliest singular of an English noun: 'mugs' -> 'mug', 'people' -> 'person'."""
    return next(iter(singulars(word)), word)


def singulars(word: str) -> list[str]:
    """What may be the singular of a plural, likeliest first: 'canoes' -> 'cano', 'canoe'; else empty."""
    if word in _IRREGULAR:
        return [_IRREGULAR[word]]
    if word in _NEVER_PLURAL or len(word) < 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return []
    if word.endswith("ies") and len(word) > 4:
        return [word[:-3] + "y", word[:-1]]
    if word.endswith("ves"):
        return [word[:-1], word[:-3] + "f", word[:-3] + "fe"]
    if word.endswith(("ches", "shes", "xes", "sses", "zes", "oes")):
        return [word[:-2], word[:-1]]
    return [word[:-1]]


def tokenize(text: str) -> list[str]:
    """Lower-case words; possessive 's is a word of its own and hyphens split words."""
    return re.findall(r"'s\b|[a-z0-9]+(?:'[a-rt-z]+)?", text.lower().replace("\u2019", "'"))


class Lexicon:
    """Finds the names of kinds and categories in a list of words."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._categories: dict[tuple[str, ...], tuple[str, ...]] = {}
        members: dict[str, list[str]] = {}
        for kind in kinds:
            for category in kind.categories:
                members.setdefault(category, []).append(kind.id)
            for name in (kind.id, *kind.names):
                key = tuple(tokenize(name))
                for form in {key, (*key[:-1], singular(key[-1]))}:
                    named = self._names.get(form, ())
                    if kind.id not in named:
                        self._names[form] = (*named, kind.id)
        self._detectable = {kind.id for kind in kinds if kind.coco}
        self._body_parts = {kind.id for kind in kinds if "body part" in kind.categories}
        self.clothing = {kind.id for kind in kinds if "clothing" in kind.categories}
        self._visible = {kind.id for kind in kinds if kind.visible}
        by_id = {kind.id: (kind.id,) for kind in kinds}
        for category, own in members.items():
            self._categories[tuple(tokenize(category))] = tuple(own)
        for word, category in _CATEGORY_WORDS.items():
            ids = by_id.get(category) or tuple(members.get(category, ()))
            if ids:
                self._categories.setdefault(tuple(tokenize(word)), ids)
        self._longest = max(map(len, (*self._names, *self._categories)))

    def visible(self, named: Named) -> bool:
        """Whether anything that `named` means can be found in a picture."""
        return not self._visible.isdisjoint(named.kinds)

    def detectable(self, named: Named) -> bool:
        """Whether the detector knows anything that `named` means."""
        return not self._detectable.isdisjoint(named.kinds)

    def whole(self, named: Named) -> Named:
        """The person that a body part belongs to, or `named` itself."""
        return self.find(["person"])[0] if self._body_parts.issuperset(named.kinds) else named

    def find(self, words: list[str]) -> list[Named]:
        """All names in `words`, longest first at each place, left to right, not overlapping."""
        found: list[Named] = []
        at = 0
        while at < len(words):
            named = next(
                (
                    n
                    for size in range(min(self._longest, len(words) - at), 0, -1)
                    if (n := self._at(words, at, size))
                ),
                None,
            )
            if named:
                found.append(named)
            at = named.end if named else at + 1
        return found

    def _at(self, words: list[str], start: int, size: int) -> Named | None:
        exact = tuple(words[start : start + size])
        for last in (exact[-1], *singulars(exact[-1])):
            key = (*exact[:-1], last)
            names, members = self._names.get(key, ()), self._categories.get(key, ())
            if names or members:
                plural = exact[-1] in _PLURALS or bool(singulars(exact[-1]))
                kinds = tuple(dict.fromkeys(names + members))
                return Named(" ".join(exact), kinds, not names, plural, start, start + size)
        return None


@cache
def default_lexicon() -> Lexicon:
    """The lexicon of everything `lite` knows."""
    return Lexicon(load_knowledge())
