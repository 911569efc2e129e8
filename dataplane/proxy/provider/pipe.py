"""The transport of a connection to a provider, and the socket below it where that is TLS: both are written and read."""

from __future__ import annotations

import asyncio
from typing import Final

from dataplane.proxy.tls import WRITE_BYTES

_JOIN_BELOW: Final = 16 * 1024  # one write of a copy is cheaper than two writes
_NOTHING: Final = memoryview(b"")


class Pipe:
    """Of one connection. TLS would encipher all of a body at once, and keep as much memory for as long as the
    connection lives, and it would read on by itself, and keep what comes: so it gets pieces, and the socket is asked
    and told as well."""

    __slots__ = ("_full", "_rest", "_socket", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = self._socket = transport
        self._rest = _NOTHING  # of a request, over TLS
        self._full = False  # the socket has enough of it

    def stands_on(self, socket: asyncio.Transport) -> None:
        """It is TLS, and this is below."""
        self._socket = socket

    @property
    def writes(self) -> bool:
        """Something of the request waits here to be sent."""
        return bool(self._rest) or self._socket.get_write_buffer_size() > 0

    def write(self, head: bytes, body: bytes) -> None:
        if len(body) < _JOIN_BELOW:
            self._transport.write(head + body)
        elif self._socket is self._transport:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head)
            self._rest = memoryview(body)
            self._write_on()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._write_on()

    def _write_on(self) -> None:
        while self._rest and not self._full and not self._transport.is_closing():
            piece, self._rest = self._rest[:WRITE_BYTES], self._rest[WRITE_BYTES:]
            self._transport.write(piece)

    def read(self, reads: bool) -> None:
        _listen(self._transport, reads)
        if self._socket is not self._transport:
            _listen(self._socket, reads)

    def abort(self) -> None:
        """Nothing more is sent."""
        self._rest = _NOTHING
        self._transport.abort()


def _listen(transport: asyncio.ReadTransport, reads: bool) -> None:
    if reads:
        transport.resume_reading()
    else:
        transport.pause_reading()
