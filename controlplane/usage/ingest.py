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

from controlplane.budgets.charges import settle, words_about
from controlplane.budgets.months import month_of
from controlplane.changes.ids import new_id
from controlplane.usage.models import DeadLetter, RecordState, ReportSession, UsageRecord
from controlplane.usage.provider_state import notice
from controlplane.usage.records import Unfit, content_of, row_from, set_units
from controlplane.usage.sequence import Received
from controlplane.usage.settle import cost_of
from dataplane.core.money.messages import LiveHold
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

LARGEST_LETTER = 64 * 1024
IDS_AT_A_TIME = 500
REFUSED = (DataError, IntegrityError, OverflowError, ValueError, TypeError)  # trying again would not help


@dataclass
class Sorted:
    """A batch, told apart: rows that can be booked, and letters for those that cannot."""

    rows: list[tuple[int, UsageRecord]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def book(batch: wire.UsageBatch, identity: str) -> wire.UsageAck:
    """Commit the batch and acknowledge it. `identity`: the pod's name in its certificate. Raises database errors."""
    now = timezone.now()
    told = _sorted(batch, now)
    try:
        with transaction.atomic():
            _receive(batch, identity, now)
            _book([row for _, row in told.rows])
            _bury(told.letters)
    except REFUSED as problem:
        log.error("usage_batch_refused_by_database session=%s problem=%s", batch.session_id, type(problem).__name__)
        told = _sorted(batch, now)
        _book_one_by_one(batch, identity, now, told)
    for letter in told.letters:
        log.error("usage_dead_letter session=%s seq=%s: %s", letter.session_id, letter.seq, letter.problem)
    return wire.UsageAck(
        session_id=batch.session_id,
        through_seq=max(0, batch.first_seq + len(batch.records) - 1),
        dead_lettered=[letter.request_id for letter in told.letters if letter.request_id],
    )


def _sorted(batch: wire.UsageBatch, now: datetime) -> Sorted:
    told = Sorted()
    for seq, record in enumerate(batch.records, batch.first_seq):
        try:
            told.rows.append((seq, row_from(record, batch.session_id, now)))
        except Unfit as problem:
            told.letters.append(_letter(batch, seq, str(problem), now))
        except Exception as defect:
            log.exception("usage_record_not_understood session=%s seq=%s", batch.session_id, seq)
            told.letters.append(_letter(batch, seq, f"a defect of ours: {type(defect).__name__}", now))
    return told


def _book_one_by_one(batch: wire.UsageBatch, identity: str, now: datetime, told: Sorted) -> None:
    """Find the record that the database will not have."""
    with transaction.atomic():
        _receive(batch, identity, now)
        for seq, row in told.rows:
            try:
                with transaction.atomic():
                    _book([row])
            except REFUSED as problem:
                told.letters.append(_letter(batch, seq, f"the database refused it: {type(problem).__name__}", now))
        _bury(told.letters)


def _receive(batch: wire.UsageBatch, identity: str, now: datetime) -> None:
    """Note how far the spool has come. Locks its session, so that batches of one spool follow each other.

    Whoever finds a dead pod's spool on its volume reports it: the session stays, the pod behind it changes.
    """
    known, _ = ReportSession.objects.get_or_create(
        session_id=batch.session_id,
        defaults={"pod_id": batch.pod_id, "identity": identity, "first_at": now, "last_at": now},
    )
    known = ReportSession.objects.select_for_update().get(pk=known.pk)
    before = Received(known.through_seq, tuple((start, end) for start, end in known.gaps), known.missing)
    after = before.plus(batch.first_seq, batch.first_seq + len(batch.records) - 1)
    if after.missing > before.missing:
        log.error("usage_gap session=%s pod=%s missing=%s", batch.session_id, known.pod_id, after.missing)
    known.through_seq, known.gaps, known.missing = after.through, [list(gap) for gap in after.gaps], after.missing
    known.pod_id, known.identity, known.last_at = batch.pod_id, identity, now
    known.save(update_fields=["pod_id", "identity", "through_seq", "gaps", "missing", "last_at"])


def _book(rows: Sequence[UsageRecord]) -> None:
    """Insert what is new; settle what was waiting. Everyone takes rows in the same order, so nobody waits in a ring."""
    folded = _folded(rows)
    UsageRecord.objects.bulk_create(folded, ignore_conflicts=True)
    stored = _stored(row.request_id for row in folded)
    # Not ours: the attempt was known before, or another replica was quicker.
    known = [row for row in folded if stored.get((row.request_id, row.attempt)) != row.pk]
    ours = [row for row in folded if stored.get((row.request_id, row.attempt)) == row.pk]
    ended = [row for row in ours if row.state == RecordState.FINAL]
    costs = [cost_of(row) for row in ended]
    finals = {
        stored[row.request_id, row.attempt]: row
        for row in known
        if row.state == RecordState.FINAL and (row.request_id, row.attempt) in stored
    }
    waiting = UsageRecord.objects.select_for_update().filter(
        pk__in=finals,
        month__in={row.month for row in finals.values()},
        state__in=[RecordState.ADMITTED, RecordState.ESTIMATED],
    )
    for row in waiting.order_by("request_id", "attempt"):
        final = finals[row.pk]
        ended.append(final)
        if not final.accounts:
            final.accounts, final.hold_session = row.accounts, row.hold_session
        if row.state == RecordState.ADMITTED:
            UsageRecord.objects.filter(pk=row.pk, month=row.month).update(**content_of(final))
            costs.append(cost_of(final))
        else:
            correct(row, final)
            costs.append(cost_of(final, correction=words_about(row.request_id, row.attempt)))
    settle(costs)
    notice(ended)


def grown(holds: Sequence[LiveHold]) -> list[LiveHold]:
    """Running requests hold more than their ADMITTED record says: that is what they are charged if they are lost.

    Those that nothing is known of yet, since their records come another way: to be said again.
    """
    newest = {(hold.request_id, hold.attempt): hold for hold in holds}
    with transaction.atomic():
        known = _stored(hold.request_id for hold in holds)
        for key in sorted(newest.keys() & known.keys()):
            UsageRecord.objects.filter(
                request_id=key[0],
                month=month_of(key[0]),
                attempt=key[1],
                state=RecordState.ADMITTED,
                reserved_nano__lt=newest[key].reserved_nano,
            ).update(reserved_nano=newest[key].reserved_nano)
    return [hold for key, hold in newest.items() if key not in known]


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
    found: dict[tuple[str, int], str] = {}
    for start in range(0, len(wanted), IDS_AT_A_TIME):
        some = wanted[start : start + IDS_AT_A_TIME]
        months = {month_of(request) for request in some}
        rows = UsageRecord.objects.filter(request_id__in=some, month__in=months, correction=False)
        found.update(
            {(request, attempt): pk for request, attempt, pk in rows.values_list("request_id", "attempt", "pk")}
        )
    return found


def _letter(batch: wire.UsageBatch, seq: int, problem: str, now: datetime) -> DeadLetter:
    record = batch.records[seq - batch.first_seq]
    content = record.SerializeToString()
    return DeadLetter(
        session_id=batch.session_id,
        seq=seq,
        received_at=now,
        request_id=record.request_id[:64] if record.request_id.isprintable() else "",
        problem=problem[:500],
        content=content if len(content) <= LARGEST_LETTER else b"",
    )


def _bury(letters: Sequence[DeadLetter]) -> None:
    DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)
