"""The meter of Gemini's answers: every chunk carries cumulative usage, the last one has a finish reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from dataplane.core.usage import UsageClass
from dataplane.dialects.counts import Units, count
from dataplane.dialects.dialect import BILLED, Meter, Operation, RequestFacts
from dataplane.dialects.gemini.facts import BYTES_PER_TOKEN
from dataplane.dialects.gemini.grounding import Grounded, Grounding, billed
from dataplane.dialects.json_array import JsonArraySplitter
from dataplane.dialects.meters import BodyMeter, EventMeter
from dataplane.dialects.scan import UNREADABLE
from dataplane.dialects.sent import Place, SentSoFar
from dataplane.dialects.sse import SseSplitter
from dataplane.dialects.tails import Remnant
from dataplane.dialects.tally import Tally, Unbilled
from dataplane.dialects.values import NOTHING, has_value, split, text_bytes, word

_MOST_CANDIDATES = 64  # the API gives at most 8
# How Vertex AI says the tier (its UsageMetadata, `trafficType`).
_TRAFFIC = {"ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}


class _Part(msgspec.Struct, gc=False):
    text: msgspec.Raw = NOTHING
    functionCall: msgspec.Raw = NOTHING


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False):
    index: int = 0
    content: _Content | None = None
    finishReason: str | None = None
    groundingMetadata: msgspec.Raw = NOTHING


class _Feedback(msgspec.Struct, gc=False):
    blockReason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None
    usageMetadata: msgspec.Raw = NOTHING
    modelVersion: str | None = None
    error: msgspec.Raw = NOTHING


_chunk = msgspec.json.Decoder(_Chunk)
_grounding = msgspec.json.Decoder(Grounding)


@dataclass(frozen=True, slots=True)
class GeminiSent(SentSoFar):
    """Chunks of an answer, as events or as the elements of an array."""


class GeminiTally(Tally):
    bytes_per_token = BYTES_PER_TOKEN

    def __init__(self, facts: RequestFacts, *, generates: bool = True) -> None:
        super().__init__(facts)
        self.generates = generates
        self.open: set[int] = set()  # candidates that were seen and have not finished
        self.finished = False
        self.grounded = Grounded()

    def event(self, payload: bytes) -> None:
        chunk = _chunk.decode(payload)
        if chunk.error:
            self.failed = True
        if chunk.modelVersion:
            self.model = chunk.modelVersion
        for candidate in chunk.candidates or ():
            self._candidate(candidate)
        if chunk.promptFeedback is not None and chunk.promptFeedback.blockReason:
            self.finished = True
        if has_value(chunk.usageMetadata):
            self.newer(chunk.usageMetadata)
            if self.finished and not self.open:
                self.complete = self.final = True

    def body(self, body: bytes) -> None:
        self.event(body)
        if self.latest:
            self.final = True
        elif not self.failed and self.generates and not self.output_bytes:
            self.output_bytes = len(body)
        self.complete = True

    def figures(self, figures: bytes, cut: Remnant) -> None:
        if b'"finishReason"' in cut.head + cut:
            self.finished = True
            self.open.clear()
        self.event(figures)

    def units(self, reported: Mapping[str, object]) -> Units:
        units = tokens(reported)
        if (calls := billed(reported)) is not None:
            # the provider's own count stands for what was counted by looking
            self.extra = calls
        return units

    @property
    def content_ended(self) -> bool:
        return self.complete or (self.finished and not self.open)

    def qualifiers(self) -> tuple[str, str, str]:
        tier = word(self.reported, "serviceTier").lower() or _TRAFFIC.get(word(self.reported, "trafficType"), "")
        return tier, "", ""

    def sent(self, at: Place, closed: SentSoFar | None) -> GeminiSent:
        return GeminiSent(at, closed)

    def _candidate(self, candidate: _Candidate) -> None:
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self.output_bytes += text_bytes(part.text) + len(part.functionCall)
        if candidate.finishReason:
            self.finished = True
            self.open.discard(candidate.index)
        elif candidate.index not in self.open and len(self.open) < _MOST_CANDIDATES:
            self.open.add(candidate.index)
        if has_value(candidate.groundingMetadata):
            try:
                self.grounded.see(_grounding.decode(candidate.groundingMetadata))
            except UNREADABLE:
                return
            self.extra = self.grounded.units(self.model or self.facts.model)


def tokens(reported: Mapping[str, object]) -> Units:
    """prompt ⊇ cached; thoughts and the prompts of tools stand beside prompt and candidates; the total is their sum."""
    cached = _by_modality(reported, "cacheTokensDetails")
    prompt = _by_modality(reported, "promptTokensDetails")
    answer = _by_modality(reported, "candidatesTokensDetails")
    units = split(
        count(reported, "promptTokenCount"),
        (
            (UsageClass.CACHE_READ, count(reported, "cachedContentTokenCount")),
            (UsageClass.INPUT_AUDIO, max(prompt.get("AUDIO", 0) - cached.get("AUDIO", 0), 0)),
            (UsageClass.INPUT_IMAGE, max(prompt.get("IMAGE", 0) - cached.get("IMAGE", 0), 0)),
        ),
        UsageClass.INPUT,
    )
    units[UsageClass.INPUT] += count(reported, "toolUsePromptTokenCount")
    units.update(
        split(
            count(reported, "candidatesTokenCount"),
            (
                (UsageClass.OUTPUT_AUDIO, answer.get("AUDIO", 0)),
                (UsageClass.OUTPUT_IMAGE, answer.get("IMAGE", 0)),
            ),
            UsageClass.OUTPUT,
        )
    )
    units[UsageClass.OUTPUT_REASONING] = count(reported, "thoughtsTokenCount")
    return units


def _by_modality(reported: Mapping[str, object], key: str) -> dict[str, int]:
    details = reported.get(key)
    counts: dict[str, int] = {}
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            name = word(detail, "modality")
            counts[name] = counts.get(name, 0) + count(detail, "tokenCount")
    return counts


def meter(operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
    tally: Tally = (
        GeminiTally(facts, generates=operation is not Operation.EMBED_CONTENT)
        if operation in BILLED
        else Unbilled(facts, GeminiSent)
    )
    if streaming:
        return EventMeter(SseSplitter(), tally)
    if operation is Operation.STREAM_GENERATE_CONTENT:
        return EventMeter(JsonArraySplitter(), tally)
    return BodyMeter(tally)
