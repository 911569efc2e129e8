"""A running fleet server: the gRPC port, and the tasks behind it, as one thing that starts and stops."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
from django.db import Error as DatabaseProblem

from controlplane.budgets.alarms import alarms_to
from controlplane.environment import ConfigurationError, variable_of
from controlplane.fleet.calls.booking import Booking
from controlplane.fleet.calls.hold import HoldCalls
from controlplane.fleet.calls.serve import FleetServicer
from controlplane.fleet.register.metrics import MetricsPage
from controlplane.fleet.register.roster import Roster
from controlplane.fleet.register.servers import Presence
from controlplane.fleet.state import notify
from controlplane.fleet.state.replica import Replica

_FILES = ", ".join(map(variable_of, ("fleet_ca", "fleet_cert", "fleet_key")))
MESSAGE_BYTES = 4 << 20
GRACE_S = 3.0  # for streams to end after Goodbye
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 4_000),
    ("grpc.max_concurrent_streams", 32),
    ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, and says so
)


@dataclass(frozen=True)
class Identity:
    """The files of mutual TLS. They are read again whenever one has changed."""

    authority: Path
    certificate: Path
    key: Path

    def credentials(self) -> grpc.ServerCredentials:
        """Raises ConfigurationError."""
        try:
            current = self._configuration()
        except OSError as problem:
            raise ConfigurationError(f"{_FILES}: the fleet's certificate files cannot be read: {problem}") from problem
        stamp = self._stamp()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal stamp
            try:
                if (now := self._stamp()) == stamp:
                    return None
                configuration = self._configuration()
            except OSError:
                return None  # half of a renewal: the ones in use still serve
            stamp = now
            return configuration

        # The stubs do not know that None means "as before".
        return grpc.dynamic_ssl_server_credentials(current, changed, True)  # type: ignore[arg-type]

    def _stamp(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in (self.authority, self.certificate, self.key))

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], self.authority.read_bytes())


@dataclass(frozen=True)
class Running:
    """What `running` yields."""

    port: int
    replica: Replica
    roster: Roster
    servicer: FleetServicer


@asynccontextmanager
async def running(
    listen: str,
    identity: Identity | None,
    booking: Booking,
    metrics_listen: str = "",
) -> AsyncIterator[Running]:
    """Serve on `host:port` (port 0: any) from the first reading of the database on; say goodbye on leaving.

    Without `identity` the wire is plain, which only a loopback address may be. Raises ConfigurationError.
    """
    if identity is None and not is_loopback(listen):
        raise ConfigurationError(
            f"{variable_of('fleet_listen')}: without TLS the fleet listens on a loopback address only, not on {listen}"
        )
    if metrics_listen and not is_loopback(metrics_listen):
        raise ConfigurationError(
            f"{variable_of('fleet_metrics_listen')}: shown on a loopback address only, not on {metrics_listen}"
        )
    replica, roster, hold_calls = Replica(notify.poll_s()), Roster(), HoldCalls(booking.note_grown)
    servicer = FleetServicer(replica, roster, booking.book_batch, hold_calls, insecure=identity is None)
    replica.subscribe(servicer.notice)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((servicer.handlers(),))
    try:
        if identity is None:
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, identity.credentials())
    except RuntimeError as problem:
        raise ConfigurationError(f"{variable_of('fleet_listen')}: cannot listen on {listen}: {problem}") from problem
    presence = Presence(port)
    async with _shown(metrics_listen, servicer, replica), asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(presence.run()),
            tasks.create_task(replica.run()),
            tasks.create_task(roster.run()),
            tasks.create_task(hold_calls.run()),
            tasks.create_task(servicer.sweep()),
            tasks.create_task(notify.listen(replica.wake, hold_calls.recalled)),
        ]
        try:
            await replica.loaded.wait()
            await servicer.read_evictions()
            gc.freeze()  # what was read stays; a collection that looks through it holds up every pod
            await server.start()
            with alarms_to(servicer.metrics.alarms.inc):
                yield Running(port, replica, roster, servicer)
        finally:
            servicer.say_goodbye()
            await server.stop(GRACE_S)
            for task in background:
                task.cancel()
    await presence.leave()
    with suppress(DatabaseProblem):
        await roster.flush()


@asynccontextmanager
async def _shown(listen: str, servicer: FleetServicer, replica: Replica) -> AsyncIterator[None]:
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    page = MetricsPage(servicer.metrics, servicer.census, lambda: replica.fresh)
    try:
        shown = await page.start(host.strip("[]"), int(port))
    except (OSError, ValueError) as problem:
        raise ConfigurationError(
            f"{variable_of('fleet_metrics_listen')}: metrics cannot be shown on {listen}: {problem}"
        ) from problem
    async with shown:
        yield


def is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
