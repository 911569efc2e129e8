"""Django's PostgreSQL with our pool; Django looks for a `DatabaseWrapper` in a module of this name."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base

from controlplane.postgresql.connection import BoundedConnection
from controlplane.postgresql.pool import BoundedPool
from controlplane.postgresql.waits import WAITS, Waits


class PoolerNotDeclared(psycopg.OperationalError):
    """Somebody stands between, and whether what one session is told holds for the next statement is not known."""


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def pool(self) -> BoundedPool | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if not options or self.alias == NO_DB_ALIAS:
            return None
        pools: dict[str, BoundedPool] = self._connection_pools  # type: ignore[attr-defined]
        if self.alias not in pools:
            connect = self.get_connection_params() | {"autocommit": True}
            pool = BoundedPool(kwargs=connect, configure=self._configure_connection, **options)
            pools.setdefault(self.alias, pool)  # threads may both have made one; neither is open
        return pools[self.alias]

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        parameters.pop(WAITS, None)
        return parameters

    def _configure_connection(self, connection: psycopg.Connection[Any]) -> bool:
        """The first words on every new connection."""
        configured = bool(super()._configure_connection(connection))  # type: ignore[misc]
        waits: Waits = self.settings_dict["OPTIONS"][WAITS]
        if not waits.shared:
            connection.execute(waits.statements())
        refuse_undeclared(waits.pooling, connection)
        if isinstance(connection, BoundedConnection):
            connection.answer_s = waits.answer_s
        return configured or not connection.autocommit


def refuse_undeclared(pooling: str, connection: psycopg.Connection[Any]) -> None:
    """A pooler answers with another process's number than the one that it gave at the start.

    Raises PoolerNotDeclared.
    """
    if pooling != "none":
        return
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if row is not None and row[0] != connection.info.backend_pid:
        raise PoolerNotDeclared(
            "a connection pooler stands before the database: set AIGATEWAY_DATABASE_POOLING to session or to "
            "transaction, whichever it does (deploy/reference/database.md)"
        )
