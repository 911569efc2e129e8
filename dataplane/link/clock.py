"""`FleetClock`: what time it is by the control plane's clock, carried on by a clock that nobody sets.

Expiry, the grace of a rotated-out secret, windows of budgets and the times of records go by it, so that a pod whose own
wall clock is wrong, or is set while it runs, does as all others do. Every answer that names its time says between which
bounds the control plane's clock is ahead of CLOCK_BOOTTIME: it was read after the question was sent and before the
answer was here. The narrowest bounds hold, and widen with time.

What does not fit these bounds is a step: of that server's clock, or from one server to another that goes differently.
It is followed once a later answer says the same. Back in time it goes for windows and records only: for what expires,
time stands still until the control plane has caught up, so that nothing works again that had ended. If the pod's own
wall clock bears the new time out, the old one was the wrong one, and nothing stands still.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import Final

from dataplane.telemetry import logs

ALARM_MS: Final = 5_000  # between the pod's wall clock and the control plane's, more is an alarm
CONFIRMED_AFTER_MS: Final = 1_000  # between two answers that tell of a step: one heartbeat, but not one moment
DRIFT_PER_MS: Final = 0.0005  # as far as a clock that is being corrected goes off, at most
TRUNCATED_MS: Final = 1  # both clocks are read in whole milliseconds


def boottime_ms() -> int:
    """A clock that goes on while the machine sleeps, and that nobody sets."""
    return clock_gettime_ns(CLOCK_BOOTTIME) // 1_000_000  # looked up once: several times per request


def own_wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Bounds:
    """By how much the control plane's clock is ahead of CLOCK_BOOTTIME, at least and at most, as of `at`."""

    low: float
    high: float
    at: int

    def later(self, at: int) -> _Bounds:
        """The same, when the clocks have drifted."""
        drift = max(0, at - self.at) * DRIFT_PER_MS
        return _Bounds(self.low - drift, self.high + drift, at)

    def fits(self, other: _Bounds) -> bool:
        return self.low <= other.high and other.low <= self.high

    def narrowed(self, other: _Bounds) -> _Bounds:
        return _Bounds(max(self.low, other.low), min(self.high, other.high), self.at)


class FleetClock:
    """`wall_ms`, `at_ms`: Unix milliseconds. Before the first answer, by the pod's own wall clock."""

    __slots__ = ("_boot_ms", "_doubt", "_floor_ms", "_known", "_offset", "_own_wall_ms", "_tells")

    def __init__(self, own_wall: Callable[[], int] = own_wall_ms, boottime: Callable[[], int] = boottime_ms) -> None:
        self._own_wall_ms = own_wall
        self._boot_ms = boottime
        self._known: _Bounds | None = None  # nothing was heard yet
        self._offset = 0  # the middle of what is known
        self._doubt: _Bounds | None = None  # what does not fit, and has been heard once
        self._floor_ms = 0  # what expires has seen so much of time
        self._tells = False  # the alarm is on

    def at_ms(self) -> int:
        """The control plane's clock: what decides which window an instant belongs to."""
        return self._own_wall_ms() if self._known is None else self._boot_ms() + self._offset

    def wall_ms(self) -> int:
        """The same, for what expires and for what is written down: it is never set back."""
        if self._known is None:
            return self._own_wall_ms()
        at, floor = self._boot_ms() + self._offset, self._floor_ms
        return at if at > floor else floor  # asked of every request: `max` and a further call take 0.5 µs

    def ahead_ms(self) -> int:
        """By how much the pod's own wall clock is ahead of the control plane's; 0 while nobody knows."""
        return 0 if self._known is None else self._own_wall_ms() - self.at_ms()

    def heard(self, server_ms: int, asked_at: int, now: int) -> None:
        """An answer named its time. `asked_at`, `now`: of CLOCK_BOOTTIME, when its question was sent and it came."""
        if server_ms <= 0 or now < asked_at:
            return  # it does not tell
        news = _Bounds(server_ms - now - TRUNCATED_MS, server_ms - asked_at + TRUNCATED_MS, now)
        before, doubt = self._known, self._doubt
        if before is None:
            self._take(news)
        elif (present := before.later(now)).fits(news):
            self._take(present.narrowed(news))
        elif doubt is None or not (again := doubt.later(now)).fits(news):
            self._doubt = news
        elif now - doubt.at >= CONFIRMED_AFTER_MS:
            self._step(again.narrowed(news))
        self._judge_own_clock()

    def _take(self, bounds: _Bounds) -> None:
        self._known, self._doubt = bounds, None
        self._offset = round((bounds.low + bounds.high) / 2)

    def _step(self, bounds: _Bounds) -> None:
        before = self.at_ms()
        self._take(bounds)
        by = self.at_ms() - before
        logs.error("fleet_clock_stepped", by_ms=by, own_clock_ahead_ms=self.ahead_ms())
        if by < 0:
            self._floor_ms = max(self._floor_ms, before)

    def _judge_own_clock(self) -> None:
        ahead = self.ahead_ms()
        wrong = abs(ahead) > ALARM_MS
        if not wrong:
            self._floor_ms = 0
        if wrong is not self._tells:
            self._tells = wrong
            say = logs.error if wrong else logs.info
            say("clock_wrong" if wrong else "clock_right", ahead_ms=ahead)
