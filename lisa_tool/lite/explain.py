"""Word an answer from facts only: what was seen, what matched, how strongly, and what came second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lisa_tool.lite.choose import Choice
from lisa_tool.lite.lexicon import singular
from lisa_tool.lite.scene import Scene, SceneObject
from lisa_tool.masks.geometry import position_words

_PLURALS = {
    "person": "people",
    "sheep": "sheep",
    "knife": "knives",
    "mouse": "mice",
    "wolf": "wolves",
    "scarf": "scarves",
    "meat loaf": "meat loaves",
    "chest of drawers": "chests of drawers",
}
_PAIRS = {"scissors", "skis", "sunglasses", "jeans", "pajamas", "binoculars"}  # plural words for one thing


def answer(choice: Choice, scene: Scene) -> str:
    """One sentence that says what was found, or that nothing was."""
    if not choice.objects:
        if choice.match or choice.absent:
            kind = choice.absent.kind if choice.absent else ""
            better = f"; {_with_article(kind)} would fit, but none was seen" if kind else ""
            return f"Nothing in the picture fits the question{better}. Seen: {_list_seen(scene)}."
        verb = "was" if singular(choice.wanted) == choice.wanted else "were"
        return f"No {choice.wanted} {verb} seen. Seen: {_list_seen(scene)}."
    what = count_words([o.kind for o in choice.objects])
    where = f", {_position(choice.objects[0], scene)}" if len(choice.objects) == 1 else ""
    guess = "Perhaps " if choice.outcome == "uncertain" else ""
    return _sentence(f"{guess}{what}{where}.")


def reasoning(choice: Choice, scene: Scene) -> str:
    """Why: the evidence in words."""
    parts: list[str] = []
    if choice.match:
        kind, fact, score = choice.match.kind, choice.match.fact, choice.match.score
        verb = "fit" if kind in _PAIRS else "fits"
        parts.append(f"{_sentence(_with_article(kind))} {verb} best: “{fact}” (match {score:.2f}).")
        if choice.others:
            runner = choice.others[0]
            parts.append(f"Next in the picture: {runner.kind} ({runner.score:.2f}).")
    elif choice.objects:
        parts.append(f"The question asks for {choice.wanted!r}.")
    if choice.steps:
        parts.append("; ".join(choice.steps).capitalize() + ".")
    if choice.doubts:
        parts.append("Doubt: " + "; ".join(choice.doubts) + ".")
    if choice.objects:
        parts.append(f"Seen: {_list_seen(scene)}.")
    return " ".join(parts)


def count_words(kinds: Sequence[str]) -> str:
    """'a cup', '2 people and a dog'."""
    parts = [
        f"{n} {plural(kind)}" if n > 1 else _with_article(kind) for kind, n in Counter(kinds).most_common()
    ]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def plural(kind: str) -> str:
    """The plural of a kind's name."""
    if kind in _PLURALS:
        return _PLURALS[kind]
    if kind in _PAIRS or kind.endswith("fish"):
        return kind
    if kind.endswith("y") and kind[-2] not in "aeiou":
        return kind[:-1] + "ies"
    return kind + ("es" if kind.endswith(("s", "sh", "ch", "x")) else "s")


def _with_article(kind: str) -> str:
    if kind in _PAIRS:
        return f"some {kind}"
    vowel = kind.startswith(("a", "e", "i", "o", "u", "hour")) and not kind.startswith(("uni", "uku"))
    return f"{'an' if vowel else 'a'} {kind}"


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _list_seen(scene: Scene) -> str:
    seen = [o.kind for o in scene.seen()]
    return count_words(seen) if seen else "nothing that lite knows"


def _position(o: SceneObject, scene: Scene) -> str:
    height, width = scene.size_hw
    x, y = (o.box[0] + o.box[2]) / 2 / width, (o.box[1] + o.box[3]) / 2 / height
    share = (o.box[2] - o.box[0]) * (o.box[3] - o.box[1]) / (height * width)
    words = position_words(x, y, share)
    return f"filling {words}" if words == "most of the image" else f"at the {words} of the picture"
