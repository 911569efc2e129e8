"""Reads of prices."""

from __future__ import annotations

from controlplane.providers.models import PriceList


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
