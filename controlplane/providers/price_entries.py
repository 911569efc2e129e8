"""The entries of a stored price list, JSON with the names of ModelPrice in protos/fleet.proto ⇄ the core's prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from dataplane.core.money.prices import ModelPrice, RateCard, RateTier
from dataplane.core.usage import UsageClass

_CLASSES: Final[Mapping[str, UsageClass]] = {str(unit): unit for unit in UsageClass}


def entries_of(prices: Iterable[ModelPrice]) -> list[dict[str, Any]]:
    """As they are stored."""
    return [
        {
            "provider": price.provider,
            "model": price.model,
            "match": list(price.match),
            "cards": [
                {
                    "service_tier": card.service_tier,
                    "speed": card.speed,
                    "valid_from_ms": card.valid_from_ms,
                    "valid_until_ms": card.valid_until_ms,
                    "tiers": [
                        {
                            "above_input_tokens": tier.above_input_tokens,
                            "rates_pico": {unit.value: rate for unit, rate in tier.rates_pico.items()},
                        }
                        for tier in card.tiers
                    ],
                }
                for card in price.cards
            ],
            "released_ms": price.released_ms,
            "unlisted": price.unlisted,
            **({"geo_percent": dict(price.geo_percent)} if price.geo_percent else {}),
        }
        for price in prices
    ]


def prices_of(entries: Iterable[Mapping[str, Any]]) -> tuple[ModelPrice, ...]:
    """The way back. A unit that this version does not know stays. Raises TypeError and KeyError for what is no list of
    entries."""
    return tuple(
        ModelPrice(**{**entry, "match": tuple(entry["match"]), "cards": tuple(map(_card, entry["cards"]))})
        for entry in entries
    )


def _card(card: Mapping[str, Any]) -> RateCard:
    return RateCard(**{**card, "tiers": tuple(map(_tier, card["tiers"]))})


def _tier(tier: Mapping[str, Any]) -> RateTier:
    rates = {_CLASSES.get(unit, unit): rate for unit, rate in tier["rates_pico"].items()}
    return RateTier(tier["above_input_tokens"], cast("dict[UsageClass, int]", rates))
