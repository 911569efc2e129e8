"""Taps on a response: an `EventMeter` over a stream, a `BodyMeter` over one JSON answer, each filling a dialect's
`Tally`.

When the provider did not get to its figures (the client left, the stream broke), usage is METERED: the input as the
provider announced it, else `facts.input_tokens_estimate`; the output from the bytes of text, reasoning and arguments
that were seen, at the dialect's bytes per token. Reasoning that a provider hides is not in it.

So it is where its figures are none: a count that is no count was not told, and one that no answer of this kind can have
is not believed (`plausible`). Its usage object is kept as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from math import ceil
from types import MappingProxyType
from typing import Protocol

import msgspec

from dataplane.core.usage import INPUT_CLASSES, NO_USAGE, Usage, UsageClass, UsageSource, Why
from dataplane.dialects.counts import NotACount, Units, counts_only, plausible
from dataplane.dialects.dialect import RequestFacts
from dataplane.dialects.halves import with_whole_characters
from dataplane.dialects.scan import UNREADABLE, decoded
from dataplane.dialects.sent import Form, Place, SentSoFar

MAX_BODY = 2 * 1024 * 1024  # a larger answer is metered from its tail: of so much text 3 ms
_TAIL = 64 * 1024
_HEAD = 2 * 1024  # where most say their model
_ORDINARY = 1_000  # no class above it: nothing to ask
_RAW_LIMIT = 16 * 1024

# What a provider may have one turn of the loop decode. No answer of theirs comes near; beyond it we do without.
_USAGE_BYTES = 64 * 1024  # of a usage object: they have 200 to 2,000
_LARGE = 256 * 1024  # below it no text is rich in anything
_MOST_OBJECTS = 200_000  # of one event: 20 ms; the log probabilities of 10,000 tokens
_MOST_QUOTES = 2_000_000
_MOST_VALUES = 250_000  # of one answer: 3 ms; a hundred embeddings
_REPAIRED = 128 * 1024  # half characters are looked for in so much: 4 ms

_PROVIDER = UsageSource.PROVIDER


_MODEL = re.compile(rb'"(model|modelVersion)"\s*:\s*"([ !#-\[\]-~]{1,200})"')

NOTHING = msgspec.Raw(b"")


class Tally:
    """The figures of a response so far. A dialect's own one knows its events, its body, and how its usage is split."""

    bytes_per_token = 4.0
    generates = True  # False: embeddings, which have no output to estimate

    def __init__(self, facts: RequestFacts) -> None:
        self.facts = facts
        self.model = ""
        self.complete = False
        self.failed = False
        self.output_bytes = 0
        self.body_bytes = 0  # of an answer in one piece
        self.reported: dict[str, object] = {}  # the provider's usage object
        self.latest = NOTHING  # a newer one, not decoded yet: some send it with every event
        self.final = False  # `reported` covers the whole answer
        self.extra: Units = {}  # billed calls that are counted by looking

    def event(self, payload: bytes) -> None:
        """One event's data. May raise UNREADABLE."""
        raise NotImplementedError

    def body(self, body: bytes) -> None:
        """A whole answer. May raise UNREADABLE."""
        raise NotImplementedError

    def units(self, reported: Mapping[str, object]) -> Units:
        raise NotImplementedError

    def qualifiers(self) -> tuple[str, str, str]:
        """service tier, speed, geo."""
        return "", "", ""

    def sent(self, at: Place, closed: SentSoFar | None) -> SentSoFar:
        """Returns what a client has that got all of this."""
        raise NotImplementedError

    def usage(self) -> Usage:
        if self.latest:
            self.reported, self.latest = usage_object(self.latest) or self.reported, NOTHING
        units, why = self._read() if self.reported else (self.extra.copy(), Why.NOTHING)
        source = _PROVIDER
        if why or not (self.final and self.reported):
            if self.failed and not self.reported and not self.output_bytes:
                return NO_USAGE
            source = UsageSource.METERED
            why = why or Why.NO_FIGURES
            self._estimate(units)
        tier, speed, geo = self.qualifiers()
        raw = msgspec.json.encode(self.reported).decode() if self.reported else ""
        used = MappingProxyType({unit: count for unit, count in units.items() if count > 0})
        return Usage(used, source, tier, speed, geo, raw if len(raw) <= _RAW_LIMIT else "", why)

    def _read(self) -> tuple[Units, Why]:
        """The counts that the provider told, and why some of them do not count."""
        why = Why.NOTHING
        try:
            units = self.units(self.reported)
        except NotACount:
            units, why = self.units(counts_only(self.reported)), Why.NOT_COUNTS
        if self.extra:
            units |= self.extra
        if not units or max(units.values()) <= _ORDINARY:
            return units, why
        believed = plausible(units, self.facts.max_output, max(self.output_bytes, self.body_bytes))
        return believed, why if believed is units else Why.IMPLAUSIBLE

    def _estimate(self, units: Units) -> None:
        if not any(units.get(unit) for unit in INPUT_CLASSES):
            units[UsageClass.INPUT] = self.facts.input_tokens_estimate
        if self.generates:
            seen = ceil((self.output_bytes or self.body_bytes) / self.bytes_per_token)
            seen -= units.get(UsageClass.OUTPUT_REASONING, 0)
            units[UsageClass.OUTPUT] = max(units.get(UsageClass.OUTPUT, 0), seen)


