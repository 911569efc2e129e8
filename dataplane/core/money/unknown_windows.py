"""`UnknownWindows`: whether the control plane knows the windows that this pod asks about, kind by kind.

A budget that was deleted a moment ago is unknown, too: the pod hears of that within seconds. But where for longer every
answer about minutes, say, is that there is no such window, nobody under such a budget is served here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# How long, and how often, before it is no budget that was just deleted.
LONG_MS: Final = 10_000
OFTEN: Final = 3

# After so long without such an answer it is tried again: who is not ready is not asked.
FORGOTTEN_MS: Final = 30_000


@dataclass(slots=True)
class _Unknown:
    since: int
    last: int
    times: int = 1


class UnknownWindows:
    """`now` in milliseconds of the pod's clock."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[str, _Unknown] = {}

    def unknown(self, window_key: str, now: int) -> None:
        """The control plane does not know this window."""
        kind, _, named = window_key.partition(":")
        if not named:
            return  # the one window of a budget without an end: it can only have been deleted
        before = self._kinds.get(kind)
        if before is None or now - before.last >= FORGOTTEN_MS:
            self._kinds[kind] = _Unknown(now, now)
        else:
            before.last = now
            before.times += 1

    def served(self, window_key: str) -> None:
        """It does know one of that kind."""
        if self._kinds:
            self._kinds.pop(window_key.partition(":")[0], None)

    def problem(self, now: int) -> str:
        """In words; "" where there is none."""
        kinds = sorted(
            kind
            for kind, each in self._kinds.items()
            if each.times >= OFTEN and each.last - each.since >= LONG_MS and now - each.last < FORGOTTEN_MS
        )
        if not kinds:
            return ""
        return f"no request under a budget per {' or '.join(kinds)} is served: the control plane knows no such window"
