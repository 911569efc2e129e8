"""Alarms for accounts that do not add up: a defect that people have to know of. Never an exception: requests go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_listeners: list[Callable[[], object]] = []


@contextmanager
def alarms_to(listener: Callable[[], object]) -> Iterator[None]:
    """Call it for every problem found, in the thread that found it: it has to be quick."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def raise_alarm(problem: str) -> None:
    log.error("budget_books_do_not_add_up %s", problem)
    for listener in _listeners:
        listener()
