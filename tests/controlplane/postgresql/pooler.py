"""A pooler, as far as it differs from a server: it refuses startup options and gives a process number of its own.

As PgBouncer 1.18 does it: `unsupported startup parameter: options`, and a number by which no server process is known.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading

KNOWN = {b"user", b"database", b"client_encoding", b"application_name", b"datestyle", b"timezone"}
OWN_NUMBER = 2_000_000_000


class Pooler:
    """Listens on a free loopback port; every connection gets a server's, on its Unix socket, as in session pooling."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True, name="pooler").start()

    def close(self) -> None:
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._open.append(near)
                threading.Thread(target=self._serve, args=(near,), daemon=True, name="pooler-client").start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), near, socket.socket(socket.AF_UNIX) as far:
            start = _startup(near)
            words = start[8:].split(b"\0")
            strange = set(words[0:-2:2]) - KNOWN - {b""}
            if strange:
                near.sendall(_refusal(f"unsupported startup parameter: {min(strange).decode()}"))
                return
            far.connect(self._server)
            far.sendall(start)
            greeting = True
            while True:
                ready, _, _ = select.select([near, far], [], [])
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is far and greeting and (at := data.find(b"K" + struct.pack("!i", 12))) >= 0:
                        greeting = False
                        data = data[: at + 5] + struct.pack("!i", OWN_NUMBER) + data[at + 9 :]
                    (far if source is near else near).sendall(data)


def _startup(near: socket.socket) -> bytes:
    """The startup message; a wish for encryption before it is not granted."""
    while True:
        head = _exactly(near, 8)
        length, code = struct.unpack("!ii", head)
        if code >> 16 == 1234:
            near.sendall(b"N")
            continue
        return head + _exactly(near, length - 8)


def _exactly(near: socket.socket, count: int) -> bytes:
    came = b""
    while len(came) < count:
        more = near.recv(count - len(came))
        if not more:
            raise OSError("it left")
        came += more
    return came


def _refusal(words: str) -> bytes:
    said = ((b"S", b"FATAL"), (b"C", b"08P01"), (b"M", words.encode()))
    fields = b"".join(kind + value + b"\0" for kind, value in said)
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"
