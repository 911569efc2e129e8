"""What the use of one attempt costs under the prices of the snapshot that it was admitted with."""

from __future__ import annotations

from typing import Final

from dataplane.core.money import estimates
from dataplane.core.money import prices as pricing
from dataplane.core.money.estimates import HIDDEN_CEILING
from dataplane.core.money.geography import geography
from dataplane.core.money.prices import Priced
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import PriceList, Unpriced
from dataplane.core.usage import Usage
from dataplane.dialects.dialect import RequestFacts

NO_PRICES: Final = PriceList(id="", version="", prices=())


def price(usage: Usage, prices: PriceList, candidate: Candidate, reported: str, at_ms: int) -> Priced | None:
    """`reported`: the model that the provider says answered, "" if it does not. None: the price list does not know the
    model, and the provider has no rule for that."""
    provider, model = candidate.provider, candidate.model
    if not usage.units and not usage.parts:
        return Priced(0, prices.version, model)
    if not usage.geo and (geo := geography(provider.base_url)):
        usage = usage._replace(geo=geo)
    for name in (model, reported):
        priced = pricing.cost(usage, prices, provider, name, at_ms) if name else None
        if priced is not None:
            return priced
    if provider.unpriced is Unpriced.FREE:
        return Priced(0, prices.version, model)
    if provider.unpriced is Unpriced.DEAREST_IN_FAMILY:
        dearest = pricing.dearest_in_family(prices, provider, model, at_ms)
        if dearest is not None:
            return pricing.cost_with(usage, dearest, prices, provider, at_ms)
    return None


def most(usage: Usage, prices: PriceList, candidate: Candidate, facts: RequestFacts, at_ms: int) -> int:
    """What would have been set aside for a request that no budget covers, in nano-dollars; 0 without a price.

    `usage`: what is known of it, for the tier and speed.
    """
    model_price = prices.find(candidate.provider, candidate.model)
    if model_price is None:
        return 0
    output = facts.max_output or HIDDEN_CEILING
    need = estimates.need(
        model_price, at_ms, facts.input_tokens_upper, output, service_tier=usage.service_tier, speed=usage.speed
    )
    return need.need
