"""The way of an answer that filters look at: body in, body out, framed anew.

The provider is heard first, as it speaks: money follows its bytes. Then what the filters let through goes to the client
by the channel, which ends it as any other: a verdict is a cut. A whole answer is collected and judged in one piece, so
that nothing of it has left before it may.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome
from dataplane.dialects.filter import FilteredSide
from dataplane.proxy.answer import Answer, Filtered
from dataplane.proxy.hearing import JudgedOpening, listener
from dataplane.proxy.http.codings import Decoder, Malformed, TooLarge, coding_of
from dataplane.proxy.provider.connection import UpstreamFailure
from dataplane.proxy.provider.refused import Refused


class Outlet(Protocol):
    """The channel, as the filtered way needs it."""

    def progressed(self) -> None:
        """The provider spoke, whether something may leave or not."""
        ...

    def received(self, wire: bytes, body: bytes, done: bool) -> None: ...
    def broken(self, failure: UpstreamFailure) -> None: ...
    def refuse(self, refused: Refused, passing: bytes) -> None: ...
    def end_with(self, refusal: Refusal, outcome: Outcome) -> None: ...
    def has_length(self, length: int) -> None:
        """The body has so many bytes: for the head, which has not left."""
        ...


class Filtering:
    """The sink of an answer that is filtered."""

    def __init__(self, outlet: Outlet, answer: Answer, filtered: Filtered, side: FilteredSide) -> None:
        self._outlet = outlet
        self._side = side
        self._meter = answer.meter
        self._listen = listener(answer.meter.feed, answer.looks)
        self._opening = None if answer.judge is None else JudgedOpening(answer.judge, answer.meter, self._listen)
        self._most_bytes = answer.most_bytes
        self._plain = _Plain(coding_of(answer.response.head), answer.most_bytes)
        self._whole = filtered.whole
        self._collected = bytearray()
        self._reserve = filtered.reserve
        self._reserved = 0
        self._over = False  # our words were the last

    # from the provider

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        if self._over:
            return
        self._outlet.progressed()
        try:
            body = self._plain.feed(body, last=done)
        except UpstreamFailure as failure:
            self.broken(failure)
            return
        if self._opening is not None:
            body, refused = self._opening.feed(body, last=done)
            if refused is not None:
                self._refuse(refused, body)
                return
            if self._opening.over:
                self._opening = None
        elif body:
            self._listen(body)
        self._filter(body, last=done)

    def broken(self, failure: UpstreamFailure) -> None:
        """An answer whose last event had come was whole."""
        if self._over:
            return
        if self._meter.complete:
            self._filter(b"", last=True)
        else:
            self._over = True
            self._outlet.broken(failure)

    # to the client

    def _filter(self, body: bytes, *, last: bool) -> None:
        if self._whole:
            self._collect(body)
            body = bytes(self._collected) if last else b""
        if self._over:
            return
        if body or last:
            self._let_through(self._side.feed(body, last=last), last=last)
        if not (last or self._over):
            self._hold(len(self._collected) + self._side.held)

    def _collect(self, body: bytes) -> None:
        self._collected += body
        if len(self._collected) > self._most_bytes:
            words = f"the provider's answer is larger than {self._most_bytes} bytes, too large to be looked at"
            self._end_with(Refusal(Code.PROVIDER_ERROR, words), Outcome.FAILED)

    def _let_through(self, body: bytes, *, last: bool) -> None:
        verdict = self._side.verdict
        if verdict is None:
            if self._whole:
                self._outlet.has_length(len(body))
            self._outlet.received(b"", body, last)
            return
        if body and not self._whole:
            self._outlet.received(b"", body, False)
        self._end_with(verdict, Outcome.CUT)

    def _hold(self, size: int) -> None:
        """The bytes that are held back count against the pod's memory."""
        if size == self._reserved:
            return
        self._reserved = size
        try:
            self._reserve(size)
        except Refusal as refusal:
            self._end_with(refusal, Outcome.CUT)

    def _refuse(self, refused: Refused, body: bytes) -> None:
        self._over = True
        passing = b""
        if not self._whole:
            passing = self._side.feed(body, last=False)
            self._side.reader.feed(passing)
        self._outlet.refuse(refused, passing)

    def _end_with(self, refusal: Refusal, outcome: Outcome) -> None:
        self._over = True
        self._outlet.end_with(refusal, outcome)


class _Plain:
    """An answer without its content coding, within bounds. Raises UpstreamFailure for what cannot be read."""

    def __init__(self, coding: bytes, most_bytes: int) -> None:
        self._coding = coding
        self._decoder: Decoder | None = None
        with suppress(KeyError):  # said with the first bytes, when there is somebody to tell
            self._decoder = Decoder(coding, most_bytes)

    def feed(self, body: bytes, *, last: bool) -> bytes:
        if not self._coding:
            return body
        if self._decoder is None:
            raise UpstreamFailure("the provider's answer is compressed in a way that cannot be read")
        try:
            plain = self._decoder.read(body)
        except TooLarge:
            raise UpstreamFailure("the provider's compressed answer is too large to be looked at") from None
        except Malformed:
            raise UpstreamFailure("the provider's answer is not what its Content-Encoding says") from None
        if last and not self._decoder.finished:
            raise UpstreamFailure("the provider's compressed answer ends too early")
        return plain
