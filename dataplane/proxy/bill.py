"""What the use of one attempt costs under the prices of the snapshot that it was admitted with."""

from __future__ import annotations

from typing import Final

from dataplane.core.money import prices as pricing
from dataplane.core.money.prices import Priced
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import PriceList, Unpriced
from dataplane.core.usage import Usage

NO_PRICES: Final = PriceList(id="", version="", prices=())


def price(usage: Usage, prices: PriceList, candidate: Candidate, reported: str, at_ms: int) -> Priced | None:
    """`reported`: the model that the provider says answered, "" if it does not. None: the price list does not know the
    model, and the provider has no rule for that."""
    provider, model = candidate.provider, candidate.model
    if not usage.units:
        return Priced(0, prices.version, model)
    for name in (model, reported):
        priced = pricing.cost(usage, prices, provider, name, at_ms) if name else None
        if priced is not None:
            return priced
    if provider.unpriced is Unpriced.FREE:
        return Priced(0, prices.version, model)
    if provider.unpriced is Unpriced.DEAREST_IN_FAMILY:
        dearest = pricing.dearest_in_family(prices, provider, model, at_ms)
        if dearest is not None:
            return pricing.cost_with(usage, dearest, prices.version, at_ms)
    return None
