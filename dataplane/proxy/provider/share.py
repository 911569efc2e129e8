"""The share of the loop that dear bytes have: a quarter of a core for all of them together, whoever sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Final

from dataplane.proxy.round_robin import RoundRobin

REST: Final = 3  # times what the bytes took belong to everybody else
STEP_BYTES: Final = 1024  # of the worst bytes 0.5 ms
MOST_STEP_BYTES: Final = 4 * 1024  # where the ones before were cheap
STEPS_OF_DOUBT: Final = 16  # a connection that had dear bytes goes on like that for so many cheap steps
_LEAST_REST_S: Final = 0.002  # the clock of the loop counts milliseconds


class Share:
    """Of one loop: one step at a time, owners in turn, and behind what steps took a rest of three times as long."""

    __slots__ = ("_clock", "_owed_s", "_scheduled", "_waiting")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._owed_s = 0.0  # of rest
        self._waiting = RoundRobin[Hashable, Callable[[], None]]()
        self._scheduled = False

    def wait(self, whose: Hashable, step: Callable[[], None]) -> None:
        """Calls `step` when it is its turn: of one owner, first come first served."""
        self._waiting.add(whose, step)
        if not self._scheduled:
            self._rest()

    def owes(self, seconds: float) -> None:
        """Dear bytes took so long before anybody knew that they are."""
        self._owed_s += REST * seconds
        if not self._scheduled:
            self._rest()

    def _rest(self) -> None:
        """Then it goes on."""
        self._scheduled = True
        loop = asyncio.get_running_loop()
        if self._owed_s < _LEAST_REST_S:
            loop.call_soon(self._next)
        else:
            rest, self._owed_s = self._owed_s, 0.0
            loop.call_later(rest, self._next)

    def _next(self) -> None:
        if not self._waiting:
            self._scheduled = False
            return
        _, step = self._waiting.take()
        began = self._clock()
        try:
            step()
        finally:
            self._owed_s += REST * (self._clock() - began)
            self._rest()
