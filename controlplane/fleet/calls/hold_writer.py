"""The one writer of accounts and leases in this process: what pods say while a transaction commits is in the next.

Locking five accounts and writing them costs the same for one ask as for fifty, and the organization's account is in
all of them: one transaction at a time, with everything that has come meanwhile, is faster than many at once.

What somebody else holds for long, a person with a console or a migration, holds up only the messages about it: the
others are decided without those rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence

from django.db import Error as DatabaseProblem

from controlplane.budgets import answers
from controlplane.budgets.answers import Answer, PodMessage
from controlplane.budgets.statements import Locks, is_locked
from controlplane.fleet.database import in_database
from controlplane.fleet.state.replica import Unavailable
from dataplane.core.money.messages import AccountRef, Ask, Return

log = logging.getLogger(__name__)

MOST_MESSAGES = 400  # in one transaction
MOST_AGAIN = 20  # of them decided once more after a recall: money that came back wakes all that wait for it
MOST_WAITING = 20_000
PATIENCE_S = 4.0  # of the database, before a message is given up; pods wait for 5
RETRY_S = 0.1
GIVE_UP_S = 5.0  # a database that is silent meanwhile is taken for lost
SKIP_S = 1.0  # so long nobody waits for locks again after somebody waited in vain
LOCKED_S = 1.5  # that a message waits for a row that somebody else holds; then its pod hears that nothing is decided

Waiting = tuple[PodMessage, asyncio.Future[Answer], float]  # a message, its answer, and until when it may wait


class HoldWriter:
    """`run()` writes; `answer` waits for its message's turn, in the order in which they came.

    What has waited for a recall comes after what has not: a running stream's question must not wait for two hundred
    that are decided once more.
    """

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._recalling: deque[Waiting] = deque()  # their turn comes after those
        self._wake = asyncio.Event()
        # They wait for a row that somebody else holds.
        self._locked: list[Waiting] = []
        self._skip_until = float("-inf")
        self._left_alone: set[str] = set()  # lease sessions that were told that nothing is decided
        self._returned: dict[AccountRef, asyncio.Event] = {}

    async def answer(self, message: PodMessage) -> Answer:
        """Raises Unavailable when the database does not take it."""
        if len(self._waiting) + len(self._recalling) + len(self._locked) >= MOST_WAITING:
            raise Unavailable("more is asked than can be answered")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        queue = self._recalling if message.recalls else self._waiting
        queue.append((message, answer, loop.time() + PATIENCE_S))
        self._wake.set()
        return await answer

    async def given_back(self, refs: Iterable[AccountRef], timeout: float) -> None:
        """Returns when something has come back to one of the accounts, or after `timeout` seconds."""
        events = [self._returned.setdefault(ref, asyncio.Event()) for ref in refs]
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_MESSAGES))]
            batch += [self._recalling.popleft() for _ in range(min(len(self._recalling), MOST_AGAIN))]
            if not (self._waiting or self._recalling):
                self._wake.clear()
            batch = [each for each in batch if not each[1].done()]  # nobody waits for what was cancelled
            if batch:
                await self._write(batch)

    async def _write(self, batch: Sequence[Waiting]) -> None:
        now = asyncio.get_running_loop().time
        locks = Locks.SKIP if now() < self._skip_until else Locks.SHORT
        messages = [message for message, _, _ in batch]
        try:
            alone = self._left_alone.intersection(message.session_id for message in messages)
            replies = await in_database(answers.answer, messages, locks, alone, trusting=True, within_s=GIVE_UP_S)
        except DatabaseProblem as problem:
            if locks is Locks.SHORT and is_locked(problem):
                log.warning("budget_rows_locked messages=%s: the rest is decided without them", len(batch))
                self._skip_until = now() + SKIP_S
                self._again(batch)
                return
            # Nothing was done: the same once more, while anybody waits for it.
            log.warning("budget_messages_not_written messages=%s %s: %s", len(batch), type(problem).__name__, problem)
            await asyncio.sleep(RETRY_S)
            self._again(batch)
            return
        except Exception:
            # A defect of ours, which comes again with the same messages: their pods hear of it at once.
            log.exception("budget_messages_not_answered messages=%s", len(batch))
            for _, answer, _ in batch:
                _fail(answer, "the answer could not be written")
            return
        for waiting, reply in zip(batch, replies, strict=True):
            message, answer, _ = waiting
            if isinstance(reply, answers.Locked):
                self._held_up(waiting)
                continue
            self._left_alone.discard(message.session_id)
            if not answer.done():
                answer.set_result(reply)
            if isinstance(message.content, Return):
                returned = self._returned.pop(message.content.account, None)
                if returned is not None:
                    returned.set()

    def _held_up(self, waiting: Waiting) -> None:
        message, answer, until = waiting
        loop = asyncio.get_running_loop()
        if loop.time() < until - PATIENCE_S + LOCKED_S:
            if not self._locked:
                loop.call_later(RETRY_S, self._try_locked)
            self._locked.append(waiting)
        elif isinstance(message.content, Ask | Return):
            if isinstance(message.content, Ask):
                self._left_alone.add(message.session_id)
            if not answer.done():
                answer.set_result(answers.undecided(message.content))
        else:
            _fail(answer, "the pod's lease session is locked in the database")

    def _try_locked(self) -> None:
        self._waiting.extend(self._locked)
        self._locked.clear()
        self._wake.set()

    def _again(self, batch: Sequence[Waiting]) -> None:
        now = asyncio.get_running_loop().time()
        for message, answer, until in reversed(batch):
            if now < until:
                self._waiting.appendleft((message, answer, until))
            else:
                _fail(answer, "the database is unavailable")
        self._wake.set()


def _fail(answer: asyncio.Future[Answer], why: str) -> None:
    if not answer.done():
        answer.set_exception(Unavailable(why))
