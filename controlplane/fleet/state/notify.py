"""Notifications: tell a replica that a change set has committed, and the Hold calls that money is recalled. Hints
only; the replica's own poll finds everything too.

PostgreSQL: LISTEN on a connection of its own, outside every pool, made anew whenever it breaks. SQLite: a short poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from django.db import connection
from psycopg import sql

from controlplane.changes.change_set import CHANNEL
from controlplane.fleet.state import recalls
from controlplane.fleet.state.replica import POLL_S
from dataplane.core.money.messages import AccountRef

log = logging.getLogger(__name__)

SQLITE_POLL_S = 0.2
RECONNECT_S = 0.5
CHECK_S = 15.0  # how long a connection may be silent before it is asked whether it lives


def poll_s() -> float:
    """How often a replica reads without being told."""
    return POLL_S if connection.vendor == "postgresql" else SQLITE_POLL_S


async def listen(wake: Callable[[], None], recalled: Callable[[str, Sequence[AccountRef]], None]) -> None:
    """Wake the replica at every commit, pass on every recall. Returns at once where the database cannot notify."""
    if connection.vendor != "postgresql":
        return
    parameters = _connection_parameters()
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(autocommit=True, **parameters) as listener:
                for channel in (CHANNEL, recalls.CHANNEL):
                    await listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                wake()  # for what was missed while nobody listened
                while True:
                    async for notification in listener.notifies(timeout=CHECK_S):
                        if notification.channel == recalls.CHANNEL:
                            recalled(*recalls.parse(notification.payload))
                        else:
                            wake()
                    await listener.execute("SELECT 1")
        except (psycopg.Error, OSError) as problem:
            log.warning("fleet_listener_lost %s", type(problem).__name__)
            await asyncio.sleep(RECONNECT_S)


def _connection_parameters() -> dict[str, Any]:
    """What Django connects with, without what only means something to its own connections."""
    parameters = connection.get_connection_params()
    ours = (
        "cursor_factory",
        "context",
        "prepare_threshold",
        "server_side_binding",
        "isolation_level",
        "assume_role",
        "pool",
    )
    return {name: value for name, value in parameters.items() if name not in ours}
