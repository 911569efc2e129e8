"""How long a change that stops keys takes to reach every pod that this server speaks with. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable

MOST_AT_ONCE = 64  # revisions that are waited for; older ones are superseded by newer


class RevocationTimer:
    """`reached` gets the seconds once the last pod that a revocation concerns has acknowledged it, or is gone."""

    def __init__(self, reached: Callable[[float], None]) -> None:
        self._reached = reached
        self._waiting: dict[int, tuple[float, set[str]]] = {}  # revision → when committed, streams without an answer

    def revoked(self, revision: int, committed_s: float, streams: Iterable[str]) -> None:
        missing = set(streams)
        if not missing:
            return
        self._waiting[revision] = (committed_s, missing)
        while len(self._waiting) > MOST_AT_ONCE:
            del self._waiting[next(iter(self._waiting))]

    def applied(self, stream: str, revision: int, now_s: float) -> None:
        self._strike(stream, [waited for waited in self._waiting if waited <= revision], now_s)

    def left(self, stream: str, now_s: float) -> None:
        self._strike(stream, list(self._waiting), now_s)

    def _strike(self, stream: str, revisions: Iterable[int], now_s: float) -> None:
        for revision in revisions:
            committed_s, missing = self._waiting[revision]
            missing.discard(stream)
            if not missing:
                del self._waiting[revision]
                self._reached(now_s - committed_s)
