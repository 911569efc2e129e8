"""Accounts whose bytes are dear again and again, and their owners: they are not read as others are."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

FORGIVEN: Final = 0.01  # of a second, per second: one dear read of 20 ms in two seconds is noticed by nobody
WATCHED_S: Final = 0.03  # of dear bytes, beyond what is forgiven
_MOST_S: Final = 0.1  # are remembered: for ten seconds, whatever came


class Watched:
    """`now`: monotonic seconds."""

    __slots__ = ("_levels", "_now", "_watched")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._levels: dict[Hashable, tuple[float, float]] = {}  # seconds of dear bytes, as of when
        self._watched: set[Hashable] = set()

    def __bool__(self) -> bool:
        return bool(self._watched)

    def __contains__(self, whose: Hashable) -> bool:
        return whose in self._watched

    def add(self, whose: Hashable, seconds: float) -> bool:
        """Dear bytes took so long. True: they are watched from now on."""
        level = min(self._level(whose) + seconds, _MOST_S)
        self._levels[whose] = (level, self._now())
        if level <= WATCHED_S or whose in self._watched:
            return False
        self._watched.add(whose)
        return True

    def sweep(self) -> None:
        """Once per second: what is forgiven is forgotten."""
        for whose in list(self._levels):
            if not self._level(whose):
                del self._levels[whose]
                self._watched.discard(whose)

    def _level(self, whose: Hashable) -> float:
        level, at = self._levels.get(whose, (0.0, 0.0))
        return max(level - FORGIVEN * (self._now() - at), 0.0) if level else 0.0
