"""Take a question apart: what is wanted, what is excluded, how many, where, which colour, next to what.

    "the second cup from the left"       wanted 'cup', one, ordered from the left, 2nd
    "all the people next to the bus"     wanted 'people', all, next to 'bus'
    "which of these is not an animal?"   wanted anything, excluded 'animal'
    "what keeps you dry in the rain?"    nothing is named: the whole question is compared with the knowledge

Rules over words; there is no model here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lisa_tool.lite.lexicon import Lexicon, Named, tokenize
from lisa_tool.lite.phrases import (
    AUXILIARY,
    COLOURS,
    CORNER,
    COUNTS,
    DANGLING,
    EXISTS,
    GENERIC,
    MILD,
    NOT,
    NUMBERS,
    ORDERS,
    PICTURE,
    PLACES,
    POLITE,
    PRONOUN,
    RANKED,
    RESTING,
    SEEN,
    SIDES,
    SMALL,
    STOP,
    SUBJECT,
    THEM,
    TWO_COLOURS,
    WH,
    WHO,
    Order,
    Place,
)


@dataclass(frozen=True)
class Relation:
    """The wanted thing stands in `place` to the things named by `anchors`.

    anchors: two for 'between', otherwise one;
    at_body: the anchor was a part of somebody's body, as in 'on his head'.
    """

    place: Place
    anchors: tuple[Named, ...]
    at_body: bool = False


@dataclass(frozen=True)
class Question:
    """A question, taken apart.

    text: the question without 'please segment' and the like; named: what it names, if it does;
    predicate: the rest of a phrase such as 'that purrs' after a name, or the whole of a question that
    names nothing; anything: any object will do, such as 'the thing next to the bus'; who: asked with
    'who', a person or an animal; mild: the order is only an adjective such as 'small'; unchecked:
    adjectives that no rule can check; unknown: a bare noun that lite has no name for.
    """

    text: str
    named: Named | None = None
    predicate: str = ""
    anything: bool = False
    excluded: str = ""
    excluded_named: tuple[Named, ...] = ()
    wants_all: bool = False
    who: bool = False
    order: Order | None = None
    mild: bool = False
    rank: int = 1
    count: int | None = None
    colour: str | None = None
    unchecked: str = ""
    unknown: str = ""
    relation: Relation | None = None


def parse_question(query: str, lexicon: Lexicon) -> Question:
    """Take `query` (one line of plain words) apart."""
    text = re.sub(r"[\"“”()?!.;:]+", " ", query.lower().replace("\u2019", "'"))
    text = CORNER.sub(r"\1", text)
    text = TWO_COLOURS.sub(r"\1", text)
    text = " ".join(PICTURE.sub(" ", " ".join(text.split())).split()).strip(" ,")
    plain = POLITE.sub("", text, count=1).strip(" ,") or text
    plain = SEEN.sub("", plain).strip(" ,") or plain
    counted = plain.startswith("how many ") or text.startswith("count ")
    plain = EXISTS.sub("", plain, count=1).strip(" ,") or plain
    who = WHO.match(plain)
    if who:
        plain = plain[who.end() :] or plain
    question = Question(text=plain, wants_all=counted)

    subject = SUBJECT.match(plain)  # 'what is he riding', 'what does the dog sit on'
    if (
        subject
        and (anchor := _name_of(PRONOUN.sub("person", subject["who"]), lexicon))
        and lexicon.visible(anchor)
    ):
        return replace(
            question,
            relation=Relation("supporting" if subject["verb"] in RESTING else "with", (anchor,)),
            predicate=plain,
            anything=subject["verb"] in {"hold", "carry"},
        )

    rest, question = _take_excluded(plain, question, lexicon)
    rest, question = _take_order(rest, question)
    if who:  # keep a word before 'riding the bicycle', so that the relation has something to its left
        rest, question = _take_relation(f"someone {rest}", question, lexicon)
        return replace(
            question, who=True, predicate=" ".join(rest.split()[1:]), named=lexicon.find(["person"])[0]
        )
    rest, question = _take_relation(rest, question, lexicon)
    return _take_target(" ".join(rest.split()), question, lexicon)


def _take_excluded(text: str, question: Question, lexicon: Lexicon) -> tuple[str, Question]:
    """Split at the first 'not', 'except', "isn't", ...: what follows is excluded."""
    match = NOT.search(text)
    if not match:
        return text, question
    before, after = text[: match.start()].strip(" ,"), text[match.end() :].strip(" ,")
    if not after:
        return text, question
    if before and " but " in after:  # "something that is not alive but rings"
        after, more = after.split(" but ", 1)
        before = f"{before} {more}"
    if not before:  # "not the cup but the bowl"
        excluded, _, wanted = (
            re.split(r"(,? but |, )", after, maxsplit=1)
            if re.search(r",? but |, ", after)
            else (after, "", "")
        )
        before, after = wanted.strip() or "everything", excluded
    before = DANGLING.sub("", before).strip(" ,") or "everything"
    named = tuple(lexicon.find(tokenize(after)))
    return before, replace(question, excluded=after, excluded_named=named)


def _take_relation(text: str, question: Question, lexicon: Lexicon) -> tuple[str, Question]:
    """Split at the first preposition whose right side names something, such as 'next to the bus'."""
    best: tuple[int, int, Place] | None = None
    for pattern, place in PLACES:
        for match in re.finditer(r"\b" + pattern + r"\b", text):
            span = (match.start(), match.end(), place)
            if best is None or span[0] < best[0] or (span[0] == best[0] and span[1] > best[1]):
                before, after = text[: match.start()].strip(), text[match.end() :]
                function = place == "with" and before in {"what", "which"}  # 'what carries people ...'
                if before and not function and _anchors(after, place, lexicon):
                    best = span
    if best is None:
        return text, question
    start, end, place = best
    anchors = _anchors(text[end:], place, lexicon)
    named = _name_of(text[end:], lexicon)
    at_body = named is not None and lexicon.whole(named) is not named
    if at_body:
        place = "with"  # 'around her neck', 'under his feet': at the person
    before, worn = text[:start].strip(" ,"), next((w for w in tokenize(text[end:]) if w in COLOURS), None)
    if worn and place in {"in", "with"} and lexicon.clothing.issuperset(anchors[0].kinds):
        return before, replace(question, colour=worn)  # 'in the yellow jacket': look for yellow
    return before, replace(question, relation=Relation(place, anchors, at_body))


def _anchors(phrase: str, place: Place, lexicon: Lexicon) -> tuple[Named, ...]:
    """What a relation points at: the noun phrase right after the preposition, two of them for 'between'."""
    phrase = THEM.sub("person", phrase.strip())
    parts = re.split(r"\band\b", phrase) if place == "between" else [phrase]
    anchors = tuple(lexicon.whole(a) for part in parts if (a := _name_of(part, lexicon)))
    return anchors if len(anchors) == len(parts) and all(lexicon.visible(a) for a in anchors) else ()


def _name_of(phrase: str, lexicon: Lexicon) -> Named | None:
    """The name at the head of a short noun phrase: 'the old man' -> man. None for any other phrase."""
    words = _noun_phrase(tokenize(phrase), lexicon)
    found = lexicon.find(words)
    return found[-1] if found and found[-1].end == len(words) else None


def _noun_phrase(words: list[str], lexicon: Lexicon) -> list[str]:
    """The words up to the first one that ends a noun phrase: a preposition, a verb, 'sitting', 'parked'."""
    while words and words[0] in SMALL:
        words = words[1:]
    named = {at for n in lexicon.find(words) for at in range(n.start, n.end)}
    for at, word in enumerate(words):
        participle = at > 0 and word.endswith(("ing", "ed")) and len(word) > 4 and at not in named
        follows_name = participle and at - 1 in named
        if word in STOP or follows_name:
            return words[:at]
    return words


def _take_order(text: str, question: Question) -> tuple[str, Question]:
    """Take out 'leftmost', 'second ... from the right', 'largest', 'closest to the camera'."""
    ranked = RANKED.search(text)
    if ranked:
        side = SIDES[ranked["side"] or ranked["size"]]
        text = text[: ranked.start()] + ranked["middle"] + text[ranked.end() :]
        return text, replace(question, order=side, rank=_rank_number(ranked["rank"]))
    for pattern, order in ORDERS:
        match = re.search(pattern, text)
        if match:
            left = text[: match.start()] + " " + text[match.end() :]
            return left, replace(question, order=order, mild=match[0] in MILD)
    return text, question


def _rank_number(word: str) -> int:
    """'second' and '2nd' -> 2, 'last' -> -1."""
    return NUMBERS.get(word) or max(1, int("".join(c for c in word if c.isdigit())))


def _take_target(text: str, question: Question, lexicon: Lexicon) -> Question:
    """Find what is wanted: a named kind, a category with a predicate, anything, or a description."""
    words = tokenize(text)
    every = bool({"all", "every", "each", "both", "everything", "everyone"} & set(words[:4]))
    question = replace(question, wants_all=question.wants_all or (every and not WH.match(text)))
    colour = next((w for w in words if w in COLOURS), None)
    named = _named(text, words, lexicon)
    if named:
        before = [
            w for w in words[: named.start] if w not in SMALL | GENERIC and w not in (*COLOURS, *COUNTS)
        ]
        question = replace(question, unchecked=" ".join(before))
        after = words[named.end :]
        says_more = any(w not in SMALL for w in after)
        one_of = re.match(r"(?:which|one|the \w+) of (?:the|these|those|all) ", text) is not None
        plural = (named.plural and not one_of) or question.wants_all
        return replace(
            question,
            named=named,
            predicate=" ".join(after) if says_more else "",
            wants_all=plural,
            count=next((COUNTS[w] for w in words[: named.start] if w in COUNTS), None),
            colour=question.colour or _adjective(colour, words, named),
        )
    content = [w for w in _generic_phrase(words) if w not in SMALL and w not in GENERIC]
    if question.relation or question.order:
        described, content = content, _after_generic(words, content)
        dropped = " ".join(w for w in described if w not in content and w not in COLOURS)
        question = replace(question, unchecked=dropped)
    anything = not content or (len(content) == 1 and content[0] in COLOURS)
    generic_plural = bool(
        {"things", "objects", "items", "ones", "everything", "all", "these", "those"} & set(words)
    )
    if anything and question.relation and question.relation.at_body:
        # 'what is on his head': knowledge tells what goes there
        return replace(question, predicate=question.text)
    if question.mild and not anything:
        # 'a small child' says nothing about the size of what is wanted
        question = replace(question, order=None)
    if (
        anything
        and question.relation
        and question.relation.place == "with"
        and not lexicon.detectable(question.relation.anchors[0])
    ):
        # 'something with four wheels'
        return replace(question, relation=None, order=None, predicate=question.text)
    bare = words[:1] in (["the"], ["a"], ["an"]) and len(content) <= 2 and not set(words) & STOP
    return replace(
        question,
        unknown=" ".join(content) if bare and not anything else "",
        predicate="" if anything else text if question.relation is None else question.text,
        anything=anything,
        wants_all=question.wants_all or (generic_plural and anything),
        count=next((COUNTS[w] for w in words if w in COUNTS), None) if anything else None,
        colour=question.colour or (colour if anything else None),
    )


def _named(text: str, words: list[str], lexicon: Lexicon) -> Named | None:
    """What the question names as wanted, with positions in `words`; None when it only describes."""
    if re.match(r"(?:what|which) (?:is|are|was) the ", text):
        # 'what is the biggest animal', but not 'what is the dog doing'
        named = _head(words[2:], lexicon)
        if named is None or words[2 + named.end :]:
            return None
        return replace(named, start=named.start + 2, end=named.end + 2)
    if words[:1] in (["which"], ["what"]):
        return _asked_kind(words, lexicon)
    if words[:1] == ["my"]:  # 'my bicycle', but not 'my legs are tired'
        named = _head(words, lexicon)
        return None if named and words[named.end :] else named
    if WH.match(text):
        return None
    named = _head(words, lexicon)
    if named and words[named.end : named.end + 1] in (["and"], ["or"]):  # 'the knife and the fork'
        other = _head(words[named.end + 1 :], lexicon)
        if other:
            end = named.end + 1 + other.end
            word, kinds = f"{named.word} and {other.word}", tuple(dict.fromkeys(named.kinds + other.kinds))
            return replace(named, word=word, kinds=kinds, plural=True, category=False, end=end)
    return named


def _after_generic(words: list[str], content: list[str]) -> list[str]:
    """`content` without adjectives that stand before a generic noun: 'the round object' -> nothing."""
    nouns = [
        at
        for at, w in enumerate(words)
        if w in {"thing", "object", "item", "one", "things", "objects", "items", "ones"}
    ]
    if not nouns or words[0] in GENERIC - {"the"} or set(words[: nouns[0]]) & (AUXILIARY | STOP):
        return content
    return [w for w in words[nouns[0] + 1 :] if w in content]


def _generic_phrase(words: list[str]) -> list[str]:
    """The words without a place after a generic noun: 'the object in the street' -> 'the object'."""
    for at, word in enumerate(words[1:], start=1):
        if (
            word in {"in", "on", "at", "of"}
            and words[at - 1] in GENERIC
            and not set(words[at + 1 :]) & (AUXILIARY | {"you", "i", "we"})
        ):
            return words[:at]
    return words


def _asked_kind(words: list[str], lexicon: Lexicon) -> Named | None:
    """The kind after 'which' or 'what': 'which animal purrs' -> animal; None for 'what protects the head'."""
    at = 1
    while at < len(words) and (words[at] in SMALL - {"is", "are"} or words[at] in COLOURS):
        at += 1
    return next((n for n in lexicon.find(words) if n.start == at and n.word not in AUXILIARY | GENERIC), None)


def _head(words: list[str], lexicon: Lexicon) -> Named | None:
    """The head noun of the phrase that the words begin with, with positions in `words`."""
    offset = 0
    while offset < len(words) and words[offset] in SMALL:
        offset += 1
    phrase = _noun_phrase(words, lexicon)
    of = phrase.index("of") if "of" in phrase else len(phrase)
    found = [n for n in lexicon.find(phrase) if n.start < of]
    if not found or found[-1].word in GENERIC:
        return None
    head = found[-1]
    if head.start == 1 and phrase[0] in GENERIC:
        return None  # a verb: 'something that rings'
    if any(w not in COLOURS for w in phrase[head.end : of]):
        return None  # the name is not the head: 'dog food', 'bus stop'
    if words[offset + head.end : offset + head.end + 1] and words[offset + head.end] in AUXILIARY - {"to"}:
        return None  # a whole sentence: 'the battery is always flat'
    return replace(head, start=head.start + offset, end=head.end + offset)


def _adjective(colour: str | None, words: list[str], named: Named) -> str | None:
    """The colour word, unless it is part of the name or of a longer description."""
    after = words[named.end :]
    worn = colour and re.search(rf"\bin (?:\w+ )?{colour}\b", " ".join(after))
    return colour if colour in words[: named.start] or worn or (colour in after and len(after) <= 3) else None
