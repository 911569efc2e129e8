"""`book`: one batch of a pod's spool into the ledger, in one transaction; what it acknowledges is committed.

Whatever comes twice, late or in another order leaves the same ledger: the first row of an attempt is kept, a FINAL
report takes the place of its ADMITTED row once, and one that comes after the estimate is booked as the difference.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from controlplane.budgets.charges import book_costs, next_correction
from controlplane.budgets.months import month_of
from controlplane.changes.ids import new_id
from controlplane.usage.costs import cost_of
from controlplane.usage.models import DeadLetter, RecordState, ReportSession, UsageRecord
from controlplane.usage.provider_state import notice
from controlplane.usage.records import Unfit, content_of, row_from, set_units
from controlplane.usage.sequence import Received
from dataplane.core.money.messages import LiveHold
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

LARGEST_CONTENT = 64 * 1024  # of a dead letter; beyond it only the problem is kept
IDS_AT_A_TIME = 500
REFUSED = (DataError, IntegrityError, OverflowError, ValueError, TypeError)  # trying again would not help


@dataclass
class Sorted:
    """A batch in two parts: rows that can be booked, by their numbers, and dead letters for records that cannot."""

    rows: list[tuple[int, UsageRecord]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


def book(batch: wire.UsageBatch, identity: str) -> wire.UsageAck:
    """Commit the batch and acknowledge it. `identity`: the pod's name in its certificate. Raises database errors."""
    now = timezone.now()
    records = _sorted(batch, now)
    try:
        with transaction.atomic():
            _receive(batch, identity, now)
            _book([row for _, row in records.rows])
            _keep(records.dead_letters)
    except REFUSED as problem:
        log.error("usage_batch_refused_by_database session=%s problem=%s", batch.session_id, type(problem).__name__)
        records = _sorted(batch, now)
        _book_one_by_one(batch, identity, now, records)
    for letter in records.dead_letters:
        log.error("usage_dead_letter session=%s seq=%s: %s", letter.session_id, letter.seq, letter.problem)
    return wire.UsageAck(
        session_id=batch.session_id,
        through_seq=max(0, batch.first_seq + len(batch.records) - 1),
        dead_lettered=[letter.request_id for letter in records.dead_letters if letter.request_id],
    )


def _sorted(batch: wire.UsageBatch, now: datetime) -> Sorted:
    records = Sorted()
    for seq, record in enumerate(batch.records, batch.first_seq):
        try:
            records.rows.append((seq, row_from(record, batch.session_id, now)))
        except Unfit as problem:
            records.dead_letters.append(_dead_letter(batch, seq, str(problem), now))
        except Exception as defect:
            log.exception("usage_record_not_understood session=%s seq=%s", batch.session_id, seq)
            records.dead_letters.append(_dead_letter(batch, seq, f"a defect of ours: {type(defect).__name__}", now))
    return records


def _book_one_by_one(batch: wire.UsageBatch, identity: str, now: datetime, records: Sorted) -> None:
    """Find the record that the database will not have."""
    with transaction.atomic():
        _receive(batch, identity, now)
        for seq, row in records.rows:
            try:
                with transaction.atomic():
                    _book([row])
            except REFUSED as problem:
                words = f"the database refused it: {type(problem).__name__}"
                records.dead_letters.append(_dead_letter(batch, seq, words, now))
        _keep(records.dead_letters)


def _receive(batch: wire.UsageBatch, identity: str, now: datetime) -> None:
    """Note how far the spool has come. Locks its report session, so that batches of one spool follow each other.

    A pod that finds a dead one's spool on its volume reports it: the report session stays, the pod behind it changes.
    """
    session, _ = ReportSession.objects.get_or_create(
        session_id=batch.session_id,
        defaults={"pod_id": batch.pod_id, "identity": identity, "first_at": now, "last_at": now},
    )
    session = ReportSession.objects.select_for_update().get(pk=session.pk)
    before = Received(session.through_seq, tuple((start, end) for start, end in session.gaps), session.missing)
    after = before.plus(batch.first_seq, batch.first_seq + len(batch.records) - 1)
    if after.missing > before.missing:
        log.error("usage_gap session=%s pod=%s missing=%s", batch.session_id, session.pod_id, after.missing)
    session.through_seq, session.missing = after.through, after.missing
    session.gaps = [list(gap) for gap in after.gaps]
    session.pod_id, session.identity, session.last_at = batch.pod_id, identity, now
    session.save(update_fields=["pod_id", "identity", "through_seq", "gaps", "missing", "last_at"])


