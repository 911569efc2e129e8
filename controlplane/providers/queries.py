"""Reads of providers and prices."""

from __future__ import annotations

from django.db.models import QuerySet

from controlplane.changes.actor import Actor
from controlplane.providers.models import PriceList, PriceOverride, Provider
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import for_actor


def providers_for(actor: Actor) -> QuerySet[Provider]:
    return for_actor(actor, Provider.objects.order_by("organization", "priority", "name"), Verb.PROVIDER_VIEW)


def overrides_for(actor: Actor) -> QuerySet[PriceOverride]:
    return for_actor(actor, PriceOverride.objects.order_by("organization", "provider", "model"), Verb.PRICE_VIEW)


def installation_price_list() -> PriceList | None:
    """What applies where an organization has no list of its own."""
    row: PriceList | None = PriceList.objects.filter(organization=None).first()
    return row


def price_list_id_of(organization_id: str) -> str:
    """The price list that applies to an organization; empty before the first one was compiled."""
    own = PriceList.objects.filter(organization=organization_id).values_list("pk", flat=True).first()
    if own is not None:
        return str(own)
    shared = installation_price_list()
    return shared.pk if shared is not None else ""
