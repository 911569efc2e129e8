"""Listeners that are told at once when spending has crossed a threshold, or a provider's state has changed.

The layers above register them; budgets and usage tell them, once the change is committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock, Timer

log = logging.getLogger(__name__)

GATHER_S = 0.2  # crossings come in company: everything above an account crosses with it

_listeners: list[Callable[[], object]] = []
_lock = Lock()
_due = False


def on_crossing(listener: Callable[[], object]) -> None:
    """Call it, in a thread of its own, soon after a crossing was committed. What it misses, a sweep finds."""
    if listener not in _listeners:
        _listeners.append(listener)


def tell_listeners() -> None:
    """Returns at once, however long the listeners take."""
    global _due
    with _lock:
        if _due or not _listeners:
            return
        _due = True
    timer = Timer(GATHER_S, _call_listeners)
    timer.daemon = True
    timer.start()


def _call_listeners() -> None:
    global _due
    with _lock:
        _due = False
    for listener in _listeners:
        try:
            listener()
        except Exception:
            log.exception("budget_crossing_listener_failed")
