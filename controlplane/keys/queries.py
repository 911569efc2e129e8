"""Reads of virtual keys."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from controlplane.keys.models import KeySecret, KeyState, VirtualKey


def ids_shown_as(text: str) -> QuerySet[VirtualKey, str]:
    """Ids of the keys that `text` is the id or a public id of, an old secret's too while it is remembered."""
    shown = text.upper()
    old = KeySecret.objects.filter(public_id=shown).values("key")
    anyone = Q(pk=shown.replace("VK_", "vk_", 1)) | Q(public_id=shown) | Q(pk__in=old)
    return VirtualKey.objects.filter(anyone).values_list("pk", flat=True)


def is_expired(key: VirtualKey) -> bool:
    return key.expires_at is not None and key.expires_at <= timezone.now()


def works(key: VirtualKey) -> bool:
    """Whether a request with the newest secret would pass the gate."""
    return key.state == KeyState.ACTIVE and not is_expired(key)
