"""What calls of tools cost where the price library does not say: dollars per thousand, with source and date.

Tools that are free (web fetch, MCP, local shell) or billed in tokens alone (computer use) are counted as no calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from dataplane.core.globs import compiled
from dataplane.core.usage import UsageClass


@dataclass(frozen=True, slots=True)
class CallRate:
    """`models`: globs on the names of a family's models."""

    families: tuple[str, ...]
    models: tuple[str, ...]
    unit: UsageClass
    dollars_per_thousand: Decimal
    source: str
    read_on: str  # ISO date


PICO_PER_DOLLAR: Final = 10**12
MILLION: Final = 10**6

_OPENAI: Final = ("openai", "azure")
_OPENAI_PAGE: Final = "https://developers.openai.com/api/docs/pricing#built-in-tools"
_GOOGLE_PAGE: Final = "https://ai.google.dev/gemini-api/docs/pricing"
_ANTHROPIC_PAGE: Final = "https://platform.claude.com/docs/en/about-claude/pricing#tool-use-pricing"
_READ_ON: Final = "2026-12-01"
_OLD_GEMINI: Final = ("gemini-1*", "gemini-2*")
_CHAT_SEARCH: Final = ("gpt-4o-search-preview*", "gpt-4o-mini-search-preview*")


def _rate(families: tuple[str, ...], models: tuple[str, ...], unit: UsageClass, dollars: str, source: str) -> CallRate:
    return CallRate(families, models, unit, Decimal(dollars), source, _READ_ON)


# The first one that means the model applies.
RATES: Final = (
    _rate(_OPENAI, _CHAT_SEARCH, UsageClass.WEB_SEARCH, "25", _OPENAI_PAGE),
    _rate(_OPENAI, ("*",), UsageClass.WEB_SEARCH, "10", _OPENAI_PAGE),
    _rate(_OPENAI, ("*",), UsageClass.TOOL_CALL, "2.5", _OPENAI_PAGE),
    # Of each gigabyte: containers of 1, 4, 16 and 64 GB cost $0.03, $0.12, $0.48 and $1.92.
    _rate(_OPENAI, ("*",), UsageClass.CONTAINER, "30", _OPENAI_PAGE),
    # Older models pay per grounded prompt, newer ones per query.
    _rate(("google",), _OLD_GEMINI, UsageClass.WEB_SEARCH, "35", _GOOGLE_PAGE),
    _rate(("google",), ("gemini-*",), UsageClass.WEB_SEARCH, "14", _GOOGLE_PAGE),
    _rate(("google",), _OLD_GEMINI, UsageClass.MAPS, "25", _GOOGLE_PAGE),
    _rate(("google",), ("gemini-*",), UsageClass.MAPS, "14", _GOOGLE_PAGE),
    _rate(("anthropic",), ("claude-*",), UsageClass.WEB_SEARCH, "10", _ANTHROPIC_PAGE),
)


@dataclass(frozen=True, slots=True)
class Sibling:
    """A model that the library takes for another, `like`, or knows by one name only, and whose calls cost otherwise."""

    family: str
    model: str
    match: tuple[str, ...]
    like: str


SIBLINGS: Final = (
    Sibling("openai", "gpt-4o-mini-search-preview", ("gpt-4o-mini-search-preview*",), "gpt-4o-mini"),
    Sibling("openai", "gpt-4o-search-preview", ("gpt-4o-search-preview-20*",), "gpt-4o-search-preview"),
    Sibling("openai", "gpt-5-search-api", ("gpt-5-search-api-20*",), "gpt-5-search-api"),
)


def pico(dollars: Decimal, per: int) -> int:
    """Pico-dollars of one, where so many cost `dollars`."""
    return int((dollars * PICO_PER_DOLLAR / per).to_integral_value(ROUND_HALF_UP))


def call_rates(family: str, model: str) -> Iterator[tuple[UsageClass, Decimal]]:
    """Dollars per thousand calls, of each class that the table has a rate of."""
    units: set[UsageClass] = set()
    for rate in RATES:
        if rate.unit not in units and family in rate.families and compiled(rate.models).matches(model):
            units.add(rate.unit)
            yield rate.unit, rate.dollars_per_thousand
