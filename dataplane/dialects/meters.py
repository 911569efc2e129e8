"""Taps on a response: an `EventMeter` over a stream, a `BodyMeter` over one JSON answer, each filling a dialect's
`Tally`.

When the provider did not get to its figures (the client left, the stream broke), usage is METERED: the input as the
provider announced it, else `facts.input_tokens_estimate`; the output from the bytes of text, reasoning and arguments
that were seen, at the dialect's bytes per token. Reasoning that a provider hides is not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Protocol

from dataplane.core.usage import INPUT_CLASSES, Usage
from dataplane.dialects.halves import with_whole_characters
from dataplane.dialects.scan import UNREADABLE
from dataplane.dialects.sent import Form, Place, SentSoFar
from dataplane.dialects.tails import HEAD_BYTES, TAIL_BYTES, Remnant, figures_of
from dataplane.dialects.tally import Tally

MAX_BODY = 2 * 1024 * 1024  # a larger answer is metered from its tail: of so much text 3 ms

# What a provider may have one turn of the loop decode. No answer of theirs comes near; beyond it we do without.
_LARGE = 256 * 1024  # below it no text is rich in anything
_MOST_OBJECTS = 200_000  # of one event: 20 ms; the log probabilities of 10,000 tokens
_MOST_QUOTES = 2_000_000
_MOST_VALUES = 250_000  # of one answer: 3 ms; a hundred embeddings
_REPAIRED = 128 * 1024  # half characters are looked for in so much: 4 ms


class Splitter(Protocol):
    """Takes a stream apart. `joint`: what goes before a further element of an array."""

    form: Form
    overflowed: bool  # what it hands out may be `Remnant`

    @property
    def mid_event(self) -> bool: ...
    @property
    def joint(self) -> bytes: ...
    def feed(self, data: bytes) -> list[bytes]: ...
    def close(self) -> list[bytes]: ...
    def unframed(self) -> bytes:
        """A JSON object that came instead of a stream, as far as it is there."""
        ...


class _TallyMeter:
    """The part of their tally that both meters show."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.events = 0
        self.complete = False  # the tally's, copied: it is asked after every event

    @property
    def form(self) -> Form:
        raise NotImplementedError

    @property
    def produced(self) -> int:
        return self.tally.output_bytes

    @property
    def failed(self) -> bool:
        return self.tally.failed

    @property
    def kept_id(self) -> str:
        return self.tally.kept_id

    @property
    def goes_on(self) -> bool:
        return self.tally.goes_on

    @property
    def seen(self) -> Usage:
        return self.tally.seen

    @property
    def content_ended(self) -> bool:
        return self.tally.content_ended

    @property
    def model(self) -> str:
        return self.tally.model

    def usage(self) -> Usage:
        return self.tally.usage()

    def _place(self, form: Form, *, mid_event: bool, joint: bytes = b"") -> Place:
        counts = self.tally.usage().units.items()
        total = sum(count for unit, count in counts if unit.startswith(("input", "cache", "output")))
        incoming = sum(count for unit, count in counts if unit in INPUT_CLASSES)
        return Place(
            form=form,
            complete=self.complete,
            mid_event=mid_event,
            events=self.events,
            produced=self.produced,
            model=self.model,
            input_tokens=incoming,
            output_tokens=total - incoming,
            joint=joint,
        )


