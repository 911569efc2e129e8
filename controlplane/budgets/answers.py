"""Answers to pods: a batch of letters in one transaction. What is answered is committed.

An ask that comes again gets the answer that it got before: answers are stored in the transaction that made them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import DataError, IntegrityError, transaction

from controlplane.budgets import messages
from controlplane.budgets.alarms import raise_alarm
from controlplane.budgets.models import AskReply, LeaseSession
from controlplane.budgets.unit_of_work import Unit
from dataplane.core.money.lease_rows import SessionState
from dataplane.core.money.lessor import Recalls
from dataplane.core.money.messages import AccountRef, AccountState, Ask, Deny, DenyReason, Grant, Hello, Report, Return

log = logging.getLogger(__name__)

CHECKED_EVERY_S: Final = 1.0  # what must never be is looked for in one batch per second
COUNTED_EVERY_S: Final = 2.0
IDS_AT_A_TIME: Final = 500

Message = Ask | Report | Return | Hello


@dataclass(frozen=True, slots=True)
class PodMessage:
    """What a pod said. `recalls`: how often others were asked to give back for this ask."""

    session_id: str
    pod_id: str
    identity: str
    message: Message
    recalls: int = 0


@dataclass(frozen=True, slots=True)
class NotYours:
    """The session belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is closed: the pod has to start another one."""


Answer = bytes | Recalls | NotYours | Ended | None  # bytes: a HoldDown; None: nothing to say


def answer(letters: Sequence[PodMessage]) -> list[Answer]:
    """In order. Raises database errors, having done nothing. One letter that breaks the books spoils only itself."""
    for repeated in (False, True):  # whether asks may have been answered before: seldom, and then the database says so
        try:
            with transaction.atomic():
                return _answered(letters, repeated)
        except (IntegrityError, DataError) as problem:
            trouble = problem
    if len(letters) == 1:
        log.error("budget_letter_refused_by_database session=%s: %s", letters[0].session_id, trouble)
        return [_refused(letters[0])]
    return [answer([letter])[0] for letter in letters]


def _answered(letters: Sequence[PodMessage], repeated: bool) -> list[Answer]:
    refs = {ref for letter in letters for ref in _refs(letter.message)}
    unit = Unit(refs, {letter.session_id for letter in letters})
    unit.lessor.pods = _pods(unit.now_ms)
    asks = [(letter.session_id, letter.message.ask_id) for letter in letters if isinstance(letter.message, Ask)]
    before = _replies(asks) if repeated else {}
    unit.lessor.replies.update(before)
    answers = [_one(unit, letter) for letter in letters]
    made = {key: reply for key, reply in unit.lessor.replies.items() if key not in before}
    said = {id(reply): messages.reply(reply).SerializeToString() for reply in unit.lessor.replies.values()}
    exhausted = {
        reply.account for reply in made.values() if isinstance(reply, Deny) and reply.reason is DenyReason.EXHAUSTED
    }
    unit.store(exhausted, [(session, ask_id, said[id(reply)]) for (session, ask_id), reply in made.items()])
    _look_for_problems(unit)
    return [said[id(answer)] if isinstance(answer, Grant | Deny) else answer for answer in answers]


def _refs(message: Message) -> list[AccountRef]:
    match message:
        case Ask():
            return [item.account for item in message.items]
        case Return():
            return [message.account]
    return [said.account for said in message.accounts]


def _one(unit: Unit, letter: PodMessage) -> Answer | Grant | Deny:
    owner = unit.identities.get(letter.session_id)
    if owner is not None and owner != letter.identity:
        return NotYours()
    ledger, message = unit.lessor, letter.message
    match message:
        case Ask():
            gone = next((item.account for item in message.items if not unit.usable(item.account)), None)
            key = (letter.session_id, message.ask_id)
            if gone is not None and key not in ledger.replies:
                ledger.replies[key] = Deny(message.ask_id, DenyReason.UNKNOWN, gone, AccountState(), 0)
            return ledger.ask(letter.session_id, message, unit.now_ms, letter.recalls)
        case Report():
            ack = ledger.report(letter.session_id, message, unit.now_ms)
            return Ended() if ack is None else messages.report_ack(ack).SerializeToString()
        case Return():
            ledger.returned(letter.session_id, message)
            return None
        case Hello():
            unit.open_session(letter.session_id, letter.pod_id, letter.identity)
            return messages.welcome(ledger.hello(message, unit.now_ms), unit.now_ms).SerializeToString()
    raise TypeError(f"not a letter: {type(message).__name__}")


def _refused(letter: PodMessage) -> Answer:
    if isinstance(letter.message, Ask):
        first = letter.message.items[0].account
        deny = Deny(letter.message.ask_id, DenyReason.UNKNOWN, first, AccountState(), 0)
        return messages.reply(deny).SerializeToString()
    return None


def _replies(asks: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Grant | Deny]:
    found: dict[tuple[str, int], Grant | Deny] = {}
    wanted = set(asks)
    ids = sorted({ask_id for _, ask_id in wanted})
    sessions = sorted({session for session, _ in wanted})
    for start in range(0, len(ids), IDS_AT_A_TIME):
        rows = AskReply.objects.filter(session_id__in=sessions, ask_id__in=ids[start : start + IDS_AT_A_TIME])
        for session, ask_id, reply in rows.values_list("session_id", "ask_id", "reply"):
            if (session, ask_id) in wanted:
                found[session, ask_id] = messages.reply_from(bytes(reply))
    return found


_counted: tuple[float, int] = (float("-inf"), 1)
_checked_at = float("-inf")


def _pods(now_ms: int) -> int:
    """How many pods hold leases, as of a moment ago."""
    global _counted
    if time.monotonic() - _counted[0] > COUNTED_EVERY_S:
        alive = LeaseSession.objects.filter(state=SessionState.OPEN, expires_ms__gt=now_ms).count()
        _counted = (time.monotonic(), max(1, alive))
    return _counted[1]


def _look_for_problems(unit: Unit) -> None:
    """Never an exception: requests go on, somebody has to look."""
    global _checked_at
    if time.monotonic() - _checked_at < CHECKED_EVERY_S:
        return
    _checked_at = time.monotonic()
    for problem in unit.lessor.problems():
        raise_alarm(problem)
