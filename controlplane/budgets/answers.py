"""Answers to pods: a batch of messages in one transaction. What is answered is committed.

An ask that comes again gets the answer that it got before: answers are stored in the transaction that made them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from controlplane.budgets.alarms import raise_alarm
from controlplane.budgets.models import AskReply, LeaseSession
from controlplane.budgets.statements import Locks, UnlessLocked
from controlplane.budgets.unit_of_work import WAITS_IN_VAIN, UnitOfWork
from controlplane.budgets.values import ms
from dataplane.core.money.lease_rows import SessionState
from dataplane.core.money.lessor import Recalls
from dataplane.core.money.messages import (
    AccountRef,
    AccountState,
    Ask,
    Deny,
    DenyReason,
    Grant,
    Hello,
    Report,
    Return,
)
from dataplane.wire.holds import from_control_plane, to_pod
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

CHECKED_EVERY_S: Final = 1.0  # what must never be is looked for in one batch per second
COUNTED_EVERY_S: Final = 2.0
IDS_AT_A_TIME: Final = 500
# A message that the books cannot take, or that no answer can be written for; anything else is the database's trouble.
SPOILT: Final = (IntegrityError, DataError, ValueError, TypeError, ArithmeticError, LookupError)

Message = Ask | Report | Return | Hello


@dataclass(frozen=True, slots=True)
class PodMessage:
    """One message of a pod. `recalls`: how often others were asked to give back for this ask."""

    session_id: str  # of its leases
    pod_id: str
    identity: str
    content: Message
    recalls: int = 0


@dataclass(frozen=True, slots=True)
class NotYours:
    """The session belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is closed: the pod has to start another one."""


@dataclass(frozen=True, slots=True)
class Locked:
    """Somebody else holds a row that it is about: nothing was decided."""


Answer = bytes | Recalls | NotYours | Ended | None  # bytes: a HoldDown; None: nothing to say


def answer(
    batch: Sequence[PodMessage], locks: Locks = Locks.SHORT, alone: Collection[str] = ()
) -> list[Answer | Locked]:
    """In order. Raises database errors, having done nothing. One message that breaks a limit, or that we cannot answer,
    spoils only itself: who waits for another one hears nothing of it. With Locks.SKIP, so does one about what somebody
    else holds. `alone`: lease sessions whose pods had to decide by themselves since their last message."""
    if locks is Locks.SKIP:
        return _around_locks(batch, alone, WAITS_IN_VAIN)[0]
    return _decided(batch, locks, alone)


def _around_locks(batch: Sequence[PodMessage], alone: Collection[str], waits: int) -> tuple[list[Answer | Locked], int]:
    """What cannot be skipped, since it is not a row that there is, or one of another table, is found by halves: so many
    times somebody may wait for it in vain. Returns how many are left of these."""
    if waits:
        with UnlessLocked():
            return _decided(batch, Locks.SKIP, alone), waits
        waits -= 1
    if len(batch) == 1 or not waits:
        return [Locked() for _ in batch], waits
    middle = len(batch) // 2
    first, waits = _around_locks(batch[:middle], alone, waits)
    second, waits = _around_locks(batch[middle:], alone, waits)
    return first + second, waits


def _decided(batch: Sequence[PodMessage], locks: Locks, alone: Collection[str]) -> list[Answer | Locked]:
    for repeated in (False, True):  # whether asks may have been answered before: seldom, and then the database says so
        try:
            with transaction.atomic():
                return _answered(batch, repeated, locks, alone)
        except SPOILT as problem:
            trouble = problem
    if len(batch) > 1:
        return [_decided([message], locks, alone)[0] for message in batch]
    content = batch[0].content
    if isinstance(content, Report | Hello) and len(content.accounts) > 1:
        return [_in_halves(batch[0], content, locks)]
    log.error("budget_message_refused_by_database session=%s: %s", batch[0].session_id, trouble)
    raise_alarm(f"{type(content).__name__} of {batch[0].session_id}: {type(trouble).__name__}")
    if isinstance(content, Report | Hello) and content.accounts:
        return _decided([replace(batch[0], content=replace(content, accounts=()))], locks, ())
    LeaseSession.objects.filter(session_id=batch[0].session_id).update(alone_ms=ms(timezone.now()))
    return [undecided(content)]


def _in_halves(message: PodMessage, content: Report | Hello, locks: Locks) -> Answer | Locked:
    """One account of it cannot be answered for: what is said of the others counts, and is answered in one, as
    protobuf strings messages together."""
    middle = len(content.accounts) // 2
    halves = (content.accounts[:middle], content.accounts[middle:])
    replies = [_decided([replace(message, content=replace(content, accounts=half))], locks, ())[0] for half in halves]
    return b"".join(raw for raw in replies if isinstance(raw, bytes)) or replies[0]


def _answered(
    batch: Sequence[PodMessage], repeated: bool, locks: Locks, alone: Collection[str]
) -> list[Answer | Locked]:
    refs = {ref for message in batch for ref in _refs(message.content)}
    unit = UnitOfWork(refs, {message.session_id for message in batch}, locks=locks)
    unit.lessor.pods = _pods(unit.now_ms)
    for session_id in alone:
        unit.lessor.left_alone(session_id, unit.now_ms)
    asks = [(message.session_id, message.content.ask_id) for message in batch if isinstance(message.content, Ask)]
    before = _replies(asks) if repeated else {}
    unit.lessor.replies.update(before)
    answers = [_one(unit, message) for message in batch]
    fresh = {key: reply for key, reply in unit.lessor.replies.items() if key not in before}
    raw = {id(reply): to_pod(reply).SerializeToString() for reply in unit.lessor.replies.values()}
    exhausted = {
        reply.account for reply in fresh.values() if isinstance(reply, Deny) and reply.reason is DenyReason.EXHAUSTED
    }
    unit.store(exhausted, [(session, ask_id, raw[id(reply)]) for (session, ask_id), reply in fresh.items()])
    _look_for_problems(unit)
    return [raw[id(answer)] if isinstance(answer, Grant | Deny) else answer for answer in answers]


def _refs(content: Message) -> list[AccountRef]:
    match content:
        case Ask():
            return [item.account for item in content.items]
        case Return():
            return [content.account]
    return [item.account for item in content.accounts]


def _one(unit: UnitOfWork, message: PodMessage) -> Answer | Locked | Grant | Deny:
    owner = unit.identities.get(message.session_id)
    if owner is not None and owner != message.identity:
        return NotYours()
    lessor, content = unit.lessor, message.content
    if message.session_id in unit.locked_sessions:
        return Locked()
    locked = unit.locked_for(message.session_id)
    if locked and (locked := locked.intersection(_refs(content))) and isinstance(content, Ask | Return):
        return Locked()
    if locked and isinstance(content, Report | Hello):  # what is said of many accounts counts for the others
        content = replace(content, accounts=tuple(item for item in content.accounts if item.account not in locked))
    match content:
        case Ask():
            gone = next((item.account for item in content.items if not unit.usable(item.account)), None)
            key = (message.session_id, content.ask_id)
            if gone is not None and key not in lessor.replies:
                lessor.replies[key] = Deny(content.ask_id, DenyReason.UNKNOWN, gone, AccountState(), 0)
            return lessor.ask(message.session_id, content, unit.now_ms, message.recalls)
        case Report():
            ack = lessor.report(message.session_id, content, unit.now_ms)
            if ack is None:
                return Ended()
            missing = unit.gone([item.account for item in content.accounts])
            return to_pod(replace(ack, gone=missing)).SerializeToString()
        case Return():
            lessor.returned(message.session_id, content)
            return None
        case Hello():
            unit.open_session(message.session_id, message.pod_id, message.identity)
            welcome = lessor.hello(content, unit.now_ms)
            missing = unit.gone([item.account for item in content.accounts])
            return to_pod(replace(welcome, server_time_ms=unit.now_ms, gone=missing)).SerializeToString()
    raise TypeError(f"not a message: {type(content).__name__}")


def undecided(content: Message) -> bytes | None:
    """What is said where nothing can be decided: the pod goes by each budget's outage rule."""
    if not isinstance(content, Ask):
        return None
    deny = Deny(content.ask_id, DenyReason.UNDECIDED, content.items[0].account, AccountState(), 0)
    return to_pod(deny).SerializeToString()


