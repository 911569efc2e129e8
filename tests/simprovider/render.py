"""What dialects give back: the events of an answer, ready for the wire, and the facts they were made from."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.simprovider.brain import Reply
from tests.simprovider.conversation import Conversation
from tests.simprovider.script import Script

SSE = "text/event-stream; charset=utf-8"
JSON = "application/json"
encode = msgspec.json.encode
Event = tuple[bytes, int, bool]  # bytes, characters of output in them, whether the final usage is among them


class Misuse(Exception):
    """The request breaks a rule of the provider's API: answered with the native error of that kind."""

    def __init__(self, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.more = more


@dataclass(slots=True)
class Saying:
    """One answer in the making. `counts` are units per usage class, in the ledger's own words."""

    number: int
    conversation: Conversation
    reply: Reply
    script: Script
    counts: dict[str, int]
    operation: str
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def model(self) -> str:
        return self.script.model or self.conversation.model

    @property
    def tier(self) -> str:
        return self.script.service_tier or self.conversation.service_tier

    def identity(self, prefix: str, at: int = 0) -> str:
        return f"{prefix}sim{self.number:010d}{at:02d}"

    def n(self, *units: str) -> int:
        return sum(self.counts.get(unit, 0) for unit in units)


@dataclass(slots=True)
class Rendered:
    """An answer whose events are made as they are sent: a stream of 100,000 costs nothing before it runs."""

    media: str
    events: Iterable[Event]
    status: int = 200


def sse(name: str, data: Any, chars: int = 0, last: bool = False) -> Event:
    """One server-sent event; without a name for the dialects that use none."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + encode(data) + b"\n\n", chars, last


def whole(data: Any, status: int = 200) -> Rendered:
    return Rendered(JSON, [(encode(data), 0, True)], status)


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
