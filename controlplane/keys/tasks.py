"""Background work on keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.keys.models import KeySecret

REMEMBERED = timedelta(days=30)  # as long as its holder is told "expired" instead of "unknown"

SCHEDULE: dict[str, dict[str, Any]] = {
    "keys: forget secrets that ended long ago": {"task": "keys.forget_ended_secrets", "schedule": timedelta(hours=6)},
}


@shared_task(name="keys.forget_ended_secrets")
def forget_ended_secrets() -> int:
    """Old secrets of keys that are rotated often would pile up in every pod. How many were forgotten."""
    ended = KeySecret.objects.filter(not_after__lt=timezone.now() - REMEMBERED)
    if not ended.exists():
        return 0
    with change_set(Actor.system("keys.forget_ended_secrets")):
        forgotten, _ = ended.delete()
    return int(forgotten)
