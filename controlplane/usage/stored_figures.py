"""The figures in an answer that a provider keeps, as the Responses API shows it: what pods read of one that passes."""

from __future__ import annotations

import json
from typing import Any, Final

from dataplane.core.usage import UsageClass, UsageSource

OVER: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
MOST_TOKENS: Final = 10_000_000
MEMORY: Final = {"1g": 1, "4g": 4, "16g": 16, "64g": 64}
_LARGEST_RAW: Final = 16 * 1024


def figures(body: bytes) -> tuple[dict[str, Any], str] | None:
    """The columns of the ledger that say what was used, and the model; None while it runs, or where it tells none."""
    try:
        response = json.loads(body)
    except (ValueError, RecursionError):
        return None
    usage = response.get("usage") if isinstance(response, dict) else None
    if not isinstance(usage, dict) or response.get("status") not in OVER:
        return None
    incoming, outgoing = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if incoming is None or outgoing is None or not incoming + outgoing:
        return None
    cached = min(_part(usage, "input_tokens_details", "cached_tokens"), incoming)
    reasoning = min(_part(usage, "output_tokens_details", "reasoning_tokens"), outgoing)
    units = {
        UsageClass.INPUT: incoming - cached,
        UsageClass.CACHE_READ: cached,
        UsageClass.OUTPUT: outgoing - reasoning,
        UsageClass.OUTPUT_REASONING: reasoning,
        **_calls(response.get("output"), response.get("tools")),
    }
    raw = json.dumps(usage)
    columns = {
        "source": UsageSource.PROVIDER.value,
        "units": {unit.value: count for unit, count in units.items() if count},
        "parts": [],
        "unknown_calls": {},
        "raw_usage": raw if len(raw) <= _LARGEST_RAW else "",
        "service_tier": _word(response.get("service_tier"))[:40],
        "speed": "",
        "geo": "",
    }
    return columns, _word(response.get("model"))[:256]


def _calls(output: object, tools: object) -> dict[UsageClass, int]:
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    kinds = [item.get("type") for item in items]
    actions = [item.get("action") for item in items if item.get("type") == "web_search_call"]
    kinds_of_action = [action.get("type", "search") if isinstance(action, dict) else "search" for action in actions]
    containers = {str(item.get("container_id")) for item in items if item.get("type") == "code_interpreter_call"}
    return {
        UsageClass.WEB_SEARCH: kinds_of_action.count("search"),
        UsageClass.TOOL_CALL: kinds.count("file_search_call"),
        UsageClass.CONTAINER: len(containers) * _gigabytes(tools),
    }


def _gigabytes(tools: object) -> int:
    """Of each container, as pods read it."""
    declared = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    places = [tool.get("container") for tool in declared if tool.get("type") == "code_interpreter"]
    limits = [place.get("memory_limit") or "1g" for place in places if isinstance(place, dict)]
    return max([MEMORY.get(_word(limit), MEMORY["64g"]) for limit in limits], default=1)


def _part(usage: dict[str, Any], details: str, name: str) -> int:
    held = usage.get(details)
    return (_count(held.get(name)) or 0) if isinstance(held, dict) else 0


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _word(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""
