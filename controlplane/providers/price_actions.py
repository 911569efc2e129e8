"""Verbs on an organization's own prices: permission, validation, mutation and audit in one transaction.

The compiled list follows a moment later: a worker is rung, and a sweep finds what the bell did not reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction

from controlplane.celery import wake
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.providers.models import PriceOverride, Provider
from controlplane.providers.price_compiler import FAMILIES
from controlplane.providers.prices import own_price
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, require
from controlplane.tenancy.scope import Place

MOST_PATTERNS = 50
LONGEST_PATTERN = 200  # characters


def put_override(
    *,
    by: Actor,
    organization: Organization,
    provider: str,
    model: str,
    match: Iterable[str] = (),
    rates: Mapping[str, str] | None = None,
    discount_percent: Decimal | str | int = 0,
    geo_percent: Mapping[str, str] | None = None,
    tier_percent: Mapping[str, str] | None = None,
) -> PriceOverride:
    """Set the organization's own price of a model; one that was set before is replaced.

    `provider`: a price family, or `@` and the name of one of the organization's providers. Rates are dollars per
    million units by usage class; instead of rates a discount off the list price may be given. Beside both or alone:
    factors for places and tiers, in per cent.
    """
    require(by, Verb.PRICE_CHANGE, Place(organization.pk))
    with change_set(by) as change:
        existing = PriceOverride.objects.filter(organization=organization, provider=provider, model=model).first()
        row = existing or PriceOverride(organization=organization, provider=provider, model=model)
        row.match = _patterns(match)
        row.rates = {str(unit): str(rate) for unit, rate in (rates or {}).items()}
        row.discount_percent = Decimal(str(discount_percent))
        row.geo_percent, row.tier_percent = _factors(geo_percent), _factors(tier_percent)
        _check(row)
        row.full_clean()
        row.save(force_insert=existing is None)
        change.say("price_override.created" if existing is None else "price_override.updated", row)
    transaction.on_commit(lambda: wake("providers.compile_price_lists"))
    return row


def remove_override(row: PriceOverride, *, by: Actor) -> None:
    require(by, Verb.PRICE_CHANGE, row)
    with change_set(by) as change:
        PriceOverride.objects.filter(pk=row.pk).delete()
        change.say("price_override.removed", row)
    transaction.on_commit(lambda: wake("providers.compile_price_lists"))


def _factors(percents: Mapping[str, str] | None) -> dict[str, str]:
    return {str(word).strip().lower(): str(percent).strip() for word, percent in (percents or {}).items()}


def _patterns(names: Iterable[str]) -> list[str]:
    cleaned = list(dict.fromkeys(name.strip().lower() for name in names if name.strip()))
    if len(cleaned) > MOST_PATTERNS or any(len(item) > LONGEST_PATTERN or " " in item for item in cleaned):
        raise ValidationError({"match": f"at most {MOST_PATTERNS} model names, with * where anything may stand"})
    return cleaned


def _check(row: PriceOverride) -> None:
    names = set(Provider.objects.filter(organization=row.organization_id).values_list("name", flat=True))
    there_is = [*FAMILIES, *(f"@{name}" for name in sorted(names))]
    if row.provider not in there_is:
        raise ValidationError({"provider": f"must be one of: {', '.join(there_is)}"})
    try:
        own_price(row).check()
    except ValueError as error:
        raise ValidationError({"rates": str(error)}) from error
