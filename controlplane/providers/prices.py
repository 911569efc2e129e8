"""Compiled price lists as rows: what each is made from, and bringing the stale ones up to date.

Compiling takes half a second, so it happens before the change set that stores the result, never inside one.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.providers import model_facts, model_match, own_prices, price_compiler, price_modifiers, price_rates
from controlplane.providers.models import PriceList, PriceOverride, Provider, price_list_id
from controlplane.providers.own_prices import OwnPrice
from controlplane.providers.price_compiler import FAMILIES, compile_prices
from controlplane.providers.price_entries import entries_of
from dataplane.core import catalogue
from dataplane.core.money.prices import PRICES_OF_KIND
from dataplane.core.usage import UsageClass


def own_price(row: PriceOverride) -> OwnPrice:
    """Raises ValueError for a class or an amount that there is not."""
    return OwnPrice(
        provider=row.provider,
        model=row.model,
        match=tuple(row.match),
        rates={UsageClass(unit): _decimal(rate) for unit, rate in row.rates.items()},
        discount_percent=_decimal(row.discount_percent),
        family=_family(row) if row.provider.startswith("@") else "",
        geo_percent={word: _percent(percent) for word, percent in row.geo_percent.items()},
        tier_percent={word: _percent(percent) for word, percent in row.tier_percent.items()},
    )


def _percent(value: object) -> int:
    percent = _decimal(value)
    if not percent.is_finite() or percent != percent.to_integral_value():
        raise ValueError(f"not a whole number of percent: {value}")
    return int(percent)


def _decimal(value: object) -> Decimal:
    try:
        return Decimal(str(value).strip())
    except ArithmeticError:
        raise ValueError(f"not an amount: {value}") from None


def _family(row: PriceOverride) -> str:
    """Whose list prices a discount of one provider starts from."""
    provider = Provider.objects.filter(organization=row.organization_id, name=row.provider[1:]).first()
    if provider is None:
        return ""
    return provider.price_provider or PRICES_OF_KIND.get(provider.kind, "")


def _overrides(organization_id: str | None) -> list[OwnPrice]:
    if organization_id is None:
        return []
    return [own_price(row) for row in PriceOverride.objects.filter(organization=organization_id).order_by("pk")]


def _source(overrides: list[OwnPrice]) -> str:
    """Changes with the library, the compiler, the families and the overrides."""
    compiler = b"".join(
        Path(str(part.__file__)).read_bytes()
        for part in (price_compiler, own_prices, price_modifiers, price_rates, model_match, model_facts, catalogue)
    )
    parts = [version("genai-prices"), hashlib.sha256(compiler).hexdigest(), FAMILIES, [repr(own) for own in overrides]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def bring_up_to_date(*, by: Actor) -> int:
    """Compile what is missing or stale: the installation's list, and one for each organization with own prices.

    An organization whose overrides are gone falls back to the installation's list. How many lists changed.
    """
    own = set(PriceOverride.objects.values_list("organization_id", flat=True).distinct())
    changed = sum(_refresh(organization_id, by=by) for organization_id in (None, *sorted(own)))
    for row in PriceList.objects.exclude(organization=None).exclude(organization__in=own):
        with change_set(by) as change:
            if PriceOverride.objects.filter(organization=row.organization_id).exists():
                continue
            PriceList.objects.filter(pk=row.pk).delete()
            change.say("price_list.dropped", row)
        changed += 1
    return changed


def _refresh(organization_id: str | None, *, by: Actor) -> bool:
    overrides = _overrides(organization_id)
    source = _source(overrides)
    row = PriceList.objects.filter(organization=organization_id).first()
    if row is not None and row.source == source:
        return False
    compiled = compile_prices(row.pk if row is not None else price_list_id(), timezone.now().date(), overrides).prices
    entries = entries_of(compiled.prices)
    with change_set(by) as change:
        if _source(_overrides(organization_id)) != source:
            return False  # changed meanwhile: whoever did that rang again
        row = PriceList.objects.filter(organization=organization_id).first()
        if row is None:
            row = PriceList(id=compiled.id, organization_id=organization_id)
        if row.prices == entries:
            PriceList.objects.filter(pk=row.pk).update(source=source)
            return False
        row.version, row.prices, row.source = compiled.version, entries, source
        row.save()
        change.say("price_list.compiled", row, models=len(entries))
    return True
