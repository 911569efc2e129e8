"""The meter of the Responses API: the last event carries the whole response with its usage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from dataplane.core.usage import NO_USAGE, Usage, UsagePart, UsageSource, Why
from dataplane.dialects.counts import Units, count, counts_only
from dataplane.dialects.dialect import Meter, Operation, RequestFacts
from dataplane.dialects.meters import BodyMeter, EventMeter
from dataplane.dialects.openai_usage import BYTES_PER_TOKEN, tokens
from dataplane.dialects.responses.calls import CallsSeen, Item, image_part, image_usage
from dataplane.dialects.scan import decoded
from dataplane.dialects.sent import Place, SentSoFar
from dataplane.dialects.sse import SseSplitter
from dataplane.dialects.tails import Remnant
from dataplane.dialects.tally import Tally, Unbilled
from dataplane.dialects.values import NOTHING, has_value, updated, usage_object

_KIND = re.compile(rb'"type"\s*:\s*"(response\.[a-z_.]{1,60})"')
_GOES_ON = frozenset({"queued", "in_progress"})
# Behind one of these all that the model had to say may have come.
_SAID = frozenset({
    "response.output_text.done", "response.content_part.done", "response.refusal.done",
    "response.function_call_arguments.done", "response.custom_tool_call_input.done",
})  # fmt: skip
_BEGUN = frozenset({"response.created", "response.queued"})
_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done"})


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    delta: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING
    item: msgspec.Raw = NOTHING


class _Response(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    created_at: msgspec.Raw = NOTHING
    service_tier: str | None = None
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING
    output: msgspec.Raw = NOTHING
    background: bool | None = None
    tools: msgspec.Raw = NOTHING
    tool_usage: msgspec.Raw = NOTHING


_event = msgspec.json.Decoder(_Event)
_response = msgspec.json.Decoder(_Response)
_item = msgspec.json.Decoder(Item)
_items = msgspec.json.Decoder(list[Item])


@dataclass(frozen=True, slots=True)
class ResponsesSent(SentSoFar):
    """A response on its way."""

    id: str = ""
    created_at: int = 0
    items: int = 0  # that were begun


class ResponsesTally(Tally):
    bytes_per_token = BYTES_PER_TOKEN

    def __init__(self, facts: RequestFacts) -> None:
        super().__init__(facts)
        self.id = ""
        self.created_at = 0
        self.service_tier = ""
        self.items = 0  # that were begun
        self.status = ""  # of the response, as it said last
        self.background = False
        self.calls = CallsSeen()
        self.image: UsagePart | None = None
        self._said = False  # the content may be complete

    def event(self, payload: bytes) -> None:
        event = _event.decode(payload)
        kind = event.type
        if kind.endswith(".delta"):
            self.output_bytes += max(len(event.delta) - 2, 0)
            self._said = False
        elif kind in _LAST:
            self.complete = True
            self.failed = self.failed or kind == "response.failed"
            self._response(event.response)
        elif kind == "response.output_item.added":
            self.items += 1
            self._said = False
        elif kind == "response.output_item.done":
            item = _item.decode(event.item)
            self._said = item.type != "reasoning"
            self.calls.passed(item)
            self.extra = self.calls.units()
        elif kind in _SAID:
            self._said = True
        elif kind in _BEGUN:
            self._response(event.response)
        elif kind == "error":
            self.failed = True

    def body(self, body: bytes) -> None:
        self._response(msgspec.Raw(body))
        if not self.failed and not self.reported and self.status not in _GOES_ON:
            self.output_bytes = len(body)
        self.complete = True

    def figures(self, figures: bytes, cut: Remnant) -> None:
        kind = _KIND.search(cut.head)
        if kind is not None and kind[1].decode() in _LAST:
            self.complete = True
            self.failed = self.failed or kind[1] == b"response.failed"
            self._response(msgspec.Raw(figures))

    def cut_event(self, cut: Remnant) -> None:
        kind = _KIND.search(cut.head)
        if kind is not None and kind[1].endswith(b".delta"):
            self.output_bytes += cut.size
        super().cut_event(cut)

    def units(self, reported: Mapping[str, object]) -> Units:
        return tokens(reported)

    def parts(self, reported: Mapping[str, object]) -> tuple[UsagePart, ...]:
        return (self.image,) if self.image is not None else ()

    def unknown_calls(self) -> Mapping[str, int]:
        return self.calls.unknown(images_told=self.image is not None)

    @property
    def content_ended(self) -> bool:
        return self.complete or self._said

    @property
    def kept_id(self) -> str:
        return self.id[:128]

    @property
    def goes_on(self) -> bool:
        """The provider works on, whoever listens: the figures are seen later."""
        return not self.final and (self.background or self.status in _GOES_ON) and (self.complete or self.background)

    def usage(self) -> Usage:
        if self.goes_on and not self.output_bytes:
            self.body_bytes = 0  # what says that it goes on is no output
        usage = super().usage()
        return usage._replace(why=Why.RUNS_ON, outstanding=False) if self.goes_on else usage

    def qualifiers(self) -> tuple[str, str, str]:
        return self.service_tier, "", ""

    def sent(self, at: Place, closed: SentSoFar | None) -> ResponsesSent:
        return ResponsesSent(at, closed, self.id, self.created_at, self.items)

    def _response(self, raw: msgspec.Raw) -> None:
        response = _response.decode(raw)
        self.id = response.id or self.id
        self.model = response.model or self.model
        self.created_at = count({"at": decoded(response.created_at)}, "at") or self.created_at
        self.service_tier = (response.service_tier or self.service_tier)[:64]
        self.status = (response.status or self.status)[:64]
        self.background = self.background or response.background is True
        if response.status == "failed" or has_value(response.error):
            self.failed = True
        usage = usage_object(response.usage)
        if usage:
            self.reported = updated(self.reported, usage)
            # a job that runs on may tell figures of the time until now
            self.final = self.final or self.complete or response.status not in _GOES_ON
        if images := image_usage(response.tool_usage):
            self.image = image_part(response.tools, tokens(counts_only(images)))
        if has_value(response.output):
            self.calls.listed(_items.decode(response.output))
            if self.calls.containers:  # a CLI declares 64 KB of tools: they are not read for nothing
                self.calls.declared(response.tools)
            self.extra = self.calls.units()


class StoredTally(ResponsesTally):
    """Of an answer made earlier: it costs nothing to look at, and shows what it cost to make."""

    @property
    def seen(self) -> Usage:
        usage = super().usage()
        return usage if usage.source is UsageSource.PROVIDER and not self.goes_on else NO_USAGE

    def usage(self) -> Usage:
        return NO_USAGE


def meter(operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
    tally: Tally
    if operation in (Operation.RESPONSES, Operation.RESPONSES_COMPACT):
        tally = ResponsesTally(facts)
    elif operation is Operation.RESPONSES_STORED:
        tally = StoredTally(facts)
    else:
        tally = Unbilled(facts, ResponsesSent)
    return EventMeter(SseSplitter(), tally) if streaming else BodyMeter(tally)
