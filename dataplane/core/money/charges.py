"""What an attempt is charged: at the price of the model that was asked for or that answered, else by the rule that its
provider has for models without one.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.core.money.prices import Priced, PricedAs, PriceList, cost, cost_of_parts, cost_with, dearest_in_family
from dataplane.core.rows import Unpriced
from dataplane.core.usage import Usage


def charge(usage: Usage, price_list: PriceList, provider: PricedAs, models: Iterable[str], at_ms: int) -> Priced | None:
    """`models`: names, the first with a price decides. None: nothing of it has one, and the provider has no rule."""
    first = ""
    for model in models:
        first = first or model
        priced = cost(usage, price_list, provider, model, at_ms) if model else None
        if priced is not None:
            return priced
    if provider.unpriced == Unpriced.DEAREST_IN_FAMILY:
        dearest = dearest_in_family(price_list, provider, first, at_ms)
        if dearest is not None:
            return cost_with(usage, dearest, price_list, provider, at_ms)
    if usage.parts:
        parts = cost_of_parts(usage, price_list, provider, first, at_ms)
        return parts._replace(guess=parts.guess.NOTHING) if provider.unpriced == Unpriced.FREE else parts
    return Priced(0, price_list.version, first) if provider.unpriced == Unpriced.FREE else None
