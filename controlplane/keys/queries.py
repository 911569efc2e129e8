"""Reads of virtual keys."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.keys.models import KeySecret, KeyState, ModelAlias, VirtualKey
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import for_actor

LAST_USED_EVERY = timedelta(seconds=60)


def keys_for(actor: Actor) -> QuerySet[VirtualKey]:
    """The keys that exist for the actor, newest first."""
    rows: QuerySet[VirtualKey] = VirtualKey.objects.select_related("project", "team", "principal", "organization")
    return for_actor(actor, rows, Verb.KEY_VIEW).order_by("-created_at", "pk")


def aliases_for(actor: Actor) -> QuerySet[ModelAlias]:
    """The aliases that exist for the actor."""
    rows: QuerySet[ModelAlias] = ModelAlias.objects.select_related("organization", "project", "key", "provider")
    return for_actor(actor, rows, Verb.ALIAS_VIEW).order_by("organization", "alias", "pk")


def working_secrets(key: VirtualKey) -> QuerySet[KeySecret]:
    """The secrets that a pod would accept now if the key itself is active, newest first."""
    now = timezone.now()
    rows: QuerySet[KeySecret] = key.secrets.filter(Q(not_after=None) | Q(not_after__gt=now))
    return rows.order_by("-created_at")


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


def note_use(key_ids: set[str], at: datetime) -> None:
    """`last_used_at` moves forward, at most once a minute per key."""
    stale = Q(last_used_at=None) | Q(last_used_at__lt=at - LAST_USED_EVERY)
    VirtualKey.objects.filter(stale, pk__in=key_ids).update(last_used_at=at)
