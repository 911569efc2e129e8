"""One fleet process's view of the newest revision, kept level with the database.

Woken by a notification (`notify.py`) or by its own poll, it reads once and tells every session. `fresh` says whether
the newest revision was read from the primary a moment ago, on a clock that counts suspend.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from django.db import Error as DatabaseProblem

from controlplane.fleet.database import in_database
from controlplane.fleet.state.catalogue import Catalogue
from controlplane.fleet.state.reading import NotPrimary, refreshed, renew_epoch

log = logging.getLogger(__name__)

FRESH_S = 5.0  # the age of a reading that still counts; part of the proof that a revocation holds within 60 s
POLL_S = 1.0  # a lost notification costs at most this
RETRY_S = 0.2
RENEWAL_PAUSE_S = 60.0


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Unavailable(Exception):
    """The database could not be read just now."""


class Replica:
    """`run()` keeps it level; everything else is for sessions, on the same loop."""

    def __init__(self, poll_s: float = POLL_S, clock: Callable[[], float] = boottime) -> None:
        self.catalogue = Catalogue()
        self.loaded = asyncio.Event()
        self._clock = clock
        self._poll_s = poll_s
        self._read_at = float("-inf")
        self._news = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._listeners: set[Callable[[], None]] = set()
        self._renewed_at = float("-inf")

    @property
    def fresh(self) -> bool:
        return self._clock() - self._read_at <= FRESH_S

    def wake(self) -> None:
        """There may be something new."""
        self._news.set()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call it, quickly, whenever the catalogue has changed."""
        self._listeners.add(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        self._listeners.discard(listener)

    async def caught_up(self) -> None:
        """Return after a reading that began after this call. Raises Unavailable when it fails."""
        reading = asyncio.get_running_loop().create_future()
        self._waiting.append(reading)
        self.wake()
        await reading

    async def renew_epoch(self) -> None:
        """A pod holds more than the database does: everything is to be sent anew, under a new name."""
        if self._clock() - self._renewed_at < RENEWAL_PAUSE_S:
            return
        self._renewed_at = self._clock()
        await in_database(renew_epoch, self.catalogue.epoch)
        self.wake()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, []
            try:
                await self._read()
            except (DatabaseProblem, NotPrimary) as problem:
                log.warning("fleet_database_unavailable %s: %s", type(problem).__name__, problem)
                _settle(waiting, Unavailable(str(problem)))
                await asyncio.sleep(RETRY_S)
            except Exception as problem:
                # Pods stop being fresh and fail closed; the process lives to serve what it can read again.
                log.exception("fleet_reading_failed")
                _settle(waiting, Unavailable(type(problem).__name__))
                await asyncio.sleep(RETRY_S)
            else:
                _settle(waiting, None)

    async def _read(self) -> None:
        began = self._clock()
        before = (self.catalogue.epoch, self.catalogue.revision)
        news = await in_database(refreshed, self.catalogue)
        if isinstance(news, Catalogue):
            self.catalogue = news
            log.info("fleet_catalogue_loaded epoch=%s revision=%s resources=%s", news.epoch, news.revision, len(news))
        elif news.revision != self.catalogue.revision:
            self.catalogue.apply(news)
        self._read_at = began
        self.loaded.set()
        if (self.catalogue.epoch, self.catalogue.revision) != before:
            for listener in list(self._listeners):
                listener()


def _settle(waiting: list[asyncio.Future[None]], problem: Unavailable | None) -> None:
    for reading in waiting:
        if reading.done():
            continue
        if problem is None:
            reading.set_result(None)
        else:
            reading.set_exception(problem)
