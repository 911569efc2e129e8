"""What one process is made of: collaborators (as protocols), limits, and `Pod`, which holds them all."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dataplane.core.money.estimates import OutputEstimates
from dataplane.core.secret import Secret
from dataplane.core.snapshot import Snapshot
from dataplane.core.usage import UsageRecord
from dataplane.proxy.client.connection import ClientConnection
from dataplane.proxy.client.door import Room
from dataplane.proxy.life import Life, OpenExchanges, Phase
from dataplane.proxy.limits import Limits
from dataplane.proxy.ports import Holds
from dataplane.proxy.provider.gate import Gate, Resolver, client_tls, resolve
from dataplane.proxy.provider.pool import Pool
from dataplane.proxy.repeats import Repeats

__all__ = ["Clock", "Configuration", "Holds", "Journal", "Limits", "Pod", "Telemetry"]


class Configuration(Protocol):
    """What the control plane decided, as far as this pod knows."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def peppers(self) -> Mapping[int, Secret]: ...

    def fresh(self, bound_ms: int) -> bool:
        """Was the configuration known to be the newest less than `bound_ms` ago (0: the default bound)?"""
        ...

    async def learn(self, public_id: str) -> bool:
        """Ask the control plane for a key minted a moment ago. False: there is none. Raises Refusal if nobody knows."""
        ...

    def on_revoked(self, callback: Callable[[frozenset[str], bool], None]) -> None:
        """`callback(key ids, cut their running streams?)` after each revision that stopped keys."""
        ...


class Journal(Protocol):
    """Usage records on their way to the ledger."""

    def admit(self, record: UsageRecord) -> None:
        """Written when it returns: the record changes afterwards. Raises Refusal(SPOOL_FULL)."""
        ...

    def settle(self, record: UsageRecord) -> None:
        """Written when it returns; never raises."""
        ...


class Telemetry(Protocol):
    """Metrics, access log, spans."""

    def finished(self, record: UsageRecord, overhead_us: int) -> None:
        """Once per exchange, refused ones included (unauthenticated: empty ids). `overhead_us`: the pod's own time."""
        ...

    def open_exchanges(self, count: int) -> None: ...

    def exposition(self) -> bytes:
        """This process's figures, as Prometheus wants them."""
        ...


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time and randomness come from; tests bring their own."""

    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[int], bytes] = os.urandom


@dataclass(frozen=True, slots=True)
class Pod:
    """Everything that the life of a request needs. `assemble` makes one."""

    version: str
    limits: Limits
    configuration: Configuration
    journal: Journal
    holds: Holds
    telemetry: Telemetry
    clock: Clock
    upstreams: Pool
    connections: set[ClientConnection]
    exchanges: OpenExchanges
    estimates: OutputEstimates
    repeats: Repeats
    bodies: Room
    life: Life
    began: float  # monotonic
    scrape: Callable[[], Awaitable[bytes]]  # the text of /metrics, of all workers where there are several

    def uptime_s(self) -> int:
        return int(self.clock.monotonic() - self.began)

    def checks(self) -> dict[str, str]:
        """What keeps this pod from being sent traffic; "ok" where nothing does."""
        starting = self.life.phase is Phase.STARTING
        said = {
            "started": "starting" if starting else "ok",
            "accepting": "draining" if self.life.ending else "ok",
            "configuration": "ok" if self.configuration.fresh(0) else "stale",
        }
        if self.life.network:
            reached = all(words == "ok" for words in self.life.network.values())
            said["network"] = "ok" if reached else "not reached yet"
        return said

    @classmethod
    def assemble(
        cls,
        *,
        version: str,
        limits: Limits,
        configuration: Configuration,
        journal: Journal,
        holds: Holds,
        telemetry: Telemetry,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        resolver: Resolver = resolve,
        scrape: Callable[[], Awaitable[bytes]] | None = None,
    ) -> Pod:
        """`tls`: how providers' certificates are checked (default: `client_tls()`). `scrape`: default, this pod's."""

        async def own() -> bytes:
            return telemetry.exposition()

        clock = clock or Clock()
        gate = Gate(tls or client_tls(), limits.connect_s, resolver)
        return cls(
            version=version,
            limits=limits,
            configuration=configuration,
            journal=journal,
            holds=holds,
            telemetry=telemetry,
            clock=clock,
            upstreams=Pool(gate, limits, clock.monotonic),
            connections=set(),
            exchanges=OpenExchanges(telemetry.open_exchanges),
            estimates=OutputEstimates(),
            repeats=Repeats(clock.monotonic),
            bodies=Room(limits.bodies_bytes),
            life=Life(),
            began=clock.monotonic(),
            scrape=scrape or own,
        )
