"""A pod at its sockets: listening, the one sweep per second, and the way out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome
from dataplane.proxy import cuts, pipeline
from dataplane.proxy.client.connection import ClientConnection
from dataplane.proxy.client.conversation import patience
from dataplane.proxy.client.door import Door
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.life import Phase
from dataplane.proxy.pod import Pod
from dataplane.proxy.tls import Arriving, Terms
from dataplane.telemetry import logs
from dataplane.telemetry.tasks import spawn

_BACKLOG = 4096  # a burst of CLIs waits in the kernel; those beyond it try again after a second, and then three
_ACCEPTED_AT_ONCE = 16  # per turn of the loop; a turn of a busy pod takes 10 ms
_SWEEP_S = 1.0


class Server:
    """`listen`, then `started` once the pod may be sent traffic; `drain` is all that SIGTERM asks for."""

    def __init__(self, pod: Pod, renew: Callable[[], object] = lambda: None) -> None:
        """`renew`: called once per second, for what may have changed on disk."""
        self.pod = pod
        self._renew = renew
        self._servers: list[asyncio.Server] = []
        self._patience = patience(pod.limits)
        self._sweeper: asyncio.Task[None] | None = None
        pod.configuration.on_revoked(partial(cuts.cut_revoked, pod))
        pod.configuration.on_cut(partial(cuts.cut_by_hand, pod))

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None, *, shared: bool = False) -> int:
        """Accept clients. `shared`: with other processes on the port. Returns it, as the system chose it for 0."""
        pod = self.pod
        door = Door[Exchange](
            partial(pipeline.start, pod), partial(pipeline.turn_away, pod), pod.clock.monotonic, pod.limits.line_s
        )
        begin, reject = partial(pipeline.begin, pod, door), partial(pipeline.reject, pod)

        def connection() -> ClientConnection:
            return ClientConnection(pod.limits, pod.connections, begin, reject, ending=lambda: pod.life.ending)

        arriving: Callable[[], asyncio.Protocol] = connection
        if tls is not None:
            arriving = partial(Arriving, connection, Terms(tls, pod.limits.head_s))
        server = await asyncio.get_running_loop().create_server(
            arriving, host, port, backlog=_BACKLOG, reuse_address=True, reuse_port=shared
        )
        self._servers.append(server)
        bound = [each.getsockname()[1] for each in server.sockets]
        await self._accept_more_at_once(server, arriving)
        pod.upstreams.gate.own_ports.update(bound)
        if self._sweeper is None:
            self._sweeper = spawn(self._sweep_forever(), "sweep")
        return int(bound[0])

    async def _accept_more_at_once(self, server: asyncio.Server, arriving: Callable[[], asyncio.Protocol]) -> None:
        """libuv takes one connection per turn and listening descriptor: a busy pod would take a hundred a second.

        So the same sockets are listened on through further descriptors. Each makes a connection to an idle
        pod 5 µs dearer.
        """
        loop = asyncio.get_running_loop()
        for bound in server.sockets:
            for _ in range(_ACCEPTED_AT_ONCE - 1):
                again = socket.socket(fileno=os.dup(bound.fileno()))
                # What is accepted inherits it.
                again.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, self.pod.limits.unsent_bytes)
                self._servers.append(await loop.create_server(arriving, sock=again, backlog=_BACKLOG))

    def started(self) -> None:
        self.pod.life.enter(Phase.SERVING)

    # while it runs

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep(self.pod.clock.monotonic())
            self._renew()

    def sweep(self, now: float) -> None:
        """All timeouts of all connections; idle ones to providers; what may not go on."""
        for connection in list(self.pod.connections):
            connection.check(now, self._patience)
        self.pod.upstreams.sweep(now)
        cuts.cut_stale(self.pod)
        cuts.cut_expired(self.pod)

    # the way out

    async def drain(self) -> None:
        """Unready, a pause for the balancers, no new connections, running streams to their end or to the deadline."""
        pod, limits = self.pod, self.pod.limits
        pod.life.enter(Phase.LEAVING)
        logs.info("gateway_draining", open_exchanges=len(pod.exchanges), window_s=limits.drain_s)
        await asyncio.sleep(limits.pre_drain_s)
        pod.life.enter(Phase.DRAINING)
        for server in self._servers:
            server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.drain_s):
                await pod.exchanges.none_left()
        logs.info("gateway_shutting_down", open_exchanges=len(pod.exchanges))
        for exchange in pod.exchanges:
            exchange.cut(Refusal(Code.DRAINING, "this pod is shutting down", retry_after=1), Outcome.CUT)
        await pod.exchanges.none_left()
        await self.close()
        logs.info("gateway_stopped")

    async def close(self) -> None:
        """Every socket, now."""
        self.pod.life.enter(Phase.STOPPED)
        for server in self._servers:
            server.close()
        for connection in list(self.pod.connections):
            connection.close()
        self.pod.upstreams.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
