"""The meter of the Responses API: the last event carries the whole response with its usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from dataplane.core.usage import UsageClass
from dataplane.dialects.counts import Units, count
from dataplane.dialects.dialect import Meter, Operation, RequestFacts
from dataplane.dialects.meters import NOTHING, BodyMeter, EventMeter, Tally, Unbilled, has_value, usage_object
from dataplane.dialects.openai_usage import BYTES_PER_TOKEN, tokens
from dataplane.dialects.scan import decoded
from dataplane.dialects.sent import Place, SentSoFar
from dataplane.dialects.sse import SseSplitter

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done"})


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    delta: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING
    item: msgspec.Raw = NOTHING


class _Action(msgspec.Struct, gc=False):
    type: str = ""


class _Item(msgspec.Struct, gc=False):
    type: str = ""
    action: _Action | None = None


class _Response(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    created_at: msgspec.Raw = NOTHING
    service_tier: str | None = None
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING
    output: msgspec.Raw = NOTHING


_event = msgspec.json.Decoder(_Event)
_response = msgspec.json.Decoder(_Response)
_item = msgspec.json.Decoder(_Item)
_items = msgspec.json.Decoder(list[_Item])


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

    def event(self, payload: bytes) -> None:
        event = _event.decode(payload)
        kind = event.type
        if kind.endswith(".delta"):
            self.output_bytes += max(len(event.delta) - 2, 0)
        elif kind in _LAST:
            self.complete = True
            self.failed = self.failed or kind == "response.failed"
            self._response(event.response)
        elif kind == "response.created":
            self._response(event.response)
        elif kind == "response.output_item.added":
            self.items += 1
        elif kind == "response.output_item.done":
            self._calls([_item.decode(event.item)])
        elif kind == "error":
            self.failed = True

    def body(self, body: bytes) -> None:
        self._response(msgspec.Raw(body))
        if not self.failed and not self.reported:
            self.output_bytes = len(body)
        self.complete = True

    def units(self, reported: Mapping[str, object]) -> Units:
        return tokens(reported)

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
        if response.status == "failed" or has_value(response.error):
            self.failed = True
        usage = usage_object(response.usage)
        if usage:
            self.reported = usage
            self.final = True
        if self.final and response.output:
            # the whole list is here: it replaces what was counted as it passed
            self.extra = {}
            self._calls(_items.decode(response.output))

    def _calls(self, items: list[_Item]) -> None:
        for item in items:
            # opening a page or finding in it is not billed
            if item.type == "web_search_call" and (item.action is None or item.action.type in ("", "search")):
                self.extra[UsageClass.WEB_SEARCH] = self.extra.get(UsageClass.WEB_SEARCH, 0) + 1
            elif item.type == "file_search_call":
                self.extra[UsageClass.TOOL_CALL] = self.extra.get(UsageClass.TOOL_CALL, 0) + 1


def meter(operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
    billed = operation in (Operation.RESPONSES, Operation.RESPONSES_COMPACT)
    tally: Tally = ResponsesTally(facts) if billed else Unbilled(facts, ResponsesSent)
    return EventMeter(SseSplitter(), tally) if streaming else BodyMeter(tally)
