"""The one way from the event loop to the database: a thread pool whose connections are looked after.

Django's own async calls share one thread, and outside of HTTP requests nothing returns a connection or replaces one
that the server has closed. `in_database` does both around every unit of work, and no unit waits for ever.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from django.db import close_old_connections, connection, connections, transaction

from controlplane.postgresql.waits import shorten, within

TRUSTED_S = 5.0
CONNECTION_S = 3.0  # that a unit waits for a connection: what asks, asks again
STATEMENT_S = 15.0  # a dead connection is given up 2 s later, long before pods count 45 s without us
LOCK_S = 3.0
THREADS = 8  # 8 queries of 50 ms took 105 ms on 8 threads, 427 ms on one

Result = TypeVar("Result")
_served = threading.local()  # when this thread's connection served last
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="database")


def bound() -> None:
    """Shorten this process's waits, before its first connection."""
    if connection.vendor == "postgresql":
        shorten(
            connections.settings["default"],
            connection_s=CONNECTION_S,
            statement_ms=int(STATEMENT_S * 1000),
            lock_ms=int(LOCK_S * 1000),
        )


async def in_database(
    work: Callable[..., Result], *args: object, trusting: bool = False, within_s: float = float("inf")
) -> Result:
    """Run one unit of work in a thread. What it raises is raised here; the next unit gets a sound connection.

    `trusting`: a connection that served a moment ago is not asked first whether it still does, which costs a round
    trip. For callers that try again. `within_s`: when the database has not answered by then, it is a lost connection.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool, _unit, work, args, trusting, within_s)


def _unit(work: Callable[..., Result], args: tuple[object, ...], trusting: bool, within_s: float) -> Result:
    close_old_connections()
    if trusting and time.monotonic() - getattr(_served, "at", float("-inf")) < TRUSTED_S:
        connection.health_check_done = True  # type: ignore[attr-defined]
    _served.at = float("-inf")
    try:
        with within(within_s, within_s):
            result = work(*args)
        _served.at = time.monotonic()
        return result
    finally:
        close_old_connections()


@contextmanager
def one_moment() -> Iterator[None]:
    """Everything read inside is of one moment, between the same two commits. Reading only."""
    if connection.in_atomic_block:
        raise transaction.TransactionManagementError("one_moment() must be the outermost transaction")
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
        return
    # `atomic()` would take SQLite's write lock (transaction_mode IMMEDIATE); in WAL a deferred reader blocks nobody.
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
