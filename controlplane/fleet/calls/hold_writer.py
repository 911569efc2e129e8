"""The one writer of the books in this process: what pods say while one transaction commits is the next one.

Locking five accounts and writing them costs the same for one ask as for fifty, and the organization's account is in
all of them: one transaction at a time, with everything that has come meanwhile, is faster than many at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence

from django.db import Error as DatabaseProblem

from controlplane.budgets import answers
from controlplane.budgets.answers import Answer, PodMessage
from controlplane.fleet.database import in_database
from controlplane.fleet.state.replica import Unavailable
from dataplane.core.money.messages import AccountRef, Return

log = logging.getLogger(__name__)

MOST_LETTERS = 400  # in one transaction
MOST_AGAIN = 20  # of them decided once more after a recall: money that came back wakes everybody who waits for it
MOST_WAITING = 20_000
PATIENCE_S = 4.0  # of the database, before a letter is given up; pods wait for 5
RETRY_S = 0.1

Waiting = tuple[PodMessage, asyncio.Future[Answer], float]  # a letter, its answer, and until when it may wait


class Writer:
    """`run()` writes; `answer` waits for its letter's turn, in the order in which they came.

    Who has waited for a recall comes after who has not: a running stream's question must not wait for two hundred that
    are decided once more.
    """

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._recalling: deque[Waiting] = deque()  # their turn comes after those
        self._bell = asyncio.Event()
        self._returned: dict[AccountRef, asyncio.Event] = {}

    async def answer(self, letter: PodMessage) -> Answer:
        """Raises Unavailable when the database does not take it."""
        if len(self._waiting) + len(self._recalling) >= MOST_WAITING:
            raise Unavailable("more is asked than can be answered")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        queue = self._recalling if letter.recalls else self._waiting
        queue.append((letter, answer, loop.time() + PATIENCE_S))
        self._bell.set()
        return await answer

    async def given_back(self, refs: Iterable[AccountRef], timeout: float) -> None:
        """Until something has come back to one of the accounts, at most so many seconds."""
        events = [self._returned.setdefault(ref, asyncio.Event()) for ref in refs]
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def run(self) -> None:
        while True:
            await self._bell.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_LETTERS))]
            batch += [self._recalling.popleft() for _ in range(min(len(self._recalling), MOST_AGAIN))]
            if not (self._waiting or self._recalling):
                self._bell.clear()
            batch = [each for each in batch if not each[1].done()]  # nobody waits for what was cancelled
            if batch:
                await self._write(batch)

    async def _write(self, batch: Sequence[Waiting]) -> None:
        try:
            replies = await in_database(answers.answer, [letter for letter, _, _ in batch], trusting=True)
        except DatabaseProblem as problem:
            log.warning("budget_books_not_written letters=%s %s: %s", len(batch), type(problem).__name__, problem)
            await asyncio.sleep(RETRY_S)
            self._again(batch)
            return
        except Exception:
            log.exception("budget_letters_not_understood letters=%s", len(batch))
            for _, answer, _ in batch:
                _fail(answer, "the books could not be written")
            return
        for (letter, waiting, _), said in zip(batch, replies, strict=True):
            if not waiting.done():
                waiting.set_result(said)
            if isinstance(letter.message, Return):
                came = self._returned.pop(letter.message.account, None)
                if came is not None:
                    came.set()

    def _again(self, batch: Sequence[Waiting]) -> None:
        now = asyncio.get_running_loop().time()
        for letter, answer, until in reversed(batch):
            if now < until:
                self._waiting.appendleft((letter, answer, until))
            else:
                _fail(answer, "the database is unavailable")
        self._bell.set()


def _fail(answer: asyncio.Future[Answer], why: str) -> None:
    if not answer.done():
        answer.set_exception(Unavailable(why))
