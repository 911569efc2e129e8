"""What providers publish of their prices and the price library lacks: factors on rates, and rates of tools.

Each line has its public source and the day on which it was read there. A fact that the library has goes first. Factors
are on tokens: calls cost the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, TypeVar

from dataplane.core.globs import compiled
from dataplane.core.money.geography import REGIONAL
from dataplane.core.money.prices import RateCard, RateTier
from dataplane.core.usage import UsageClass

CALLS: Final = frozenset({UsageClass.WEB_SEARCH, UsageClass.MAPS, UsageClass.CONTAINER, UsageClass.TOOL_CALL})


@dataclass(frozen=True, slots=True)
class Factor:
    """`models`: globs on canonical names, `!` excludes. Of `service_tier` and `geo` one is said."""

    family: str
    models: tuple[str, ...]
    factor: Decimal
    source: str
    read_on: str  # ISO date
    service_tier: str = ""
    geo: str = ""


@dataclass(frozen=True, slots=True)
class CallRate:
    family: str
    models: tuple[str, ...]
    unit: UsageClass
    dollars_per_thousand: Decimal
    source: str
    read_on: str


_Line = TypeVar("_Line", Factor, CallRate)

_ANTHROPIC: Final = "Anthropic, pricing: data residency"
_OPENAI: Final = "OpenAI, API pricing"
_GEMINI: Final = ("gemini-2.5*", "gemini-3*", "gemini-4*")
_GOOGLE: Final = "Google, Gemini API pricing"
_READ_ON: Final = "2026-11-30"

FACTORS: Final = (
    # "US-only inference … 1.1x on all token pricing categories", for Opus 4.6, Sonnet 4.6 and later models.
    Factor(
        "anthropic",
        (
            "claude-*", "!claude-v1", "!claude-2*", "!claude-3-*", "!claude-opus-4-0", "!claude-opus-4-1",
            "!claude-opus-4-5", "!claude-sonnet-4-0", "!claude-sonnet-4-5", "!claude-haiku-4-5",
        ),
        Decimal("1.1"), _ANTHROPIC, _READ_ON, geo="us",
    ),
    # "Regional processing … 10% uplift", for models from GPT-5.4 on.
    Factor("openai", ("gpt-5.4*", "gpt-5.5*", "gpt-6*"), Decimal("1.1"), _OPENAI, _READ_ON, geo=REGIONAL),
    Factor("openai", ("gpt-6*",), Decimal(6), _OPENAI, _READ_ON, service_tier="ultrafast"),
    Factor("google", _GEMINI, Decimal("0.5"), _GOOGLE, _READ_ON, service_tier="flex"),
    Factor("google", _GEMINI, Decimal("1.8"), _GOOGLE, _READ_ON, service_tier="priority"),
)  # fmt: skip

CALL_RATES: Final = (
    # A container of 1 GB, the default; larger ones cost more and are not told by the answer.
    CallRate("openai", ("*",), UsageClass.CONTAINER, Decimal(30), _OPENAI, _READ_ON),
    CallRate("azure", ("*",), UsageClass.CONTAINER, Decimal(30), _OPENAI, _READ_ON),
    CallRate("openai", ("*-search-preview*",), UsageClass.WEB_SEARCH, Decimal(25), _OPENAI, _READ_ON),
    CallRate("openai", ("*",), UsageClass.WEB_SEARCH, Decimal(10), _OPENAI, _READ_ON),
    CallRate("openai", ("*",), UsageClass.TOOL_CALL, Decimal("2.5"), _OPENAI, _READ_ON),
    CallRate("anthropic", ("*",), UsageClass.WEB_SEARCH, Decimal(10), "Anthropic, pricing: web search", _READ_ON),
    CallRate("google", ("gemini-1*", "gemini-2*"), UsageClass.MAPS, Decimal(25), _GOOGLE, _READ_ON),
    CallRate("google", ("gemini-*",), UsageClass.MAPS, Decimal(14), _GOOGLE, _READ_ON),
    CallRate("google", ("gemini-1*", "gemini-2*"), UsageClass.WEB_SEARCH, Decimal(35), _GOOGLE, _READ_ON),
    CallRate("google", ("gemini-*",), UsageClass.WEB_SEARCH, Decimal(14), _GOOGLE, _READ_ON),
)


def with_factors(family: str, model: str, cards: Iterable[RateCard]) -> Iterator[RateCard]:
    """The cards, with those in front that a tier or a place adds: one condition more, all else as it was."""
    cards = list(cards)
    tiers = {card.service_tier for card in cards}
    for one in _of(family, model, FACTORS):
        if one.service_tier and one.service_tier not in tiers:
            plain = [card for card in cards if not card.service_tier]
            cards = [*(replace(times(card, one.factor), service_tier=one.service_tier) for card in plain), *cards]
    for one in _of(family, model, FACTORS):
        if one.geo:
            cards = [*(replace(times(card, one.factor), geo=one.geo) for card in cards if not card.geo), *cards]
    yield from cards


def call_rates(family: str, model: str) -> dict[UsageClass, Decimal]:
    """Dollars per thousand calls; of each class the first line that names the model."""
    rates: dict[UsageClass, Decimal] = {}
    for one in _of(family, model, CALL_RATES):
        rates.setdefault(one.unit, one.dollars_per_thousand)
    return rates


def times(card: RateCard, factor: Decimal) -> RateCard:
    """The card with every token at so many times its rate."""

    def scaled(tier: RateTier) -> RateTier:
        rates = {
            unit: rate if unit in CALLS else int((rate * factor).to_integral_value(ROUND_HALF_UP))
            for unit, rate in tier.rates_pico.items()
        }
        return RateTier(tier.above_input_tokens, rates)

    return replace(card, tiers=tuple(map(scaled, card.tiers)))


def _of(family: str, model: str, table: Iterable[_Line]) -> Iterator[_Line]:
    for line in table:
        excluded = compiled(tuple(glob[1:] for glob in line.models if glob.startswith("!")))
        included = compiled(tuple(glob for glob in line.models if not glob.startswith("!")))
        if line.family == family and included.matches(model) and not excluded.matches(model):
            yield line
