"""`book`: one batch of a pod's spool into the ledger, in one transaction; what it acknowledges is committed.

Whatever comes twice, late or in another order leaves the same ledger: the first row of an attempt is kept, a FINAL
report takes the place of its ADMITTED row once, and one that comes after the estimate is booked as the difference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import DataError, IntegrityError, OperationalError, transaction
from django.utils import timezone

from controlplane.budgets.months import month_of
from controlplane.budgets.statements import UnlessLocked, is_locked
from controlplane.fleet.calls.booking import HeldUp
from controlplane.usage import corrections, held_up
from controlplane.usage.booking import Refused, SetAside, book_rows, stored
from controlplane.usage.claims import Claims
from controlplane.usage.dead_letters import keep
from controlplane.usage.lost import end_unread
from controlplane.usage.models import DeadLetter, RecordState, ReportSession, UsageRecord
from controlplane.usage.records import Unfit, row_from
from controlplane.usage.spools import SpoolOfAnother, receive
from dataplane.core.money.messages import LiveHold
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

MOST_LOGGED = 20  # dead letters of one batch
REFUSED = (DataError, IntegrityError, OverflowError, ValueError, TypeError)  # trying again would not help


@dataclass
class Sorted:
    """A batch in two parts: rows that can be booked, by their numbers, and dead letters for records that cannot."""

    rows: list[tuple[int, UsageRecord]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch, and who brings it. `late`: numbers of records that have to wait, since somebody else holds what they are
    booked on."""

    batch: wire.UsageBatch
    identity: str
    now: datetime
    late: frozenset[int] = frozenset()

    @property
    def through(self) -> int:
        """The last number before the first one that has to wait."""
        return min(self.late, default=self.batch.first_seq + len(self.batch.records)) - 1

    def without(self, look: Callable[[Sequence[UsageRecord]], Sequence[UsageRecord]]) -> Parcel:
        """`look`: which of the rows have to wait."""
        rows = _sorted(self).rows
        late = {id(row) for row in look([row for _, row in rows if row.state == RecordState.FINAL])}
        return replace(self, late=self.late | {seq for seq, row in rows if id(row) in late})


def book(batch: wire.UsageBatch, identity: str) -> wire.UsageAck:
    """Commit the batch and acknowledge it, or nothing of it where its spool is another pod's. `identity`: the pod's
    name in its certificate. Raises database errors; and HeldUp, where it committed only what nobody else holds."""
    parcel = Parcel(batch, identity, timezone.now())
    if held_up.anything():
        parcel = parcel.without(held_up.still)
    try:
        letters = _booked(parcel)
    except OperationalError as problem:
        if not is_locked(problem):
            raise
        rest = parcel.without(held_up.found)
        if rest == parcel:
            raise  # somebody has let go, or it is a row of another table
        parcel = rest
        letters = _booked(parcel)
    if letters is None:
        return wire.UsageAck(session_id=batch.session_id, through_seq=0)
    ack = wire.UsageAck(
        session_id=batch.session_id,
        through_seq=max(0, parcel.through),
        dead_lettered=[letter.request_id for letter in letters if letter.request_id],
    )
    if parcel.late:
        log.warning("usage_rows_locked session=%s records=%s", batch.session_id, len(parcel.late))
        raise HeldUp(ack)
    return ack


def _booked(parcel: Parcel) -> list[DeadLetter] | None:
    """Returns the dead letters; None: nothing was booked, since the spool is another pod's."""
    session = parcel.batch.session_id
    try:
        letters = _book_together(parcel)
    except SpoolOfAnother:
        log.error("usage_spool_of_another_pod session=%s identity=%s", session, parcel.identity)
        keep([_refused_batch(parcel)], parcel.identity, parcel.now)
        return None
    except REFUSED as problem:
        log.error("usage_batch_refused_by_database session=%s problem=%s", session, type(problem).__name__)
        letters = _book_one_by_one(parcel)
    if len(letters) > MOST_LOGGED:
        log.error("usage_dead_letters session=%s records=%s, the first of them:", session, len(letters))
    for letter in letters[:MOST_LOGGED]:
        log.error("usage_dead_letter session=%s seq=%s: %s", letter.session_id, letter.seq, letter.problem)
    _end_unread(parcel.batch, letters)
    return letters


