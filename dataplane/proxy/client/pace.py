"""Whether a client reads what it is sent, and what memory is held for it while it does not.

A transport may say that it is full only once it has tried to send, at the end of a turn of the loop; until then a
provider may have been read several times. So what waits is asked for behind each write as well, and beyond a bound the
provider rests until the turn is over. Over TLS it is the socket below that is asked: bytes wait nowhere else
(`dataplane/proxy/tls.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from dataplane.proxy.client.door import Room

UNREAD_BYTES: Final = 32 * 1024  # what may be on its way to a client before its provider rests
WAITING_BYTES: Final = 16 * 1024  # what may wait for the socket: the kernel has twice as much by then
COUNTED: Final = 1024  # behind a smaller write nobody asks: 32 of them are not much more

Tell = Callable[[bool], None]


class Pace:
    """Of one connection. `tell`: hears False when nothing more should be written, then True; called once for each."""

    __slots__ = ("_full", "_held", "_memory", "_resting", "reads")

    def __init__(self, memory: Room) -> None:
        self.reads = True
        self._memory = memory
        self._held = 0  # bytes of the memory that all connections share
        self._full = False  # so says the transport
        self._resting = False  # until the next turn

    def rest(self, tell: Tell) -> None:
        """Too much waits, though the transport may not have tried to send it."""
        if not self._resting:
            self._resting = True
            self._stop(tell)
            asyncio.get_running_loop().call_soon(self._rested, tell)

    @property
    def waits(self) -> bool:
        """For the transport, which is full."""
        return self._full

    def full(self, unsent: int, tell: Tell) -> bool:
        """False: there is no room for what waits."""
        self._full = True
        self._stop(tell)
        fits = self._memory.change(unsent - self._held)
        if fits:
            self._held = unsent
        return fits

    def drained(self, tell: Tell) -> None:
        self._full = False
        self.forget()
        self._go_on(tell)

    def forget(self) -> None:
        """Nothing waits for it any more."""
        self._memory.change(-self._held)
        self._held = 0

    def _rested(self, tell: Tell) -> None:
        self._resting = False
        self._go_on(tell)

    def _stop(self, tell: Tell) -> None:
        if self.reads:
            self.reads = False
            tell(False)

    def _go_on(self, tell: Tell) -> None:
        if not (self.reads or self._full or self._resting):
            self.reads = True
            tell(True)
