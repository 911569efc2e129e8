"""What the use of one attempt costs under the prices of the snapshot that it was admitted with."""

from __future__ import annotations

from typing import Final

from dataplane.core.money import estimates
from dataplane.core.money.charges import charge
from dataplane.core.money.estimates import HIDDEN_CEILING
from dataplane.core.money.prices import Priced
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import PriceList
from dataplane.core.usage import Usage
from dataplane.dialects.dialect import RequestFacts

NO_PRICES: Final = PriceList(id="", version="", prices=())


def price(usage: Usage, prices: PriceList, candidate: Candidate, reported: str, at_ms: int) -> Priced | None:
    """`reported`: the model that the provider says answered, "" if it does not. None: the price list does not know the
    model, and the provider has no rule for that."""
    if not usage.units and not usage.parts:
        return Priced(0, prices.version, candidate.model)
    return charge(usage, prices, candidate.provider, (candidate.model, reported), at_ms)


def most(usage: Usage, prices: PriceList, candidate: Candidate, facts: RequestFacts, at_ms: int) -> int:
    """What would have been set aside for a request that no budget covers, in nano-dollars; 0 without a price.

    `usage`: what is known of it, for the tier and speed.
    """
    model_price = prices.find(candidate.provider, candidate.model)
    if model_price is None:
        return 0
    output = facts.max_output or HIDDEN_CEILING
    need = estimates.need(
        model_price,
        at_ms,
        facts.input_tokens_upper,
        output,
        service_tier=usage.service_tier,
        speed=usage.speed,
        base_url=candidate.provider.base_url,
    )
    return need.need
