"""Properties that categories tell, such as being alive or edible: what 'not alive' leaves out."""

from __future__ import annotations

from lisa_tool.lite.knowledge import kinds_by_id
from lisa_tool.lite.lexicon import tokenize

ALIVE = {"alive", "living"}
PROPERTIES = {
    frozenset({"alive", "living", "breathe", "breathing", "breathes"}): {
        "animal",
        "person",
        "plant",
        "flower",
        "tree",
    },
    frozenset({"eat", "eaten", "edible", "eatable"}): {
        "food",
        "fruit",
        "vegetable",
        "dessert",
        "meal",
        "snack",
    },
    frozenset({"electronic", "electric", "electrical", "electricity", "battery"}): {
        "electronic device",
        "appliance",
    },
    frozenset({"drive", "driven", "drives", "engine", "motor"}): {"road vehicle", "vehicle", "aircraft"},
}


def kinds_that_are(phrase: str) -> set[str]:
    """The kinds with a property that categories tell: 'alive', 'eat', 'electronic'."""
    words = set(tokenize(phrase))
    categories = {c for told, members in PROPERTIES.items() if told & words for c in members}
    return {kind.id for kind in kinds_by_id().values() if categories & set(kind.categories)}
