"""How the connections of a pool read: into one buffer, and in one turn of the loop only so much, whoever sends.

What a provider sends is worked on as it comes, and a provider may send faster than that. So a read is bounded, and
once the large reads of a turn have been enough work for it, behind each further one the socket is left unread until it
is this connection's turn again: everybody else's small reads, which those of nearly every stream are, come in between.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque
from collections.abc import Callable, Hashable
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

READ_BYTES: Final = 64 * 1024  # of the worst bytes known, tiny events in tiny chunks, these take 20 ms
LARGE_BYTES: Final = 4 * 1024  # of such bytes 1 ms; an event of a stream has 100 to 2,000
# What is enough for a turn, and a reason to read less at a time: text as providers pack it takes 0.5 ms for 64 KiB.
TURN_S: Final = 0.002
TURN_BYTES: Final = 512 * 1024

_SOMETHING: Final = select.POLLIN | getattr(select, "POLLRDHUP", 0)
_NO_DESCRIPTOR: Final = -1


class Reading:
    """Of one pool, on one loop. `buffer`: every read is taken out of it before the next one begins."""

    __slots__ = ("_bytes", "_counts", "_lines", "_scheduled", "_seconds", "buffer", "clock")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.clock = clock
        self._lines: dict[Hashable, deque[Callable[[], None]]] = {}
        self._scheduled = False
        self._counts = False  # a turn with large reads
        self._bytes, self._seconds = 0, 0.0

    def was_enough(self, size: int, seconds: float) -> bool:
        """A large read has taken so long: is it enough for this turn of the loop?"""
        if not self._counts:
            self._counts = True
            asyncio.get_running_loop().call_soon(self._turned)
        self._bytes += size
        self._seconds += seconds
        return self._seconds > TURN_S or self._bytes > TURN_BYTES

    def window(self, before: memoryview, size: int, seconds: float) -> memoryview:
        """How much of the buffer a connection reads into next, after a large read that took so long."""
        if seconds > TURN_S:
            return self.buffer[: max(LARGE_BYTES, size // 4)]
        return before if len(before) == READ_BYTES else self.buffer[: 2 * len(before)]

    def _turned(self) -> None:
        self._counts = False
        self._bytes, self._seconds = 0, 0.0

    def wait(self, whose: Hashable, go_on: Callable[[], None]) -> None:
        """Calls `go_on` when it is its turn: first come first served, and one after the other by `whose` it is."""
        self._lines.setdefault(whose, deque()).append(go_on)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        whose = next(iter(self._lines))
        line = self._lines.pop(whose)
        go_on = line.popleft()
        if line:
            self._lines[whose] = line  # behind the others
        self._scheduled = False
        if self._lines:
            self._schedule()
        go_on()


class Kernel:
    """What the kernel knows of a connection and the loop has not heard yet. Of one without a socket: nothing."""

    __slots__ = ("_descriptor", "_poll")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        socket = transport.get_extra_info("socket")
        self._descriptor: int = _NO_DESCRIPTOR if socket is None else socket.fileno()
        self._poll = select.poll()
        if self._descriptor != _NO_DESCRIPTOR:
            self._poll.register(self._descriptor, _SOMETHING)

    def has_something(self) -> bool:
        """Bytes, an end or a reset that wait to be read: 0.4 µs."""
        return bool(self._poll.poll(0))

    def has_unacknowledged(self) -> bool:
        """Of what was written, something has not reached the other end, as far as that end has told."""
        try:
            return any(ioctl(self._descriptor, TIOCOUTQ, bytes(4)))
        except (OSError, ValueError):
            return False