def _book_together(parcel: Parcel) -> list[DeadLetter]:
    records = _sorted(parcel)
    with transaction.atomic():
        identities = receive(parcel.batch, parcel.through, parcel.identity, parcel.now)
        records = _believed(parcel, records, identities)
        refused, set_aside = book_rows([row for _, row in records.rows])
        _note_kept([row for _, row in records.rows], refused, parcel.now)
        seqs = {id(row): seq for seq, row in records.rows}
        records.dead_letters += [_dead_letter(parcel, seqs[id(row)], why) for row, why in refused]
        keep(records.dead_letters, parcel.identity, parcel.now)
        _tell_of_claims(set_aside, parcel.now)
    return records.dead_letters


def _note_kept(rows: Sequence[UsageRecord], refused: Sequence[Refused], now: datetime) -> None:
    not_booked = {id(row) for row, _ in refused}
    corrections.note([row for row in rows if row.kept_id and id(row) not in not_booked], now)


def _sorted(parcel: Parcel) -> Sorted:
    records, batch = Sorted(), parcel.batch
    for seq, record in enumerate(batch.records, batch.first_seq):
        if seq in parcel.late:
            continue
        try:
            records.rows.append((seq, row_from(record, batch.session_id, parcel.now)))
        except Unfit as problem:
            records.dead_letters.append(_dead_letter(parcel, seq, str(problem)))
        except Exception as defect:
            log.exception("usage_record_not_understood session=%s seq=%s", batch.session_id, seq)
            records.dead_letters.append(_dead_letter(parcel, seq, f"a defect of ours: {type(defect).__name__}"))
    return records


def _believed(parcel: Parcel, records: Sorted, identities: Set[str]) -> Sorted:
    claims = Claims([row for _, row in records.rows], identities)
    believed = Sorted(dead_letters=list(records.dead_letters))
    for seq, row in records.rows:
        if problem := claims.problem(row):
            believed.dead_letters.append(_dead_letter(parcel, seq, problem))
        else:
            believed.rows.append((seq, row))
    return believed


def _book_one_by_one(parcel: Parcel) -> list[DeadLetter]:
    """Find the record that the database will not have."""
    records = _sorted(parcel)
    with transaction.atomic():
        identities = receive(parcel.batch, parcel.through, parcel.identity, parcel.now)
        records = _believed(parcel, records, identities)
        for seq, row in records.rows:
            try:
                with transaction.atomic():
                    refused, set_aside = book_rows([row])
                    _note_kept([row], refused, parcel.now)
                    _tell_of_claims(set_aside, parcel.now)
            except REFUSED as problem:
                refused = [(row, f"the database refused it: {type(problem).__name__}")]
            records.dead_letters += [_dead_letter(parcel, seq, why) for _, why in refused]
        keep(records.dead_letters, parcel.identity, parcel.now)
    return records.dead_letters


def _end_unread(batch: wire.UsageBatch, letters: Sequence[DeadLetter]) -> None:
    """An attempt whose end came and could not be booked ends as an estimate, not never."""
    records = [batch.records[letter.seq - batch.first_seq] for letter in letters if letter.request_id]
    ended = [(record.request_id, record.attempt) for record in records if record.status == wire.RECORD_STATUS_FINAL]
    with UnlessLocked():
        end_unread(batch.session_id, ended)
        return
    log.warning("usage_rows_locked session=%s: %s ends wait for the sweep", batch.session_id, len(ended))


def _tell_of_claims(set_aside: Sequence[SetAside], now: datetime) -> None:
    """Under the name of the pod that had claimed the requests; one for each of them."""
    for row, session in set_aside:
        claimed = ReportSession.objects.filter(pk=session).first()
        identity = claimed.identity if claimed is not None else ""
        log.error("usage_request_claimed request=%s session=%s identity=%s", row.request_id, session, identity)
        problem = f"it was made in the spool {row.session_id}, and claimed before by {session}"
        place = {"session_id": f"{session}~{row.request_id}"[:64], "seq": row.attempt}
        letter = DeadLetter(received_at=now, request_id=row.request_id, problem=problem[:500], content=b"", **place)
        keep([letter], identity, now)


def _refused_batch(parcel: Parcel) -> DeadLetter:
    """Under the name of the pod that sent it: its place in the spool is the owner's. One for each place."""
    batch = parcel.batch
    return DeadLetter(
        session_id=f"of {parcel.identity}"[:64],
        seq=batch.first_seq,
        received_at=parcel.now,
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


def _dead_letter(parcel: Parcel, seq: int, problem: str) -> DeadLetter:
    batch = parcel.batch
    record = batch.records[seq - batch.first_seq]
    return DeadLetter(
        session_id=batch.session_id,
        seq=seq,
        received_at=parcel.now,
        request_id=record.request_id[:64] if record.request_id.isprintable() else "",
        problem=problem[:500],
        content=record.SerializeToString(),
    )
