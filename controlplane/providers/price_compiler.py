"""Makes the price list that pods multiply with out of the price library and an organization's own prices.

The library is `genai-prices`: its bundled data only, never its updater. Every rate is an integer of pico-dollars; what
a model does not price on its own (cached input, reasoning) is filled in from what it belongs to, as the library does
it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Final

from controlplane.providers.model_facts import is_offered, released
from controlplane.providers.model_match import Unclear, compact, patterns_of
from controlplane.providers.own_prices import OverrideError, OwnPrice, adjust, by_provider, own_price
from controlplane.providers.price_modifiers import PLACES, SPEEDS, TIERS, percents
from controlplane.providers.price_rates import MILLION, SIBLINGS, call_rates, pico
from dataplane.core.money.prices import PRICES_OF_KIND, ModelPrice, PriceList, RateCard, RateTier, times
from dataplane.core.usage import UsageClass

if TYPE_CHECKING:
    from genai_prices import types as library

# The families that our kinds of providers belong to.
FAMILIES: Final = tuple(dict.fromkeys(family for family in PRICES_OF_KIND.values() if family))

# Our classes → the library's price keys, nearest first: a class that has no price is part of the next.
PRICE_KEYS: Final[Mapping[UsageClass, tuple[str, ...]]] = {
    UsageClass.INPUT: ("input_mtok",),
    UsageClass.CACHE_READ: ("cache_read_mtok", "input_mtok"),
    UsageClass.CACHE_WRITE_5M: ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    UsageClass.CACHE_WRITE_1H: ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    UsageClass.CACHE_WRITE: ("cache_write_mtok", "input_mtok"),
    UsageClass.INPUT_AUDIO: ("input_audio_mtok", "input_mtok"),
    UsageClass.INPUT_IMAGE: ("input_image_mtok", "input_mtok"),
    UsageClass.OUTPUT: ("output_mtok",),
    UsageClass.OUTPUT_REASONING: ("output_reasoning_mtok", "output_mtok"),
    UsageClass.OUTPUT_AUDIO: ("output_audio_mtok", "output_mtok"),
    UsageClass.OUTPUT_IMAGE: ("output_image_mtok", "output_mtok"),
    UsageClass.WEB_SEARCH: ("web_searches_kcount",),
    UsageClass.MAPS: (),
    UsageClass.CONTAINER: (),
    UsageClass.TOOL_CALL: ("storage_searches_kcount",),
}
# Dimensions of the library's price variants that an answer of a provider tells; `processing: batch` never comes this
# way.
TOLD: Final = frozenset({"service_tier", "speed"})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model of the library that has no price here, and why: requests for it are unpriced, never free."""

    family: str
    model: str
    why: str


@dataclass(frozen=True, slots=True)
class Compiled:
    prices: PriceList
    left_out: tuple[LeftOut, ...]


def compile_prices(
    id: str, at: date, overrides: Sequence[OwnPrice] = (), families: Iterable[str] = FAMILIES
) -> Compiled:
    """The price list of the library's `families` and these overrides.

    `at` names the list (the clock is the caller's); prices that changed in the past or will in the future are in it
    with their dates. The same arguments give the same version. Raises OverrideError, and Unclear when a new version of
    the library recognises names in a way that globs cannot say.
    """
    for override in overrides:
        override.check()
    bases = {override.family for override in overrides if override.family}
    priced: dict[str, list[ModelPrice]] = {}
    left_out: list[LeftOut] = []
    for family in sorted({*families, *bases}):
        priced[family], missing = _family(family)
        left_out += missing
    for override in overrides:
        if not override.rates:
            adjust(priced, override)
    dates = {price.model: price.released_ms for prices in priced.values() for price in prices}
    for provider, own in itertools.groupby(by_provider(overrides), key=lambda override: override.provider):
        prices = [own_price(override, dates.get(override.model, 0)) for override in own]
        priced[provider] = [*prices, *priced.get(provider, [])]
    entries = tuple(price for prices in priced.values() for price in prices)
    digest = hashlib.sha256(repr(entries).encode()).hexdigest()[:8]
    version = f"genai-prices {installed_version('genai-prices')} {at.isoformat()} {digest}"
    return Compiled(PriceList(id, version, entries), tuple(left_out))


# ---- the library ----------------------------------------------------------------------------------------------


def _family(family: str) -> tuple[list[ModelPrice], list[LeftOut]]:
    """The prices of one of the library's providers, in its order: the first that recognises a name decides.

    One without a price stays in its place, so that its names are not taken for another's.
    """
    from genai_prices.data import providers  # 1.6 MB of code, and only this function wants it

    by_id = {provider.id: provider for provider in providers}
    if family not in by_id:
        raise OverrideError(f"no such price family: {family}")
    provider = by_id[family]
    # Models of other providers that this one sells too: recognised after its own, at their plain price.
    lent = [by_id[id] for id in provider.fallback_model_providers or () if id in by_id]
    models = [(model, provider) for model in provider.models]
    models += [(model, other) for other in lent for model in other.models]
    plain: list[ModelPrice] = []
    dated: list[ModelPrice] = []
    left_out: list[LeftOut] = []
    for model, seller in models:
        ways = patterns_of(model.match)
        released_ms, unlisted = released(model, seller), not is_offered(model)
        cards: tuple[RateCard, ...] = ()
        try:
            cards = tuple(_cards(model, seller is provider, family))
        except Unclear as unclear:
            left_out.append(LeftOut(family, model.id, str(unclear)))
        places = percents(PLACES, family, model.id) if cards and seller is provider else {}
        for way in ways:
            price = ModelPrice(family, model.id, way.match(), cards, released_ms, unlisted, geo_percent=places)
            plain.append(price)
            if compacted := compact(way):
                dated.append(replace(price, match=compacted.match()))
    return [*_siblings(family, plain), *plain, *dated], left_out


