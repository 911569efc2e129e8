"""`book_rows`: rows into the ledger, what they cost onto their accounts, in the caller's transaction.

An attempt belongs to the spool that its first record came from: another one neither ends nor corrects it. But where its
request was made in that other one, the first was a claim, and is set aside. What an attempt cost counts as far as its
pod was granted it. Rows that cannot be ended so are returned, and wait for an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.budgets.charges import Books, Cost, next_correction
from controlplane.budgets.models import Budget, Charge
from controlplane.budgets.months import month_of
from controlplane.changes.ids import new_id
from controlplane.usage.costs import cost_of
from controlplane.usage.models import RecordState, UsageRecord
from controlplane.usage.provider_state import notice
from controlplane.usage.records import content_of, set_units
from dataplane.core.request_ids import was_made_in

IDS_AT_A_TIME = 500
CLAIM_DIGITS = 12  # of the row's key, behind the id that it had claimed

Attempt = tuple[str, int]  # request id and number
Refused = tuple[UsageRecord, str]  # and why
SetAside = tuple[UsageRecord, str]  # whose attempt it is, and the session of the spool that had claimed it


@dataclass(frozen=True, slots=True)
class FirstRow:
    """An attempt's first row: its primary key, and the spool that it came from."""

    pk: str
    session_id: str


@dataclass(frozen=True, slots=True)
class End:
    """A FINAL row, and the one that it ends or corrects; itself where it is the attempt's first."""

    final: UsageRecord
    begun: UsageRecord

    def cost(self) -> Cost:
        """What it adds to what was charged."""
        if self.begun.state != RecordState.ESTIMATED:
            return cost_of(self.final)
        cost = cost_of(self.final, correction=next_correction(self.final.request_id, self.final.attempt))
        return cost.less(self.begun.cost_nano)


def book_rows(rows: Sequence[UsageRecord]) -> tuple[list[Refused], list[SetAside]]:
    """Insert what is new; end what was open. All take rows in the same order, so that no two wait for each other."""
    folded = _folded(rows)
    UsageRecord.objects.bulk_create(folded, ignore_conflicts=True)
    first_rows = stored(row.request_id for row in folded)
    claimed = [row for row in folded if _is_claimed(row, first_rows.get((row.request_id, row.attempt)))]
    set_aside = [_set_aside(row, first_rows[row.request_id, row.attempt]) for row in claimed]
    if claimed:
        UsageRecord.objects.bulk_create(claimed, ignore_conflicts=True)
        first_rows |= stored(row.request_id for row in claimed)
    ends: list[End] = []
    finals: dict[str, UsageRecord] = {}
    refused: list[Refused] = []
    for row in folded:
        first_row = first_rows.get((row.request_id, row.attempt))
        if first_row is None:
            continue
        if first_row.session_id != row.session_id:
            refused.append((row, "its attempt is another spool's"))
        elif row.state == RecordState.FINAL:
            if first_row.pk == row.pk:
                ends.append(End(row, row))
            else:  # it was reported before, or another replica was quicker
                finals[first_row.pk] = row
    ends += _open_ends(finals)
    refused += _book(ends)
    return refused, set_aside


def _is_claimed(row: UsageRecord, first: FirstRow | None) -> bool:
    """Whether another spool was quicker to name a request that was made in this one."""
    if first is None or first.session_id == row.session_id:
        return False
    made_there = was_made_in(row.request_id, first.session_id)
    return was_made_in(row.request_id, row.session_id) and not made_there


def _set_aside(row: UsageRecord, claim: FirstRow) -> SetAside:
    """What was booked by the claim stays booked, under another name: the pod's own leases have paid for it."""
    month = month_of(row.request_id)
    own: dict[str, Any] = {"request_id": row.request_id, "month": month, "attempt": row.attempt}
    another = f"{row.request_id}~{claim.pk[-CLAIM_DIGITS:]}"
    # Whoever ends or corrects it has the lock of its first row.
    UsageRecord.objects.select_for_update().get(pk=claim.pk, month=month)
    UsageRecord.objects.filter(session_id=claim.session_id, **own).update(request_id=another)
    Charge.objects.filter(**own).update(request_id=another)
    return row, claim.session_id


