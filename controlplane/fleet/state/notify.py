"""Notifications: tell a replica that a change set has committed, and the Hold calls that money is recalled. Hints
only; the replica's own poll finds everything too.

PostgreSQL: LISTEN on a connection of its own, outside every pool, made anew whenever it breaks or is silent. SQLite,
and a pooler that lends its connections for one transaction: a short poll.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import psycopg
from django.db import connection
from psycopg import sql

from controlplane.changes.change_set import CHANNEL
from controlplane.connections import listen_settings
from controlplane.environment import environment
from controlplane.fleet.state import recalls
from controlplane.fleet.state.replica import POLL_S
from controlplane.postgresql.connection import Silence, SilentDatabase, until
from controlplane.postgresql.waits import CHECK_S, WAITS, Waits
from dataplane.core.money.messages import AccountRef

log = logging.getLogger(__name__)
Result = TypeVar("Result")

SHORT_POLL_S = 0.2
RECONNECT_S = 0.5
QUIET_S = 10.0  # how long a connection may be silent before it is asked whether it lives


def poll_s() -> float:
    """How often a replica reads without being told."""
    return POLL_S if _listening() else SHORT_POLL_S


def _listening() -> bool:
    if connection.vendor != "postgresql":
        return False
    waits: Waits = connection.settings_dict["OPTIONS"][WAITS]
    return not waits.shared or bool(environment().listen_database_url.get_secret_value())


class Listener(psycopg.AsyncConnection[Any]):
    """Closes itself when nothing is heard for longer than it is left in peace."""

    async def wait(self, gen: Generator[Any, Any, Result], *args: Any, **named: Any) -> Result:
        """Raises SilentDatabase."""
        try:
            return await super().wait(until(gen, time.monotonic() + QUIET_S + CHECK_S), *args, **named)
        except Silence:
            self.pgconn.finish()
            raise SilentDatabase("the connection for notifications is silent") from None


async def listen(wake: Callable[[], None], recalled: Callable[[str, Sequence[AccountRef]], None]) -> None:
    """Wake the replica at every commit, pass on every recall. Returns at once where the database cannot notify."""
    if not _listening():
        return
    parameters = _connection_parameters()
    while True:
        try:
            async with await Listener.connect(autocommit=True, **parameters) as listener:
                for channel in (CHANNEL, recalls.CHANNEL):
                    await listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                wake()  # for what was missed while nobody listened
                while True:
                    async for notification in listener.notifies(timeout=QUIET_S):
                        if notification.channel == recalls.CHANNEL:
                            recalled(*recalls.parse(notification.payload))
                        else:
                            wake()
                    await listener.execute("SELECT 1")
        except (psycopg.Error, OSError) as problem:
            log.warning("fleet_listener_lost %s: %s", type(problem).__name__, problem)
            await asyncio.sleep(RECONNECT_S)


def _connection_parameters() -> dict[str, Any]:
    """What Django connects with, without what only means something to its own connections; or a way of its own."""
    own = listen_settings(environment())
    if own:
        return {**own, "client_encoding": "UTF8"}
    parameters = connection.get_connection_params()
    ours = (
        "cursor_factory",
        "context",
        "prepare_threshold",
        "server_side_binding",
        "isolation_level",
        "assume_role",
    )
    return {name: value for name, value in parameters.items() if name not in ours}
