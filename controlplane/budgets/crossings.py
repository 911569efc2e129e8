"""Who wants to know at once that spending has crossed a threshold, or that a provider's state has changed. The layers
above register; the books ring, and the ledger does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock, Timer

log = logging.getLogger(__name__)

GATHER_S = 0.2  # crossings come in company: everything above an account crosses with it

_listeners: list[Callable[[], object]] = []
_lock = Lock()
_waiting = False


def on_crossing(listener: Callable[[], object]) -> None:
    """Call it, in a thread of its own, soon after a crossing was committed. What it misses, a sweep finds."""
    if listener not in _listeners:
        _listeners.append(listener)


def ring() -> None:
    """Returns at once, however long the listeners take."""
    global _waiting
    with _lock:
        if _waiting or not _listeners:
            return
        _waiting = True
    timer = Timer(GATHER_S, _rung)
    timer.daemon = True
    timer.start()


def _rung() -> None:
    global _waiting
    with _lock:
        _waiting = False
    for listener in _listeners:
        try:
            listener()
        except Exception:
            log.exception("budget_crossing_not_told")
