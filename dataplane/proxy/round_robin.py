"""`RoundRobin`: what waits, by whose it is: owners take turns, and of one owner the first to come goes first."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Owner = TypeVar("Owner", bound=Hashable)
T = TypeVar("T")


class RoundRobin(Generic[Owner, T]):
    """True while anything waits."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[Owner, deque[T]] = {}  # whose turn is next stands first

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, whose: Owner, waiting: T) -> None:
        self._lines.setdefault(whose, deque()).append(waiting)

    def take(self) -> tuple[Owner, T]:
        """What is next, and whose it is; the rest of that owner's stands behind the others'. Something has to wait."""
        whose = next(iter(self._lines))
        line = self._lines.pop(whose)
        waiting = line.popleft()
        if line:
            self._lines[whose] = line
        return whose, waiting

    def put_back(self, whose: Owner, waiting: T) -> None:
        """What was taken goes on before the rest of its owner's, in that one's next turn."""
        line = self._lines.pop(whose, None) or deque()
        line.appendleft(waiting)
        self._lines[whose] = line
