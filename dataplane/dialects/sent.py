"""The part of a running answer that a client has when it must end: all that an ending may know.

Each dialect has a value of its own, read off a meter that followed the bytes that were sent, and only when an ending is
needed. What the provider said is no part of it: where filters stand between, the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar


class Form(Enum):
    """The kind of thing that the bytes are parts of."""

    EVENTS = auto()
    ARRAY = auto()  # JSON objects one after another: Gemini's streams without `alt=sse`
    WHOLE = auto()  # one JSON answer, which only a closed connection can cut short


@dataclass(frozen=True, slots=True)
class Place:
    """The place that a client has come to, in any dialect. Tokens are as of now, for clients that count along."""

    form: Form
    complete: bool = False  # the dialect's own last event has come
    mid_event: bool = False
    events: int = 0
    produced: int = 0  # bytes of text, reasoning and arguments
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    joint: bytes = b""  # what goes before a further element of an array


@dataclass(frozen=True, slots=True)
class SentSoFar:
    """`closed`: the same with the open event at its end, since one that lacks nothing but its blank line is one for the
    client too; None between events."""

    at: Place
    closed: SentSoFar | None = None


Sent = TypeVar("Sent", bound=SentSoFar)


def sent_as(kind: type[Sent], sent: SentSoFar) -> Sent:
    """Raises TypeError for what was sent in another dialect: its state says nothing about an end in this one."""
    if not isinstance(sent, kind):
        raise TypeError(f"an ending for {kind.__name__} was asked with {type(sent).__name__}, of another dialect")
    return sent
