"""What one process is made of: collaborators (`ports.py`), limits, and `Pod`, which holds them all."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dataplane.core.money.estimates import OutputEstimates
from dataplane.core.money.hidden_output import WritingSpeeds
from dataplane.core.request_ids import RequestIds
from dataplane.proxy.client.connection import Crowd
from dataplane.proxy.client.door import Room
from dataplane.proxy.life import Life, OpenExchanges, Phase
from dataplane.proxy.limits import Limits
from dataplane.proxy.ports import Configuration, Holds, Journal, Telemetry
from dataplane.proxy.provider.gate import Gate, Resolver, client_tls, resolve
from dataplane.proxy.provider.pool import Pool
from dataplane.proxy.provider.strict import StrictProviders
from dataplane.proxy.repeats import Repeats
from dataplane.proxy.turns import Turns


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time and randomness come from; `wall_ms` never goes back. In a process, the link's; tests bring theirs."""

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
    request_ids: RequestIds
    upstreams: Pool
    connections: Crowd
    exchanges: OpenExchanges
    estimates: OutputEstimates
    speeds: WritingSpeeds
    strict: StrictProviders
    repeats: Repeats
    bodies: Room
    turns: Turns
    life: Life
    began: float  # monotonic
    scrape: Callable[[], Awaitable[bytes]]  # the text of /metrics, of all workers where there are several

    def uptime_s(self) -> int:
        return int(self.clock.monotonic() - self.began)

    def checks(self) -> dict[str, str]:
        """What keeps this pod from being sent traffic; "ok" where nothing does."""
        starting = self.life.phase is Phase.STARTING
        checks = {
            "started": "starting" if starting else "ok",
            "accepting": "draining" if self.life.ending else "ok",
            "configuration": "ok" if self.configuration.fresh(0) else "stale",
        }
        if self.life.network:
            reached = all(words == "ok" for words in self.life.network.values())
            checks["network"] = "ok" if reached else "not reached yet"
        if problem := self.holds.problem():
            checks["budgets"] = problem
        return checks

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
        session_id: str = "",
        resolver: Resolver = resolve,
        scrape: Callable[[], Awaitable[bytes]] | None = None,
    ) -> Pod:
        """`tls`: how providers' certificates are checked (default: `client_tls()`). `session_id`: the journal's.
        `scrape`: default, this pod's."""

        async def own() -> bytes:
            return telemetry.exposition()

        clock = clock or Clock()
        bodies = Room(limits.bodies_bytes)
        gate = Gate(tls or client_tls(), limits.connect_s, resolver)
        return cls(
            version=version,
            limits=limits,
            configuration=configuration,
            journal=journal,
            holds=holds,
            telemetry=telemetry,
            clock=clock,
            request_ids=RequestIds(session_id, int.from_bytes(clock.random(3))),
            upstreams=Pool(gate, limits, clock.monotonic),
            connections=Crowd(bodies),
            exchanges=OpenExchanges(telemetry.open_exchanges),
            estimates=OutputEstimates(),
            speeds=WritingSpeeds(),
            strict=StrictProviders(clock.monotonic),
            repeats=Repeats(clock.monotonic),
            bodies=bodies,
            turns=Turns(clock.monotonic),
            life=Life(),
            began=clock.monotonic(),
            scrape=scrape or own,
        )
