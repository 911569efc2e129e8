"""`Link`: everything between this pod and the control plane, put together from the settings."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from dataplane.link.channel import Backoff, Certificates, Connector, Fleet
from dataplane.link.clock import FleetClock, own_wall_ms
from dataplane.link.holds import LeaseClient
from dataplane.link.replica import Replica
from dataplane.link.report import Reporter, SharedDirectory
from dataplane.link.segments import SegmentStore
from dataplane.link.session import Introduction, Session, Status
from dataplane.link.spool import MEMORY_BYTES, MemoryStore, Spool, Store, keep_synced
from dataplane.link.watch import Watch
from dataplane.settings import Settings, named
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn

_UNBOUNDED: Final = 2**62  # in a directory only bytes count

__all__ = ["Link", "Status"]


class Link:
    """`configuration`, `journal`, `holds`: the proxy's ports; `clock`: the control plane's. `start` on the loop;
    `close` delivers what is left."""

    def __init__(self, settings: Settings, version: str, metrics: Metrics, status: Callable[[], Status]) -> None:
        """`status`: what heartbeats say; `spool_records` is filled in here. Raises CannotStart for a bad spool."""
        session_id = f"ses_{os.urandom(12).hex()}"
        introduction = Introduction(
            pod_id=f"pod_{os.urandom(12).hex()}",
            session_id=session_id,
            version=version,
            name=settings.pod_name,
            address=settings.pod_address,
            started_at_ms=own_wall_ms(),
        )
        self.clock = FleetClock()
        self._segments: SegmentStore | None = None
        owner = _owner(settings)
        store: Store = MemoryStore()
        limits = {"limit_bytes": MEMORY_BYTES, "limit_records": settings.spool_memory_records}
        if settings.spool_dir is not None:
            with named("SPOOL_DIR", settings.spool_dir):
                store = self._segments = SegmentStore.create(settings.spool_dir, session_id, owner)
            limits = {"limit_bytes": settings.spool_bytes, "limit_records": _UNBOUNDED}
        self.journal = Spool(store, session_id, metrics, **limits)
        shared = SharedDirectory(settings.spool_dir, owner) if settings.spool_dir is not None else None
        self._reporter = Reporter(introduction.pod_id, self.journal, shared, metrics, Backoff(random.random))
        session = Session(
            Replica(),
            introduction,
            status=lambda: replace(status(), spool_records=self.journal.pending),
            jitter=random.random,
            clock=self.clock,
        )
        self.holds = LeaseClient(
            introduction.pod_id,
            lambda: f"lse_{os.urandom(12).hex()}",
            metrics,
            Backoff(random.random),
            fleet_clock=self.clock,
        )
        self.configuration = Watch(session, _connector(settings), self._talk, metrics)
        self.configuration.on_applied(self.holds.configured)
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks.append(spawn(self.configuration.run(), "link"))
        if self._segments is not None:
            self._tasks.append(spawn(keep_synced(self._segments, self._metrics), "spool-sync"))

    async def _talk(self, fleet: Fleet) -> None:
        """What runs beside Watch on every connection."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reporter.run(fleet), name="report")
            group.create_task(self.holds.run(fleet), name="holds")

    async def close(self, flush_s: float) -> bool:
        """Deliver, then hang up. Whether the control plane has every record, or the disk keeps the others."""
        delivered = await self._reporter.flush(flush_s)
        await self.holds.close()
        await self.configuration.take_leave()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._reporter.close()
        if self._segments is None:
            return delivered
        if delivered:
            self._segments.remove()
        else:
            self._segments.close()
        return True


def _owner(settings: Settings) -> str:
    """What the processes of one pod have in common, however often they start: their certificate. Raises CannotStart."""
    if settings.fleet_cert is None:
        return ""
    with named("FLEET_CERT", settings.fleet_cert):
        return hashlib.sha256(settings.fleet_cert.read_bytes()).hexdigest()


def _connector(settings: Settings) -> Connector:
    certificates: Certificates | None = None
    match (settings.fleet_ca, settings.fleet_cert, settings.fleet_key):
        case (Path() as ca, Path() as cert, Path() as key):
            certificates = Certificates(ca, cert, key)
    return Connector([str(address) for address in settings.fleet_addresses], certificates, settings.fleet_server_name)
