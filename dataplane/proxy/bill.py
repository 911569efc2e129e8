"""What one attempt used, and what that costs under the prices of the snapshot it was admitted with."""

from __future__ import annotations

from dataplane.core.money import prices as pricing
from dataplane.core.money.prices import Priced
from dataplane.core.secret import Secret
from dataplane.core.snapshot import PriceList, Provider, ProviderKind, Unpriced
from dataplane.core.usage import NO_USAGE, Usage, UsageSource
from dataplane.dialects.dialect import Meter
from dataplane.dialects.sent import Form, Place, SentSoFar


class Bill:
    """Who answers, under which name, at which prices, and the meter that listens."""

    __slots__ = ("billed", "meter", "model", "prices", "provider")

    def __init__(self, provider: Provider, model: str, prices: PriceList, billed: bool, meter: Meter) -> None:
        self.provider = provider
        self.model = model
        self.prices = prices
        self.billed = billed
        self.meter = meter

    def usage(self, *, asked: bool, status: int) -> Usage:
        """`asked`: the provider may have read the request; `status`: of its answer, 0 when none came.

        Without an answer (the client left, we cut, it took too long) the input is owed all the same. An error is owed
        for only if the provider says so itself.
        """
        if not asked or not self.billed:
            return NO_USAGE
        usage = self.meter.usage()
        if status >= 400 and usage.source is not UsageSource.PROVIDER:
            return NO_USAGE
        return usage

    def price(self, usage: Usage, at_ms: int) -> Priced | None:
        """None: the price list does not know the model, and the provider has no rule for that."""
        if not usage.units:
            return Priced(0, self.prices.version, self.model)
        for model in (self.model, self.meter.model):
            priced = pricing.cost(usage, self.prices, self.provider, model, at_ms) if model else None
            if priced is not None:
                return priced
        if self.provider.unpriced is Unpriced.FREE:
            return Priced(0, self.prices.version, self.model)
        if self.provider.unpriced is Unpriced.DEAREST_IN_FAMILY:
            dearest = pricing.dearest_in_family(self.prices, self.provider, self.model, at_ms)
            if dearest is not None:
                return pricing.cost_with(usage, dearest, self.prices.version, at_ms)
        return None


class _Silence:
    """The meter of an answer that there never was."""

    complete = failed = mid_event = False
    events = produced = 0
    model = ""

    def feed(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def sent_so_far(self) -> SentSoFar:
        return SentSoFar(Place(Form.WHOLE))

    def usage(self) -> Usage:
        return NO_USAGE


NO_PRICES = PriceList(id="", version="", prices=())
_NOBODY = Provider(
    id="",
    organization_id="",
    name="",
    kind=ProviderKind.OPENAI_COMPATIBLE,
    base_url="",
    credential=Secret(b""),
    enabled=False,
    priority=0,
    models=(),
    api_version="",
    deployments=(),
    unpriced=Unpriced.FREE,
    private_network=False,
    price_provider="",
    revision=0,
)
NO_BILL = Bill(_NOBODY, "", NO_PRICES, False, _Silence())
