"""How much of an exchange's time was the pod's own."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Runs from the start. A context: what passes inside is the time of others, and is left out."""

    __slots__ = ("_monotonic", "_own_s", "_since")

    def __init__(self, monotonic: Callable[[], float], now: float) -> None:
        self._monotonic = monotonic
        self._own_s = 0.0
        self._since = now

    def __enter__(self) -> None:
        self._own_s += self._monotonic() - self._since

    def __exit__(self, *_exception: object) -> None:
        self._since = self._monotonic()

    def own_us(self) -> int:
        """So far; not to be asked inside."""
        return round((self._own_s + self._monotonic() - self._since) * 1e6)
