"""Kept-alive connections to providers: found, opened, counted, queued for, and let go."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from dataplane.core.errors import Code, Refusal
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import (
    ConnectionState,
    Response,
    Stale,
    UpstreamConnection,
    UpstreamFailure,
    UpstreamTimeout,
)
from dataplane.proxy.provider.gate import Destination, Forbidden, Gate
from dataplane.proxy.provider.reading import Reading
from dataplane.proxy.provider.yardstick import slowness


class _Host:
    """What is open to one destination, and who waits. A turn is a connection, or None for leave to open one."""

    __slots__ = ("connecting", "idle", "line", "open")

    def __init__(self) -> None:
        self.idle: list[UpstreamConnection] = []
        self.open = 0  # idle, busy and being opened
        self.connecting = 0
        self.line: deque[asyncio.Future[UpstreamConnection | None]] = deque()

    def first_in_line(self) -> asyncio.Future[UpstreamConnection | None] | None:
        while self.line:
            turn = self.line.popleft()
            if not turn.done():
                return turn
        return None


class Pool:
    """Connections by destination, which is one provider's account: so nothing that comes late, or unasked, is ever
    another account's. The most recently used first, so that idle ones age; a bounded number for each.

    A burst does not become as many handshakes: few are under way at a time, and who waits for one takes whatever comes
    first, a new connection or one that another request gives back. First come, first served.
    """

    def __init__(self, gate: Gate, limits: Limits, monotonic: Callable[[], float]) -> None:
        self.gate = gate
        self._limits = limits
        self._monotonic = monotonic
        self._reading = Reading(slowness=slowness())
        self._hosts: dict[Destination, _Host] = {}

    def counts(self) -> tuple[int, int]:
        """Idle and busy connections; those being opened are busy."""
        idle = sum(len(host.idle) for host in self._hosts.values())
        return idle, sum(host.open for host in self._hosts.values()) - idle

    async def ask(
        self, to: Destination, method: str, head: bytes, body: bytes, asking: Callable[[], None] = lambda: None
    ) -> Response:
        """One request, one answer. Raises UpstreamFailure, or Refusal when too many wait already.

        `asking` is called whenever the request is about to be written, and may refuse that. A kept-alive connection
        that was closed before the request had reached the provider is replaced once.
        """
        host = self._hosts.get(to)
        if host is None:
            host = self._hosts[to] = _Host()
        connection = _idle_one(host) or await self._connection(to, host)
        try:
            return await connection.ask(method, head, body, asking)
        except Stale:
            host = self._hosts.setdefault(to, host)
        return await (await self._connection(to, host)).ask(method, head, body, asking)

    async def _connection(self, to: Destination, host: _Host) -> UpstreamConnection:
        """A fresh one, or what is given back while that is waited for."""
        while True:
            if not host.line and self._may_open(host):
                self._take_place(host)
                return await self._connect(to, host)
            if host.idle:
                host.idle.pop(0).close()  # its place is free once the loop has told us
            turn = await self._turn(host)
            if turn is None:
                return await self._connect(to, host)
            if _fit(turn):
                return turn

    def _may_open(self, host: _Host) -> bool:
        limits = self._limits
        return host.open < limits.upstream_per_host and host.connecting < limits.upstream_connecting

    def _take_place(self, host: _Host) -> None:
        host.open += 1
        host.connecting += 1

    async def _connect(self, to: Destination, host: _Host) -> UpstreamConnection:
        """In a place that was taken before."""
        try:
            connection = await self.gate.connect(to, lambda: self._new(to))
        except BaseException as error:
            host.connecting -= 1
            self._vacate(to, host)
            match error:
                case Forbidden():
                    raise UpstreamFailure(f"the provider's address is not allowed: {error}") from None
                case TimeoutError():
                    raise UpstreamTimeout("the provider could not be connected in time") from None
                case OSError():
                    raise UpstreamFailure("the provider could not be connected") from error
            raise
        host.connecting -= 1
        self._give_places(host)
        return connection

    def _new(self, to: Destination) -> UpstreamConnection:
        return UpstreamConnection(to, self._limits, self._ended, self._reading)

    async def _turn(self, host: _Host) -> UpstreamConnection | None:
        """Wait for a connection to come back or a place to come free."""
        if len(host.line) >= self._limits.upstream_line:
            raise Refusal(Code.OVERLOADED, "too many requests wait for this provider; try again", retry_after=1)
        turn: asyncio.Future[UpstreamConnection | None] = asyncio.get_running_loop().create_future()
        host.line.append(turn)
        try:
            async with asyncio.timeout(self._limits.upstream_waiting_s):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._pass_on(host, turn.result())  # it is the next one's now
            turn.cancel()
            if isinstance(error, TimeoutError):
                raise UpstreamTimeout("all connections to the provider are in use") from None
            raise

    def _pass_on(self, host: _Host, turn: UpstreamConnection | None) -> None:
        if turn is not None:
            self._idles(host, turn)
        else:
            host.open -= 1
            host.connecting -= 1
            self._give_places(host)

    def _idles(self, host: _Host, connection: UpstreamConnection) -> None:
        turn = host.first_in_line()
        if turn is not None:
            turn.set_result(connection)
        else:
            host.idle.append(connection)

    def _give_places(self, host: _Host) -> None:
        while host.line and self._may_open(host):
            turn = host.first_in_line()
            if turn is not None:
                self._take_place(host)
                turn.set_result(None)

    def _ended(self, connection: UpstreamConnection) -> None:
        """A connection finished an exchange (idle) or is gone (closed)."""
        to = connection.destination
        host = self._hosts[to]
        if connection.state is ConnectionState.IDLE:
            connection.idle_since = self._monotonic()
            if not connection.used:
                connection.used = True
                connection.remember_session(self.gate.tls)
            self._idles(host, connection)
            return
        if connection in host.idle:
            host.idle.remove(connection)
        self._vacate(to, host)

    def _vacate(self, to: Destination, host: _Host) -> None:
        host.open -= 1
        self._give_places(host)
        if not host.open and not host.line:
            self._hosts.pop(to, None)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long; once per second."""
        for connection in list(self._expired(now)):
            connection.close()
        self._reading.sweep()

    def _expired(self, now: float) -> Iterator[UpstreamConnection]:
        for host in self._hosts.values():
            for connection in host.idle:
                if now - connection.idle_since < self._limits.upstream_idle_s:
                    break  # oldest first
                yield connection

    def close(self) -> None:
        """Close what is idle; running exchanges keep theirs."""
        for host in list(self._hosts.values()):
            for connection in list(host.idle):
                connection.close()


def _idle_one(host: _Host) -> UpstreamConnection | None:
    """Nobody stands in line while one is idle."""
    while host.idle:
        connection = host.idle.pop()
        if _fit(connection):
            return connection
    return None


def _fit(connection: UpstreamConnection) -> bool:
    """To write a request to, now. One that has something to say before it is asked is closed, unheard."""
    if not connection.alive:
        return False
    if connection.silent:
        return True
    connection.close()
    return False
