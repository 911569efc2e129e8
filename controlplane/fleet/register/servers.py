"""Fleet servers among themselves: each leaves a row that says by which settings it serves, and looks at the others'.

What a pod gets must not depend on which server it hangs on. Where two differ, both say so in their logs, and the fleet
page shows it; the values of secrets are never compared, only which versions there are.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Final

from django.db import Error as DatabaseProblem
from django.utils import timezone

from controlplane.environment import environment, variable_of
from controlplane.fleet.database import in_database
from controlplane.fleet.models import FleetServer

log = logging.getLogger(__name__)

SAYS_EVERY_S: Final = 10.0
SILENT_AFTER: Final = timedelta(seconds=30)  # it is no longer compared; a server that ends takes its row away
FORGOTTEN_AFTER: Final = timedelta(hours=1)


def own_settings() -> dict[str, str]:
    """What decides what pods are told, by the settings' names."""
    chosen = environment()
    return {
        variable_of("allow_private_providers"): str(chosen.allow_private_providers).lower(),
        variable_of("peppers"): _versions(chosen.pepper_keyring()),
        variable_of("root_keys"): _versions(chosen.root_keyring()),
    }


def differences(servers: Iterable[FleetServer]) -> list[str]:
    """A sentence for each setting in which they differ: who has which value."""
    by_setting: dict[str, dict[str, list[str]]] = {}
    for server in servers:
        for name, value in server.settings.items():
            by_setting.setdefault(name, {}).setdefault(value, []).append(server.name)
    return [_sentence(name, values) for name, values in sorted(by_setting.items()) if len(values) > 1]


def _sentence(name: str, values: Mapping[str, list[str]]) -> str:
    each = [f"{value or 'empty'} on {', '.join(sorted(servers))}" for value, servers in values.items()]
    return f"{name} is {'; '.join(each)}"


def living() -> list[FleetServer]:
    return list(FleetServer.objects.filter(seen_at__gt=timezone.now() - SILENT_AFTER).order_by("name"))


class Presence:
    """This server's row. `run()` keeps it and looks at the others."""

    def __init__(self, port: int) -> None:
        self.server_id = uuid.uuid4().hex
        self.name = f"{socket.gethostname()}:{port} (process {os.getpid()})"[:128]
        self._told: list[str] = []

    async def run(self) -> None:
        while True:
            with suppress(DatabaseProblem):  # it is said again
                await self.tell()
            await asyncio.sleep(SAYS_EVERY_S)

    async def tell(self) -> None:
        """Write the row; log in what the servers differ, when that has changed. Raises database errors."""
        sentences = await in_database(self._tell)
        if sentences != self._told:
            self._told = sentences
            for sentence in sentences:
                log.warning("fleet_servers_differ %s: give all of them the same", sentence)

    async def leave(self) -> None:
        with suppress(DatabaseProblem):
            await in_database(FleetServer.objects.filter(pk=self.server_id).delete)

    def _tell(self) -> list[str]:
        now = timezone.now()
        FleetServer.objects.update_or_create(
            pk=self.server_id, defaults={"name": self.name, "settings": own_settings(), "seen_at": now}
        )
        FleetServer.objects.filter(seen_at__lt=now - FORGOTTEN_AFTER).delete()
        return differences(living())


def _versions(keyring: Mapping[int, object]) -> str:
    return "versions " + ", ".join(map(str, keyring)) if keyring else ""
