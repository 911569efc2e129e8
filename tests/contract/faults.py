"""A TCP link that misbehaves on demand: between a pod and the control plane, or before the database."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from enum import StrEnum


class Mode(StrEnum):
    PASS = "pass"
    HOLE = "hole"  # bytes vanish both ways, nothing is closed: a partition
    DEAF = "deaf"  # what the control plane says never arrives
    MUTE = "mute"  # what the pod says never arrives
    REFUSE = "refuse"  # existing connections are reset, new ones too


class FaultyLink:
    """Listens on a free loopback port and forwards to `target`, an address or the path of a Unix socket.

    Bytes that fell into a hole are lost, so the connection dies when the link heals.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._mode = Mode.PASS
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._forgotten: list[tuple[socket.socket, socket.socket]] = []
        # Set when bytes were lost.
        self.swallowed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True, name="faulty-link").start()

    def set(self, mode: Mode) -> None:
        with self._lock:
            healed = self._mode is not Mode.PASS and mode is Mode.PASS
            self._mode = mode
            pairs = list(self._pairs)
        # After a hole the peers' streams have gaps; TCP would have reset them when the path came back with lost state.
        if mode is Mode.REFUSE or healed:
            for pair in pairs:
                self._reset(pair)

    def forget(self) -> None:
        """What a firewall does that has lost its table, or a fail-over: from now on nothing passes on the connections
        that there are, nobody is told, and new ones work."""
        with self._lock:
            self._forgotten = list(self._pairs)
            self._mode = Mode.PASS

    @property
    def forgotten(self) -> int:
        """How many of those are still open, since their clients wait."""
        with self._lock:
            return len(self._forgotten)

    def close(self) -> None:
        self._closed.set()
        self._listener.close()
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._reset(pair)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._mode is Mode.REFUSE:
                _linger_reset(near)
                continue
            try:
                far = self._connect()
            except OSError:
                _linger_reset(near)
                continue
            far.settimeout(None)
            pair = (near, far)
            with self._lock:
                self._pairs.append(pair)
            threading.Thread(target=self._forward, args=(pair,), daemon=True, name="faulty-link-pair").start()

    def _connect(self) -> socket.socket:
        if not isinstance(self._target, str):
            return socket.create_connection(self._target, timeout=2.0)
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(self._target)
        except OSError:
            far.close()
            raise
        return far

    def _forward(self, pair: tuple[socket.socket, socket.socket]) -> None:
        near, far = pair
        try:
            while not self._closed.is_set():
                ready, _, _ = select.select([near, far], [], [], 0.5)
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    upwards = source is near
                    mode = self._mode
                    lost = mode is Mode.HOLE or mode is (Mode.MUTE if upwards else Mode.DEAF) or pair in self._forgotten
                    if lost:
                        self.swallowed.set()
                    else:
                        (far if upwards else near).sendall(data)
        except (OSError, ValueError):
            return
        finally:
            self._reset(pair)

    def _reset(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._pairs.remove(pair)
            self._forgotten.remove(pair)
        for end in pair:
            _linger_reset(end)


def _linger_reset(connection: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
