"""The meter of chat completions and embeddings: a stream's usage comes with its last chunk, where it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from dataplane.core.usage import UsageClass
from dataplane.dialects.chat.calls import PLAIN, calls, searches
from dataplane.dialects.counts import Units
from dataplane.dialects.dialect import Meter, Operation, RequestFacts
from dataplane.dialects.meters import BodyMeter, EventMeter
from dataplane.dialects.openai_usage import BYTES_PER_TOKEN, tokens
from dataplane.dialects.scan import UNREADABLE
from dataplane.dialects.sent import Place, SentSoFar
from dataplane.dialects.sse import SseSplitter
from dataplane.dialects.tails import Remnant
from dataplane.dialects.tally import Tally, Unbilled
from dataplane.dialects.values import NOTHING, has_value, text_bytes


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
    """The part that is read of a chunk whose choices are not as documented, and of a whole answer."""

    model: str | None = None
    service_tier: str | None = None
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


_chunk = msgspec.json.Decoder(_Chunk)
_frame = msgspec.json.Decoder(_Frame)


@dataclass(frozen=True, slots=True)
class ChatSent(SentSoFar):
    """A completion on its way."""

    id: str = ""
    created: int = 0
    finished: bool = False  # the reason of the end was told
    called_tools: bool = False
    wants_usage: bool = False  # the client reckons with it behind the end


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
        self._unknown: dict[str, int] = {}
        self._searches(facts.model)

    def event(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            self.complete = True
            self.final = self.final or bool(self.latest) or bool(self.reported)
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
                quoted = len(delta.content)
                self.output_bytes += quoted - 2 if quoted > 4 else text_bytes(delta.content)
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

    def figures(self, figures: bytes, cut: Remnant) -> None:
        self._frame(_frame.decode(figures), last=True)

    def units(self, reported: Mapping[str, object]) -> Units:
        units = tokens(reported)
        if not reported.keys() <= PLAIN:
            units |= calls(reported, self._unknown)
        return units

    def unknown_calls(self) -> Mapping[str, int]:
        return self._unknown

    @property
    def content_ended(self) -> bool:
        return self.complete or self.finished

    def qualifiers(self) -> tuple[str, str, str]:
        return self.service_tier, "", ""

    def sent(self, at: Place, closed: SentSoFar | None) -> ChatSent:
        return ChatSent(at, closed, self.id, self.created, self.finished, self.called_tools, self.facts.asks_usage)

    def _beside_content(self, delta: _Delta) -> None:
        self.output_bytes += text_bytes(delta.reasoning_content or delta.reasoning) + text_bytes(delta.refusal)
        for call in delta.tool_calls or ():
            self.called_tools = True
            self.output_bytes += text_bytes(call.custom)
            if call.function is not None:
                self.output_bytes += text_bytes(call.function.name) + text_bytes(call.function.arguments)

    def _searches(self, model: str) -> None:
        if searches(model):
            self.extra[UsageClass.WEB_SEARCH] = 1

    def _frame(self, frame: _Chunk | _Frame, *, last: bool) -> None:
        if frame.model and frame.model != self.model:
            self.model = frame.model
            self._searches(self.model)
        if frame.service_tier:
            self.service_tier = frame.service_tier[:64]
        if has_value(frame.error):
            self.failed = True
        if has_value(frame.usage):
            self.newer(frame.usage)
            self.final = self.final or last
        if self.finished and self.final:
            self.complete = True


def meter(operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
    if operation not in (Operation.CHAT, Operation.EMBEDDINGS):
        tally: Tally = Unbilled(facts, ChatSent)
    else:
        tally = ChatTally(facts, generates=operation is Operation.CHAT)
    return EventMeter(SseSplitter(), tally) if streaming else BodyMeter(tally)
