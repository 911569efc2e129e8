"""Lease sessions that nothing comes from any more, and what need not be kept: found by looking, in small steps."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone

from controlplane.budgets import partitions
from controlplane.budgets.alarms import raise_alarm
from controlplane.budgets.models import Account, AskReply, Charge, Crossing, Lease, LeaseSession
from controlplane.budgets.statements import Locks, UnlessLocked, wait_no_longer
from controlplane.budgets.sums import SaturatedSum
from controlplane.budgets.unit_of_work import UnitOfWork
from controlplane.budgets.values import ms
from dataplane.core.money.lease_rows import LessorRules, SessionState
from dataplane.core.money.messages import AccountRef

log = logging.getLogger(__name__)

RULES = LessorRules()
REPLIES_KEPT = timedelta(hours=1)  # a pod asks again for some seconds
SESSIONS_KEPT = timedelta(days=1)
ROWS_AT_A_TIME = 1000
PROBLEMS_LISTED = 20


def silent(now: datetime | None = None) -> list[str]:
    """Open sessions whose pods spend nothing by themselves any more: `expire` is due."""
    due = ms(now or timezone.now()) - RULES.grace_ms
    rows = LeaseSession.objects.filter(state=SessionState.OPEN, expires_ms__lte=due)
    return list(rows.order_by("expires_ms").values_list("pk", flat=True))


def is_silent(unit: UnitOfWork, session_id: str) -> bool:
    """Whether it is silent still, now that its row is locked."""
    session = unit.lessor.sessions.get(session_id)
    return (
        session is not None
        and session.state is SessionState.OPEN
        and session.expires_ms + RULES.grace_ms <= unit.now_ms
    )


def close_lost(now: datetime | None = None) -> int:
    """Free what sessions held that have been silent for as long as a stream may last. Returns how many were closed."""
    due = ms(now or timezone.now()) - RULES.grace_ms - RULES.suspense_ms
    lost = LeaseSession.objects.filter(state=SessionState.EXPIRED, expires_ms__lte=due)
    return sum(_close(session_id, due) for session_id in lost.order_by("pk").values_list("pk", flat=True))


def _close(session_id: str, due: int) -> bool:
    """False also where somebody else holds one of its accounts: the next look finds it again."""
    with UnlessLocked():
        return _closed(session_id, due)
    log.warning("budget_rows_locked lease_session=%s", session_id)
    return False


def _closed(session_id: str, due: int) -> bool:
    with transaction.atomic():
        wait_no_longer(Locks.SHORT)
        leases = Lease.objects.filter(session=session_id).values_list(
            "account__budget_id", "account__member_id", "account__window_key"
        )
        unit = UnitOfWork([AccountRef(*names) for names in leases], [session_id])
        session = unit.lessor.sessions.get(session_id)
        if session is None or session.state is not SessionState.EXPIRED or session.expires_ms > due:
            return False
        unit.lessor.close(session_id)
        unit.store()
    return True


def problems() -> list[str]:
    """Accounts whose `held` is not what their leases hold: there must be none. One statement, so of one moment."""
    live = Q(leases__session__state__in=[SessionState.OPEN, SessionState.EXPIRED])
    balance = F("leases__granted_nano") - F("leases__consumed_nano") - F("leases__returned_nano")
    rows: QuerySet[Any] = Account.objects.annotate(leased=SaturatedSum(Greatest(balance, 0), filter=live))
    wrong = rows.exclude(held_nano=F("leased")).order_by("pk").values_list("pk", "held_nano", "leased")
    return [f"account {pk}: held {held}, its leases {leased}" for pk, held, leased in wrong[:PROBLEMS_LISTED]]


def check() -> int:
    """Raise an alarm for each problem. Returns how many there are."""
    alarms = problems()
    for problem in alarms:
        raise_alarm(problem)
    return len(alarms)


def forget_replies(now: datetime | None = None) -> int:
    """Delete answers that nobody asks for again, and sessions that were closed long ago. Returns how many rows."""
    now = now or timezone.now()
    forgotten = _forget(AskReply.objects.filter(at__lt=now - REPLIES_KEPT))
    ended = LeaseSession.objects.filter(state=SessionState.CLOSED, expires_ms__lt=ms(now - SESSIONS_KEPT))
    return forgotten + _forget(ended)


def forget_old(before: datetime) -> int:
    """Delete charges and crossings older than this, and accounts whose window had ended. Returns how many rows."""
    forgotten = partitions.drop_past(Charge._meta.db_table, before) if partitions.partitioned() else 0
    forgotten += _forget(partitions.not_in_parts(Charge.objects.filter(at__lt=before)))
    forgotten += _forget(Crossing.objects.filter(at__lt=before))
    past = Account.objects.filter(ends_at__lt=before, charges=None, leases=None, crossings=None)
    return forgotten + _forget(past)


def _forget(rows: QuerySet[Any]) -> int:
    forgotten = 0
    while some := list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
        rows.model._default_manager.filter(pk__in=some).delete()
        forgotten += len(some)
    return forgotten
