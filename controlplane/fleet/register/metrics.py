"""What one fleet server counts, and the loopback page that shows it: `/metrics` for Prometheus, `/healthz` for probes.

The documentation's table is metrics of the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from controlplane.fleet.register.revocations import RevocationTimer

PREFIX = "aigateway_"
SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 15.0, 60.0)
REQUEST_S = 5.0
LONGEST_REQUEST = 8192


class Metrics:
    """One server's own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here = self.registry
        self.apply_lag = Histogram(
            f"{PREFIX}config_apply_lag_seconds",
            "From a change's commit to a pod's acknowledgement. Seconds.",
            buckets=SECONDS,
            registry=here,
        )
        self.revocation = Histogram(
            f"{PREFIX}revocation_convergence_seconds",
            "From the commit of a change that stops keys until every pod connected here has it or is gone. Seconds.",
            buckets=SECONDS,
            registry=here,
        )
        self.pods = Gauge(
            f"{PREFIX}fleet_pods", "Pods connected here, by the state that they said last.", ["state"], registry=here
        )
        self.watches = Gauge(f"{PREFIX}fleet_watches", "Open Watch streams.", registry=here)
        self.nacks = Counter(f"{PREFIX}fleet_nacks_total", "Updates that pods refused.", registry=here)
        self.booked = Counter(
            f"{PREFIX}fleet_records_booked_total", "Usage records taken over from pods.", registry=here
        )
        self.refused = Counter(
            f"{PREFIX}fleet_batches_refused_total", "Batches of usage that could not be taken over.", registry=here
        )
        self.evicted = Counter(
            f"{PREFIX}fleet_evictions_total", "Watches that ended because of an eviction.", registry=here
        )
        self.alarms = Counter(
            f"{PREFIX}fleet_budget_alarms_total",
            "Budgets whose books do not add up: a defect, of which to tell us.",
            registry=here,
        )
        self.revocations = RevocationTimer(self.revocation.observe)

    def page(self, census: Mapping[str, int]) -> bytes:
        """`census`: connected pods by state."""
        self.pods.clear()
        for state, number in census.items():
            self.pods.labels(state).set(number)
        self.watches.set(sum(census.values()))
        return generate_latest(self.registry)


def render_table() -> str:
    """For the documentation: what a fleet server shows."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    metrics = Metrics()
    metrics.pods.labels("")
    for family in metrics.registry.collect():
        total = "_total" if family.type == "counter" else ""
        labels = "`state`" if family.name == f"{PREFIX}fleet_pods" else ""
        lines.append(f"| `{family.name}{total}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines)


class MetricsPage:
    """A GET and an answer per connection. `healthy`: whether the database was read a moment ago."""

    def __init__(self, metrics: Metrics, census: Callable[[], Mapping[str, int]], healthy: Callable[[], bool]) -> None:
        self._metrics, self._census, self._healthy = metrics, census, healthy

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Raises OSError."""
        return await asyncio.start_server(self._answer, host, port, limit=LONGEST_REQUEST)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(request.split(b" ", 2)))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # nobody to answer
        finally:
            writer.close()

    def _response(self, words: list[bytes]) -> bytes:
        match words[:2]:
            case [b"GET", b"/metrics"]:
                return _framed("200 OK", self._metrics.page(self._census()), CONTENT_TYPE_LATEST)
            case [b"GET", b"/healthz"]:
                return _framed("200 OK", b"ok\n") if self._healthy() else _framed("503 Unavailable", b"stale\n")
            case _:
                return _framed("404 Not Found", b"GET /metrics or /healthz\n")


def _framed(status: str, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body