def _open_ends(finals: dict[str, UsageRecord]) -> list[End]:
    if not finals:
        return []
    open_rows = UsageRecord.objects.select_for_update().filter(
        pk__in=finals,
        month__in={row.month for row in finals.values()},
        state__in=[RecordState.ADMITTED, RecordState.ESTIMATED],
    )
    ends = []
    for row in open_rows.order_by("request_id", "attempt"):
        final = finals[row.pk]
        # What an attempt draws on is said when it is admitted, and so is whose leases that was held on.
        if row.accounts or not final.accounts:
            final.accounts, final.hold_session = row.accounts, row.hold_session
        ends.append(End(final, row))
    return ends


def _book(ends: Sequence[End]) -> list[Refused]:
    costs = {id(end): end.cost() for end in ends}
    charged = [cost for cost in costs.values() if cost.amount_nano and cost.accounts]
    books = Books(charged) if charged else None
    booked, refused = [], []
    for end in ends:
        cost = costs[id(end)]
        if books is not None and cost.amount_nano and cost.accounts:
            if cost.amount_nano > books.most(cost.lease_session, cost.accounts) and not _was_let_off(end):
                refused.append((end.final, "it cost more than its pod was granted on its budgets"))
                continue
            books.charge(cost)
        booked.append(end)
    for end in booked:
        _write(end)
    if refused:  # what was inserted goes on waiting for its end, as the others do
        fresh = UsageRecord.objects.filter(pk__in=[row.pk for row, _ in refused])
        fresh.update(state=RecordState.ADMITTED, cost_nano=0)
    if books is not None:
        books.store()
    notice([end.final for end in booked])
    return refused


def _was_let_off(end: End) -> bool:
    """Whether a budget of its changed while it ran: it may have been admitted while that only warned."""
    if end.begun is end.final:
        return False
    budgets = {budget for budget, _, _ in end.final.accounts}
    return Budget.objects.filter(pk__in=budgets, updated_at__gt=end.begun.received_at).exists()


def _write(end: End) -> None:
    """The end of a running attempt takes the place of its row; one that was estimated is corrected."""
    row, final = end.begun, end.final
    if row.state == RecordState.ADMITTED:
        UsageRecord.objects.filter(pk=row.pk, month=row.month).update(**content_of(final))
    elif row is not final:
        correct(row, final)


def correct(estimate: UsageRecord, final: UsageRecord) -> None:
    """Book the difference between what was estimated and what was: afterwards `final` says the difference."""
    units = dict(final.units)
    for unit, count in estimate.units.items():
        units[unit] = units.get(unit, 0) - count
    final.id, final.correction = new_id("use"), True
    final.cost_nano -= estimate.cost_nano
    set_units(final, {unit: count for unit, count in units.items() if count}, final.parts)
    UsageRecord.objects.bulk_create([final], ignore_conflicts=True)
    UsageRecord.objects.filter(pk=estimate.pk, month=estimate.month).update(
        state=RecordState.CORRECTED, unconfirmed=final.unconfirmed
    )


def _folded(rows: Iterable[UsageRecord]) -> list[UsageRecord]:
    """One per attempt, the end rather than the beginning, in key order."""
    first: dict[tuple[str, int], UsageRecord] = {}
    for row in rows:
        key = (row.request_id, row.attempt)
        if key not in first or (first[key].state == RecordState.ADMITTED and row.state == RecordState.FINAL):
            first[key] = row
    return [first[key] for key in sorted(first)]


def stored(requests: Iterable[str]) -> dict[Attempt, FirstRow]:
    """Each attempt's first row, of those that there are."""
    wanted = sorted(set(requests))
    first_rows: dict[Attempt, FirstRow] = {}
    for start in range(0, len(wanted), IDS_AT_A_TIME):
        some = wanted[start : start + IDS_AT_A_TIME]
        months = {month_of(request) for request in some}
        rows = UsageRecord.objects.filter(request_id__in=some, month__in=months, correction=False)
        for request, attempt, pk, session in rows.values_list("request_id", "attempt", "pk", "session_id"):
            first_rows[request, attempt] = FirstRow(pk, session)
    return first_rows