def _book(rows: Sequence[UsageRecord]) -> None:
    """Insert what is new; end what was open. All take rows in the same order, so that no two wait for each other."""
    folded = _folded(rows)
    UsageRecord.objects.bulk_create(folded, ignore_conflicts=True)
    stored = _stored(row.request_id for row in folded)
    # The attempt has a row already: it was reported before, or another replica was quicker.
    repeated = [row for row in folded if stored.get((row.request_id, row.attempt)) != row.pk]
    ours = [row for row in folded if stored.get((row.request_id, row.attempt)) == row.pk]
    ended = [row for row in ours if row.state == RecordState.FINAL]
    costs = [cost_of(row) for row in ended]
    finals = {
        stored[row.request_id, row.attempt]: row
        for row in repeated
        if row.state == RecordState.FINAL and (row.request_id, row.attempt) in stored
    }
    open_rows = UsageRecord.objects.select_for_update().filter(
        pk__in=finals,
        month__in={row.month for row in finals.values()},
        state__in=[RecordState.ADMITTED, RecordState.ESTIMATED],
    )
    for row in open_rows.order_by("request_id", "attempt"):
        final = finals[row.pk]
        ended.append(final)
        # What an attempt draws on is said when it is admitted.
        if not final.accounts:
            final.accounts, final.hold_session = row.accounts, row.hold_session
        # The end of a running attempt takes the place of its row; one that was estimated is corrected.
        if row.state == RecordState.ADMITTED:
            UsageRecord.objects.filter(pk=row.pk, month=row.month).update(**content_of(final))
            costs.append(cost_of(final))
        else:
            correct(row, final)
            costs.append(cost_of(final, correction=next_correction(row.request_id, row.attempt)))
    book_costs(costs)
    notice(ended)


def note_grown(holds: Sequence[LiveHold]) -> list[LiveHold]:
    """Running requests hold more than their ADMITTED record says: that is what they are charged if they are lost.

    Returns those without a record yet, since records come another way: they have to be said again.
    """
    newest = {(hold.request_id, hold.attempt): hold for hold in holds}
    with transaction.atomic():
        stored = _stored(hold.request_id for hold in holds)
        for key in sorted(newest.keys() & stored.keys()):
            UsageRecord.objects.filter(
                request_id=key[0],
                month=month_of(key[0]),
                attempt=key[1],
                state=RecordState.ADMITTED,
                reserved_nano__lt=newest[key].reserved_nano,
            ).update(reserved_nano=newest[key].reserved_nano)
    return [hold for key, hold in newest.items() if key not in stored]


def correct(estimate: UsageRecord, final: UsageRecord) -> None:
    """Book the difference between what was estimated and what was: afterwards `final` says the difference."""
    units = dict(final.units)
    for unit, count in estimate.units.items():
        units[unit] = units.get(unit, 0) - count
    final.id, final.correction = new_id("use"), True
    final.cost_nano -= estimate.cost_nano
    set_units(final, {unit: count for unit, count in units.items() if count})
    UsageRecord.objects.bulk_create([final], ignore_conflicts=True)
    UsageRecord.objects.filter(pk=estimate.pk, month=estimate.month).update(state=RecordState.CORRECTED)


def _folded(rows: Iterable[UsageRecord]) -> list[UsageRecord]:
    """One per attempt, the end rather than the beginning, in key order."""
    first: dict[tuple[str, int], UsageRecord] = {}
    for row in rows:
        key = (row.request_id, row.attempt)
        if key not in first or (first[key].state == RecordState.ADMITTED and row.state == RecordState.FINAL):
            first[key] = row
    return [first[key] for key in sorted(first)]


def _stored(requests: Iterable[str]) -> dict[tuple[str, int], str]:
    """The primary key of each attempt's first row."""
    wanted = sorted(set(requests))
    stored: dict[tuple[str, int], str] = {}
    for start in range(0, len(wanted), IDS_AT_A_TIME):
        some = wanted[start : start + IDS_AT_A_TIME]
        months = {month_of(request) for request in some}
        rows = UsageRecord.objects.filter(request_id__in=some, month__in=months, correction=False)
        stored.update(
            {(request, attempt): pk for request, attempt, pk in rows.values_list("request_id", "attempt", "pk")}
        )
    return stored


def _dead_letter(batch: wire.UsageBatch, seq: int, problem: str, now: datetime) -> DeadLetter:
    record = batch.records[seq - batch.first_seq]
    content = record.SerializeToString()
    return DeadLetter(
        session_id=batch.session_id,
        seq=seq,
        received_at=now,
        request_id=record.request_id[:64] if record.request_id.isprintable() else "",
        problem=problem[:500],
        content=content if len(content) <= LARGEST_CONTENT else b"",
    )


def _keep(dead_letters: Sequence[DeadLetter]) -> None:
    DeadLetter.objects.bulk_create(dead_letters, ignore_conflicts=True)
