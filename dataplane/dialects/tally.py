"""The figures of a response so far: the provider's, where they can be true, and else what was seen of the answer.

A figure counts as the provider's only if it can be true. A count that is no count was not told, one that no answer of
this kind can have is not believed (`plausible`), and a direction of which none were told although something passed is
told by nobody: what was seen stands for them (METERED), `Usage.why` says the reason, the provider's object is kept as
it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType

import msgspec

from dataplane.core.usage import (
    INPUT_CLASSES,
    NO_CALLS,
    NO_USAGE,
    OUTPUT_CLASSES,
    Usage,
    UsageClass,
    UsagePart,
    UsageSource,
    Why,
)
from dataplane.dialects.counts import NotACount, Units, counts_only, plausible
from dataplane.dialects.dialect import RequestFacts
from dataplane.dialects.scan import decoded
from dataplane.dialects.sent import Place, SentSoFar
from dataplane.dialects.tails import Remnant, figures_of
from dataplane.dialects.values import larger, shown, usage_object

_ORDINARY = 1_000  # no class above it: nothing to ask
_RAW_LIMIT = 16 * 1024
_PROVIDER = UsageSource.PROVIDER
_INPUT, _OUTPUT = UsageClass.INPUT, UsageClass.OUTPUT  # a look-up in an Enum takes 0.1 µs


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
        self.answer = b""  # the same, where it was read whole: looked at again if it tells no output
        self.reported: dict[str, object] = {}  # the provider's usage object
        self.latest = b""  # a newer one, not decoded yet: some send it with every event
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

    def parts(self, reported: Mapping[str, object]) -> tuple[UsagePart, ...]:
        """What other models used, out of the usage object."""
        return ()

    def unknown_calls(self) -> Mapping[str, int]:
        """Calls of tools without a known price, by their name."""
        return NO_CALLS

    @property
    def kept_id(self) -> str:
        """Under which the provider keeps the answer."""
        return ""

    @property
    def goes_on(self) -> bool:
        """The provider works on, whoever listens: the figures are seen later."""
        return False

    @property
    def seen(self) -> Usage:
        """The provider's figures of an answer made earlier."""
        return NO_USAGE

    @property
    def content_ended(self) -> bool:
        """All that the client waits for has come; figures may follow."""
        return self.complete

    def qualifiers(self) -> tuple[str, str, str]:
        """service tier, speed, geo."""
        return "", "", ""

    def sent(self, at: Place, closed: SentSoFar | None) -> SentSoFar:
        """Returns what a client has that got all of this."""
        raise NotImplementedError

    def newer(self, usage: msgspec.Raw) -> None:
        """A usage object that replaces the one before: decoded when it is asked for, since some send one with every
        event. One that tells less than before does not make that undone."""
        text, latest = bytes(usage), self.latest
        if text < latest or len(text) < len(latest):
            self.reported = larger(self.reported, usage_object(latest))
        self.latest = text

    def cut_event(self, cut: Remnant) -> None:
        """An event that was too large to be read whole. May raise UNREADABLE."""
        figures = figures_of(cut.head, cut)
        if figures:
            self.figures(figures, cut)

    def figures(self, figures: bytes, cut: Remnant) -> None:
        """`figures`: a body with a usage object, and little else, out of an event that was cut."""
        self.event(figures)

    def usage(self) -> Usage:
        if self.latest:
            self.reported, self.latest = larger(self.reported, usage_object(self.latest)), b""
        parts: tuple[UsagePart, ...] = ()
        units, why = self.extra.copy(), Why.NOTHING
        if self.reported:
            units, parts, why = self._read()
        has_figures = self.final and bool(self.reported)
        wants_input, wants_output = self._untold(units) if has_figures and not why else (True, True)
        source = _PROVIDER
        if wants_input or wants_output:
            if self.failed and not self.reported and not self.output_bytes:
                return NO_USAGE
            source = UsageSource.METERED
            why = why or Why.NO_FIGURES
            self._estimate(units, wants_output)
        tier, speed, geo = self.qualifiers()
        raw = msgspec.json.encode(self.reported).decode() if self.reported else ""
        used = MappingProxyType({unit: count for unit, count in units.items() if count > 0})
        return Usage(
            used, source, tier, speed, geo, raw if len(raw) <= _RAW_LIMIT else "", why, parts, self.unknown_calls(),
            outstanding=self.content_ended and not has_figures,
        )  # fmt: skip

    def _read(self) -> tuple[Units, tuple[UsagePart, ...], Why]:
        """The counts that the provider told, and why some of them do not count."""
        why, reported = Why.NOTHING, self.reported
        try:
            units, parts = self.units(reported), self.parts(reported)
        except NotACount:
            reported, why = counts_only(reported), Why.NOT_COUNTS
            units, parts = self.units(reported), self.parts(reported)
        if self.extra:
            units |= self.extra
        seen = max(self.output_bytes, self.body_bytes)
        for part in parts:
            if plausible(dict(part.units), self.facts.max_output, seen) != part.units:
                parts, why = tuple(other for other in parts if other is not part), Why.IMPLAUSIBLE
        if not units or max(units.values()) <= _ORDINARY:
            return units, parts, why
        believed = plausible(units, self.facts.max_output, seen)
        return believed, parts, why if believed is units else Why.IMPLAUSIBLE

    def _untold(self, units: Units) -> tuple[bool, bool]:
        """Whether no input was told, or no output, although there must have been some."""
        if units.get(_INPUT) and units.get(_OUTPUT):  # nearly always
            return False, False
        incoming = outgoing = 0
        for unit, count in units.items():
            if unit in INPUT_CLASSES:
                incoming += count
            elif unit in OUTPUT_CLASSES:
                outgoing += count
        if self.answer and self.generates and not outgoing and not self.failed:
            self.output_bytes, self.answer = shown(decoded(self.answer)), b""
        if incoming and (outgoing or not self.output_bytes):
            return False, False
        answered = outgoing or self.output_bytes or (not self.generates and not self.failed)
        wants_output = self.generates and self.output_bytes > 0 and not outgoing
        return bool(not incoming and self.facts.input_tokens_estimate and answered), wants_output

    def _estimate(self, units: Units, wants_output: bool) -> None:
        if not any(units.get(unit) for unit in INPUT_CLASSES):
            units[UsageClass.INPUT] = self.facts.input_tokens_estimate
        if self.generates and wants_output:
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
