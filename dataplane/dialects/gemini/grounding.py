"""Grounding of Gemini's answers: searches, and maps, as Google bills them.

Gemini 1 and 2 bill a grounded prompt, later models each query: those that differ and are not empty, over all candidates
and chunks. Newer answers tell what is billed themselves (`usageMetadata.billedToolCalls`): that is believed first.
Source: the Gemini API's pricing page, "Grounding with Google Search" and "Grounding with Google Maps".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from dataplane.core.usage import UsageClass
from dataplane.dialects.counts import Units, count
from dataplane.dialects.values import NOTHING, has_value

MOST_QUERIES: Final = 1_000
_PER_PROMPT: Final = re.compile(r"gemini-[12](?:\.|-|$)")


class Chunk(msgspec.Struct, gc=False):
    web: msgspec.Raw = NOTHING
    maps: msgspec.Raw = NOTHING


class Grounding(msgspec.Struct, gc=False):
    webSearchQueries: list[msgspec.Raw] | None = None
    imageSearchQueries: list[msgspec.Raw] | None = None
    groundingChunks: list[Chunk] | None = None
    googleMapsWidgetContextToken: msgspec.Raw = NOTHING


class Grounded:
    """What the candidates of one answer were grounded with."""

    def __init__(self) -> None:
        self._queries: set[bytes] = set()
        self._web = False
        self._maps = False

    def see(self, grounding: Grounding) -> None:
        for query in (*(grounding.webSearchQueries or ()), *(grounding.imageSearchQueries or ())):
            text = bytes(query)
            if len(text) > 2 and text.startswith(b'"') and len(self._queries) < MOST_QUERIES:
                self._queries.add(text)
        for chunk in grounding.groundingChunks or ():
            self._web = self._web or has_value(chunk.web)
            self._maps = self._maps or has_value(chunk.maps)
        self._maps = self._maps or has_value(grounding.googleMapsWidgetContextToken)

    def units(self, model: str) -> Units:
        """`model`: that answered. Queries belong to the search, unless only maps were found."""
        if not (self._queries or self._web or self._maps):
            return {}
        per_prompt = _PER_PROMPT.match(model.rpartition("/")[2]) is not None
        queries = 1 if per_prompt else max(len(self._queries), 1)
        searched = self._web or (bool(self._queries) and not self._maps)
        units: Units = {}
        if searched:
            units[UsageClass.WEB_SEARCH] = queries
        if self._maps:
            units[UsageClass.MAPS] = 1 if searched else queries
        return units


def billed(reported: Mapping[str, object]) -> Units | None:
    """What the provider says that it bills: None where it does not. Raises NotACount."""
    calls = reported.get("billedToolCalls")
    if not isinstance(calls, list):
        return None
    units: Units = {}
    for call in _objects(calls[:MOST_QUERIES]):
        tool = str(call.get("tool") or call.get("toolType") or "").lower()
        if "maps" in tool:
            unit = UsageClass.MAPS
        elif "google_search" in tool or "web_search" in tool:
            unit = UsageClass.WEB_SEARCH
        else:
            continue  # billed by its tokens, or for nothing
        units[unit] = units.get(unit, 0) + count(call, "successfulToolCallCount")
    return units


def _objects(values: Iterable[object]) -> Iterable[Mapping[str, object]]:
    return [value for value in values if isinstance(value, dict)]
