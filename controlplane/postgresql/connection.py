"""A connection that does not wait for ever: when no answer comes in time, it closes itself and says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import psycopg

from controlplane.postgresql.waits import CONNECT_S, patience

Result = TypeVar("Result")
Clock = Callable[[], float]


class SilentDatabase(psycopg.OperationalError):
    """No answer came on a connection. Whether the statement was done is not known."""


class Silence(Exception):
    """The time is over."""


class Dropping(Protocol):
    """What a connection belongs to."""

    def drop(self, silent: BoundedConnection) -> None: ...


class BoundedConnection(psycopg.Connection[Any]):
    """psycopg waits for everything in one method, and there the time is kept."""

    # For one answer. Until it is told, a new connection has little time.
    answer_s: float = CONNECT_S

    def wait(self, gen: Generator[Any, Any, Result], *args: Any, **named: Any) -> Result:
        """Raises SilentDatabase, and then the connection is closed."""
        seconds = min(self.answer_s, patience().left_s)
        try:
            return super().wait(until(gen, time.monotonic() + seconds), *args, **named)
        except Silence:
            self._give_up()
            raise SilentDatabase(f"no answer within {max(0.0, seconds):.1f} s: the connection was given up") from None

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """No answer inside takes longer."""
        usual, self.answer_s = self.answer_s, min(self.answer_s, seconds)
        try:
            yield
        finally:
            self.answer_s = usual

    def _give_up(self) -> None:
        """The socket too: a statement that still runs somewhere ends when its server finds nobody there."""
        pool: Dropping | None = getattr(self, "_pool", None)
        self.pgconn.finish()
        if pool is not None:
            pool.drop(self)


def until(
    steps: Generator[Any, Any, Result], ends: float, clock: Clock = time.monotonic
) -> Generator[Any, Any, Result]:
    """The same steps, which are woken ten times a second; past `ends`, if nothing is there, an end of them."""
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and clock() >= ends:
                raise Silence
            wanted = steps.send(ready)
    except StopIteration as done:
        result: Result = done.value
        return result
