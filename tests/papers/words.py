"""Words as they can be compared: stems of what carries meaning in a sentence or in a test's name."""

from __future__ import annotations

import re

_EMPTY = re.findall(
    r"\w+",
    "the and for are was with that this its not never has have from test tests only also what which who whom whose "
    "does every each one two other another their them they nothing anything whatever under over into onto all any "
    "beyond than then stays no more real whether where how when it is of to in on by at as or be does said says",
)
_ENDINGS = ("ations", "ation", "ings", "ing", "ied", "ies", "ers", "er", "ed", "es", "s", "e", "y")


def stems(text: str) -> frozenset[str]:
    found = re.findall(r"[a-z]{3,}", text.lower().replace("_", " "))
    return frozenset(_stem(word) for word in found if word not in _EMPTY)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
