"""The limit on how fast one caller may call: a bucket per token or login, in each web process.

Counted in memory: a write for every call would cost more than most calls do, above all on SQLite. So with N processes a
caller may do up to N times the limit; it protects the process, and is not a price list.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from controlplane.changes.actor import Actor
from controlplane.environment import environment

REMEMBERED = 10_000  # callers; who was quiet for longest is forgotten first, and has a full bucket anyway
MINUTE_S = 60.0


class Pace:
    """Buckets of `per_minute` calls that fill evenly. 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = float(per_minute), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # calls that are left, when that was
        self._lock = threading.Lock()

    def wait(self, caller: str) -> float:
        """Take one call; seconds until there is one, 0.0 where it was taken."""
        if not self._most:
            return 0.0
        with self._lock:
            now, each_s = self._clock(), MINUTE_S / self._most
            left, at = self._buckets.pop(caller, (self._most, now))
            left = min(self._most, left + (now - at) / each_s)
            taken = left >= 1
            self._buckets[caller] = (left - 1 if taken else left, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
            return 0.0 if taken else (1 - left) * each_s


@cache
def _pace() -> Pace:
    return Pace(environment().api_calls_per_minute)


class CallsPerCaller(BaseThrottle):
    """DRF asks it once it knows who calls."""

    def allow_request(self, request: Request, view: Any) -> bool:
        caller = request.auth
        self._wait_s = _pace().wait(f"{caller.kind.value}:{caller.id}") if isinstance(caller, Actor) else 0.0
        return not self._wait_s

    def wait(self) -> float:
        return self._wait_s
