"""An answer whose client has gone with all of the content, while the figures are on their way.

They are read, for a few seconds; nobody gets the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dataplane.proxy.provider.response import Response, UpstreamFailure


class LastEars(Protocol):
    """Hears what comes; `complete` when nothing more can change the usage."""

    @property
    def complete(self) -> bool: ...


class ReadingOn:
    """A sink. `over` is called once: when the figures are there, or it is not worth waiting for them any longer."""

    def __init__(
        self, response: Response, listen: Callable[[bytes], None], listener: LastEars, over: Callable[[], None]
    ) -> None:
        self._response = response
        self._listen = listen
        self._listener = listener
        self._over = over
        self._room = 0
        self._patience: asyncio.TimerHandle | None = None

    def begin(self, seconds: float, most_bytes: int) -> None:
        self._room = most_bytes
        self._patience = asyncio.get_running_loop().call_later(seconds, self.stop)
        self._response.relay_to(self)
        self._response.resume()

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        if body:
            self._room -= len(body)
            self._listen(body)
        if done or self._room < 0 or self._listener.complete:
            self.stop()

    def broken(self, failure: UpstreamFailure) -> None:
        self.stop()

    def stop(self) -> None:
        """Now."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._response.abort()
            self._over()
