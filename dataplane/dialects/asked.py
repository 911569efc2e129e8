"""What a request asks for beside its model that may cost money: other models, a tier, a speed, tools with a price.

Of tools only these fields become objects: 0.04 ms for the 64 KB that a CLI declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from dataplane.core.usage import UsageClass
from dataplane.dialects.dialect import NOTHING_ASKED, Asked
from dataplane.dialects.scan import Scan
from dataplane.dialects.tool_sizes import IMAGE_MODEL, gigabytes, image_tokens

MOST_MODELS: Final = 16
MOST_TOOLS: Final = 512  # that are looked at; providers take 128
MOST_USES: Final = 100  # of one tool that a request limits itself
LONGEST_WORD: Final = 256  # of a model, a tier, a speed

_FALLBACKS: Final = ("fallbacks", "fallback_models", "fallback_model", "models")
_WORDS: Final = ("service_tier", "serviceTier", "speed")
_ANY_FIELD: Final = frozenset((*_FALLBACKS, *_WORDS, "web_search_options", "tools"))

# How the types of tools that bill their calls begin, and the fields that Gemini declares them by.
_CALLS: Final[Mapping[str, UsageClass]] = {
    "web_search": UsageClass.WEB_SEARCH,
    "code_interpreter": UsageClass.CONTAINER,
    "file_search": UsageClass.TOOL_CALL,
}
_GEMINI: Final[Mapping[str, UsageClass]] = {
    "googleSearch": UsageClass.WEB_SEARCH,
    "google_search": UsageClass.WEB_SEARCH,
    "googleSearchRetrieval": UsageClass.WEB_SEARCH,
    "google_search_retrieval": UsageClass.WEB_SEARCH,
    "googleMaps": UsageClass.MAPS,
    "google_maps": UsageClass.MAPS,
}


class _Tool(msgspec.Struct):
    type: object = None
    container: object = None
    size: object = None
    quality: object = None
    partial_images: object = None
    model: object = None
    max_uses: object = None
    environment: object = None
    googleSearch: object = None
    google_search: object = None
    googleSearchRetrieval: object = None
    google_search_retrieval: object = None
    googleMaps: object = None
    google_maps: object = None


_tools: Final = msgspec.json.Decoder(list[_Tool])
_any: Final = msgspec.json.Decoder()
_NO_TOOLS: Final[list[_Tool]] = []


def asked(fields: Scan) -> Asked:
    """What is none of what its place is for asks for nothing: the provider will refuse it."""
    if fields.has_none_of(_ANY_FIELD):
        return NOTHING_ASKED
    tools = fields.part("tools", _tools, _NO_TOOLS)[:MOST_TOOLS] if "tools" in fields else _NO_TOOLS
    models: dict[str, None] = {}
    for name in (*_named_by(tools), *_fallbacks(fields)):
        if len(models) < MOST_MODELS and 0 < len(name) <= LONGEST_WORD:
            models[name] = None
    calls: dict[UsageClass, int] = {}
    for unit, uses in _billed(tools):
        calls[unit] = max(calls.get(unit, 0), uses)
    if "web_search_options" in fields:
        calls.setdefault(UsageClass.WEB_SEARCH, 1)
    images = tuple(_drawn(tools))[:MOST_MODELS]
    tier = fields.text("service_tier") or fields.text("serviceTier")
    return Asked(tuple(models), tier[:LONGEST_WORD], fields.text("speed")[:LONGEST_WORD], tuple(calls.items()), images)


def _named_by(tools: list[_Tool]) -> Iterator[str]:
    for tool in tools:
        if isinstance(tool.model, str):
            yield tool.model


def _fallbacks(fields: Scan) -> Iterator[str]:
    for field in _FALLBACKS:
        if field not in fields:
            continue
        value = fields.part(field, _any, None)
        for entry in (value if isinstance(value, list) else [value])[:MOST_MODELS]:
            name = entry.get("model") if isinstance(entry, dict) else entry
            if isinstance(name, str):
                yield name


def _drawn(tools: list[_Tool]) -> Iterator[tuple[str, int]]:
    for tool in tools:
        if tool.type == "image_generation":
            named = tool.model if isinstance(tool.model, str) and 0 < len(tool.model) <= LONGEST_WORD else IMAGE_MODEL
            yield named, image_tokens(tool.size, tool.quality, tool.partial_images)


def _billed(tools: list[_Tool]) -> Iterator[tuple[UsageClass, int]]:
    for tool in tools:
        if isinstance(tool.type, str):
            for begins, unit in _CALLS.items():
                if tool.type.startswith(begins):
                    uses = tool.max_uses if type(tool.max_uses) is int else 1
                    yield unit, min(max(uses, 1), MOST_USES) * gigabytes(tool.container)
            place = tool.environment.get("type") if isinstance(tool.environment, dict) else ""
            if tool.type == "shell" and isinstance(place, str) and place.startswith("container"):
                yield UsageClass.CONTAINER, 1
        for field, unit in _GEMINI.items():
            if getattr(tool, field) is not None:
                yield unit, 1
