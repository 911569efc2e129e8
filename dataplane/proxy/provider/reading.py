"""How the connections of a pool read: into one buffer, and in one turn of the loop only so much, whoever sends.

What a provider sends is worked on as it comes, and a provider may send faster than that. So a read is bounded, and
once the large reads of a turn have been enough work for it, behind each further one the socket is left unread until it
is this connection's turn again: everybody else's small reads, which those of nearly every stream are, come in between.
Bytes that are dearer than any provider's text is are worked on little by little, in their own share of the loop
(`share.py`): those of the connection that they came on, and where that goes on, those of its account; an owner's
next account gets no other chance.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Hashable
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

from dataplane.proxy.provider.share import Share
from dataplane.proxy.provider.watched import WATCHED_S, Watched
from dataplane.proxy.round_robin import RoundRobin

READ_BYTES: Final = 64 * 1024  # of the worst bytes known, brackets in an array, these take 30 ms, once
LARGE_BYTES: Final = 4 * 1024  # of such bytes 2 ms; an event of a stream has 100 to 2,000
TURN_S: Final = 0.0005  # is enough for a turn: text as providers pack it takes as long for 64 KiB
# What takes longer than this is dear: three times as long as such text, and what any read takes.
DEAR_S: Final = 0.0002
DEAR_S_PER_BYTE: Final = 0.02e-6
ENDING_S: Final = 0.003  # what the end of an answer may take besides: it is all read there, if it is JSON
TURN_BYTES: Final = 256 * 1024
SAMPLE_S: Final = 0.02  # of dear bytes are what a smaller read stands for, of which one per second is measured
LEAST_BYTES: Final = 4 * 1024  # read at once with an owner who has other accounts whose bytes are
LITTLE_BYTES: Final = 16 * 1024  # read at once where bytes are dear: they wait, and are kept meanwhile

_SOMETHING: Final = select.POLLIN | getattr(select, "POLLRDHUP", 0)
_NO_DESCRIPTOR: Final = -1


class Reading:
    """Of one pool, on one loop. `buffer`: every read is taken out of it before the next one begins; it is another
    object once all connections have to look again. `little`: a part of it, for where bytes are dear.

    `clock`: this thread's time, so that no read seems dear because others had the core. `slowness`: how many times as
    long things take here as where the bounds above were measured.
    """

    __slots__ = (
        *("_array", "_bytes", "_counts", "_least", "_scheduled", "_seconds", "_waiting", "_watched"),
        *("buffer", "clock", "little", "share"),
    )

    def __init__(
        self,
        clock: Callable[[], float] = time.thread_time,
        now: Callable[[], float] = time.monotonic,
        slowness: float = 1.0,
    ) -> None:
        self._array = bytearray(READ_BYTES)
        self.buffer = memoryview(self._array)
        self.little = self.buffer[:LITTLE_BYTES]
        self._least = self.buffer[:LEAST_BYTES]
        self.clock = clock if slowness <= 1 else lambda: clock() / slowness
        self.share = Share(clock)
        self._watched = Watched(now)
        self._waiting = RoundRobin[Hashable, Callable[[], None]]()
        self._scheduled = False
        self._counts = False  # a turn with large reads
        self._bytes, self._seconds = 0, 0.0

    # dear bytes

    def window(self, account: Hashable, owner: Hashable) -> memoryview:
        """What a connection reads into: `little` where everything that comes is worked on in the share."""
        if not self._watched:
            return self.buffer
        if account in self._watched:
            return self.little
        return self._least if owner in self._watched else self.buffer

    def was_dear(self, account: Hashable, owner: Hashable, seconds: float, *, sample: bool = False) -> None:
        """Bytes of this account took so long. With an owner who has had others, once is enough: but not one `sample`,
        a small read, which may have met the collector of garbage."""
        if sample:
            seconds = max(seconds, SAMPLE_S)
        elif owner in self._watched:
            seconds += WATCHED_S
        new = self._watched.add(account, seconds)
        if self._watched.add(owner, seconds) or new:
            self.look_again()

    def look_again(self) -> None:
        """Has every connection measure its next read, however small, and ask for its window anew."""
        self.buffer = memoryview(self._array)

    def sweep(self) -> None:
        """Once per second."""
        self._watched.sweep()
        self.look_again()

    # large reads

    def was_enough(self, size: int, seconds: float) -> bool:
        """A read that counts has taken so long: is it enough for this turn of the loop?"""
        if not self._counts:
            self._counts = True
            asyncio.get_running_loop().call_soon(self._turned)
        self._bytes += size
        self._seconds += seconds
        return self._seconds > TURN_S or self._bytes > TURN_BYTES

    def _turned(self) -> None:
        self._counts = False
        self._bytes, self._seconds = 0, 0.0

    def wait(self, whose: Hashable, go_on: Callable[[], None]) -> None:
        """Calls `go_on` when it is its turn: first come first served, and one after the other by `whose` it is."""
        self._waiting.add(whose, go_on)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        _, go_on = self._waiting.take()
        self._scheduled = False
        if self._waiting:
            self._schedule()
        go_on()


def is_dear(size: int, seconds: float) -> bool:
    return seconds > DEAR_S + size * DEAR_S_PER_BYTE


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
