"""What `lite` knows about the world: kinds of objects, their names, their categories, and facts about them.

The facts are plain text in `knowledge/*.txt`, written by us; one block per kind:

    ## cup
    coco: cup                       the detector's label for it, if it has one
    imagenet: 504 968               the classifier's classes that show it, if any
    names: cup, mug, coffee cup     words that name it
    is: container, tableware        categories
    what you drink coffee from      facts, one a line

A kind with neither `coco` nor `imagenet` cannot be seen by `lite`; it is there so that a question about it
is understood, and answered with "that is not something I can find", instead of being forced on a neighbour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Kind:
    """One kind of object."""

    id: str
    coco: str | None
    imagenet: tuple[int, ...]
    names: tuple[str, ...]
    categories: tuple[str, ...]
    facts: tuple[str, ...]

    @property
    def visible(self) -> bool:
        """Whether the detector or the classifier can find it."""
        return self.coco is not None or bool(self.imagenet)


@cache
def load_knowledge() -> tuple[Kind, ...]:
    """All kinds: the detector's first, then by file and order of writing. Blocks of one kind are joined."""
    kinds: dict[str, Kind] = {}
    for text in _texts():
        for kind in parse_knowledge(text):
            kinds[kind.id] = _join(kinds[kind.id], kind) if kind.id in kinds else kind
    return tuple(sorted(kinds.values(), key=lambda kind: kind.coco is None))


@cache
def kinds_by_id() -> dict[str, Kind]:
    """id -> kind."""
    return {kind.id: kind for kind in load_knowledge()}


def parse_knowledge(text: str) -> list[Kind]:
    """Read the blocks of one file. Raises ValueError naming the block that is wrong."""
    kinds: list[Kind] = []
    for block in text.split("\n## ")[0 if text.startswith("## ") else 1 :]:
        head, *lines = block.removeprefix("## ").strip().split("\n")
        fields: dict[str, str] = {}
        facts: list[str] = []
        for line in lines:
            key, colon, value = line.partition(":")
            if colon and key in {"coco", "imagenet", "names", "is"} and not facts:
                fields[key] = value.strip()
            elif line.strip():
                facts.append(line.strip())
        if not facts or not head.strip():
            raise ValueError(f"kind {head!r} has no facts")
        kinds.append(
            Kind(
                id=head.strip(),
                coco=fields.get("coco"),
                imagenet=_indices(head, fields.get("imagenet", "")),
                names=_listed(fields.get("names", "")),
                categories=_listed(fields.get("is", "")),
                facts=tuple(facts),
            )
        )
    return kinds


def _join(first: Kind, more: Kind) -> Kind:
    return Kind(
        id=first.id,
        coco=first.coco or more.coco,
        imagenet=tuple(dict.fromkeys(first.imagenet + more.imagenet)),
        names=tuple(dict.fromkeys(first.names + more.names)),
        categories=tuple(dict.fromkeys(first.categories + more.categories)),
        facts=tuple(dict.fromkeys(first.facts + more.facts)),
    )


def all_facts() -> list[str]:
    """Every fact, in the order of `load_knowledge`: what is embedded at build time."""
    return [fact for kind in load_knowledge() for fact in kind.facts]


def facts_sha256() -> str:
    """Ties the shipped vectors to the text they were made from."""
    return hashlib.sha256("\n".join(all_facts()).encode()).hexdigest()


def _texts() -> list[str]:
    folder = resources.files("lisa_tool.lite") / "knowledge"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".txt")), key=lambda f: f.name)
    return [f.read_text(encoding="utf-8") for f in files]


def _listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip().lower() for part in value.split(",") if part.strip()))


def _indices(kind: str, value: str) -> tuple[int, ...]:
    """'504, 966-968' -> 504, 966, 967, 968."""
    indices: list[int] = []
    for part in value.replace(",", " ").split():
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) >= 1000:
            raise ValueError(f"kind {kind!r}: {part!r} is not an index from 0 to 999")
        indices.extend(range(int(first), int(last or first) + 1))
    return tuple(indices)
