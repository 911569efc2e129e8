"""From usage to money: integer multiplications over rates that the control plane has compiled.

A `PriceList` holds models, a model its rate cards, a card its tiers. Which one applies: the first model of the provider
whose pattern matches the name; its first card whose conditions (service tier, speed, geography, time) all hold; of that
card the last tier whose threshold the whole input exceeds. A threshold is a cliff: the tier's rates apply to the whole
request. What other models used is at their own rates; the sum of all is rounded once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from dataplane.core.globs import GlobSet
from dataplane.core.money.amounts import nano_from_pico
from dataplane.core.usage import INPUT_CLASSES, OUTPUT_CLASSES, Usage, UsageClass, UsagePart

# Model names that one list remembers; beyond it (a client inventing names) it forgets and starts again.
REMEMBERED_NAMES: Final = 4096
REMEMBERED_LENGTH: Final = 128
FOREVER_MS: Final = 2**63
# How providers call the tier that has no price of its own; and tiers that cost no more than it does.
PLAIN_TIERS: Final = frozenset({"", "default", "standard", "standard_only", "auto", "on_demand"})
CHEAPER_TIERS: Final = frozenset({"scale", "flex", "batch"})

# Whose prices each kind of provider has, unless the provider says otherwise; empty: nobody's.
PRICES_OF_KIND: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "gemini": "google",
    "azure_openai": "azure",
    "openai_compatible": "",
    "anthropic_compatible": "",
}


@dataclass(frozen=True, slots=True)
class RateTier:
    """Pico-dollars per unit (token or call). A class that is absent costs nothing: the compiler has filled the others
    in."""

    above_input_tokens: int  # 0: the base tier
    rates_pico: Mapping[UsageClass, int]


@dataclass(frozen=True, slots=True)
class RateCard:
    service_tier: str  # "": any
    speed: str  # "": any
    valid_from_ms: int  # 0: always
    valid_until_ms: int  # exclusive; 0: for ever
    tiers: tuple[RateTier, ...]  # ascending
    geo: str = ""  # where the answer was made; "": anywhere

    def applies(self, service_tier: str, speed: str, geo: str, at_ms: int) -> bool:
        return (
            (not self.service_tier or self.service_tier == service_tier)
            and (not self.speed or self.speed == speed)
            and (not self.geo or self.geo == geo)
            and self.valid_from_ms <= at_ms
            and (not self.valid_until_ms or at_ms < self.valid_until_ms)
        )

    def tier(self, input_tokens: int) -> RateTier:
        chosen = self.tiers[0]
        for tier in self.tiers[1:]:
            if input_tokens > tier.above_input_tokens:
                chosen = tier
        return chosen


class Ceiling(NamedTuple):
    """The dearest rates that an answer may come under, and as long as they are that."""

    steps: tuple[tuple[int, int, int], ...]  # above so many input tokens, descending: pico-dollars of input, of output
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class ModelPrice:
    provider: (
        str  # a price family (anthropic, openai, google, azure, …) or `@` and a provider's name: an override for it
    )
    model: str
    match: tuple[str, ...]  # lower-case globs; `!glob` excludes
    cards: tuple[RateCard, ...]  # none: recognised, and without a price
    released_ms: int = 0  # 0: not known
    unlisted: bool = False  # withdrawn, or of no use here: lists of models leave it out
    unread: str = ""  # what of it this version does not know how to charge, in words
    # What its tokens cost at most, by what is asked for: `estimates.need` remembers it here.
    ceilings: dict[tuple[str, ...], Ceiling] = field(default_factory=dict, init=False, compare=False, repr=False)

    def card(self, service_tier: str, speed: str, at_ms: int, geo: str = "") -> RateCard:
        for card in self.cards:
            if card.applies(service_tier, speed, geo, at_ms):
                return card
        return self.cards[-1]

    def knows_tier(self, service_tier: str) -> bool:
        return service_tier in PLAIN_TIERS or any(card.service_tier == service_tier for card in self.cards)

    def dearest_card(self, speed: str, at_ms: int, geo: str = "") -> RateCard:
        """Under whatever service tier: for one that has no card of its own."""
        tiers = {card.service_tier for card in self.cards}
        return max((self.card(tier, speed, at_ms, geo) for tier in sorted(tiers)), key=_dearness)

    def unchanged(self, at_ms: int) -> tuple[int, int]:
        """The span of time around `at_ms`, end excluded, in which no card begins or ends to apply."""
        turns = {turn for card in self.cards for turn in (card.valid_from_ms, card.valid_until_ms) if turn}
        return (
            max((turn for turn in turns if turn <= at_ms), default=-FOREVER_MS),
            min((turn for turn in turns if turn > at_ms), default=FOREVER_MS),
        )


class Unknown(StrEnum):
    """What of an answer no price list tells: it was charged as the dearest that it may be."""

    NOTHING = ""
    MODEL = "model"
    TIER = "tier"
    CLASS = "class"


class Priced(NamedTuple):
    nano: int
    version: str
    model: str  # whose rates were used
    unknown: Unknown = Unknown.NOTHING


class PricedAs(Protocol):
    """What pricing wants to know of a provider; `dataplane.core.snapshot.Provider` is one."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def price_provider(self) -> str: ...


