"""What the reports leave open: attempts whose end never came are estimated, keys learn when they were used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from controlplane.budgets import partitions, sessions
from controlplane.budgets.charges import Cost, settle
from controlplane.budgets.models import Charge
from controlplane.environment import environment
from controlplane.fleet.models import Pod, PodState
from controlplane.keys.models import VirtualKey
from controlplane.usage.estimate import Estimator
from controlplane.usage.models import DeadLetter, RecordState, ReportSession, UsageRecord
from controlplane.usage.settle import cost_of

ROWS_AT_A_TIME = 500
DEAD_AFTER = timedelta(seconds=180)  # a pod without contact for so long has failed closed; what it sends later corrects
FINISHED_AFTER = timedelta(seconds=60)  # a pod that said goodbye has flushed its spool first
OVERLAP = timedelta(minutes=5)  # of two looks at what keys were used for


def settle_lost() -> int:
    """Estimate every attempt whose end nobody will report any more. How many."""
    settled = 0
    while (some := _settle_some()) > 0:
        settled += some
    return settled


def _settle_some() -> int:
    with transaction.atomic():
        lost = UsageRecord.objects.filter(_lost(timezone.now()), state=RecordState.ADMITTED)
        # Another worker's rows are its own; an arriving FINAL report goes first.
        rows = list(lost.select_for_update(skip_locked=True).order_by("request_id", "attempt")[:ROWS_AT_A_TIME])
        settle(estimated(rows))
    return len(rows)


def estimated(rows: Sequence[UsageRecord]) -> list[Cost]:
    """Write estimates into rows that the caller has locked; what is to be charged for them."""
    estimator, costs = Estimator(rows), []
    for row in rows:
        changes = estimator.estimate(row)
        UsageRecord.objects.filter(pk=row.pk).update(**changes)
        row.cost_nano = changes["cost_nano"]
        costs.append(cost_of(row, estimated=True))
    return costs


def _lost(now: datetime) -> Q:
    longest = timedelta(seconds=environment().usage_estimate_after_s)
    # Silence counts against what others have said since: with the fleet itself away, every pod is silent and none dead.
    newest = Pod.objects.aggregate(at=Max("last_heartbeat_at"))["at"] or now
    silent = Pod.objects.filter(last_heartbeat_at__lt=newest - DEAD_AFTER).values("session_id")
    gone = Pod.objects.filter(state=PodState.GONE, last_heartbeat_at__lt=now - FINISHED_AFTER).values("session_id")
    return Q(received_at__lt=now - longest) | (
        Q(received_at__lt=now - FINISHED_AFTER) & (Q(session_id__in=silent) | Q(session_id__in=gone))
    )


def mark_used() -> int:
    """Write down when keys were used last. How many keys were."""
    known = VirtualKey.objects.aggregate(latest=Max("last_used_at"))["latest"]
    rows = UsageRecord.objects.exclude(key_id="")
    if known is not None:
        rows = rows.filter(received_at__gte=min(known, timezone.now()) - OVERLAP)
    used = rows.values("key_id").annotate(at=Max("started_at")).values_list("key_id", "at")
    return sum(_used(key_id, min(at, timezone.now())) for key_id, at in used.iterator())


def _used(key_id: str, at: datetime) -> int:
    earlier = Q(last_used_at=None) | Q(last_used_at__lt=at)
    return int(VirtualKey.objects.filter(earlier, pk=key_id).update(last_used_at=at))


def make_months() -> int:
    """Parts of this month and the coming ones, for what grows. How many were missing."""
    if not partitions.partitioned():
        return 0
    return sum(partitions.make_ahead(model._meta.db_table, timezone.now()) for model in (UsageRecord, Charge))


def forget_old() -> int:
    """Delete what is past its retention: whole months where the database has such, else a little at a time. How many
    rows, or parts."""
    before = timezone.now() - timedelta(days=environment().usage_retention_days)
    forgotten = partitions.drop_past(UsageRecord._meta.db_table, before) if partitions.partitioned() else 0
    past = partitions.not_in_parts(UsageRecord.objects.filter(started_at__lt=before))
    while some := list(past.values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
        forgotten += UsageRecord.objects.filter(pk__in=some).delete()[0]
    forgotten += DeadLetter.objects.filter(received_at__lt=before).delete()[0]
    forgotten += ReportSession.objects.filter(last_at__lt=before).delete()[0]
    return forgotten + sessions.forget_old(before)
