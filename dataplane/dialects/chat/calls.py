"""Calls that chat completions are billed for beside tokens: searches of the models that always search, and what the
imitators of the format count in their usage object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from dataplane.core.usage import UsageClass
from dataplane.dialects.counts import NotACount, Units, count
from dataplane.dialects.values import within

# platform.openai.com/docs/pricing: one search a request, whatever is answered.
_ALWAYS_SEARCHES = re.compile(r"-search-(?:preview|api)(?:-|\Z)")

# Of a usage object without any call in it.
PLAIN: Final = frozenset(
    {
        *("prompt_tokens", "completion_tokens", "total_tokens"),
        *("prompt_tokens_details", "completion_tokens_details"),
    }
)
_BY_TOOL: Final = ("server_side_tool_usage", "server_side_tool_usage_details")
_NO_CALL: Final = frozenset({"mcp", "view_image", "view_x_video"})  # docs.x.ai: their tokens only
_MOST_NAMES: Final = 16


def searches(model: str) -> bool:
    return "-search-" in model and _ALWAYS_SEARCHES.search(model) is not None


def calls(reported: Mapping[str, object], unknown: dict[str, int]) -> Units:
    """OpenRouter's `server_tool_use`, Perplexity's `num_search_queries`, xAI's tools by their name; what has no class
    goes to `unknown`. A number that is no count was not told."""
    units: Units = {}
    total = _count(within(reported, "server_tool_use"), "web_search_requests") or _count(reported, "num_search_queries")
    files = 0
    for name, number in _tools(reported):
        if "web_search" in name or "x_search" in name:
            total += number
        elif "file_search" in name or "collections_search" in name or "document_search" in name:
            files += number
        elif name not in _NO_CALL:
            _note(unknown, name, number)
    _note(unknown, "num_sources_used", _count(reported, "num_sources_used"))
    if total:
        units[UsageClass.WEB_SEARCH] = total
    if files:
        units[UsageClass.TOOL_CALL] = files
    return units


def _tools(reported: Mapping[str, object]) -> list[tuple[str, int]]:
    """Each under its bare name: `SERVER_SIDE_TOOL_WEB_SEARCH` and `web_search_calls` are both `web_search`."""
    for key in _BY_TOOL:
        used = within(reported, key)
        if used:
            names = [(name.lower().removeprefix("server_side_tool_").removesuffix("_calls"), name) for name in used]
            return [(name[:64], number) for name, key in names if (number := _count(used, key))]
    return []


def _count(source: Mapping[str, object], key: str) -> int:
    try:
        return count(source, key)
    except NotACount:
        return 0


def _note(unknown: dict[str, int], name: str, number: int) -> None:
    if number and (name in unknown or len(unknown) < _MOST_NAMES):
        unknown[name] = number
