"""One pod, from its settings to its last usage record; alone, or a worker among siblings."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataplane.core.endpoints import Reachable
from dataplane.host.certificate import ServerCertificate
from dataplane.host.exits import Exit
from dataplane.host.network_check import reach_all
from dataplane.host.siblings import Siblings
from dataplane.host.version import version
from dataplane.host.workers import Worker
from dataplane.link.link import Link, Status
from dataplane.proxy.life import Phase
from dataplane.proxy.limits import Limits
from dataplane.proxy.pod import Clock, Pod
from dataplane.proxy.provider.gate import http_tls, trust_authorities
from dataplane.proxy.server import Server
from dataplane.settings import Settings, named
from dataplane.telemetry import logs
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn
from dataplane.telemetry.telemetry import PodTelemetry
from dataplane.telemetry.traces import NoSpans, SpanExporter, SpanSink

if TYPE_CHECKING:
    import httpx

TELEMETRY_CLOSE_S = 5.0
COLLECTOR_TIMEOUT_S = 10.0

# An exchange makes some hundred containers and no cycles, so that the default of 700 looks through them for nothing,
# several times per request under load. Looking at 20,000 takes 0.9 ms and at five times that 5 ms (50,000: 2.5 ms,
# twenty times that: 50 ms); a whole collection over 100,000 keys takes 200 ms, unless they are frozen: 0.01 ms.
GC_THRESHOLDS = (20_000, 5, 100)

# How long the loop may wait for the interpreter while the thread that writes logs has it; Python's own 5 ms would be a
# request's latency many times over.
SWITCH_S = 0.0005


async def run(settings: Settings, collector_headers: dict[str, str], worker: Worker | None) -> int:
    """Returns an `Exit`. Raises CannotStart, or another OSError, when it cannot start."""
    sys.setswitchinterval(SWITCH_S)
    asked_to_stop, impatient = _signals()
    if worker is not None:
        await _end_with_parent(asked_to_stop)
    running = version(settings.commit)
    metrics = Metrics(running)
    telemetry = PodTelemetry(metrics, _sink(settings, collector_headers, running, metrics, lambda: _collector(pod)))
    link = Link(settings, running, metrics, lambda: _status(pod, telemetry))
    tls, certificate = http_tls(), _certificate(settings)
    siblings = None if worker is None else Siblings(worker.directory, worker.number, worker.count, telemetry.exposition)
    pod = Pod.assemble(
        version=running,
        limits=_limits(settings),
        configuration=link.configuration,
        journal=link.journal,
        holds=link.holds,
        telemetry=telemetry,
        clock=Clock(wall_ms=link.clock.wall_ms),
        session_id=link.journal.session_id,
        tls=tls,
        scrape=siblings.exposition if siblings else None,
    )
    metrics.gauge_from("upstream_connections", lambda: pod.upstreams.counts()[0], "idle")
    metrics.gauge_from("upstream_connections", lambda: pod.upstreams.counts()[1], "busy")
    server = Server(pod, certificate.renew if certificate else lambda: False)
    address = settings.listen_address

    async def listen() -> None:
        context = certificate.context if certificate else None
        with named("LISTEN", address):
            port = await server.listen(address.host, address.port, context, shared=worker is not None)
        logs.info("gateway_listening", host=address.host, port=port, version=running, tls=context is not None)

    joins_later = worker is not None and worker.again
    if not joins_later:
        await listen()
    if siblings is not None:
        await siblings.listen()
    telemetry.start()
    link.start()
    # Beside the connection to the fleet: the two take about as long.
    with named("UPSTREAM_CA", settings.upstream_ca or "the system's"):
        await asyncio.to_thread(trust_authorities, tls, str(settings.upstream_ca or ""))
    starting = spawn(_start(server, link, settings.to_be_reached, listen if joins_later else _nothing), "start")
    await asked_to_stop.wait()
    starting.cancel()
    await asyncio.wait([starting])
    await _drain(server, impatient)
    delivered = await link.close(settings.flush_s)
    await telemetry.close(TELEMETRY_CLOSE_S)
    if siblings is not None:
        siblings.close()
    return Exit.OK if delivered else Exit.UNDELIVERED


async def _nothing() -> None: ...


async def _start(
    server: Server, link: Link, to_be_reached: Sequence[Reachable], listen: Callable[[], Awaitable[None]]
) -> None:
    """Ready once there is a configuration, be it one without any keys, and the network check has passed.

    `listen`: what a worker that joins serving siblings has put off until now, so that nobody meets it before.
    """
    await reach_all(server.pod.upstreams.gate, to_be_reached, server.pod.life)
    await link.configuration.configured.wait()
    await listen()
    server.started()
    # What is alive now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    logs.info("gateway_started", revision=link.configuration.snapshot.revision)


async def _drain(server: Server, impatient: asyncio.Event) -> None:
    """SIGTERM asks for an orderly end; a second signal, for an end."""
    draining = spawn(server.drain(), "drain")
    hurrying = spawn(impatient.wait(), "impatience")
    await asyncio.wait([draining, hurrying], return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not draining.done():
        draining.cancel()
        await asyncio.wait([draining])
        await server.close()
        logs.warning("gateway_stopped", open_exchanges=len(server.pod.exchanges), hurried=True)


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    first, second = asyncio.Event(), asyncio.Event()

    def received() -> None:
        (second if first.is_set() else first).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, received)
    return first, second


def _status(pod: Pod, telemetry: PodTelemetry) -> Status:
    if pod.life.ending:
        state = "draining"
    elif pod.life.phase is Phase.STARTING:
        state = "starting"
    else:
        state = "ready" if pod.configuration.fresh(0) else "stale"
    return Status(
        state=state,
        open_exchanges=len(pod.exchanges),
        requests_total=telemetry.requests_total,
        refusals_total=telemetry.refusals_total,
        problem=pod.holds.problem(),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        body_bytes=settings.body_bytes,
        bodies_bytes=settings.bodies_bytes,
        body_s=settings.body_s,
        connections=settings.connections,
        exchanges=settings.exchanges,
        connect_s=settings.connect_s,
        first_byte_s=settings.first_byte_s,
        idle_s=settings.idle_s,
        upstream_per_host=settings.upstream_per_host,
        pre_drain_s=settings.pre_drain_s,
        drain_s=settings.drain_s,
        operators=settings.operator_networks,
    )


def _certificate(settings: Settings) -> ServerCertificate | None:
    match (settings.listen_cert, settings.listen_key):
        case (Path() as cert, Path() as key):
            with named("LISTEN_CERT", f"{cert}, with AIGATEWAY_LISTEN_KEY {key}"):
                return ServerCertificate(cert, key)
    return None


def _sink(
    settings: Settings,
    headers: dict[str, str],
    running: str,
    metrics: Metrics,
    collector: Callable[[], httpx.AsyncClient],
) -> SpanSink:
    if not settings.otlp_endpoint:
        return NoSpans()
    described = {"service.name": "aigateway", "service.version": running, "service.instance.id": settings.pod_name}
    exporter = SpanExporter(collector, settings.otlp_endpoint, headers, described, metrics)
    exporter.start()
    return exporter


def _collector(pod: Pod) -> httpx.AsyncClient:
    """Reached as providers are; the operator's own, so it may be in a private network."""
    import httpx

    from dataplane.proxy.provider.httpx_transport import PooledTransport

    transport = PooledTransport(pod.upstreams, private_network=True)
    return httpx.AsyncClient(transport=transport, timeout=COLLECTOR_TIMEOUT_S, trust_env=False)


async def _end_with_parent(asked_to_stop: asyncio.Event) -> None:
    """The parent holds the other end of our standard input for as long as it lives."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def watch() -> None:
        await reader.read()
        asked_to_stop.set()

    spawn(watch(), "parent-watch")