class _Choice(NamedTuple):
    """The card that applies to one provider, model, tier and speed, and as long as it does."""

    card: RateCard
    model: str
    since_ms: int
    until_ms: int
    unknown: Unknown


class _Matcher:
    """One model's patterns, compiled."""

    __slots__ = ("_excluded", "_included", "price")

    def __init__(self, price: ModelPrice) -> None:
        self.price = price
        self._included = GlobSet(pattern for pattern in price.match if not pattern.startswith("!"))
        self._excluded = GlobSet(pattern[1:] for pattern in price.match if pattern.startswith("!"))

    def matches(self, name: str) -> bool:
        return self._included.matches(name) and not self._excluded.matches(name)


@dataclass(frozen=True, slots=True)
class PriceList:
    id: str
    version: str
    prices: tuple[ModelPrice, ...]
    revision: int = 0
    _matchers: dict[str, tuple[_Matcher, ...]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _found: dict[tuple[str, str], ModelPrice | None] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    _chosen: dict[tuple[str, ...], _Choice] = field(default_factory=dict, init=False, compare=False, repr=False)

    def find(self, provider: PricedAs, model: str) -> ModelPrice | None:
        """An override for this very provider goes first, then the price family that it belongs to."""
        return self._lookup(f"@{provider.name}", model) or self._lookup(price_family(provider), model)

    def models(self, family: str) -> tuple[str, ...]:
        """The canonical names of a price family, those that lists name."""
        prices = [matcher.price for matcher in self.of(family)]
        return tuple(dict.fromkeys(price.model for price in prices if price.cards and not price.unlisted))

    def of(self, family: str) -> tuple[_Matcher, ...]:
        if not self._matchers:
            grouped: dict[str, list[_Matcher]] = {}
            for price in self.prices:
                grouped.setdefault(price.provider, []).append(_Matcher(price))
            self._matchers.update({name: tuple(matchers) for name, matchers in grouped.items()})
        return self._matchers.get(family, ())

    def _lookup(self, family: str, model: str) -> ModelPrice | None:
        key = (family, model)
        try:
            return self._found[key]
        except KeyError:
            pass
        name = model.lower()
        price = next((matcher.price for matcher in self.of(family) if matcher.matches(name)), None)
        if price is not None and not price.cards:
            price = None
        if len(model) <= REMEMBERED_LENGTH:
            if len(self._found) >= REMEMBERED_NAMES:
                self._found.clear()
            self._found[key] = price
        return price


def price_family(provider: PricedAs) -> str:
    return provider.price_provider or PRICES_OF_KIND.get(provider.kind, "")


def cost(usage: Usage, price_list: PriceList, provider: PricedAs, model: str, at_ms: int) -> Priced | None:
    """What `usage` costs in nano-dollars, rounded once; None when the list has no price for the model.

    On every request's path: which card applies is remembered, so that two look-ups and the multiplications are left.
    """
    key = (provider.name, provider.kind, provider.price_provider, model, usage.service_tier, usage.speed, usage.geo)
    choice = price_list._chosen.get(key)
    if choice is None or not choice.since_ms <= at_ms < choice.until_ms:
        price = price_list.find(provider, model)
        if price is None:
            return None
        choice = _choice(usage, price, at_ms)
        if sum(map(len, key)) <= 2 * REMEMBERED_LENGTH:
            if len(price_list._chosen) >= REMEMBERED_NAMES:
                price_list._chosen.clear()
            price_list._chosen[key] = choice
    card = choice.card
    rates = card.tiers[0].rates_pico if len(card.tiers) == 1 else card.tier(usage.input_tokens).rates_pico
    try:
        pico = sum([count * rates[unit] for unit, count in usage.units.items()])
    except KeyError:
        pico, choice = _with_gaps(usage.units, rates), choice._replace(unknown=choice.unknown or Unknown.CLASS)
    if usage.parts:
        pico += sum([_of_part(part, usage, price_list, provider, choice, at_ms) for part in usage.parts])
    return Priced(nano_from_pico(pico), price_list.version, choice.model, choice.unknown)


def cost_with(usage: Usage, price: ModelPrice, price_list: PriceList, provider: PricedAs, at_ms: int) -> Priced:
    """The same with a price already found, for instance by `dearest_in_family`."""
    choice = _choice(usage, price, at_ms)
    pico = _pico(usage.units, choice.card)
    pico += sum([_of_part(part, usage, price_list, provider, choice, at_ms) for part in usage.parts])
    return Priced(nano_from_pico(pico), price_list.version, price.model, choice.unknown)


def _choice(usage: Usage, price: ModelPrice, at_ms: int) -> _Choice:
    tier, speed, geo = usage.service_tier.lower(), usage.speed.lower(), usage.geo.lower()
    unknown = Unknown.NOTHING if price.knows_tier(tier) else Unknown.TIER
    # A tier without a card is never the cheaper guess: the plain one, or the dearest.
    plain = not unknown or tier in CHEAPER_TIERS
    card = price.card(tier, speed, at_ms, geo) if plain else price.dearest_card(speed, at_ms, geo)
    return _Choice(card, price.model, *price.unchanged(at_ms), unknown)


def _of_part(
    part: UsagePart, usage: Usage, price_list: PriceList, provider: PricedAs, choice: _Choice, at_ms: int
) -> int:
    """Pico-dollars, at the rates of the part's model; without a price, at those of its dearest relative, or of the
    answer."""
    price = price_list.find(provider, part.model) or dearest_in_family(price_list, provider, part.model, at_ms)
    if price is None:
        return _pico(part.units, choice.card)
    own = Usage(part.units, service_tier=part.service_tier or usage.service_tier, speed=part.speed, geo=usage.geo)
    return _pico(part.units, _choice(own, price, at_ms).card)


def _pico(units: Mapping[UsageClass, int], card: RateCard) -> int:
    return _with_gaps(units, card.tier(sum(units.get(unit, 0) for unit in INPUT_CLASSES)).rates_pico)


def _with_gaps(units: Mapping[UsageClass, int], rates: Mapping[UsageClass, int]) -> int:
    """Pico-dollars. Tokens of a class without a rate are at that of plain input or output; calls without one cost
    nothing."""

    def rate(unit: UsageClass) -> int:
        otherwise = UsageClass.INPUT if unit in INPUT_CLASSES else UsageClass.OUTPUT if unit in OUTPUT_CLASSES else unit
        return rates.get(unit, rates.get(otherwise, 0))

    return sum([count * rate(unit) for unit, count in units.items()])


def _dearness(card: RateCard) -> tuple[int, int]:
    rates = card.tiers[-1].rates_pico
    return rates.get(UsageClass.OUTPUT, 0), rates.get(UsageClass.INPUT, 0)


_WORDS = re.compile(r"[-.:@/_]")


def dearest_in_family(price_list: PriceList, provider: PricedAs, model: str, at_ms: int) -> ModelPrice | None:
    """What an unknown model is charged as, where the provider says so: the dearest of its nearest relatives.

    Relatives share the most leading words of the name (`claude-opus-9`: the `claude-opus` models, else the `claude`
    ones); without any, every model of the price family counts. Dearest: by output, then input, in the highest tier.
    """
    readable = [matcher.price for matcher in price_list.of(price_family(provider)) if not matcher.price.unread]
    relatives = [price for price in readable if price.cards]
    words = _WORDS.split(model.lower())
    for shared in range(len(words), 0, -1):
        near = [price for price in relatives if _WORDS.split(price.model)[:shared] == words[:shared]]
        if near:
            relatives = near
            break

    def dearness(price: ModelPrice) -> tuple[int, int, str]:
        rates = price.card("", "", at_ms).tiers[-1].rates_pico
        return rates.get(UsageClass.OUTPUT, 0), rates.get(UsageClass.INPUT, 0), price.model

    return max(relatives, key=dearness, default=None)
