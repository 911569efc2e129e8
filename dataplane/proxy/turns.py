"""Long work on bodies, a step per turn of the loop: keys take turns, and of one key one body goes after another.

A body of 30 MB is a hundred steps of a millisecond. Between two of them everything else that is due goes on, and for as
long as a step took, so that half of the core at least is everybody's, whatever one key sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from dataplane.proxy.round_robin import RoundRobin

_LEAST_REST_S: Final = 0.002  # the clock of the loop counts milliseconds

T = TypeVar("T")
Steps = Generator[None, None, T]


class _Work:
    """A body's, and who waits for what comes of it."""

    __slots__ = ("result", "steps")

    def __init__(self, steps: Steps[Any], result: asyncio.Future[Any]) -> None:
        self.steps = steps
        self.result = result

    def step(self) -> bool:
        """False: it has ended."""
        if self.result.done():  # nobody waits for it any more
            self.steps.close()
            return False
        try:
            next(self.steps)
        except StopIteration as end:
            self.result.set_result(end.value)
        except Exception as error:  # noqa: BLE001  it is whose who waits
            self.result.set_exception(error)
        return not self.result.done()


class Turns:
    """One step at a time for the whole pod. What takes a single one waits only where others do."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._owed_s = 0.0  # of rest
        self._waiting = RoundRobin[str, _Work]()

    async def take(self, key_id: str, steps: Steps[T]) -> T:
        """What the steps return. Raises what they raise."""
        if not self._waiting:
            try:
                next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._next)
        self._waiting.add(key_id, _Work(steps, result))
        try:
            return await result
        finally:
            steps.close()  # whoever is stopped where he waits lets go of his body at once

    def _next(self) -> None:
        began = self._monotonic()
        key_id, work = self._waiting.take()
        if work.step():
            self._waiting.put_back(key_id, work)
        self._owed_s += self._monotonic() - began
        if self._waiting:
            rest, self._owed_s = (self._owed_s, 0.0) if self._owed_s >= _LEAST_REST_S else (0.0, self._owed_s)
            asyncio.get_running_loop().call_later(rest, self._next)
