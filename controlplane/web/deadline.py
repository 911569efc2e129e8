"""A request's time with the database: whoever waits longer is answered 503 while somebody still listens.

`bound()` makes every single wait short: for a lock, for a statement; and for connections their sum. `Deadline` makes
the sum of everything short, and ends a request's time when the database has failed it once. What streams after the
answer has begun is not bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
from django.db import Error as DatabaseProblem
from django.db import connections

from controlplane.postgresql.waits import WAITS, Waits, shorten, within
from controlplane.rest.busy import OutOfTime, busy

ANSWER_S = 18.0  # clients and proxies commonly give up after 20
STATEMENT_S = 15.0  # so long may one take that begins at once; one that begins late gets what is left
LEAST_S = 0.05
LATER_S = 1.0
TIMEOUT = "SELECT set_config('statement_timeout', %s, false)"
UNDO_S = 1.0  # a connection that does not take that is given up
LONGEST_WAIT_S = 8.0  # that `bound` is asked for
SQLITE_STEPS = 50_000  # of its virtual machine between two looks at the clock: about a millisecond


def bound(database: dict[str, Any], *, wait_s: float) -> None:
    """Shorten the waits in Django's settings of a database, before the first connection."""
    options = database["OPTIONS"]
    if database["ENGINE"].endswith("sqlite3"):
        options["timeout"] = wait_s
        return
    shorten(database, connection_s=wait_s, statement_ms=int(STATEMENT_S * 1000), lock_ms=int(wait_s * 1000))


class Deadline:
    """Stands around every statement (Django's `execute_wrapper`) of one request."""

    def __init__(self, seconds: float = ANSWER_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + seconds
        self._changed: dict[int, tuple[Any, Any]] = {}  # Django's connection and the driver's, by the driver's identity

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith(("ROLLBACK", "RELEASE")):
            return execute(sql, params, many, context)  # of a savepoint: gives back, asks for nothing
        connection = context["connection"]
        left = self._ends - self._clock()
        if left <= self._needed(connection, sql):
            raise OutOfTime("the request's time with the database is over")
        if connection.vendor == "sqlite":
            if self._is_new(connection):
                connection.connection.set_progress_handler(self._is_over, SQLITE_STEPS)
        elif left < STATEMENT_S and not waits_of(connection).shared:  # a shared session would keep it for others
            self._is_new(connection)
            connection.connection.execute(TIMEOUT, [str(int(left * 1000))])
        try:
            return execute(sql, params, many, context)
        except DatabaseProblem as error:
            if busy(error):
                self._ends = self._clock()  # whatever the request tries next would wait in vain again
            raise

    def _needed(self, connection: Any, sql: str) -> float:
        """SQLite's wait for the one writer cannot be cut short, so it has to fit in."""
        if connection.vendor != "sqlite" or sql.startswith("SELECT"):
            return LEAST_S
        return min(float(connection.settings_dict["OPTIONS"].get("timeout", LEAST_S)), LONGEST_WAIT_S)

    def _is_over(self) -> bool:
        """SQLite has no timeout of statements, but asks now and then whether to go on."""
        return self._clock() >= self._ends

    def _is_new(self, connection: Any) -> bool:
        """Note that it is changed; whether it was not before."""
        driver = connection.connection
        if id(driver) in self._changed:
            return False
        self._changed[id(driver)] = (connection, driver)
        return True

    def undo(self) -> None:
        """The connection serves others afterwards."""
        for connection, driver in self._changed.values():
            if driver is not connection.connection:
                continue  # closed meanwhile
            if connection.vendor == "sqlite":
                driver.set_progress_handler(None, 0)
            else:
                # A failed transaction takes the setting back; a lost connection ends.
                with within(UNDO_S, UNDO_S), suppress(psycopg.Error):
                    driver.execute(TIMEOUT, [str(waits_of(connection).statement_ms)])
        self._changed.clear()


def waits_of(connection: Any) -> Waits:
    waits: Waits = connection.settings_dict["OPTIONS"][WAITS]
    return waits


@contextmanager
def deadline(seconds: float = ANSWER_S) -> Iterator[None]:
    ends = Deadline(seconds)
    pool = connections.settings["default"]["OPTIONS"].get("pool", {})
    with ExitStack() as stack:
        # The server is a little earlier: it knows what it was doing.
        stack.enter_context(within(seconds + LATER_S, pool.get("timeout", float("inf"))))
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(ends))
        try:
            yield
        finally:
            ends.undo()
