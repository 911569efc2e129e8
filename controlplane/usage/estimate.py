"""What an attempt is booked as when its end was never reported: what was held for it on its budgets, or else the price
of its input, as far as it was known at admission.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.providers import models
from controlplane.providers.models import Provider
from controlplane.providers.price_entries import prices_of
from controlplane.providers.queries import price_list_id_of
from controlplane.usage.models import RecordState, UsageRecord
from controlplane.usage.records import set_units
from dataplane.core.money.amounts import saturated
from dataplane.core.money.charges import charge
from dataplane.core.money.prices import Priced, PriceList
from dataplane.core.snapshot import Unpriced
from dataplane.core.usage import Outcome, Usage, UsageClass, UsagePart, UsageSource, Why


@dataclass(frozen=True, slots=True)
class _DeletedProvider:
    """Pricing's view of a provider that is not there any more."""

    kind: str
    name: str = ""
    price_provider: str = ""
    base_url: str = ""
    unpriced: str = Unpriced.DEAREST_IN_FAMILY.value


class Estimator:
    """For some rows of one transaction; reads providers and price lists once."""

    def __init__(self, rows: Iterable[UsageRecord]) -> None:
        rows = list(rows)
        self._providers: Mapping[str, Provider] = Provider.objects.in_bulk({row.provider_id for row in rows})
        self._lists: dict[str, PriceList | None] = {}

    def estimate(self, row: UsageRecord) -> dict[str, Any]:
        """The columns that change."""
        units = {UsageClass.INPUT.value: row.estimated_input_tokens} if row.estimated_input_tokens else {}
        estimated = UsageRecord(state=RecordState.ESTIMATED, outcome=Outcome.FAILED.value)
        set_units(estimated, units)
        estimated.source, estimated.why = UsageSource.ESTIMATED.value, Why.END_UNSEEN.value
        estimated.unconfirmed = True
        priced = self._priced(row)
        if priced is not None:
            estimated.cost_nano, estimated.priced, estimated.price_version = priced.nano, True, priced.version
        # What was set aside for it is what its budgets are charged: the ledger says the same.
        estimated.cost_nano = row.reserved_nano or estimated.cost_nano
        changed = (
            "state", "outcome", "units", "input_tokens", "cached_tokens", "output_tokens", "source", "why",
            "unconfirmed", "cost_nano", "priced", "price_version",
        )  # fmt: skip
        return {name: getattr(estimated, name) for name in changed}

    def priced(self, row: UsageRecord) -> Priced | None:
        """What the row's units, and those of other models, cost by the list in force, found as pods find it; None
        without a price."""
        usage = Usage(
            _known(row.units), UsageSource(row.source), row.service_tier, row.speed, row.geo, parts=_parts(row.parts)
        )
        priced = self._price(row, usage)
        return None if priced is None else priced._replace(nano=saturated(priced.nano))

    def _priced(self, row: UsageRecord) -> Priced | None:
        priced = self._price(row, Usage({UsageClass.INPUT: row.estimated_input_tokens}, UsageSource.ESTIMATED))
        return None if priced is None else priced._replace(nano=saturated(priced.nano))

    def _price(self, row: UsageRecord, usage: Usage) -> Priced | None:
        if row.organization_id not in self._lists:
            self._lists[row.organization_id] = _price_list_of(row.organization_id)
        prices = self._lists[row.organization_id]
        if prices is None:
            return None
        provider = self._providers.get(row.provider_id) or _DeletedProvider(row.provider_kind)
        at_ms = int(row.started_at.timestamp() * 1000)
        models = dict.fromkeys((row.model, row.model_reported))
        if provider.unpriced == Unpriced.FREE.value and not any(prices.find(provider, model) for model in models):
            return None
        return charge(usage, prices, provider, models, at_ms)


def _known(units: Mapping[str, int]) -> dict[UsageClass, int]:
    return {unit: units[unit.value] for unit in UsageClass if unit.value in units}


def _parts(parts: Iterable[Mapping[str, Any]]) -> tuple[UsagePart, ...]:
    return tuple(
        UsagePart(part["model"], _known(part["units"]), part["kind"], part["service_tier"], part["speed"])
        for part in parts
    )


def _price_list_of(organization_id: str) -> PriceList | None:
    """The list that applies to an organization, as pods have it; None before the first one was compiled."""
    row = models.PriceList.objects.filter(pk=price_list_id_of(organization_id)).first()
    if row is None:
        return None
    return PriceList(row.pk, row.version, prices_of(row.prices))
