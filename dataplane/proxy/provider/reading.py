"""How the connections of a pool read: into one buffer, and one large read per turn of the loop, whoever sends.

What a provider sends is worked on as it comes, and a provider may send faster than that. So a read is bounded, and
behind one that is large the socket is left unread until it is this connection's turn again: everybody else's small
reads, which those of nearly every stream are, come in between.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable, Hashable
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

READ_BYTES: Final = 32 * 1024  # of the worst bytes known, tiny events in tiny chunks, these take 10 ms
LARGE_BYTES: Final = 4 * 1024  # of such bytes 1 ms; an event of a stream has 100 to 2,000

_SOMETHING: Final = select.POLLIN | getattr(select, "POLLRDHUP", 0)
_NO_DESCRIPTOR: Final = -1


class Reading:
    """Of one pool, on one loop. `buffer`: every read is taken out of it before the next one begins."""

    __slots__ = ("_lines", "_scheduled", "buffer")

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ_BYTES))
        self._lines: dict[Hashable, deque[Callable[[], None]]] = {}
        self._scheduled = False

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