class EventMeter(_TallyMeter):
    """Over a stream of events."""

    def __init__(self, splitter: Splitter, tally: Tally) -> None:
        super().__init__(tally)
        self.splitter = splitter

    @property
    def form(self) -> Form:
        return self.splitter.form

    @property
    def mid_event(self) -> bool:
        return self.splitter.mid_event

    def feed(self, data: bytes, *, last: bool = False) -> None:
        tally = self.tally
        payloads = self.splitter.close() if last else self.splitter.feed(data)
        self.events += len(payloads)
        # Of those that end in one read only the first may be larger than that.
        if payloads and (last or len(data) > _LARGE or len(payloads[0]) > _LARGE or self.splitter.overflowed):
            payloads = [payload for payload in payloads if self._is_whole(payload)]
        for payload in payloads:
            try:
                tally.event(payload)
            except UNREADABLE:
                _again(tally.event, payload)
        self.complete = tally.complete

    def _is_whole(self, payload: bytes) -> bool:
        """One that is not, or is too rich to be read, is heard by its end."""
        if len(payload) > _LARGE and is_rich(payload):
            payload = Remnant.from_whole(payload)
        if not isinstance(payload, Remnant):
            return True
        with suppress(*UNREADABLE):
            self.tally.cut_event(payload)
        return False

    def close(self) -> None:
        instead = self.splitter.unframed() if not self.events else b""
        self.feed(b"", last=True)
        if instead:
            whole = BodyMeter(self.tally)
            whole.feed(instead)
            whole.close()
            self.events, self.complete = 1, self.tally.complete

    def sent_so_far(self) -> SentSoFar:
        form, mid_event = self.splitter.form, self.mid_event
        closed: SentSoFar | None = None
        if mid_event and form is Form.EVENTS:
            later = deepcopy(self)
            later.close()
            closed = later.sent_so_far()
        return self.tally.sent(self._place(form, mid_event=mid_event, joint=self.splitter.joint), closed)


class BodyMeter(_TallyMeter):
    """Over one JSON answer. Keeps up to MAX_BODY of it until it is closed."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._kept = bytearray()
        self._head = b""  # of an answer that is not kept
        self._seen = 0

    @property
    def form(self) -> Form:
        return Form.WHOLE

    @property
    def mid_event(self) -> bool:
        return bool(self._seen) and not self.complete

    def feed(self, data: bytes) -> None:
        self.events = 1
        self._seen += len(data)
        self._kept += data
        if self._seen > MAX_BODY and len(self._kept) > 2 * TAIL_BYTES:
            self._head = self._head or bytes(self._kept[:HEAD_BYTES])
            del self._kept[:-TAIL_BYTES]

    def close(self) -> None:
        body = bytes(self._kept)
        self._kept.clear()
        if not body:
            return
        self.tally.body_bytes = self._seen
        cut_short = self._seen > MAX_BODY or (len(body) > _LARGE and _values(body) > _MOST_VALUES)
        if (cut_short or not self._reads(body)) and not (
            self._seen > TAIL_BYTES and self._reads(figures_of(self._head or body[:HEAD_BYTES], body[-TAIL_BYTES:]))
        ):
            # half an answer: its bytes are the output that was seen
            self.tally.output_bytes = self._seen if self.tally.generates else 0
        elif not cut_short:
            self.tally.answer = body
        self.complete = self.tally.complete

    def _reads(self, body: bytes) -> bool:
        try:
            self.tally.body(body)
        except UNREADABLE:
            return _again(self.tally.body, body)
        return True

    def sent_so_far(self) -> SentSoFar:
        return self.tally.sent(self._place(Form.WHOLE, mid_event=self.mid_event), None)


def _again(read: Callable[[bytes], None], text: bytes) -> bool:
    """Once more with half characters repaired; what is still unreadable is for the client to judge."""
    if len(text) > _REPAIRED or b"\\u" not in text:
        return False
    try:
        read(with_whole_characters(text))
    except UNREADABLE:
        return False
    return True


def is_rich(text: bytes) -> bool:
    """It holds more objects, or strings, than a turn of the loop has time for."""
    return text.count(b"{") > _MOST_OBJECTS or text.count(b'"') > _MOST_QUOTES


def _values(text: bytes) -> int:
    """What may stand in front of one. (`count` looks at every byte; this, five times as fast, searches.)"""
    return sum([len(text) - len(text.replace(mark, b"")) for mark in (b"{", b"[", b",")])