def _siblings(family: str, prices: Sequence[ModelPrice]) -> Iterator[ModelPrice]:
    """Models that the library takes for others, at their prices, but for calls."""
    for sibling in SIBLINGS:
        like = next((price for price in prices if price.model == sibling.like), None)
        if sibling.family != family or like is None:
            continue
        calls = {unit: pico(dollars, 1000) for unit, dollars in call_rates(family, sibling.model)}
        cards = tuple(
            replace(
                card,
                tiers=tuple(RateTier(tier.above_input_tokens, {**tier.rates_pico, **calls}) for tier in card.tiers),
            )
            for card in like.cards
        )
        yield replace(like, model=sibling.model, match=sibling.match, cards=cards)


def _cards(model: library.ModelInfo, own: bool, family: str) -> Iterator[RateCard]:
    """Special conditions first, then the tiers that only our table knows, then the plain price; for each, its periods
    in order. Raises Unclear."""
    _check_clear(model)
    starts = [0, *_period_starts(model)]
    calls = {unit: pico(dollars, 1000) for unit, dollars in call_rates(family, model.id)}
    plain = _periods(model, {}, starts)
    tiers: set[str] = set()
    for condition in _conditions(model) if own else ():
        periods = _periods(model, condition, starts)
        if periods != plain:
            tiers.add(condition.get("service_tier", ""))
            yield from _as_cards(periods, calls, condition.get("service_tier", ""), condition.get("speed", ""))
    usual = list(_as_cards(plain, calls, "", ""))
    for speed, percent in percents(SPEEDS, family, model.id).items() if own else ():
        yield from (replace(times(card, percent), speed=speed) for card in usual)
    for tier, percent in percents(TIERS, family, model.id).items() if own else ():
        if tier not in tiers:
            yield from (replace(times(card, percent), service_tier=tier) for card in usual)
    yield from usual


def _check_clear(model: library.ModelInfo) -> None:
    periods = model.prices if isinstance(model.prices, list) else []
    constraints = [period.constraint for period in periods]
    constraints += [variant.constraint for variant in model.price_variants or ()]
    if any(constraint is not None and not hasattr(constraint, "start_date") for constraint in constraints):
        raise Unclear("its price depends on the time of day")
    prices = [period.prices for period in periods] if isinstance(model.prices, list) else [model.prices]
    if not any(key.endswith("_mtok") and value is not None for price in prices for key, value in vars(price).items()):
        raise Unclear("it has no price per token")


def _conditions(model: library.ModelInfo) -> Iterator[dict[str, str]]:
    """Every combination of service tier and speed that some variant asks for, the narrow ones first."""
    variants = [variant.when for variant in model.price_variants or () if set(variant.when) <= TOLD]
    tiers = list(dict.fromkeys(when["service_tier"] for when in variants if "service_tier" in when))
    speeds = list(dict.fromkeys(when["speed"] for when in variants if "speed" in when))
    for tier, speed in (
        *itertools.product(tiers, speeds),
        *((tier, "") for tier in tiers),
        *(("", speed) for speed in speeds),
    ):
        yield {name: value for name, value in (("service_tier", tier), ("speed", speed)) if value}


def _period_starts(model: library.ModelInfo) -> list[int]:
    constraints = [period.constraint for period in model.prices] if isinstance(model.prices, list) else []
    constraints += [variant.constraint for variant in model.price_variants or ()]
    dates = {constraint.start_date for constraint in constraints if constraint is not None}  # type: ignore[union-attr]
    return sorted(_midnight_ms(day) for day in dates)


def _midnight_ms(day: date) -> int:
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )


def _periods(
    model: library.ModelInfo, condition: Mapping[str, str], starts: Sequence[int]
) -> list[tuple[int, tuple[RateTier, ...]]]:
    """(start, tiers), equal neighbours merged."""
    periods: list[tuple[int, tuple[RateTier, ...]]] = []
    for start in starts:
        tiers = _tiers(model.get_prices(datetime.fromtimestamp(start / 1000, tz=UTC), condition))
        if not periods or periods[-1][1] != tiers:
            periods.append((start, tiers))
    return periods


def _as_cards(
    periods: Sequence[tuple[int, tuple[RateTier, ...]]],
    calls: Mapping[UsageClass, int],
    service_tier: str,
    speed: str,
) -> Iterator[RateCard]:
    """Each period ends where the next begins. `calls`: what a call costs where the library does not say."""
    for (start, tiers), following in zip(periods, [*periods[1:], (0, ())], strict=True):
        whole = tuple(RateTier(tier.above_input_tokens, {**calls, **tier.rates_pico}) for tier in tiers)
        yield RateCard(service_tier, speed, start, following[0], whole)


def _tiers(price: library.ModelPrice) -> tuple[RateTier, ...]:
    thresholds = {tier.start for value in vars(price).values() for tier in getattr(value, "tiers", ())}
    return tuple(RateTier(above, _rates(price, above)) for above in (0, *sorted(thresholds - {0})))


def _rates(price: library.ModelPrice, above: int) -> dict[UsageClass, int]:
    rates: dict[UsageClass, int] = {}
    for unit, keys in PRICE_KEYS.items():
        for key in keys:
            value = getattr(price, key)
            if value is not None:
                per = 1000 if key.endswith("_kcount") else MILLION
                rates[unit] = pico(_beyond(value, above), per)
                break
    return rates


def _beyond(value: Decimal | library.TieredPrices, above: int) -> Decimal:
    """The price once the input is larger than `above`."""
    if isinstance(value, Decimal):
        return value
    chosen = value.base
    for tier in value.tiers:
        if tier.start <= above:
            chosen = tier.price
    return chosen
