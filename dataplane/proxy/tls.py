"""TLS on a connection that is there: what waits for a peer waits in one place, and little is read ahead.

The loop's own TLS keeps bytes in four places of which it tells of one: what came (256 KB for each read), what came and
is not deciphered, what is enciphered and waits for the socket, and what the socket waits to send. So a `Layer` stands
between the socket and TLS: reads are small, and everything enciphered goes to the socket at once, which says when it is
too much. Whoever writes is told that, and asks the socket how much waits there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

from dataplane.telemetry.tasks import spawn

READ_BYTES: Final = 16 * 1024  # one record; as much stays in memory for each connection
# TLS enciphers a write in one piece, and the largest stays in memory with the connection. Only bulk is larger.
WRITE_BYTES: Final = 16 * 1024
UNDECIPHERED_BYTES: Final = 32 * 1024  # of somebody who is not listened to now
LISTEN_BYTES: Final = 20 * 1024  # when it is less, more is read: that has to be more than a record, or none would end

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Terms(NamedTuple):
    """How TLS is agreed on, within what time; `server_name`: of the server, where we are the client."""

    context: ssl.SSLContext
    patience_s: float
    server_name: str = ""


@runtime_checkable
class Secured(Protocol):
    """A protocol that wants to know of the socket below its TLS."""

    def stands_on(self, socket: asyncio.Transport) -> None:
        """Called right after `connection_made`. What waits for the other end waits there."""
        ...


class Layer(asyncio.BufferedProtocol):
    """What the socket talks to, in the place of TLS. `user` hears when it may write; `came`: has been read already."""

    def __init__(self, came: bytes) -> None:
        self.user = asyncio.BaseProtocol()
        self.agrees = True  # the handshake is under way
        self._came = came
        self._socket: asyncio.Transport  # from `step_between` on, as the next
        self._tls: asyncio.BufferedProtocol

    def step_between(self, socket: asyncio.Transport) -> None:
        self._socket = socket
        self._tls = cast(asyncio.BufferedProtocol, socket.get_protocol())
        socket.set_protocol(self)
        for piece in in_slices(self._came, READ_BYTES):
            memoryview(self._tls.get_buffer(len(piece)))[: len(piece)] = piece
            self._tls.buffer_updated(len(piece))
        self._came = b""

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._tls.get_buffer(sizehint))[:READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        self._tls.buffer_updated(nbytes)
        if self.agrees:
            # What comes behind the handshake is for a protocol that takes over in the next turn.
            self._socket.pause_reading()
            asyncio.get_running_loop().call_soon(self._socket.resume_reading)

    def eof_received(self) -> bool | None:
        return self._tls.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tls.connection_lost(exc)

    def pause_writing(self) -> None:
        self.user.pause_writing()

    def resume_writing(self) -> None:
        self.user.resume_writing()


async def secure(
    socket: asyncio.Transport,
    protocol: Callable[[], P],
    terms: Terms,
    came: bytes = b"",
) -> P:
    """The handshake; then `protocol` talks over it.

    `came`: what was read of it before. Raises OSError (which includes TLS failures); the connection is broken off then,
    as when this is cancelled.
    """
    if socket.is_closing():
        raise ConnectionAbortedError("the connection ended before the handshake")
    loop = asyncio.get_running_loop()
    layer = Layer(came)
    loop.call_soon(layer.step_between, socket)  # before anything is read
    try:
        agreed = await loop.start_tls(
            socket,
            asyncio.Protocol(),
            terms.context,
            server_side=not terms.server_name,
            server_hostname=terms.server_name or None,
            ssl_handshake_timeout=terms.patience_s,
        )
        transport = cast(asyncio.Transport, agreed)
        if transport.is_closing():
            raise ConnectionAbortedError("the connection ended during the handshake")
    except BaseException:
        socket.abort()
        raise
    transport.set_read_buffer_limits(UNDECIPHERED_BYTES, LISTEN_BYTES)  # type: ignore[attr-defined]  # TLS alone has it
    layer.agrees = False
    layer.user = connection = protocol()
    transport.set_protocol(connection)
    connection.connection_made(transport)
    if isinstance(cast(object, connection), Secured):
        cast(Secured, connection).stands_on(socket)
    return connection


class Arriving(asyncio.Protocol):
    """A client that has connected and has not agreed on TLS."""

    def __init__(self, protocol: Callable[[], asyncio.BaseProtocol], terms: Terms) -> None:
        self._protocol = protocol
        self._terms = terms
        self._came = b""
        self._socket: asyncio.Transport  # from `connection_made` on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        spawn(self._agree(), "handshake")

    def data_received(self, data: bytes) -> None:
        """The loop reads before a task can begin."""
        self._came += data
        self._socket.pause_reading()

    async def _agree(self) -> None:
        with contextlib.suppress(OSError):  # port scanners, probes, clients that do not trust us: they know why
            await secure(self._socket, self._protocol, self._terms, self._came)


def in_slices(data: bytes, size: int = WRITE_BYTES) -> Iterator[memoryview]:
    view = memoryview(data)
    for at in range(0, len(view), size):
        yield view[at : at + size]
