"""Pods that fell silent with requests under way: what was held for these is charged, as an estimate.

Sooner than an attempt's end is given up in general, since money is waiting: a session's leases have run out when its
pod has said nothing for their term, and the grace on top of it.
"""

from __future__ import annotations

from django.db import transaction

from controlplane.budgets import sessions
from controlplane.budgets.charges import charge, unit_for
from controlplane.usage.models import RecordState, UsageRecord
from controlplane.usage.reconcile import estimated
from controlplane.usage.settle import cost_of

ROWS_AT_A_TIME = 500


def charge_the_dead() -> int:
    """Of every silent session; then close those that have been silent for long. How many attempts were estimated."""
    found = sum(_expire(session_id) for session_id in sessions.silent())
    sessions.close_lost()
    return found


def _expire(session_id: str) -> int:
    found = 0
    while True:
        with transaction.atomic():
            rows = UsageRecord.objects.select_for_update().filter(hold_session=session_id, state=RecordState.ADMITTED)
            some = list(rows.order_by("request_id", "attempt")[:ROWS_AT_A_TIME])
            unit = unit_for([cost_of(row) for row in some], [session_id])
            if not sessions.is_silent(unit, session_id):
                return found
            charge(unit, estimated(some))
            found += len(some)
            if len(some) < ROWS_AT_A_TIME:
                unit.lessor.expire(session_id)
            unit.store()
        if len(some) < ROWS_AT_A_TIME:
            return found
