"""From usage to money: integer multiplications over rates that the control plane has compiled.

A `PriceList` holds models, a model its rate cards, a card its tiers. Which one applies: the first model of the provider
whose pattern matches the name; its first card whose conditions (service tier, speed, time) all hold; of that card the
last tier whose threshold the whole input exceeds. A threshold is a cliff: the tier's rates apply to the whole request.
Where it was processed may cost more, by so many per cent of every token. What the list has no figure for is charged at
the dearest that it may cost, and said so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from dataplane.core.globs import GlobSet
from dataplane.core.money.amounts import nano_from_pico
from dataplane.core.money.geography import percent_of
from dataplane.core.usage import INPUT_CLASSES, OUTPUT_CLASSES, Usage, UsageClass, UsagePart

# Model names that one list remembers; beyond it (a client inventing names) it forgets and starts again.
REMEMBERED_NAMES: Final = 4096
REMEMBERED_LENGTH: Final = 128
FOREVER_MS: Final = 2**63

# Whose prices each kind of provider has, unless the provider says otherwise; empty: nobody's.
PRICES_OF_KIND: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "gemini": "google",
    "azure_openai": "azure",
    "openai_compatible": "",
    "anthropic_compatible": "",
}


# Words of providers for their usual service, which no card has to name.
PLAIN_TIERS: Final = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand", "unspecified"})
PLAIN_SPEEDS: Final = frozenset({"", "standard"})
# Calls, not tokens: neither geography nor a tier changes what they cost.
CALL_CLASSES: Final = frozenset(UsageClass) - INPUT_CLASSES - OUTPUT_CLASSES
# Per call of a tool without a rate: the dearest that is published, a search of $35 per thousand.
DEAREST_CALL_PICO: Final = 35_000_000_000


class Guess(StrEnum):
    """What the list has no figure for, so that the dearest that it may cost was charged."""

    NOTHING = ""
    MODEL = "model"
    TIER = "tier"
    CLASS = "class"
    GEO = "geo"


@dataclass(frozen=True, slots=True)
class RateTier:
    """Pico-dollars per unit (token or call). The compiler fills in what follows from something else; one that is absent
    all the same costs as much as the dearest like it."""

    above_input_tokens: int  # 0: the base tier
    rates_pico: Mapping[UsageClass, int]


@dataclass(frozen=True, slots=True)
class RateCard:
    service_tier: str  # "": any
    speed: str  # "": any
    valid_from_ms: int  # 0: always
    valid_until_ms: int  # exclusive; 0: for ever
    tiers: tuple[RateTier, ...]  # ascending

    def applies(self, service_tier: str, speed: str, at_ms: int) -> bool:
        return (
            (not self.service_tier or self.service_tier == service_tier)
            and (not self.speed or self.speed == speed)
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
    # Where it was processed → per cent of the list price of every token, as `geography` has it.
    geo_percent: Mapping[str, int] = field(default_factory=dict)
    # What its tokens cost at most, by what is asked for: `estimates.need` remembers it here.
    ceilings: dict[tuple[str, ...], Ceiling] = field(default_factory=dict, init=False, compare=False, repr=False)

    def card(self, service_tier: str, speed: str, at_ms: int) -> RateCard:
        for card in self.cards:
            if card.applies(service_tier, speed, at_ms):
                return card
        return self.cards[-1]

    def unchanged(self, at_ms: int) -> tuple[int, int]:
        """The span of time around `at_ms`, end excluded, in which no card begins or ends to apply."""
        turns = {turn for card in self.cards for turn in (card.valid_from_ms, card.valid_until_ms) if turn}
        return (
            max((turn for turn in turns if turn <= at_ms), default=-FOREVER_MS),
            min((turn for turn in turns if turn > at_ms), default=FOREVER_MS),
        )


class Priced(NamedTuple):
    nano: int
    version: str
    model: str  # whose rates were used
    guess: Guess = Guess.NOTHING


class PricedAs(Protocol):
    """What pricing wants to know of a provider; `dataplane.core.snapshot.Provider` is one."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def price_provider(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def unpriced(self) -> str: ...


