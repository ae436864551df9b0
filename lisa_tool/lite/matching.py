"""How well a description fits each kind: sentence embeddings and shared words, against the knowledge.

A kind's score is the weighted mean of the cosine similarities of its best facts, plus a little for rare words
that the description shares with its facts (BM25, Robertson and Zaragoza 2009), which catches what a small
sentence encoder blurs.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lisa_tool.errors import WeightsCorrupt
from lisa_tool.lite.embedder import SentenceEmbedder
from lisa_tool.lite.knowledge import Kind, all_facts, facts_sha256, load_knowledge
from lisa_tool.lite.sessions import weights_file

Floats = NDArray[np.float32]

BEST_FACTS = 8
FACT_WEIGHTS = 0.7 ** np.arange(BEST_FACTS, dtype=np.float32)
WORD_WEIGHT = 0.015
DENIAL = re.compile(r"\b(?:no|not|never|cannot|can't|don't|doesn't|without|nothing|none|lacks?)\b")
_FILLER = re.compile(  # what a description may begin with before it says anything
    r"^(?:(?:what|which|who|where|how|something|anything|someone|the|an?|ones?|that|things?|objects?|items?|"
    r"tool|place|would|could|can|do|does|might|should|is|are|will|must|may|you|i|we|people|person|he|she|they|"
    r"of these|here|to)\b ?)+"
)
_COMMON = frozenset(  # words that say nothing about a kind
    """a an the of to in on at for with and or that which who what where how is are was be it its
    you your i my me we us our they their them he she his her one ones this these those can could
    will would should may might do does did has have had from by as if so not no than then there
    here when while into onto up down out off over under about very more most some any all each
    every other another such same own use used using uses thing things object objects item something
    someone somebody anyone people person make makes made get gets let lets need needs want wants
    like keep keeps help helps""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Match:
    """How a description fits one kind; `score` is about 0.2 for an unrelated one, 0.8 for a perfect fit."""

    kind: str
    score: float
    fact: str


class Matcher:
    """Scores descriptions against everything `lite` knows."""

    def __init__(self) -> None:
        self._kinds: tuple[Kind, ...] = load_knowledge()
        self._facts = all_facts()
        self._vectors = load_vectors()
        self._spans = _spans(self._kinds)
        self._words = _WordIndex(self._kinds)
        self._denials = np.array([bool(DENIAL.search(fact)) for fact in self._facts])
        self._embedder = SentenceEmbedder()

    def match(self, description: str) -> dict[str, Match]:
        """The match of every kind with `description`, best first."""
        core = _FILLER.sub("", description.lower()).strip() or description
        both: Floats = self._embedder.embed([description, core]).mean(axis=0)
        similarities: Floats = self._vectors @ (both / np.linalg.norm(both))
        if not DENIAL.search(description):
            similarities[self._denials] = 0  # 'does not bark' is not about barking
        words = self._words.scores(description)
        matches = []
        for index, (kind, (start, end)) in enumerate(zip(self._kinds, self._spans, strict=True)):
            own = similarities[start:end]
            best = np.sort(own)[::-1][:BEST_FACTS]
            weights = FACT_WEIGHTS[: len(best)]
            score = float(best @ weights / weights.sum() + WORD_WEIGHT * words[index])
            matches.append(Match(kind.id, min(1.0, max(0.0, score)), self._facts[start + int(own.argmax())]))
        return {match.kind: match for match in sorted(matches, key=lambda m: -m.score)}


@cache
def load_vectors() -> Floats:
    """The embedded facts, (n, 384) float32 unit rows, made by packages/lisa-tool-lite/build_knowledge.py.

    Raises WeightsCorrupt when they were made from other facts than those in this package.
    """
    with np.load(weights_file("knowledge.npz"), allow_pickle=False) as stored:
        if str(stored["facts_sha256"]) != facts_sha256():
            raise WeightsCorrupt("the embedded knowledge does not belong to this version of lisa-tool")
        return np.asarray(stored["vectors"].astype(np.float32) * stored["scales"].astype(np.float32)[:, None])


def _spans(kinds: tuple[Kind, ...]) -> list[tuple[int, int]]:
    ends = np.cumsum([len(kind.facts) for kind in kinds]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


class _WordIndex:
    """BM25 over kinds, each kind one document made of its facts."""

    def __init__(self, kinds: tuple[Kind, ...], k1: float = 1.0, b: float = 0.5) -> None:
        counts = [
            Counter(word for fact in kind.facts if not DENIAL.search(fact) for word in set(_stems(fact)))
            for kind in kinds
        ]
        lengths = np.array([sum(c.values()) for c in counts], dtype=np.float32)
        damping = k1 * (1 - b + b * lengths / lengths.mean())
        self._n = len(kinds)
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, counter in enumerate(counts):
            for word, count in counter.items():
                self._postings[word].append((index, count * (k1 + 1) / (count + float(damping[index]))))

    def scores(self, text: str) -> Floats:
        """(kinds,) float32."""
        scores = np.zeros(self._n, dtype=np.float32)
        for word in set(_stems(text)):
            postings = self._postings.get(word, [])
            idf = math.log(1 + (self._n - len(postings) + 0.5) / (len(postings) + 0.5))
            for index, weight in postings:
                scores[index] += idf * weight
        return scores


def _stems(text: str) -> list[str]:
    return [_stem(word) for word in re.findall(r"[a-z]+", text.lower()) if word not in _COMMON]


@cache
def _stem(word: str) -> str:
    """Cut the commonest English endings: 'drinking', 'drinks' -> 'drink'."""
    for ending in ("ings", "ing", "edly", "ed", "ies", "ers", "er", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2]:
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
