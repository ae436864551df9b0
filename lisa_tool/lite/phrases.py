"""The words and patterns that `question.py` takes a question apart with: tables of English, no logic."""

from __future__ import annotations

import re
from typing import Literal

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

POLITE = re.compile(
    r"^(?:(?:hi|hello|hey|ok|okay|well|so)\b[ ,]*)?(?:please[ ,]+)?"
    r"(?:(?:can|could|would|will) you (?:please )?|i(?: would|'d) like (?:(?:you )?to (?:see )?)?|i (?:want|need) (?:you )?(?:to (?:see )?)?|help me (?:to )?|let's |just )?"
    r"(?:please )?"
    r"(?:(?:segment(?: out)?|find(?: me)?|show(?: me)?|point (?:out|to|at)|highlight|mask(?: out)?|locate|select|outline|mark|identify|pick(?: out)?|"
    r"detect|cut out|spot|give me|tell me|get(?: me)?|extract|draw a mask (?:on|over|of|for)|a mask (?:of|for)|look for|count)\b[ :]*)?"
    r"(?:(?:the|a) mask (?:of|for) |where (?=the|a|an|all|my|his|her)|(?:the )?pixels (?:of|belonging to) )?"
)  # fmt: skip
PICTURE = re.compile(
    r"\b(?:that (?:is|are) )?(?:visible |shown |seen |depicted |present )?(?:(?:in|within|on|from|of) (?:this|the|that|my) "
    r"(?:image|picture|photo|photograph|scene|frame|shot|pic)\b|\bright here\b|\bhere\b)"
    r"|\bplease\b|\bfor me\b"
)  # fmt: skip
SEEN = re.compile(
    r"(?<=\w) (?:(?:that )?(?:you|we|i) (?:can )?see|(?:are|is) there|can you see|do you see)(?: here)?$"
)
EXISTS = re.compile(
    r"^(?:is|are) there (?:any |an? |some )?|^(?:do|can) you see (?:any |an? |some )?|^where(?:'s| is| are| do you see| can i (?:find|see)) "
    r"|^(?:what|which) (?:is|are) (?=the (?:object|thing|item))|^how many |^there (?:is|are) "
)
WHO = re.compile(r"^who(?:'s| is| are|)\b ?(?:the (?:one|person) (?:that|who)(?: is)? )?")
NOT = re.compile(
    r"\b(?:(?:that|which|who)(?: is| are)? ?)?(?:,? ?but not|except(?: for)?|other than|apart from|aside from|besides|excluding|anything but|(?<!not )but(?: for)? (?=(?:the|a|an) )|rather than|"
    r"instead of|isn't|aren't|is not|are not|cannot|can't|can not|couldn't|could not|doesn't|don't|does not|do not|did not|didn't|won't|wouldn't|would not|"
    r"shouldn't|should not|not|never|neither|nor)\b"
)  # fmt: skip
DANGLING = re.compile(
    r"(?:\b(?:that|which|who|is|are|but|does|do|(?<=that )(?:people|they|someone|one)|you|we|i|of (?:these|them|those|the \w+))\b[ ,]*)+$"
)
GENERIC = {
    "place", "places", "spot", "part", "area", "region", "what's", "that's", "which's", "kind", "type", "sort",
    "thing", "things", "object", "objects", "item", "items", "something", "anything", "everything", "one", "ones", "stuff", "whatever",
    "what", "which", "these", "those", "them", "it", "all", "rest", "others", "other",
}  # fmt: skip
SMALL = {
    "the", "a", "an", "any", "some", "this", "that", "these", "those", "my", "his", "her", "their", "your", "our", "its", "all", "every", "each",
    "both", "of", "is", "are", "please", "only", "just", "there", "one", "two", "three", "four", "five", "first", "entire", "whole", "single",
}  # fmt: skip
STOP = {
    "that", "which", "who", "whom", "whose", "used", "for", "to", "with", "from", "made", "where", "when", "while", "in", "on", "at", "by", "near",
    "under", "over", "behind", "between", "being", "is", "are", "was", "has", "have", "can", "could", "would", "should", "you", "i", "we", "they", "he",
    "she", "will", "so", "if", "because", "and", "or", "it", "wearing", "holding", "riding", "carrying", "sitting", "standing", "lying", "eating",
    "looking", "using", "might", "may", "must", "did", "does", "do", "were", "had", "around", "inside", "out", "not", "no", "into", "onto", "across", "beside", "here", "there", "today", "now", "off", "up", "down", "always", "needs", "feel", "feels", "meant", "designed", "intended", "suitable", "best", "most", "as", "above", "below", "beneath", "underneath", "atop", "upon", "against", "next", "alongside", "adjacent", "opposite", "about", "like", "without", "than", "able", "capable",
}  # fmt: skip
THEM = re.compile(r"^(?:him|her|them)$(?! \w)|^(?:him|her|them)(?= ?,)")
CORNER = re.compile(r"\b(?:lower|bottom|upper|top)[- ]?(left|right)(?:[- ]hand)?(?: corner)?\b")
PRONOUN = re.compile(r"^(?:he|she|they)$")
AUXILIARY = {
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
WH = re.compile(r"^(?:what|where|how|why|when|if|i|we|you)\b(?!'s the\b)")
NUMBERS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "last": -1}
COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "4": 4, "5": 5}
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
TWO_COLOURS = re.compile(rf"\b({'|'.join(COLOURS)})(?:-and-| and )(?:{'|'.join(COLOURS)})\b")
OF_PICTURE = r"(?: of (?:the |this )?(?:image|picture|photo|frame|scene|row|line|group))?"
NOT_OF = r"(?!(?:[- ]hand)?(?: side| edge| end| corner)? of\b)"