def _replies(asks: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Grant | Deny]:
    replies: dict[tuple[str, int], Grant | Deny] = {}
    wanted = set(asks)
    ids = sorted({ask_id for _, ask_id in wanted})
    sessions = sorted({session for session, _ in wanted})
    for start in range(0, len(ids), IDS_AT_A_TIME):
        rows = AskReply.objects.filter(session_id__in=sessions, ask_id__in=ids[start : start + IDS_AT_A_TIME])
        for session, ask_id, reply in rows.values_list("session_id", "ask_id", "reply"):
            if (session, ask_id) in wanted:
                replies[session, ask_id] = reply_from(bytes(reply))
    return replies


def reply_from(stored: bytes) -> Grant | Deny:
    (reply,) = from_control_plane(wire.HoldDown.FromString(stored))
    if not isinstance(reply, Grant | Deny):
        raise TypeError(f"not an answer to an ask: {type(reply).__name__}")
    return reply


_counted: tuple[float, int] = (float("-inf"), 1)
_checked_at = float("-inf")


def _pods(now_ms: int) -> int:
    """How many pods hold leases, as of a moment ago."""
    global _counted
    if time.monotonic() - _counted[0] > COUNTED_EVERY_S:
        alive = LeaseSession.objects.filter(state=SessionState.OPEN, expires_ms__gt=now_ms).count()
        _counted = (time.monotonic(), max(1, alive))
    return _counted[1]


def _look_for_problems(unit: UnitOfWork) -> None:
    """Never an exception: requests go on, somebody has to look."""
    global _checked_at
    if time.monotonic() - _checked_at < CHECKED_EVERY_S:
        return
    _checked_at = time.monotonic()
    for problem in unit.lessor.problems():
        raise_alarm(problem)
