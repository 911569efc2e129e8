"""A process's connections: dropped all together when one of them was silent, and never missing without a reason."""

from __future__ import annotations

import logging
from typing import Any

from psycopg_pool import ConnectionPool, PoolTimeout

from controlplane.postgresql.connection import BoundedConnection
from controlplane.postgresql.waits import CHECK_S, patience

log = logging.getLogger(__name__)


class BoundedPool(ConnectionPool[BoundedConnection]):
    def __init__(self, **options: Any) -> None:
        super().__init__(connection_class=BoundedConnection, check=check, open=False, **options)
        # Why the last attempt to connect failed, while none has succeeded since.
        self._problem = ""

    def getconn(self, timeout: float | None = None) -> BoundedConnection:
        """Raises PoolTimeout, with what stood in the way of the last attempt."""
        own, left = patience(), self.timeout if timeout is None else timeout
        seconds = max(0.0, min(left, own.connection_s))
        try:
            with own.waiting():
                return super().getconn(seconds)
        except PoolTimeout as late:
            if self._problem:
                raise PoolTimeout(f"{late}: {self._problem}") from None
            raise

    def drop(self, silent: BoundedConnection) -> None:
        """One connection was silent, and the others are likely to be: those that are idle are closed now, those that
        are in use when they come back. Once for all that were there together."""
        if getattr(silent, "_created_at", 0.0) <= self._drained_at:
            return
        log.warning("database_silent pool=%s: a connection gave no answer, all are made anew", self.name)
        self.drain()

    def _connect(self, timeout: float | None = None) -> BoundedConnection:
        try:
            connection = super()._connect(timeout)
        except Exception as problem:
            self._problem = " ".join(str(problem).split())
            raise
        self._problem = ""
        return connection


def check(connection: BoundedConnection) -> None:
    """Ask whether it lives. A second is long for nothing, and short for somebody who waits."""
    with connection.at_most(CHECK_S):
        ConnectionPool.check_connection(connection)
