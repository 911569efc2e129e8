"""What a connection and the exchange that runs on it say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Protocol

from dataplane.proxy.limits import Limits


class Waiting(Enum):
    """What a connection waits for; how long it may is in `patience`."""

    REQUEST = auto()
    HEAD = auto()
    BODY = auto()
    OURSELVES = auto()  # deciding and connecting, which have bounds of their own
    FIRST_BYTE = auto()
    NEXT_BYTE = auto()
    CLIENT = auto()  # to read what was sent
    LINGER = auto()


def patience(limits: Limits) -> Mapping[Waiting, float]:
    """Seconds."""
    return {
        Waiting.REQUEST: limits.client_idle_s,
        Waiting.HEAD: limits.head_s,
        Waiting.BODY: limits.body_window_s,
        Waiting.OURSELVES: float("inf"),
        Waiting.FIRST_BYTE: limits.first_byte_s,
        Waiting.NEXT_BYTE: limits.idle_s,
        Waiting.CLIENT: limits.client_stall_s,
        Waiting.LINGER: limits.linger_s,
    }


def own_patience(waiting: Waiting, waits: tuple[int, int]) -> int:
    """`waits`: as a candidate has them. Seconds; 0: as `patience` says."""
    if waiting is Waiting.FIRST_BYTE:
        return waits[0]
    return waits[1] if waiting is Waiting.NEXT_BYTE else 0


class Conversation(Protocol):
    """What a connection tells the exchange that runs on it."""

    def client_gone(self) -> None: ...
    def client_reads(self, reads: bool) -> None:
        """False: our write buffer is full; True: it has drained."""
        ...

    def reserve_memory(self, size: int) -> None:
        """The body is so large by now. Raises Refusal when the pod has no room for it."""
        ...

    def overdue(self, waiting: Waiting) -> None: ...


class Idle:
    """No exchange is running."""

    def client_gone(self) -> None: ...
    def client_reads(self, reads: bool) -> None: ...
    def reserve_memory(self, size: int) -> None: ...
    def overdue(self, waiting: Waiting) -> None: ...


IDLE: Final = Idle()
