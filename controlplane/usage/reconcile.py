"""Upkeep of the ledger: when keys were used last, room for the coming months, what is past its retention."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Max, Q
from django.utils import timezone

from controlplane.budgets import lease_sessions, partitions
from controlplane.budgets.models import Charge
from controlplane.environment import environment
from controlplane.keys.models import VirtualKey
from controlplane.usage import corrections
from controlplane.usage.models import DeadLetter, ReportSession, UsageRecord

ROWS_AT_A_TIME = 500
OVERLAP = timedelta(minutes=5)  # of two looks at what keys were used for


def mark_used() -> int:
    """Write down when keys were used last. Returns how many keys were."""
    latest = VirtualKey.objects.aggregate(latest=Max("last_used_at"))["latest"]
    rows = UsageRecord.objects.exclude(key_id="")
    if latest is not None:
        rows = rows.filter(received_at__gte=min(latest, timezone.now()) - OVERLAP)
    used = rows.values("key_id").annotate(at=Max("started_at")).values_list("key_id", "at")
    return sum(_used(key_id, min(at, timezone.now())) for key_id, at in used.iterator())


def _used(key_id: str, at: datetime) -> int:
    earlier = Q(last_used_at=None) | Q(last_used_at__lt=at)
    return int(VirtualKey.objects.filter(earlier, pk=key_id).update(last_used_at=at))


def make_months() -> int:
    """Parts of this month and the coming ones, for what grows. Returns how many were missing."""
    if not partitions.partitioned():
        return 0
    return sum(partitions.make_ahead(model._meta.db_table, timezone.now()) for model in (UsageRecord, Charge))


def forget_old() -> int:
    """Delete what is past its retention: whole months where the database has such, else a little at a time.

    Returns how many rows, or parts.
    """
    before = timezone.now() - timedelta(days=environment().usage_retention_days)
    forgotten = partitions.drop_past(UsageRecord._meta.db_table, before) if partitions.partitioned() else 0
    past = partitions.not_in_parts(UsageRecord.objects.filter(started_at__lt=before))
    while some := list(past.values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
        forgotten += UsageRecord.objects.filter(pk__in=some).delete()[0]
    forgotten += DeadLetter.objects.filter(received_at__lt=before).delete()[0]
    forgotten += ReportSession.objects.filter(last_at__lt=before).delete()[0]
    forgotten += corrections.forget_old(timezone.now())
    return forgotten + lease_sessions.forget_old(before)
