"""OpenAI Chat Completions and embeddings, as OpenAI and everyone who imitates it speaks them.

A stream carries usage only when `stream_options.include_usage` asks for it; where the client said nothing, we ask.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.clients import CURSOR, clean_session
from dataplane.dialects.dialect import (
    Client,
    DialectName,
    ErrorResponse,
    Meter,
    Operation,
    RequestFacts,
    Splice,
)
from dataplane.dialects.meters import (
    NOTHING,
    BodyMeter,
    EventMeter,
    Tally,
    Unbilled,
    Units,
    given,
    text_bytes,
)
from dataplane.dialects.openai_usage import tokens
from dataplane.dialects.refusals import openai_error, openai_refusal
from dataplane.dialects.scan import UNREADABLE, Scan, required_model, scan, splice
from dataplane.dialects.size import measure
from dataplane.dialects.sse import SseSplitter

BYTES_PER_TOKEN = 4.0
DONE = b"data: [DONE]\n\n"


def image_upper(model: str) -> int:
    """gpt-4o-mini bills an image 33 times: up to 8 tiles of 5,667 and 2,833; the others at most 10,000 patches and a
    fifth."""
    return 49_000 if "4o-mini" in model else 12_500


class _Function(msgspec.Struct, gc=False):
    name: msgspec.Raw = NOTHING
    arguments: msgspec.Raw = NOTHING


class _Call(msgspec.Struct, gc=False):
    function: _Function | None = None
    custom: msgspec.Raw = NOTHING


class _Delta(msgspec.Struct, gc=False):
    content: msgspec.Raw = NOTHING
    reasoning_content: msgspec.Raw = NOTHING
    reasoning: msgspec.Raw = NOTHING
    refusal: msgspec.Raw = NOTHING
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: list[_Choice] | None = None
    service_tier: str | None = None
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


class _Frame(msgspec.Struct, gc=False):
    """What is read of a chunk whose choices are not as documented, and of a whole answer."""

    model: str | None = None
    service_tier: str | None = None
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


_chunk = msgspec.json.Decoder(_Chunk)
_frame = msgspec.json.Decoder(_Frame)


class ChatTally(Tally):
    bytes_per_token = BYTES_PER_TOKEN

    def __init__(self, facts: RequestFacts, *, generates: bool = True) -> None:
        super().__init__(facts)
        self.generates = generates
        self.id = ""
        self.created = 0
        self.finished = False
        self.called_tools = False
        self.service_tier = ""

    def event(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            self.complete = True
            self.final = self.final or bool(self.latest)
            return
        try:
            chunk = _chunk.decode(payload)
        except UNREADABLE:
            self._frame(_frame.decode(payload), last=False)
            return
        if not self.id:
            self.id, self.created = chunk.id or "", chunk.created or 0
            self._frame(chunk, last=False)
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None:
                self.output_bytes += text_bytes(delta.content) if len(delta.content) < 5 else len(delta.content) - 2
                if delta.reasoning_content or delta.reasoning or delta.refusal or delta.tool_calls:
                    self._beside_content(delta)
            if choice.finish_reason:
                self.finished = True
        if self.finished or len(chunk.usage) > 4 or chunk.error:
            # some send what they counted so far with every chunk: only the end's is the bill
            self._frame(chunk, last=self.finished or not chunk.choices)

    def body(self, body: bytes) -> None:
        self._frame(_frame.decode(body), last=True)
        if not self.failed and not self.final:
            self.output_bytes = len(body) if self.generates else 0
        self.complete = True

    def units(self, reported: Mapping[str, object]) -> Units:
        return tokens(reported)

    def qualifiers(self) -> tuple[str, str, str]:
        return self.service_tier, "", ""

    def _beside_content(self, delta: _Delta) -> None:
        self.output_bytes += text_bytes(delta.reasoning_content or delta.reasoning) + text_bytes(delta.refusal)
        for call in delta.tool_calls or ():
            self.called_tools = True
            self.output_bytes += text_bytes(call.custom)
            if call.function is not None:
                self.output_bytes += text_bytes(call.function.name) + text_bytes(call.function.arguments)

    def _frame(self, frame: _Chunk | _Frame, *, last: bool) -> None:
        if frame.model:
            self.model = frame.model
        if frame.service_tier:
            self.service_tier = frame.service_tier[:64]
        if given(frame.error):
            self.failed = True
        if given(frame.usage):
            self.latest = frame.usage
            self.final = self.final or last
        if self.finished and self.final:
            self.complete = True


class OpenAIChat:
    """The `Dialect` of chat completions and embeddings."""

    name = DialectName.CHAT

    def read_request(self, operation: Operation, path_model: str, body: bytes) -> RequestFacts:
        fields = scan(body)
        model, span = required_model(fields)
        if operation is Operation.CHAT and "input" in fields and "messages" not in fields:
            raise _agent_mode(fields)
        stream = operation is Operation.CHAT and fields.flag("stream")
        asks, usage_splice = _usage_request(fields) if stream else (True, None)
        size = measure(body, image_upper=image_upper(model), bytes_per_token=BYTES_PER_TOKEN, tools="tools" in fields)
        return RequestFacts(
            model=model,
            model_span=span,
            stream=stream,
            max_output=fields.count("max_completion_tokens") or fields.count("max_tokens"),
            asks_usage=asks,
            input_tokens_upper=size.upper,
            session=clean_session(fields.text("prompt_cache_key")) if "prompt_cache_key" in fields else "",
            input_tokens_estimate=size.estimate,
            usage_splice=usage_splice,
        )

    def rewrite(self, body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
        changes: list[Splice] = []
        if facts.model_span is not None and model != facts.model:
            changes.append((*facts.model_span, msgspec.json.encode(model)))
        if include_usage and facts.usage_splice is not None:
            changes.append(facts.usage_splice)
        return splice(body, changes) if changes else body

    def meter(self, operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
        if operation not in (Operation.CHAT, Operation.EMBEDDINGS):
            tally: Tally = Unbilled(facts)
        else:
            tally = ChatTally(facts, generates=operation is Operation.CHAT)
        return EventMeter(SseSplitter(), tally) if streaming else BodyMeter(tally)

    def refusal(self, refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
        return openai_refusal(refusal, client, request_id)

    def stream_refusal(self, refusal: Refusal, client: Client, request_id: str, so_far: Meter) -> bytes:
        """Final words are a text delta and a regular end, which every client shows and none repeats. Where a tool
        call is under way that end would run it, and where a retry makes sense the client should know: then an error
        frame."""
        tally = so_far.tally if isinstance(so_far, EventMeter) and isinstance(so_far.tally, ChatTally) else None
        if so_far.complete or isinstance(so_far, BodyMeter):
            return b""
        boundary = b"\n\n" if so_far.mid_event else b""
        if tally is not None and tally.finished:
            return boundary + DONE
        chunk: dict[str, object] = {
            "id": (tally.id if tally else "") or f"chatcmpl-{request_id}",
            "object": "chat.completion.chunk",
            "created": tally.created if tally else 0,
            "model": so_far.model,
        }
        if refusal.retryable or (tally is not None and tally.called_tools):
            error = openai_error(refusal, refusal.status, refusal.code.value)
            if not refusal.retryable:
                error["type"] = "invalid_request_error"
            first = _data({"error": error})
        else:
            lead = "\n\n" if tally is not None and tally.output_bytes else ""
            words = {"role": "assistant", "content": lead + refusal.message}
            first = _data({**chunk, "choices": [{"index": 0, "delta": words, "finish_reason": None}]})
        end = _data({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        return boundary + first + end + DONE


def _agent_mode(fields: Scan) -> Refusal:
    """Cursor's Agent mode posts a Responses body to the route of chat completions, with chat's `stream_options`."""
    if "stream_options" not in fields:
        return Refusal(
            Code.BAD_REQUEST,
            "this is a Responses body, with `input` and no `messages`, on the route of chat completions: send it to "
            "/v1/responses",
        )
    return Refusal(
        Code.BAD_REQUEST,
        "Cursor's Agent mode is not served: it sends a Responses body to the route of chat completions, which this "
        "gateway does not translate; Ask mode and plain chat work",
        meta={"client": CURSOR},
    )


def _usage_request(fields: Scan) -> tuple[bool, Splice | None]:
    """Whether the stream will carry usage by itself, and else the splice that asks for it. An explicit false stays."""
    span = fields.spans.get("stream_options")
    if span is None:
        at = fields.spans["stream"][1]
        return False, (at, at, b',"stream_options":{"include_usage":true}')
    options = fields.inner("stream_options")
    if options is None:
        # null asks for nothing; anything else is the provider's to refuse
        return False, (*span, b'{"include_usage":true}') if "stream_options" not in fields else None
    if "include_usage" in options:
        return options.flag("include_usage"), None
    if "include_usage" in options.spans:
        return False, (*options.spans["include_usage"], b"true")
    comma = b"," if options.spans else b""
    return False, (span[0] + 1, span[0] + 1, b'"include_usage":true' + comma)


def _data(value: object) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(value)