ORDERS: tuple[tuple[str, Order], ...] = (
    (r"\b(?:left[- ]?most|(?:furthest|farthest)(?: to the)? left|(?:(?:on|at|to) the )?far left(?: side)?)\b", "left"),
    (r"\b(?:right[- ]?most|(?:furthest|farthest)(?: to the)? right|(?:(?:on|at|to) the )?far right(?: side)?)\b", "right"),
    (r"\b(?:on|at|to|in|from) the (?:very |extreme |far )?(?:left[- ]hand|left)(?: side| edge| end| corner)?" + OF_PICTURE + r"\b" + NOT_OF, "left"),
    (r"\b(?:on|at|to|in|from) the (?:very |extreme |far )?(?:right[- ]hand|right)(?: side| edge| end| corner)?" + OF_PICTURE + r"\b" + NOT_OF, "right"),
    (r"(?<=the )(?:left|left-hand)\b(?= \w)(?! of| side| edge)", "left"),
    (r"(?<=the )(?:right|right-hand)\b(?= \w)(?! of| side| edge)", "right"),
    (r"\b(?:top[- ]?most|highest|uppermost|upper)\b|\b(?:at|in|near) the (?:very )?top" + OF_PICTURE + r"\b(?! of)", "top"),
    (r"\b(?:bottom[- ]?most|lowest|lower)\b|\b(?:at|in|near) the (?:very )?bottom" + OF_PICTURE + r"\b(?! of)", "bottom"),
    (r"\b(?:in|at|near) the (?:very )?(?:middle|cent(?:er|re))" + OF_PICTURE + r"\b(?! of)|\bcent(?:er|re)most\b|\b(?:middle|central)\b|\b(?:standing |sitting )?between the (?:other )?(?:two|others)$", "middle"),
    (r"\b(?:closest|nearest)(?: (?:to|in) (?:the )?(?:camera|viewer|us|me|you|photographer|foreground|lens))?\b(?! to)", "near"),
    (r"\b(?:in|at) the (?:foreground|front)\b(?! of)|\bin front$|\bfront[- ]?most\b|(?<=the )(?:front|foreground)\b(?= \w)", "near"),
    (r"\b(?:farthest|furthest|most distant|distant)(?: away)?(?: from (?:the )?(?:camera|viewer|us|me|you|photographer|lens))?\b", "far"),
    (r"\b(?:in|at) the (?:far )?(?:background|back|distance|rear)\b(?! of)|\b(?:behind|at the back)$|\brear[- ]?most\b|(?<=the )(?:back|background)\b(?= \w)", "far"),
    (r"\b(?:larg|bigg|tall|long|wid|great|hug)(?:est|er)\b|\bbig\b|\blarge\b", "largest"),
    (r"\b(?:small|littl|tini|short|narrow|thinn)(?:est|er)\b|\btiny\b|\bsmall\b|\blittle\b", "smallest"),
)  # fmt: skip
MILD = {"big", "large", "tiny", "small", "little", "high", "tall"}
RANKED = re.compile(
    r"\b(?P<rank>first|second|third|fourth|fifth|sixth|last|\d(?:st|nd|rd|th))\b(?P<middle>(?: [\w'-]+){0,3}?)"
    r"(?:,? (?:from|on|counting from|starting from|to) (?:the )?(?P<side>left|right|top|bottom)\b| (?P<size>largest|biggest|smallest|tallest|nearest|closest|farthest)\b)"
)  # fmt: skip
SIDES: dict[str, Order] = {
    "left": "left", "right": "right", "top": "top", "bottom": "bottom", "largest": "largest", "biggest": "largest", "tallest": "largest",
    "smallest": "smallest", "nearest": "near", "closest": "near", "farthest": "far",
}  # fmt: skip
STANCE = r"(?:(?:that|which|who) (?:is|are) |who's |that's )?(?:(?:sitting|standing|lying|resting|placed|parked|located|sleeping|hanging|walking|waiting|positioned|riding|set|directly|right|just|immediately|leaning) )*"  # fmt: skip
PLACES: tuple[tuple[str, Place], ...] = (
    (STANCE + r"(?:(?:to|on) the left(?:[- ]hand)?(?: side)? of|left of)", "left of"),
    (STANCE + r"(?:(?:to|on) the right(?:[- ]hand)?(?: side)? of|right of)", "right of"),
    (STANCE + r"(?:in front of|ahead of)", "in front of"),
    (STANCE + r"(?:in back of|behind)", "behind"),
    (STANCE + r"(?:on top of|atop|upon)", "on"),
    (STANCE + r"(?:in between|between)", "between"),
    (STANCE + r"(?:next to|beside|nearest(?: to)?|closest to|close to|near|nearby|adjacent to|alongside|by|against|at)", "next to"),
    (STANCE + r"(?:above|over)", "above"),
    (STANCE + r"(?:below|beneath|underneath)", "below"),
    (STANCE + r"under", "under"),
    (STANCE + r"(?:inside of|inside|within|in|into)", "in"),
    (STANCE + r"on", "on"),
    (r"(?:(?:that|which|who) (?:is|are|has|have) |(?:that|which|who|who's) )?(?:held by|carried by|worn by|ridden by|used by|driven by|with|holds|carries|rides|wears|holding|carrying|riding|wearing|using|pushing|driving|having|eating|playing with|attached to|touching|belonging to|around)", "with"),
)  # fmt: skip
SUBJECT = re.compile(
    r"^what (?:is|are|does|do|did) (?P<who>(?:the |his |her |this |that |these |those )[\w' -]+?|he|she|they) (?P<verb>sit|stand|lie|ly|ride|rid|hold|carry|rest|sleep|wear|"
    r"lean|use|us|play|drive|driv|push|eat|drink|sitt)(?:ing)?(?: (?:on|in|with|at|from|against)(?: (?:his|her|their|its) \w+)?)?$"
)  # fmt: skip
RESTING = {"sit", "sitt", "stand", "lie", "ly", "rest", "sleep", "lean"}
GENDERED = {"man", "woman", "boy", "girl", "lady", "guy", "gentleman", "father", "mother"}
