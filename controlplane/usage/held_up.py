"""What somebody holds in the database that records are booked on: the rest of a batch is booked without it.

Found once somebody has waited in vain, and remembered for as long as it is held: else every batch of every pod would
wait for it again, and all threads of the process with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from controlplane.budgets.months import month_of
from controlplane.budgets.statements import Locks
from controlplane.budgets.unit_of_work import UnitOfWork
from controlplane.budgets.values import ms
from controlplane.usage.models import UsageRecord
from dataplane.core.money.messages import AccountRef

MOST_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that somebody else has locked, or is inserting."""

    accounts: Set[AccountRef] = frozenset()
    sessions: Set[str] = frozenset()
    leases: Set[tuple[str, AccountRef]] = frozenset()
    requests: Set[str] = frozenset()

    def concerns(self, row: UsageRecord) -> bool:
        if row.request_id in self.requests or (row.accounts and row.hold_session in self.sessions):
            return True
        refs = _refs(row)
        return not self.accounts.isdisjoint(refs) or any((row.hold_session, ref) in self.leases for ref in refs)

    def __len__(self) -> int:
        return len(self.accounts) + len(self.sessions) + len(self.leases) + len(self.requests)


_held = Held()  # when somebody looked last


def anything() -> bool:
    return bool(_held)


def still(rows: Iterable[UsageRecord]) -> Sequence[UsageRecord]:
    """Those of these rows that cannot be booked now, among what was found before. Not inside a transaction."""
    return found(row for row in rows if _held.concerns(row))


def found(rows: Iterable[UsageRecord]) -> Sequence[UsageRecord]:
    """Look which of these rows, that end attempts, cannot be booked now, and remember why. Not inside a transaction."""
    global _held
    ends = list(rows)
    requests = {row.request_id for row in ends}
    charged = [row for row in ends if row.accounts]
    near = {ref: ms(row.started_at) for row in charged for ref in _refs(row)}
    sessions = {row.hold_session for row in charged} - {""}
    with transaction.atomic():
        unit = UnitOfWork(near, sessions, near=near, locks=Locks.SKIP)
        now = Held(unit.locked_accounts, unit.locked_sessions, unit.locked_leases, _locked(requests))
    before = _held if len(_held) < MOST_REMEMBERED else Held()
    _held = Held(
        (before.accounts - near.keys()) | now.accounts,
        (before.sessions - sessions) | now.sessions,
        {(session, ref) for session, ref in before.leases if session not in sessions} | now.leases,
        (before.requests - requests) | now.requests,
    )
    return [row for row in ends if now.concerns(row)]


def _locked(requests: Set[str]) -> Set[str]:
    """Those with a record that somebody else holds. Inside a transaction."""
    rows = UsageRecord.objects.filter(
        request_id__in=requests, month__in={month_of(request) for request in requests}, correction=False
    )
    free = set(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    return {request for pk, request in rows.values_list("pk", "request_id") if pk not in free}


def _refs(row: UsageRecord) -> list[AccountRef]:
    return [AccountRef(*names) for names in row.accounts]
