"""Where an answer was made, and what that does to the price of its tokens.

A price's places: a word of the answer's, or `.` and the end of the host that was asked → per cent of the list price.
Anywhere else it is 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

# Words of providers for no place in particular.
ANYWHERE: Final = frozenset({"", "global", "not_available", "unspecified"})


def percent_of(places: Mapping[str, int], geo: str, base_url: str) -> tuple[int, bool]:
    """Per cent of the list price, and whether the list knows the place: the dearest where it does not."""
    if not places:
        return 100, True
    percent, certain, word = 100, True, geo.lower()
    words = _words(places)
    if words and word not in ANYWHERE:
        certain = word in words
        percent = places[word] if certain else max(100, *[places[name] for name in words])
    host = _host(base_url)
    ends = [places[end] for end in places if end.startswith(".") and host.endswith(end)]
    return percent * max(ends) // 100 if ends else percent, certain


def dearest_percent(places: Mapping[str, int], base_url: str) -> int:
    """Of the places that an answer of this provider may come from: an account may have chosen one by itself."""
    return max(percent_of(places, word, base_url)[0] for word in ("", *_words(places)))


def _words(places: Mapping[str, int]) -> list[str]:
    return [place for place in places if not place.startswith(".")]


def _host(base_url: str) -> str:
    try:
        return (urlsplit(base_url).hostname or "").lower()
    except ValueError:
        return ""
