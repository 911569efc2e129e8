"""What may stand between a provider's bytes and a client's: sans-io, body in, body out.

A filter holds back what it has not decided on. What it lets through has left: it may not take it back, only end the
stream with its verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dataplane.core.errors import Refusal
from dataplane.dialects.dialect import Meter
from dataplane.dialects.sent import SentSoFar


class Filter(Protocol):
    """One rule's, or one translation's. Where the client stands is told by the bytes that were sent, not by a filter: a
    cut may keep back the end of what it let through."""

    def feed(self, body: bytes) -> bytes:
        """Returns what may go on to the client by now: in any chunking the same bytes."""
        ...

    def end(self) -> bytes:
        """The provider's answer is complete: returns the rest of what may go on. The last call."""
        ...

    @property
    def verdict(self) -> Refusal | None:
        """The stream ends with these words, behind what was let through. Nothing may be fed afterwards."""
        ...

    @property
    def held(self) -> int:
        """Bytes that wait for a verdict."""
        ...


class FilteredSide:
    """The client's side of a filtered answer: the filters one behind the other, and a reader of what was sent.

    `meter` hears the provider, `reader` is a meter of the client's dialect.
    """

    __slots__ = ("_filters", "_meter", "reader", "verdict")

    def __init__(self, filters: Sequence[Filter], meter: Meter, reader: Meter) -> None:
        self._filters = filters
        self._meter = meter
        self.reader = reader
        self.verdict: Refusal | None = None  # the first one

    def feed(self, body: bytes, *, last: bool) -> bytes:
        """Returns what all of them let through. Behind a verdict nothing goes in."""
        for filter in self._filters:
            body = filter.feed(body)
            if last and filter.verdict is None and self.verdict is None:
                body += filter.end()
            self.verdict = self.verdict or filter.verdict
        return body

    @property
    def held(self) -> int:
        return sum([filter.held for filter in self._filters])

    @property
    def complete(self) -> bool:
        return self.reader.complete

    @property
    def mid_event(self) -> bool:
        return self.reader.mid_event

    def sent_so_far(self) -> SentSoFar:
        return self.reader.sent_so_far()

    def close(self) -> None:
        """Nothing more comes, on either side."""
        self._meter.close()
        self.reader.close()
