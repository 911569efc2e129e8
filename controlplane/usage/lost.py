"""Attempts whose end nobody reports any more: booked as an estimate, which a report that comes after all corrects.

An attempt on a budget is not waited for as long as others, since money is: what was held for it is charged as soon as
the leases of its pod have run out, which is when the pod has said nothing for their term, and the grace on top of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import OperationalError, transaction
from django.db.models import Max, Q
from django.utils import timezone

from controlplane.budgets import lease_sessions
from controlplane.budgets.charges import Books
from controlplane.budgets.months import month_of
from controlplane.budgets.statements import Locks, UnlessLocked, is_locked, wait_no_longer
from controlplane.environment import environment
from controlplane.fleet.models import Pod, PodState
from controlplane.usage import held_up
from controlplane.usage.costs import cost_of
from controlplane.usage.estimate import Estimator
from controlplane.usage.models import RecordState, UsageRecord

log = logging.getLogger(__name__)

ROWS_AT_A_TIME = 500
DEAD_AFTER = timedelta(seconds=180)  # a pod without contact for so long has failed closed; what it sends later corrects
FINISHED_AFTER = timedelta(seconds=60)  # a pod that said goodbye has flushed its spool first


def estimate_lost() -> int:
    """Estimate every attempt whose end nobody will report any more. Returns how many."""
    estimates = 0
    held: set[str] = set()
    while (count := _estimate_some(held)) > 0:
        estimates += count
    return estimates


def _estimate_some(held: set[str]) -> int:
    """`held`: rows that wait for what somebody else holds, until the next sweep."""
    rows: list[UsageRecord] = []
    try:
        with transaction.atomic():
            wait_no_longer(Locks.SHORT)
            lost = UsageRecord.objects.filter(_lost(timezone.now()), state=RecordState.ADMITTED).exclude(pk__in=held)
            # Another worker's rows are its own; an arriving FINAL report goes first.
            rows = list(lost.select_for_update(skip_locked=True).order_by("request_id", "attempt")[:ROWS_AT_A_TIME])
            _end(rows)
        return len(rows)
    except OperationalError as problem:
        late = held_up.found(rows) if is_locked(problem) else ()
        if not late:
            raise
    log.warning("usage_rows_locked estimates=%s", len(late))
    held.update(row.pk for row in late)
    return _estimate_some(held)


def end_unread(session_id: str, attempts: Sequence[tuple[str, int]]) -> None:
    """The ends of these attempts came from their spool and could not be booked: nobody will report them better."""
    if not attempts:
        return
    with transaction.atomic():
        requests = {request for request, _ in attempts}
        rows = UsageRecord.objects.select_for_update().filter(
            request_id__in=requests,
            month__in={month_of(request) for request in requests},
            session_id=session_id,
            state=RecordState.ADMITTED,
        )
        _end([row for row in rows.order_by("request_id", "attempt") if (row.request_id, row.attempt) in attempts])


def _end(rows: Sequence[UsageRecord]) -> None:
    """Rows that the caller has locked."""
    if rows:
        books = Books([cost_of(row) for row in rows])
        estimate(rows, books)
        books.store()


def _lost(now: datetime) -> Q:
    longest = timedelta(seconds=environment().usage_estimate_after_s)
    # Silence counts against what others have said since: with the fleet itself away, every pod is silent and none dead.
    newest = Pod.objects.aggregate(at=Max("last_heartbeat_at"))["at"] or now
    silent = Pod.objects.filter(last_heartbeat_at__lt=newest - DEAD_AFTER).values("session_id")
    gone = Pod.objects.filter(state=PodState.GONE, last_heartbeat_at__lt=now - FINISHED_AFTER).values("session_id")
    return Q(received_at__lt=now - longest) | (
        Q(received_at__lt=now - FINISHED_AFTER) & (Q(session_id__in=silent) | Q(session_id__in=gone))
    )


def estimate(rows: Sequence[UsageRecord], books: Books) -> None:
    """Write estimates into rows that the caller has locked, and charge them: no more than their pod was granted, since
    what they held is a pod's word too."""
    estimator = Estimator(rows)
    for row in rows:
        changes = estimator.estimate(row)
        cost = cost_of(row)
        most = books.most(cost.lease_session, cost.accounts)
        if changes["cost_nano"] > most:
            log.error("usage_estimate_not_granted request=%s most=%s", row.request_id, most)
            changes["cost_nano"] = most
        UsageRecord.objects.filter(pk=row.pk).update(**changes)
        row.cost_nano = changes["cost_nano"]
        books.charge(cost_of(row, estimated=True))


def expire_silent() -> int:
    """Charge what was held for the requests of silent pods; close the lease sessions that have been silent for long.

    Returns how many attempts were estimated.
    """
    estimates = sum(_expire_unless_held(lease_session) for lease_session in lease_sessions.silent())
    lease_sessions.close_lost()
    return estimates


def _expire_unless_held(lease_session: str) -> int:
    """One whose accounts somebody else holds waits for the next sweep, and the others do not wait for it."""
    with UnlessLocked():
        return _expire(lease_session)
    log.warning("usage_rows_locked lease_session=%s", lease_session)
    return 0


def _expire(lease_session: str) -> int:
    estimates = 0
    while True:
        with transaction.atomic():
            wait_no_longer(Locks.SHORT)
            rows = UsageRecord.objects.select_for_update().filter(
                hold_session=lease_session, state=RecordState.ADMITTED
            )
            some = list(rows.order_by("request_id", "attempt")[:ROWS_AT_A_TIME])
            books = Books([cost_of(row) for row in some], [lease_session])
            if not lease_sessions.is_silent(books.unit, lease_session):
                return estimates
            estimate(some, books)
            estimates += len(some)
            if len(some) < ROWS_AT_A_TIME:
                books.unit.lessor.expire(lease_session)
            books.store()
        if len(some) < ROWS_AT_A_TIME:
            return estimates
