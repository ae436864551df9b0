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
from typing import Literal

from lisa_tool.lite.lexicon import Lexicon, Named, tokenize

Order = Literal["left", "right", "top", "bottom", "near", "far", "largest", "smallest", "middle"]
Place = Literal[
    "left of",
    "right of",
    "above",
    "below",
    "on",
    "under",
    "in",
    "behind",
    "in front of",
    "next to",
    "between",
    "with",
    "supporting",
]


@dataclass(frozen=True)
class Relation:
    """The wanted thing stands in `place` to the things named by `anchors`: two phrases for 'between', otherwise one.

    at_body: the anchor was a part of somebody's body, as in 'on his head'.
    """

    place: Place
    anchors: tuple[Named, ...]
    at_body: bool = False


@dataclass(frozen=True)
class Question:
    """A question, taken apart.

    text: the question without 'please segment' and the like; named: what it names, if it does; mild: the order is only an adjective such as 'small'; unchecked: adjectives that no rule can check; predicate: the rest of a phrase
    such as 'that purrs' after a name, or the whole of a question that names nothing; who: asked with 'who', a person or an animal.
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
    relation: Relation | None = None


_POLITE = re.compile(
    r"^(?:(?:hi|hello|hey|ok|okay|well|so)\b[ ,]*)?(?:please[ ,]+)?"
    r"(?:(?:can|could|would|will) you (?:please )?|i(?: would|'d) like (?:(?:you )?to (?:see )?)?|i (?:want|need) (?:you )?(?:to (?:see )?)?|help me (?:to )?|let's |just )?"
    r"(?:please )?"
    r"(?:(?:segment(?: out)?|find(?: me)?|show(?: me)?|point (?:out|to|at)|highlight|mask(?: out)?|locate|select|outline|mark|identify|pick(?: out)?|"
    r"detect|cut out|spot|give me|tell me|get(?: me)?|extract|draw a mask (?:on|over|of|for)|a mask (?:of|for)|look for|count)\b[ :]*)?"
    r"(?:(?:the|a) mask (?:of|for) |where (?=the|a|an|all|my|his|her)|(?:the )?pixels (?:of|belonging to) )?"
)  # fmt: skip
_PICTURE = re.compile(
    r"\b(?:that (?:is|are) )?(?:visible |shown |seen |depicted |present )?(?:(?:in|within|on|from|of) (?:this|the|that|my) "
    r"(?:image|picture|photo|photograph|scene|frame|shot|pic)\b|(?:that )?you (?:can )?see(?: here)?\b|\bright here\b|\bhere\b)"
    r"|\bplease\b|\bfor me\b"
)  # fmt: skip
_EXISTS = re.compile(
    r"^(?:is|are) there (?:any|a|an|some)? ?|^(?:do|can) you see (?:any|a|an|some)? ?|^where(?:'s| is| are| do you see| can i (?:find|see)) "
    r"|^(?:what|which) (?:is|are) (?=the (?:object|thing|item))|^how many |^there (?:is|are) "
)
_WHO = re.compile(r"^who(?:'s| is| are|)\b ?(?:the (?:one|person) (?:that|who)(?: is)? )?")
_NOT = re.compile(
    r"\b(?:(?:that|which|who)(?: is| are)? ?)?(?:,? ?but not|except(?: for)?|other than|apart from|aside from|besides|excluding|anything but|rather than|"
    r"instead of|isn't|aren't|is not|are not|cannot|can't|can not|couldn't|could not|doesn't|don't|does not|do not|did not|didn't|won't|wouldn't|would not|"
    r"shouldn't|should not|not|never|neither|nor)\b"
)  # fmt: skip
_DANGLING = re.compile(
    r"(?:\b(?:that|which|who|is|are|but|does|do|you|we|i|people|they|someone|one|of (?:these|them|those|the \w+))\b[ ,]*)+$"
)
_GENERIC = {
    "place", "places", "spot", "part", "area", "region", "what's", "that's", "which's", "kind", "type", "sort",
    "thing", "things", "object", "objects", "item", "items", "something", "anything", "everything", "one", "ones", "stuff", "whatever",
    "what", "which", "these", "those", "them", "it", "all", "rest", "others", "other",
}  # fmt: skip
_SMALL = {
    "the", "a", "an", "any", "some", "this", "that", "these", "those", "my", "his", "her", "their", "your", "our", "its", "all", "every", "each",
    "both", "of", "is", "are", "please", "only", "just", "there", "one", "two", "three", "four", "five", "first", "entire", "whole", "single",
}  # fmt: skip
_STOP = {
    "that", "which", "who", "whom", "whose", "used", "for", "to", "with", "from", "made", "where", "when", "while", "in", "on", "at", "by", "near",
    "under", "over", "behind", "between", "being", "is", "are", "was", "has", "have", "can", "could", "would", "should", "you", "i", "we", "they", "he",
    "she", "will", "so", "if", "because", "and", "or", "it", "wearing", "holding", "riding", "carrying", "sitting", "standing", "lying", "eating",
    "looking", "using", "might", "may", "must", "did", "does", "do", "were", "had", "around", "inside", "out", "not", "no", "into", "onto", "across", "beside", "here", "there", "today", "now", "off", "up", "down", "always", "needs", "feel", "feels", "meant", "designed", "intended", "suitable", "best", "most", "as", "about", "like", "without", "than", "able", "capable",
}  # fmt: skip
_THEM = re.compile(r"^(?:him|her|them)$(?! \w)|^(?:him|her|them)(?= ?,)")
_PRONOUN = re.compile(r"^(?:he|she|they|it)$")
_AUXILIARY = {
    "can",
    "could",
    "will",
    "would",
    "do",
    "does",
    "is",
    "are",
    "should",
    "might",
    "must",
    "may",
    "to",
    "has",
    "have",
    "was",
    "were",
    "had",
    "needs",
    "makes",
    "feels",
    "looks",
    "did",
}
_WH = re.compile(r"^(?:what|where|how|why|when|if|i|we|you|my|someone|somebody)\b(?!'s the\b)")
_NUMBERS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "last": -1,
    "2nd": 2,
    "3rd": 3,
    "1st": 1,
    "4th": 4,
    "5th": 5,
}
_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "4": 4, "5": 5}
COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "gray",
    "grey",
)
_OF_PICTURE = r"(?: of (?:the |this )?(?:image|picture|photo|frame|scene|row|line|group))?"
_NOT_OF = r"(?!(?:[- ]hand)?(?: side| edge| end| corner)? of\b)"

_ORDERS: tuple[tuple[str, Order], ...] = (
    (r"\b(?:left[- ]?most|(?:furthest|farthest)(?: to the)? left|far left)\b", "left"),
    (r"\b(?:right[- ]?most|(?:furthest|farthest)(?: to the)? right|far right)\b", "right"),
    (r"\b(?:on|at|to|in|from) the (?:very |extreme )?(?:left|left[- ]hand)(?: side| edge| end| corner)?" + _OF_PICTURE + r"\b" + _NOT_OF, "left"),
    (r"\b(?:on|at|to|in|from) the (?:very |extreme )?(?:right|right[- ]hand)(?: side| edge| end| corner)?" + _OF_PICTURE + r"\b" + _NOT_OF, "right"),
    (r"(?<=the )(?:left|left-hand)\b(?= \w)(?! of| side| edge)", "left"),
    (r"(?<=the )(?:right|right-hand)\b(?= \w)(?! of| side| edge)", "right"),
    (r"\b(?:top[- ]?most|highest|uppermost|upper)\b|\b(?:at|in|near) the (?:very )?top" + _OF_PICTURE + r"\b(?! of)", "top"),
    (r"\b(?:bottom[- ]?most|lowest|lower)\b|\b(?:at|in|near) the (?:very )?bottom" + _OF_PICTURE + r"\b(?! of)", "bottom"),
    (r"\b(?:in|at|near) the (?:very )?(?:middle|cent(?:er|re))" + _OF_PICTURE + r"\b(?! of)|\bcent(?:er|re)most\b|\b(?:middle|central)\b|\b(?:standing |sitting )?between the (?:other )?(?:two|others)\b", "middle"),
    (r"\b(?:closest|nearest)(?: (?:to|in) (?:the )?(?:camera|viewer|us|me|you|photographer|foreground|lens))?\b(?! to)", "near"),
    (r"\b(?:in|at) the (?:foreground|front)\b(?! of)|\bin front$|\bfront[- ]?most\b|(?<=the )(?:front|foreground)\b(?= \w)", "near"),
    (r"\b(?:farthest|furthest|most distant|distant)(?: away)?(?: from (?:the )?(?:camera|viewer|us|me|you|photographer|lens))?\b", "far"),
    (r"\b(?:in|at) the (?:far )?(?:background|back|distance|rear)\b(?! of)|\b(?:behind|at the back)$|\brear[- ]?most\b|(?<=the )(?:back|background)\b(?= \w)", "far"),
    (r"\b(?:larg|bigg|tall|long|wid|great|hug)(?:est|er)\b|\bbig\b|\blarge\b", "largest"),
    (r"\b(?:small|littl|tini|short|narrow|thinn)(?:est|er)\b|\btiny\b|\bsmall\b|\blittle\b", "smallest"),
)  # fmt: skip
_MILD = {"big", "large", "tiny", "small", "little", "high", "tall"}
_RANKED = re.compile(
    r"\b(?P<rank>first|second|third|fourth|fifth|sixth|last|\d(?:st|nd|rd|th))\b(?P<middle>(?: [\w'-]+){0,3}?)"
    r"(?:,? (?:from|on|counting from|starting from|to) the (?P<side>left|right|top|bottom)\b| (?P<size>largest|biggest|smallest|tallest|nearest|closest|farthest)\b)"
)  # fmt: skip
_SIDES: dict[str, Order] = {
    "left": "left", "right": "right", "top": "top", "bottom": "bottom", "largest": "largest", "biggest": "largest", "tallest": "largest",
    "smallest": "smallest", "nearest": "near", "closest": "near", "farthest": "far",
}  # fmt: skip
_STANCE = r"(?:(?:that|which|who) (?:is|are) |who's |that's )?(?:(?:sitting|standing|lying|resting|placed|parked|located|sleeping|hanging|walking|waiting|positioned|riding|set|directly|right|just|immediately|leaning) )*"  # fmt: skip
_PLACES: tuple[tuple[str, Place], ...] = (
    (_STANCE + r"(?:(?:to|on) the left(?:[- ]hand)?(?: side)? of|left of)", "left of"),
    (_STANCE + r"(?:(?:to|on) the right(?:[- ]hand)?(?: side)? of|right of)", "right of"),
    (_STANCE + r"(?:in front of|ahead of)", "in front of"),
    (_STANCE + r"(?:in back of|behind)", "behind"),
    (_STANCE + r"(?:on top of|atop|upon)", "on"),
    (_STANCE + r"(?:in between|between)", "between"),
    (_STANCE + r"(?:next to|beside|nearest(?: to)?|closest to|close to|near|nearby|adjacent to|alongside|by|against|at)", "next to"),
    (_STANCE + r"(?:above|over)", "above"),
    (_STANCE + r"(?:below|beneath|underneath)", "below"),
    (_STANCE + r"under", "under"),
    (_STANCE + r"(?:inside of|inside|within|in|into)", "in"),
    (_STANCE + r"on", "on"),
    (r"(?:(?:that|which|who) (?:is|are|has|have) |(?:that|which|who|who's) )?(?:held by|carried by|worn by|ridden by|used by|driven by|with|holds|carries|rides|wears|holding|carrying|riding|wearing|using|pushing|driving|having|eating|playing with|attached to|touching|belonging to|around)", "with"),
)  # fmt: skip
_SUBJECT = re.compile(
    r"^what (?:is|are) (?P<who>(?:the |a |his |her |this |that )?[\w' -]+?) (?P<verb>sitting|standing|lying|riding|holding|carrying|resting|sleeping|wearing|"
    r"leaning|using|playing|driving|pushing|eating|drinking)(?: (?:on|in|with|at|from|against)(?: (?:his|her|their|its) \w+)?)?$"
)  # fmt: skip
_RESTING = {"sitting", "standing", "lying", "resting", "sleeping", "leaning"}


def parse_question(query: str, lexicon: Lexicon) -> Question:
    """Take `query` (one line of plain words) apart."""
    text = re.sub(r"[\"“”()?!.;:]+", " ", query.lower().replace("\u2019", "'"))
    text = " ".join(_PICTURE.sub(" ", " ".join(text.split())).split()).strip(" ,")
    plain = _POLITE.sub("", text, count=1).strip(" ,") or text
    counted = plain.startswith("how many ") or text.startswith("count ")
    plain = _EXISTS.sub("", plain, count=1).strip(" ,") or plain
    who = _WHO.match(plain)
    if who:
        plain = plain[who.end() :] or plain
    question = Question(text=plain, wants_all=counted)

    subject = _SUBJECT.match(plain)
    if (
        subject
        and (anchor := _name_of(_PRONOUN.sub("person", subject["who"]), lexicon))
        and lexicon.visible(anchor)
    ):
        return replace(
            question,
            relation=Relation("with", (anchor,)),
            predicate=plain,
            anything=subject["verb"] in {"holding", "carrying"},
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
    match = _NOT.search(text)
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
    before = _DANGLING.sub("", before).strip(" ,") or "everything"
    named = tuple(lexicon.find(tokenize(after)))
    return before, replace(question, excluded=after, excluded_named=named)


def _take_relation(text: str, question: Question, lexicon: Lexicon) -> tuple[str, Question]:
    """Split at the last preposition whose right side names something, such as 'next to the bus'."""
    best: tuple[int, int, Place] | None = None
    for pattern, place in _PLACES:
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
    phrase = _THEM.sub("person", phrase.strip())
    parts = re.split(r"\band\b", phrase) if place == "between" else [phrase]
    anchors = tuple(lexicon.whole(a) for part in parts if (a := _name_of(part, lexicon)))
    return anchors if len(anchors) == len(parts) and all(lexicon.visible(a) for a in anchors) else ()


def _name_of(phrase: str, lexicon: Lexicon) -> Named | None:
    """The name at the head of a short noun phrase: 'the old man' -> man. None when the phrase is something else."""
    words = _noun_phrase(tokenize(phrase), lexicon)
    found = lexicon.find(words)
    return found[-1] if found and found[-1].end == len(words) else None


def _noun_phrase(words: list[str], lexicon: Lexicon) -> list[str]:
    """The words up to the first one that ends a noun phrase: a preposition, a verb, or 'sitting', 'parked' and the like."""
    while words and words[0] in _SMALL:
        words = words[1:]
    named = {at for n in lexicon.find(words) for at in range(n.start, n.end)}
    for at, word in enumerate(words):
        participle = at > 0 and word.endswith(("ing", "ed")) and len(word) > 4 and at not in named
        follows_name = participle and at - 1 in named
        if word in _STOP or follows_name:
            return words[:at]
    return words


def _take_order(text: str, question: Question) -> tuple[str, Question]:
    """Take out 'leftmost', 'second ... from the right', 'largest', 'closest to the camera', 'red', 'two'."""
    ranked = _RANKED.search(text)
    if ranked:
        side = _SIDES[ranked["side"] or ranked["size"]]
        text = text[: ranked.start()] + ranked["middle"] + text[ranked.end() :]
        return text, replace(question, order=side, rank=_NUMBERS.get(ranked["rank"], 1))
    for pattern, order in _ORDERS:
        match = re.search(pattern, text)
        if match:
            left = text[: match.start()] + " " + text[match.end() :]
            return left, replace(question, order=order, mild=match[0] in _MILD)
    return text, question


def _take_target(text: str, question: Question, lexicon: Lexicon) -> Question:
    """Find what is wanted: a named kind, a category with a predicate, anything, or a description to compare with the knowledge."""
    words = tokenize(text)
    every = bool({"all", "every", "each", "both", "everything", "everyone"} & set(words[:4]))
    question = replace(question, wants_all=question.wants_all or every)
    count = next((_COUNTS[w] for w in words if w in _COUNTS), None)
    colour = next((w for w in words if w in COLOURS), None)
    if re.match(
        r"what (?:is|are|was) the ", text
    ):  # 'what is the biggest animal', but not 'what is the dog doing'
        named = _head(words[2:], lexicon)
        named = named and (
            None if words[2 + named.end :] else replace(named, start=named.start + 2, end=named.end + 2)
        )
    elif words[:1] == ["which"] or words[:1] == ["what"]:
        named = _asked_kind(words, lexicon)
    else:
        named = None if _WH.match(text) else _head(words, lexicon)
    if named:
        after = words[named.end :]
        says_more = any(w not in _SMALL for w in after)
        plural = named.plural or question.wants_all
        return replace(
            question,
            named=named,
            predicate=" ".join(after) if says_more else "",
            wants_all=plural,
            count=count,
            colour=question.colour or _adjective(colour, words, named),
        )
    content = [w for w in _generic_phrase(words) if w not in _SMALL and w not in _GENERIC]
    if question.relation or question.order:
        described, content = content, _after_generic(words, content)
        dropped = " ".join(w for w in described if w not in content and w not in COLOURS)
        question = replace(question, unchecked=dropped)
    anything = not content or (len(content) == 1 and content[0] in COLOURS)
    generic_plural = bool(
        {"things", "objects", "items", "ones", "everything", "all", "these", "those"} & set(words)
    )
    if anything and question.relation and question.relation.at_body:
        return replace(
            question, predicate=question.text
        )  # 'what is on his head': knowledge tells what goes there
    if question.mild and not anything:
        question = replace(
            question, order=None
        )  # 'a small child' says nothing about the size of what is wanted
    if (
        anything
        and question.relation
        and question.relation.place == "with"
        and not lexicon.detectable(question.relation.anchors[0])
    ):
        return replace(
            question, relation=None, order=None, predicate=question.text
        )  # 'something with four wheels'
    return replace(
        question,
        predicate="" if anything else text if question.relation is None else question.text,
        anything=anything,
        wants_all=question.wants_all or (generic_plural and anything),
        count=count,
        colour=question.colour or (colour if anything else None),
    )


def _after_generic(words: list[str], content: list[str]) -> list[str]:
    """`content` without adjectives that stand before a generic noun: 'the round object' -> nothing."""
    nouns = [
        at
        for at, w in enumerate(words)
        if w in {"thing", "object", "item", "one", "things", "objects", "items", "ones"}
    ]
    if not nouns or words[0] in _GENERIC - {"the"} or set(words[: nouns[0]]) & (_AUXILIARY | _STOP):
        return content
    return [w for w in words[nouns[0] + 1 :] if w in content]


def _generic_phrase(words: list[str]) -> list[str]:
    """The words without a place after a generic noun: 'the object in the street' -> 'the object'."""
    for at, word in enumerate(words[1:], start=1):
        if (
            word in {"in", "on", "at", "of"}
            and words[at - 1] in _GENERIC
            and not set(words[at + 1 :]) & (_AUXILIARY | {"you", "i", "we"})
        ):
            return words[:at]
    return words


def _asked_kind(words: list[str], lexicon: Lexicon) -> Named | None:
    """The kind after 'which' or 'what': 'which animal purrs' -> animal; None for 'what protects the head'."""
    at = 1
    while at < len(words) and (words[at] in _SMALL - {"is", "are"} or words[at] in COLOURS):
        at += 1
    return next((n for n in lexicon.find(words) if n.start == at and n.word not in _AUXILIARY), None)


def _head(words: list[str], lexicon: Lexicon) -> Named | None:
    """The head noun of the phrase that the words begin with, with positions in `words`."""
    offset = 0
    while offset < len(words) and words[offset] in _SMALL:
        offset += 1
    phrase = _noun_phrase(words, lexicon)
    of = phrase.index("of") if "of" in phrase else len(phrase)
    found = [n for n in lexicon.find(phrase) if n.start < of]
    if not found or found[-1].word in _GENERIC:
        return None
    head = found[-1]
    if head.start == 1 and phrase[0] in _GENERIC:
        return None  # a verb: 'something that rings'
    if any(w not in COLOURS for w in phrase[head.end : of]):
        return None  # the name is not the head: 'dog food', 'bus stop'
    if words[offset + head.end : offset + head.end + 1] and words[offset + head.end] in _AUXILIARY - {"to"}:
        return None  # a whole sentence: 'the battery is always flat'
    return replace(head, start=head.start + offset, end=head.end + offset)


def _adjective(colour: str | None, words: list[str], named: Named) -> str | None:
    """The colour word, unless it is part of the name or of a longer description."""
    after = words[named.end :]
    worn = colour and re.search(rf"\bin (?:\w+ )?{colour}\b", " ".join(after))
    return colour if colour in words[: named.start] or worn or (colour in after and len(after) <= 3) else None
