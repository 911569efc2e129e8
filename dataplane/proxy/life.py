"""Where a pod is between its start and its end, and what is open in it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Protocol

from dataplane.core.errors import Refusal
from dataplane.core.usage import Outcome, UsageRecord
from dataplane.proxy.client.memory import HeadMemo


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"  # unready, still accepting: balancers have not noticed yet
    DRAINING = "draining"  # not accepting; what runs may finish
    STOPPED = "stopped"


_ORDER = list(Phase)


class Life:
    """Goes forward only."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.ending = False  # asked for every answer's head
        self.network: dict[str, str] = {}  # address of the start-up network check → "ok", or why not yet

    def enter(self, phase: Phase) -> None:
        if _ORDER.index(phase) < _ORDER.index(self.phase):
            raise AssertionError(f"a pod does not go from {self.phase.value} to {phase.value}")
        self.phase = phase
        self.ending = phase in (Phase.LEAVING, Phase.DRAINING, Phase.STOPPED)


class Open(Protocol):
    """An exchange that has not ended."""

    @property
    def record(self) -> UsageRecord:
        """Who asks, what and whom; ids are "" until they are known."""
        ...

    @property
    def memo(self) -> HeadMemo: ...

    def cut(self, refusal: Refusal, outcome: Outcome) -> None: ...


class OpenExchanges:
    """Every exchange that has not ended, also by the key that it runs on: what a revocation cuts."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self._changed = changed
        self._all: dict[Open, str] = {}
        self._by_key: dict[str, set[Open]] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Open]:
        return iter(list(self._all))

    def add(self, exchange: Open) -> None:
        self._all[exchange] = ""
        self._none_left.clear()
        self._changed(len(self._all))

    def authenticated(self, exchange: Open, key_id: str) -> None:
        self._all[exchange] = key_id
        self._by_key.setdefault(key_id, set()).add(exchange)

    def remove(self, exchange: Open) -> None:
        key_id = self._all.pop(exchange)
        if key_id:
            of_key = self._by_key[key_id]
            of_key.discard(exchange)
            if not of_key:
                del self._by_key[key_id]
        if not self._all:
            self._none_left.set()
        self._changed(len(self._all))

    def on_key(self, key_id: str) -> list[Open]:
        return list(self._by_key.get(key_id, ()))

    async def none_left(self) -> None:
        await self._none_left.wait()
