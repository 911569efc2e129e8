"""`book`: one batch of a pod's spool into the ledger, in one transaction; what it acknowledges is committed.

Whatever comes twice, late or in another order leaves the same ledger: the first row of an attempt is kept, a FINAL
report takes the place of its ADMITTED row once, and one that comes after the estimate is booked as the difference.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from controlplane.budgets.months import month_of
from controlplane.usage.booking import book_rows, stored
from controlplane.usage.claims import Claims
from controlplane.usage.lost import end_unread
from controlplane.usage.models import DeadLetter, RecordState, UsageRecord
from controlplane.usage.records import Unfit, row_from
from controlplane.usage.spools import SpoolOfAnother, receive
from dataplane.core.money.messages import LiveHold
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

LARGEST_CONTENT = 64 * 1024  # of a dead letter; beyond it only the problem is kept
REFUSED = (DataError, IntegrityError, OverflowError, ValueError, TypeError)  # trying again would not help


@dataclass
class Sorted:
    """A batch in two parts: rows that can be booked, by their numbers, and dead letters for records that cannot."""

    rows: list[tuple[int, UsageRecord]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


def book(batch: wire.UsageBatch, identity: str) -> wire.UsageAck:
    """Commit the batch and acknowledge it, or nothing of it where its spool is another pod's. `identity`: the pod's
    name in its certificate. Raises database errors."""
    now = timezone.now()
    try:
        letters = _book_together(batch, identity, now)
    except SpoolOfAnother:
        log.error("usage_spool_of_another_pod session=%s identity=%s", batch.session_id, identity)
        _keep([_refused_batch(batch, identity, now)])
        return wire.UsageAck(session_id=batch.session_id, through_seq=0)
    except REFUSED as problem:
        log.error("usage_batch_refused_by_database session=%s problem=%s", batch.session_id, type(problem).__name__)
        letters = _book_one_by_one(batch, identity, now)
    for letter in letters:
        log.error("usage_dead_letter session=%s seq=%s: %s", letter.session_id, letter.seq, letter.problem)
    _end_unread(batch, letters)
    return wire.UsageAck(
        session_id=batch.session_id,
        through_seq=max(0, batch.first_seq + len(batch.records) - 1),
        dead_lettered=[letter.request_id for letter in letters if letter.request_id],
    )


def _book_together(batch: wire.UsageBatch, identity: str, now: datetime) -> list[DeadLetter]:
    records = _sorted(batch, now)
    with transaction.atomic():
        identities = receive(batch, identity, now)
        records = _believed(batch, records, identities, now)
        refused = book_rows([row for _, row in records.rows])
        seqs = {id(row): seq for seq, row in records.rows}
        records.dead_letters += [_dead_letter(batch, seqs[id(row)], why, now) for row, why in refused]
        _keep(records.dead_letters)
    return records.dead_letters


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


def _believed(batch: wire.UsageBatch, records: Sorted, identities: Set[str], now: datetime) -> Sorted:
    claims = Claims([row for _, row in records.rows], identities)
    believed = Sorted(dead_letters=list(records.dead_letters))
    for seq, row in records.rows:
        if problem := claims.problem(row):
            believed.dead_letters.append(_dead_letter(batch, seq, problem, now))
        else:
            believed.rows.append((seq, row))
    return believed


def _book_one_by_one(batch: wire.UsageBatch, identity: str, now: datetime) -> list[DeadLetter]:
    """Find the record that the database will not have."""
    records = _sorted(batch, now)
    with transaction.atomic():
        records = _believed(batch, records, receive(batch, identity, now), now)
        for seq, row in records.rows:
            try:
                with transaction.atomic():
                    refused = book_rows([row])
            except REFUSED as problem:
                refused = [(row, f"the database refused it: {type(problem).__name__}")]
            records.dead_letters += [_dead_letter(batch, seq, why, now) for _, why in refused]
        _keep(records.dead_letters)
    return records.dead_letters


def _end_unread(batch: wire.UsageBatch, letters: Sequence[DeadLetter]) -> None:
    """An attempt whose end came and could not be booked ends as an estimate, not never."""
    records = [batch.records[letter.seq - batch.first_seq] for letter in letters if letter.request_id]
    ended = [(record.request_id, record.attempt) for record in records if record.status == wire.RECORD_STATUS_FINAL]
    if ended:
        end_unread(batch.session_id, ended)


def _refused_batch(batch: wire.UsageBatch, identity: str, now: datetime) -> DeadLetter:
    """Under the name of the pod that sent it: its place in the spool is the owner's. One for each place."""
    return DeadLetter(
        session_id=f"of {identity}"[:64],
        seq=batch.first_seq,
        received_at=now,
        problem=f"{len(batch.records)} records for the spool {batch.session_id} of another pod, which lives",
        content=b"",
    )


def note_grown(lease_session: str, holds: Sequence[LiveHold]) -> list[LiveHold]:
    """Running requests hold more than their ADMITTED record says: that is what they are charged if they are lost.
    A lease session speaks of its own.

    Returns those without a record yet, since records come another way: they have to be said again.
    """
    newest = {(hold.request_id, hold.attempt): hold for hold in holds}
    with transaction.atomic():
        there = stored(hold.request_id for hold in holds)
        for key in sorted(newest.keys() & there.keys()):
            UsageRecord.objects.filter(
                request_id=key[0],
                month=month_of(key[0]),
                attempt=key[1],
                hold_session=lease_session,
                state=RecordState.ADMITTED,
                reserved_nano__lt=newest[key].reserved_nano,
            ).update(reserved_nano=newest[key].reserved_nano)
    return [hold for key, hold in newest.items() if key not in there]


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
