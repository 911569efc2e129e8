"""What the use of one attempt costs under the prices of the snapshot that it was admitted with."""

from __future__ import annotations

from typing import Final

from dataplane.core.money import prices as pricing
from dataplane.core.money.estimates import hides_reasoning
from dataplane.core.money.geography import geography
from dataplane.core.money.prices import Priced
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import PriceList, Unpriced
from dataplane.core.usage import Usage, UsageRecord, UsageSource

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


def unanswered(
    usage: Usage, priced: Priced | None, candidate: Candidate, record: UsageRecord
) -> tuple[Usage, Priced | None]:
    """What is owed for a request that was written and of whose answer nothing came; `usage`, `priced`: of its input.

    The provider may have worked on it to the end. Of a stream that is the input: it would have been stopped when nobody
    read it. An answer in one piece, and reasoning that is never seen, may have cost all that was set aside for them.
    """
    held_nano = record.reserved_nano
    seen = record.streaming and not hides_reasoning(candidate.provider.kind, candidate.model)
    if seen or not held_nano:
        return usage, priced
    version = priced.version if priced is not None else ""
    return usage._replace(source=UsageSource.ESTIMATED), Priced(held_nano, version, candidate.model)