class _Choice(NamedTuple):
    """The rates that apply to one provider, model, tier, speed and geography, and as long as they do."""

    tiers: tuple[RateTier, ...]
    model: str
    since_ms: int
    until_ms: int
    guess: Guess


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

    On every request's path: which rates apply is remembered, so that two look-ups and the multiplications are left.
    """
    if not usage.geo and not usage.parts:  # nearly always: half the calls of the way below
        choice = price_list._chosen.get(
            (
                *(provider.name, provider.kind, provider.price_provider, provider.base_url),
                *(model, usage.service_tier, usage.speed),
            )
        )
        if choice is not None and choice.since_ms <= at_ms < choice.until_ms and len(choice.tiers) == 1:
            rates = choice.tiers[0].rates_pico
            try:
                pico = sum([count * rates[unit] for unit, count in usage.units.items()])
                return Priced(nano_from_pico(pico), price_list.version, choice.model, choice.guess)
            except KeyError:
                pass
    choice = _remembered(price_list, provider, model, usage.service_tier, usage.speed, usage.geo, at_ms)
    return None if choice is None else _total(usage, choice, price_list, provider, at_ms)


def cost_with(usage: Usage, price: ModelPrice, price_list: PriceList, provider: PricedAs, at_ms: int) -> Priced:
    """The same with a price already found, for instance by `dearest_in_family`."""
    choice = _choice(price, provider, usage.service_tier, usage.speed, usage.geo, at_ms)
    return _total(usage, choice, price_list, provider, at_ms)


def cost_of_parts(usage: Usage, price_list: PriceList, provider: PricedAs, model: str, at_ms: int) -> Priced:
    """Of what other models used alone; `model`: the one that has no price."""
    pico = sum([_of_part(part, usage.geo, None, price_list, provider, at_ms)[0] for part in usage.parts])
    return Priced(nano_from_pico(pico), price_list.version, model, Guess.MODEL)


def _remembered(
    price_list: PriceList, provider: PricedAs, model: str, service_tier: str, speed: str, geo: str, at_ms: int
) -> _Choice | None:
    key: tuple[str, ...] = (
        provider.name, provider.kind, provider.price_provider, provider.base_url, model, service_tier, speed
    )  # fmt: skip
    if geo:
        key = (*key, geo)
    choice = price_list._chosen.get(key)
    if choice is None or not choice.since_ms <= at_ms < choice.until_ms:
        price = price_list.find(provider, model)
        if price is None:
            return None
        choice = _choice(price, provider, service_tier, speed, geo, at_ms)
        if sum(map(len, key)) <= 4 * REMEMBERED_LENGTH:
            if len(price_list._chosen) >= REMEMBERED_NAMES:
                price_list._chosen.clear()
            price_list._chosen[key] = choice
    return choice


def _choice(price: ModelPrice, provider: PricedAs, service_tier: str, speed: str, geo: str, at_ms: int) -> _Choice:
    tier, pace = service_tier.lower().removeprefix("service_tier_"), speed.lower()
    card, guess = price.card(tier, pace, at_ms), Guess.NOTHING
    valid = [named for named in price.cards if named.applies(named.service_tier, named.speed, at_ms)]
    tiers = {named.service_tier for named in valid} | PLAIN_TIERS
    speeds = {named.speed for named in valid} | PLAIN_SPEEDS
    if tier not in tiers or pace not in speeds:
        card, guess = _dearest_card(price, tier if tier in tiers else None, pace if pace in speeds else None, at_ms)
    percent, certain = percent_of(price.geo_percent, geo, provider.base_url)
    if not certain:
        guess = guess or Guess.GEO
    return _Choice(times(card, percent).tiers, price.model, *price.unchanged(at_ms), guess)


def _dearest_card(price: ModelPrice, tier: str | None, speed: str | None, at_ms: int) -> tuple[RateCard, Guess]:
    """For a tier or a speed that nobody has a card for (None): of each class the dearest rate that there is."""
    cards = [
        card
        for card in price.cards
        if card.applies(card.service_tier if tier is None else tier, card.speed if speed is None else speed, at_ms)
    ] or [price.card("", "", at_ms)]
    tiers = []
    for above in sorted({tier.above_input_tokens for card in cards for tier in card.tiers}):
        rates: dict[UsageClass, int] = {}
        for card in cards:
            for unit, rate in card.tier(above + 1).rates_pico.items():
                rates[unit] = max(rate, rates.get(unit, 0))
        tiers.append(RateTier(above, rates))
    return RateCard("", "", 0, 0, tuple(tiers)), Guess.TIER


def times(card: RateCard, percent: int) -> RateCard:
    """Its tokens at so many per cent; calls cost what they cost."""
    if percent == 100:
        return card
    tiers = [
        RateTier(
            tier.above_input_tokens,
            {
                unit: rate if unit in CALL_CLASSES else (rate * percent + 50) // 100
                for unit, rate in tier.rates_pico.items()
            },
        )
        for tier in card.tiers
    ]
    return replace(card, tiers=tuple(tiers))


def _total(usage: Usage, choice: _Choice, price_list: PriceList, provider: PricedAs, at_ms: int) -> Priced:
    pico, guess = _pico(usage.units, choice)
    for part in usage.parts:
        more, doubt = _of_part(part, usage.geo, choice, price_list, provider, at_ms)
        pico += more
        guess = guess or doubt
    return Priced(nano_from_pico(pico), price_list.version, choice.model, guess)


def _of_part(
    part: UsagePart, geo: str, main: _Choice | None, price_list: PriceList, provider: PricedAs, at_ms: int
) -> tuple[int, Guess]:
    """Pico-dollars of what another model used. Without a price it costs what the provider's rule says, else as the
    dearest of its family, or as the model that answered."""
    choice = _remembered(price_list, provider, part.model, part.service_tier, part.speed, geo, at_ms)
    if choice is not None:
        return _pico(part.units, choice)
    if provider.unpriced == "free":
        return 0, Guess.NOTHING
    dearest = dearest_in_family(price_list, provider, part.model, at_ms)
    if dearest is not None:
        main = _choice(dearest, provider, part.service_tier, part.speed, geo, at_ms)
    return (0 if main is None else _pico(part.units, main)[0]), Guess.MODEL


def _pico(units: Mapping[UsageClass, int], choice: _Choice) -> tuple[int, Guess]:
    rates = choice.tiers[0].rates_pico
    if len(choice.tiers) > 1:
        input_tokens = sum([count for unit, count in units.items() if unit in INPUT_CLASSES])
        for tier in choice.tiers[1:]:
            if input_tokens > tier.above_input_tokens:
                rates = tier.rates_pico
    try:
        return sum([count * rates[unit] for unit, count in units.items()]), choice.guess
    except KeyError:
        whole = [count * (rates[unit] if unit in rates else rate_like(unit, rates)) for unit, count in units.items()]
        unknown = any(count and unit not in rates for unit, count in units.items())
        return sum(whole), choice.guess or (Guess.CLASS if unknown else Guess.NOTHING)


def rate_like(unit: UsageClass, rates: Mapping[UsageClass, int]) -> int:
    """For a class without a rate: the dearest of its direction; for calls, the dearest that is published."""
    if unit in CALL_CLASSES:
        return DEAREST_CALL_PICO
    alike = INPUT_CLASSES if unit in INPUT_CLASSES else OUTPUT_CLASSES
    return max([rate for other, rate in rates.items() if other in alike], default=0)


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
