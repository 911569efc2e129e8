"""An organization's own prices: rates, a discount on the library's, and factors for places and tiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from controlplane.providers.price_rates import MILLION, call_rates, pico
from dataplane.core.globs import Glob, is_glob
from dataplane.core.money.prices import CALL_CLASSES, PLAIN_TIERS, ModelPrice, RateCard, RateTier, times
from dataplane.core.usage import INPUT_CLASSES, UsageClass

# A dearer token than the dearest model ever sold ($600 for o1-pro's output) is a slip of the pen; so is a call at a
# dollar, and a place or a tier at more than ten times the list price.
DEAREST_TOKEN: Final = Decimal(500)  # dollars per million
DEAREST_CALL: Final = Decimal(1_000_000)  # dollars per million
DEAREST_PERCENT: Final = 1_000
MOST_FACTORS: Final = 20
LONGEST_WORD: Final = 64


class OverrideError(ValueError):
    """An override that cannot be meant. The text says what to correct."""


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """An organization's own price: rates, or a discount on the library's, with or without factors; or factors alone.

    `provider`: a price family, or `@` and a provider's name. With rates: `model` is a name, `match` the globs that mean
    it (none: the name itself), rates are dollars per million units (tokens or calls); input and output must be there,
    the other classes follow from them. Else `model` is a glob on the names of the family's models, and `family` is the
    family that a `@` provider's prices are taken from.

    `geo_percent`, `tier_percent`: per cent of the price of every token where the answer says such a place or tier (a
    place: also `.` and the end of a host).
    """

    provider: str
    model: str
    match: tuple[str, ...] = ()
    rates: Mapping[UsageClass, Decimal] = field(default_factory=dict)
    discount_percent: Decimal = Decimal(0)
    family: str = ""
    geo_percent: Mapping[str, int] = field(default_factory=dict)
    tier_percent: Mapping[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raises OverrideError."""
        if not self.provider.lstrip("@") or not self.model:
            raise OverrideError("an override names a provider and a model")
        if self.rates and self.discount_percent:
            raise OverrideError("an override has either rates or a discount")
        if not self.rates:
            if not (self.discount_percent or self.geo_percent or self.tier_percent):
                raise OverrideError("an override has either rates or a discount, or factors for places or tiers")
            if not 0 <= self.discount_percent < 100:
                raise OverrideError("a discount lies between 0 and 100 percent")
            if self.provider.startswith("@") and not self.family:
                raise OverrideError("a discount for one provider names the family of its prices")
        elif not {UsageClass.INPUT, UsageClass.OUTPUT} <= set(self.rates):
            raise OverrideError("rates for input and output are needed; the other classes follow from them")
        for unit, rate in self.rates.items():
            dearest = DEAREST_CALL if unit in CALL_CLASSES else DEAREST_TOKEN
            if not rate.is_finite() or not 0 < rate <= dearest:
                raise OverrideError(
                    f"the rate for {unit.value} lies above 0 and is at most {dearest} dollars per million"
                )
        for name, factors in (("place", self.geo_percent), ("tier", self.tier_percent)):
            if len(factors) > MOST_FACTORS:
                raise OverrideError(f"at most {MOST_FACTORS} factors for a {name}")
            for word, percent in factors.items():
                if not 0 < len(word) <= LONGEST_WORD or word != word.strip().lower():
                    raise OverrideError(f"a {name} is a word in lower case, of at most {LONGEST_WORD} characters")
                if not 1 <= percent <= DEAREST_PERCENT:
                    raise OverrideError(f"the factor for {word} lies between 1 and {DEAREST_PERCENT} percent")
        if plain := sorted(PLAIN_TIERS & set(self.tier_percent)):
            raise OverrideError(f"{plain[0]} is the usual tier: what it costs is the price itself")


def by_provider(overrides: Sequence[OwnPrice]) -> list[OwnPrice]:
    """Those with rates; names before globs, longer globs before shorter ones."""

    def specific(override: OwnPrice) -> tuple[str, bool, int]:
        match = override.match or (override.model,)
        return override.provider, any(map(is_glob, match)), -max(map(len, match))

    return sorted((override for override in overrides if override.rates), key=specific)


def own_price(override: OwnPrice, released_ms: int) -> ModelPrice:
    """The price of an override with rates."""
    calls = dict(call_rates(override.family or override.provider, override.model))
    rates: dict[UsageClass, int] = {}
    for unit in UsageClass:
        rate = override.rates.get(unit)
        if rate is None and unit in calls:
            rates[unit] = pico(calls[unit], 1000)
        elif rate is None and unit not in CALL_CLASSES:
            rate = override.rates[UsageClass.INPUT if unit in INPUT_CLASSES else UsageClass.OUTPUT]
        if rate is not None:
            rates[unit] = pico(rate, MILLION)
    match = tuple(pattern.lower() for pattern in override.match or (override.model,))
    cards = (RateCard("", "", 0, 0, (RateTier(0, rates),)),)
    return _with_factors(ModelPrice(override.provider, override.model, match, cards, released_ms), override)


def adjust(priced: dict[str, list[ModelPrice]], override: OwnPrice) -> None:
    """Bring an override without rates to the prices of its family's models."""
    prices = priced.get(override.provider)
    if prices is None:
        if override.provider.startswith("@"):
            prices = [replace(price, provider=override.provider) for price in priced[override.family]]
        else:
            raise OverrideError(f"no such price family: {override.provider}")
    chosen = Glob(override.model)
    keep = (100 - override.discount_percent) / 100
    priced[override.provider] = [
        _with_factors(_discounted(price, keep), override) if chosen.matches(price.model) else price for price in prices
    ]


def _discounted(price: ModelPrice, factor: Decimal) -> ModelPrice:
    def scaled(tier: RateTier) -> RateTier:
        rates = {unit: int((rate * factor).to_integral_value(ROUND_HALF_UP)) for unit, rate in tier.rates_pico.items()}
        return RateTier(tier.above_input_tokens, rates)

    return replace(
        price, cards=tuple(replace(card, tiers=tuple(scaled(tier) for tier in card.tiers)) for card in price.cards)
    )


def _with_factors(price: ModelPrice, override: OwnPrice) -> ModelPrice:
    """Its own factors stand for those of the list, word by word."""
    if not price.cards:
        return price
    kept = [card for card in price.cards if card.service_tier not in override.tier_percent]
    usual = [card for card in kept if not card.service_tier]
    own = [
        replace(times(card, percent), service_tier=tier)
        for tier, percent in override.tier_percent.items()
        for card in usual
    ]
    return replace(price, cards=(*own, *kept), geo_percent={**price.geo_percent, **override.geo_percent})
