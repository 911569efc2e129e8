"""What a pod takes upon itself: how many requests begin at a time, how long they may wait for it, what bodies it holds.

Under more than a core can do, everything would become slow at once: streams that run, probes, and refusals too. So a
turn of the loop begins a few requests, the others wait in line, and once the first in line has waited too long whoever
comes is turned away at once, but never so many that those in line do not get on. A pod that is not overloaded begins
every request when it comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

AT_ONCE: Final = 16  # some 4 ms of work: what else is due waits no longer
# To turn one away costs a quarter of serving one. Under a flood that alone would fill the core, so for every four that
# are turned away one begins: half of what the pod can do is done, however many come.
TURNED_AWAY_PER_START: Final = 4

T = TypeVar("T")


class Door(Generic[T]):
    """`start` begins one; `turn_away` refuses one. Both are called on the loop, for each that entered exactly one."""

    def __init__(
        self,
        start: Callable[[T], object],
        turn_away: Callable[[T], object],
        monotonic: Callable[[], float],
        patience_s: float,
    ) -> None:
        self._start = start
        self._turn_away = turn_away
        self._monotonic = monotonic
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._turned_away = 0  # since the last turn
        self._begun = 0  # in this turn; unless it is 0, `_next` is called in the next one
        self._line: deque[tuple[float, T]] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def enter(self, one: T) -> None:
        if self._begun < AT_ONCE and not self._line:
            if not self._begun:
                self._loop.call_soon(self._next)
            self._begun += 1
            self._start(one)
            return
        now = self._monotonic()
        if self._line and now - self._line[0][0] > self._patience_s:
            self._turned_away += 1
            self._loop.call_soon(self._turn_away, one)
        else:
            self._line.append((now, one))

    def _next(self) -> None:
        """The next turn, for as long as there is something to begin."""
        line = self._line
        self._begun = min(max(AT_ONCE, self._turned_away // TURNED_AWAY_PER_START), len(line))
        self._turned_away = 0
        for _ in range(self._begun):
            self._start(line.popleft()[1])
        if self._begun:
            self._loop.call_soon(self._next)


class Room:
    """Bytes of request bodies that are in memory, of all exchanges together."""

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def change(self, by: int) -> bool:
        """False, and nothing happens, when it would become too much."""
        if by > 0 and self.held + by > self.most:
            return False
        self.held += by
        return True
