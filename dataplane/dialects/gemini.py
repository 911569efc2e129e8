"""Google's Gemini API: generateContent, its stream (as events or as one JSON array), countTokens, embeddings, cached
contents.

The model stands in the path; bodies that repeat it (embeddings, token counts, caches) say `models/<name>`. Every chunk
carries cumulative usage; the last one has a finish reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import UsageClass
from dataplane.dialects import clients
from dataplane.dialects.dialect import (
    BILLED,
    Client,
    DialectName,
    ErrorResponse,
    Meter,
    Operation,
    RequestFacts,
)
from dataplane.dialects.json_array import JsonArraySplitter
from dataplane.dialects.meters import (
    NOTHING,
    BodyMeter,
    EventMeter,
    Tally,
    Unbilled,
    Units,
    count,
    given,
    split,
    text_bytes,
    word,
)
from dataplane.dialects.refusals import gemini_error, gemini_refusal
from dataplane.dialects.scan import Scan, scan, splice
from dataplane.dialects.size import measure
from dataplane.dialects.sse import SseSplitter

IMAGE_UPPER = 5_000  # 16 tiles of 258 tokens, or 2,240 at the highest media resolution
BYTES_PER_TOKEN = 4.0
_MODELS = "models/"
_MOST_CANDIDATES = 64  # the API gives at most 8
_PER_PROMPT = re.compile(r"gemini-[12](?:\.|-|$)")  # these bill grounding per prompt, later ones per query


class _Part(msgspec.Struct, gc=False):
    text: msgspec.Raw = NOTHING
    functionCall: msgspec.Raw = NOTHING


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Grounding(msgspec.Struct, gc=False):
    webSearchQueries: list[str] | None = None


class _Candidate(msgspec.Struct, gc=False):
    index: int = 0
    content: _Content | None = None
    finishReason: str | None = None
    groundingMetadata: _Grounding | None = None


class _Feedback(msgspec.Struct, gc=False):
    blockReason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None
    usageMetadata: msgspec.Raw = NOTHING
    modelVersion: str | None = None
    error: msgspec.Raw = NOTHING


_chunk = msgspec.json.Decoder(_Chunk)


class GeminiTally(Tally):
    bytes_per_token = BYTES_PER_TOKEN

    def __init__(self, facts: RequestFacts, *, generates: bool = True) -> None:
        super().__init__(facts)
        self.generates = generates
        self.open: set[int] = set()  # candidates that were seen and have not finished
        self.finished = False

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
        if given(chunk.usageMetadata):
            self.latest = chunk.usageMetadata
            if self.finished and not self.open:
                self.complete = self.final = True

    def body(self, body: bytes) -> None:
        self.event(body)
        if self.latest:
            self.final = True
        elif not self.failed and self.generates and not self.output_bytes:
            self.output_bytes = len(body)
        self.complete = True

    def units(self, reported: Mapping[str, object]) -> Units:
        return tokens(reported)

    def qualifiers(self) -> tuple[str, str, str]:
        return word(self.reported, "serviceTier").lower(), "", ""

    def _candidate(self, candidate: _Candidate) -> None:
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self.output_bytes += text_bytes(part.text) + len(part.functionCall)
        if candidate.finishReason:
            self.finished = True
            self.open.discard(candidate.index)
        elif candidate.index not in self.open and len(self.open) < _MOST_CANDIDATES:
            self.open.add(candidate.index)
        if candidate.groundingMetadata is not None and candidate.groundingMetadata.webSearchQueries:
            queries = len(candidate.groundingMetadata.webSearchQueries)
            billed = 1 if _PER_PROMPT.match(self.model or self.facts.model) else queries
            self.extra[UsageClass.WEB_SEARCH] = max(billed, self.extra.get(UsageClass.WEB_SEARCH, 0))


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
    found: dict[str, int] = {}
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            name = word(detail, "modality")
            found[name] = found.get(name, 0) + count(detail, "tokenCount")
    return found


class Gemini:
    """The `Dialect` of the Gemini API."""

    name = DialectName.GEMINI

    def read_request(self, operation: Operation, path_model: str, body: bytes) -> RequestFacts:
        model = path_model.removeprefix(_MODELS)
        if operation is Operation.CACHED_CONTENTS and not body:
            return RequestFacts(model, None, False, 0, True, 0, "")
        fields = scan(body)
        spans = _model_spans(operation, fields)
        if not model and spans:
            named = fields.text("model")
            model = named.removeprefix(_MODELS)
        if not model and operation is not Operation.CACHED_CONTENTS:
            raise Refusal(Code.MISSING_MODEL, "the request names no model")
        config = fields.value("generationConfig")
        most = config.get("maxOutputTokens") if isinstance(config, dict) else 0
        size = measure(body, image_upper=IMAGE_UPPER, bytes_per_token=BYTES_PER_TOKEN, tools="tools" in fields)
        return RequestFacts(
            model=model,
            model_span=None,
            stream=operation is Operation.STREAM_GENERATE_CONTENT,
            max_output=most if isinstance(most, int) and most > 0 else 0,
            asks_usage=True,
            input_tokens_upper=size.upper,
            session="",
            input_tokens_estimate=size.estimate,
            nested_model_spans=spans,
        )

    def rewrite(self, body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
        if not facts.nested_model_spans or model == facts.model:
            return body
        name = msgspec.json.encode(_MODELS + model)
        return splice(body, [(start, end, name) for start, end in facts.nested_model_spans])

    def meter(self, operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
        tally: Tally = (
            GeminiTally(facts, generates=operation is not Operation.EMBED_CONTENT)
            if operation in BILLED
            else Unbilled(facts)
        )
        if streaming:
            return EventMeter(SseSplitter(), tally)
        if operation is Operation.STREAM_GENERATE_CONTENT:
            return EventMeter(JsonArraySplitter(), tally)
        return BodyMeter(tally)

    def refusal(self, refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
        return gemini_refusal(refusal, client, request_id)

    def stream_refusal(self, refusal: Refusal, client: Client, request_id: str, so_far: Meter) -> bytes:
        """A bare error object in a write of its own: what Google's SDKs look for (they swallow one inside an event).
        The AI SDK overlooks that and opencode then asks again without pause, so these two get our words and a regular
        end."""
        if so_far.complete or isinstance(so_far, BodyMeter):
            return b""
        error = msgspec.json.encode({"error": gemini_error(refusal, refusal.status, {"request_id": request_id})})
        if isinstance(so_far, EventMeter) and isinstance(so_far.splitter, JsonArraySplitter):
            return opening(so_far) + error + b"]"
        boundary = b"\n\n" if so_far.mid_event else b""
        if client.name not in (clients.OPENCODE, clients.AI_SDK):
            return boundary + error + b"\n"
        words = {"role": "model", "parts": [{"text": f"\n\n{refusal.message}"}]}
        candidate = {"content": words, "finishReason": "STOP", "index": 0}
        chunk = {"candidates": [candidate], "modelVersion": so_far.model}
        return boundary + b"data: %s\n\n" % msgspec.json.encode(chunk)


def opening(array: EventMeter) -> bytes:
    """What goes before a further element of an array that is open."""
    splitter = array.splitter
    if not isinstance(splitter, JsonArraySplitter) or not splitter.separated:
        return b","
    return b"" if splitter.begun else b"["


def _model_spans(operation: Operation, fields: Scan) -> tuple[tuple[int, int], ...]:
    """Where a body repeats the model of the path. A conversation does not: there the word is the user's."""
    if operation not in (Operation.EMBED_CONTENT, Operation.COUNT_TOKENS, Operation.CACHED_CONTENTS):
        return ()
    places: list[Scan | None] = [fields, fields.inner("generateContentRequest")]
    places += [fields.at(span) for span in fields.elements("requests")]
    return tuple(place.spans["model"] for place in places if place is not None and "model" in place.spans)
