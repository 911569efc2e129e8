"""How long a process waits for PostgreSQL, and what one piece of work has left of it.

The server ends a statement that takes too long. That is worth nothing when the server is gone, or when a proxy between
has taken the question and nobody answers: so the client keeps the same time, and a little more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final

WAITS: Final = "waits"  # the name in Django's OPTIONS of a database
GRACE_S: Final = 2.0  # how much later than the server the client gives up
CHECK_S: Final = 1.0  # for the answer of a connection that is asked whether it lives
CONNECT_S: Final = 5.0  # for the answer to what a new connection is told first
IDLE_IN_TRANSACTION_MS: Final = 60_000

# What libpq is told unless the URL says otherwise. A host that is gone acknowledges nothing: its connections end in
# about ten seconds, where TCP by itself takes a quarter of an hour, and two hours where nobody asks anything.
NETWORK: Final = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


@dataclass(frozen=True, slots=True)
class Waits:
    """Of one process. Milliseconds; 0: without an end. `shared`: a pooler lends a connection for one transaction."""

    statement_ms: int
    lock_ms: int = 0
    pooling: str = "none"

    @property
    def answer_s(self) -> float:
        """How long the client waits for one answer."""
        return self.statement_ms / 1000 + GRACE_S if self.statement_ms else float("inf")

    @property
    def shared(self) -> bool:
        return self.pooling == "transaction"

    def statements(self) -> str:
        """What a new connection is told. By SET, since poolers refuse what comes as startup options."""
        settings = {
            "statement_timeout": self.statement_ms,
            "lock_timeout": self.lock_ms,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
        }
        return "; ".join(f"SET {name} = {value}" for name, value in settings.items())


def shorten(database: dict[str, Any], *, connection_s: float, statement_ms: int, lock_ms: int) -> None:
    """Shorten the waits in Django's settings of a PostgreSQL database, before its first connection."""
    options = database["OPTIONS"]
    options["pool"] = {**options["pool"], "timeout": connection_s}
    before: Waits = options[WAITS]
    statement = min(before.statement_ms or statement_ms, statement_ms)
    options[WAITS] = replace(before, statement_ms=statement, lock_ms=lock_ms)


class Patience:
    """What a piece of work may still wait: for connections, all in all; and until when for anything."""

    def __init__(self, connection_s: float, ends: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection_s = connection_s
        self._ends = ends
        self._clock = clock

    @property
    def left_s(self) -> float:
        return self._ends - self._clock()

    @property
    def connection_s(self) -> float:
        return min(self._connection_s, self.left_s)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For a connection."""
        began = self._clock()
        try:
            yield
        finally:
            self._connection_s -= self._clock() - began


_ENDLESS: Final = Patience(float("inf"), float("inf"))
_current: ContextVar[Patience] = ContextVar("patience", default=_ENDLESS)


def patience() -> Patience:
    return _current.get()


@contextmanager
def within(seconds: float, connection_s: float) -> Iterator[None]:
    """Whatever is waited for inside comes within `seconds`; connections take `connection_s` of it in all."""
    token = _current.set(Patience(connection_s, time.monotonic() + seconds))
    try:
        yield
    finally:
        _current.reset(token)