class Unbilled(Tally):
    """For operations that cost nothing: counts of tokens, stored responses, lists. `kind`: the dialect's own."""

    def __init__(self, facts: RequestFacts, kind: type[SentSoFar]) -> None:
        super().__init__(facts)
        self._kind = kind

    def event(self, payload: bytes) -> None:
        return

    def body(self, body: bytes) -> None:
        self.complete = True

    def sent(self, at: Place, closed: SentSoFar | None) -> SentSoFar:
        return self._kind(at, closed)

    def usage(self) -> Usage:
        return NO_USAGE


class Splitter(Protocol):
    """Takes a stream apart. `joint`: what goes before a further element of an array."""

    form: Form

    @property
    def mid_event(self) -> bool: ...
    @property
    def joint(self) -> bytes: ...
    def feed(self, data: bytes) -> list[bytes]: ...
    def close(self) -> list[bytes]: ...


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
        if payloads and (last or len(data) > _LARGE or len(payloads[0]) > _LARGE):
            payloads = [payload for payload in payloads if len(payload) <= _LARGE or not is_rich(payload)]
        for payload in payloads:
            try:
                tally.event(payload)
            except UNREADABLE:
                _again(tally.event, payload)
        self.complete = tally.complete

    def close(self) -> None:
        self.feed(b"", last=True)

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
        if self._seen > MAX_BODY and len(self._kept) > 2 * _TAIL:
            self._head = self._head or bytes(self._kept[:_HEAD])
            del self._kept[:-_TAIL]

    def close(self) -> None:
        body = bytes(self._kept)
        self._kept.clear()
        if not body:
            return
        self.tally.body_bytes = self._seen
        cut_short = self._seen > MAX_BODY or (len(body) > _LARGE and _values(body) > _MOST_VALUES)
        if (cut_short or not self._reads(body)) and not (
            self._seen > _TAIL and self._reads(_figures_of(self._head or body[:_HEAD], body[-_TAIL:]))
        ):
            # half an answer: its bytes are the output that was seen
            self.tally.output_bytes = self._seen if self.tally.generates else 0
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


def has_value(raw: msgspec.Raw) -> bool:
    """True for what is neither absent nor null."""
    return len(raw) > 0 and (len(raw) != 4 or bytes(raw) != b"null")


def text_bytes(raw: msgspec.Raw) -> int:
    """Length of a JSON string between its quotes; 0 for null and for nothing."""
    return len(raw) - 2 if len(raw) > 2 and has_value(raw) else 0


def usage_object(raw: msgspec.Raw) -> dict[str, object]:
    """Decodes a usage object, without nulls; empty when it is none."""
    value = decoded(raw) if 0 < len(raw) <= _USAGE_BYTES else None
    if not isinstance(value, dict):
        return {}
    return {key: held for key, held in value.items() if held is not None} if None in value.values() else value


def within(source: Mapping[str, object], key: str) -> dict[str, object]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def word(source: Mapping[str, object], key: str) -> str:
    value = source.get(key)
    return value[:64] if isinstance(value, str) else ""


def split(total: int, parts: Iterable[tuple[UsageClass, int]], rest: UsageClass) -> Units:
    """`parts` are subsets of `total`; what no part claims is `rest`. Never more than the total, whatever was
    claimed."""
    units: Units = {}
    for unit, claimed in parts:
        taken = min(claimed, total)
        units[unit] = units.get(unit, 0) + taken
        total -= taken
    units[rest] = units.get(rest, 0) + total
    return units


def add(units: Units, more: Units) -> None:
    for unit, number in more.items():
        units[unit] = units.get(unit, 0) + number


def _figures_of(head: bytes, tail: bytes) -> bytes:
    """A small body with the usage object that stands near the end of a large one, and the model that it names."""
    text = tail.decode("utf-8", "replace")
    for key in ("usageMetadata", "usage"):
        at = text.rfind(f'"{key}"')
        opening = text.find("{", at) if at >= 0 else -1
        if opening >= 0:
            try:
                usage, _ = json.JSONDecoder().raw_decode(text, opening)
            except (ValueError, RecursionError):
                continue
            model = _MODEL.search(head) or _MODEL.search(tail, max(len(tail) - _HEAD, 0))
            named = {model[1].decode(): model[2].decode()} if model is not None else {}
            return msgspec.json.encode({**named, key: usage})
    return b""
