"""OpenAI Responses: create, compact, input token count, stored responses.

The last event (`response.completed`, `.incomplete`, `.failed`) carries the whole response with its usage; Codex hangs
up as soon as it has read it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dataplane.core.errors import Refusal
from dataplane.core.usage import UsageClass
from dataplane.dialects import clients
from dataplane.dialects.clients import clean_session
from dataplane.dialects.dialect import (
    Client,
    DialectName,
    ErrorResponse,
    Meter,
    Operation,
    RequestFacts,
)
from dataplane.dialects.meters import NOTHING, BodyMeter, EventMeter, Tally, Unbilled, Units, count, given, usage_object
from dataplane.dialects.openai_chat import BYTES_PER_TOKEN, image_upper
from dataplane.dialects.openai_usage import tokens
from dataplane.dialects.refusals import openai_error, openai_refusal
from dataplane.dialects.scan import decoded, required_model, scan, splice
from dataplane.dialects.size import measure
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

    def _response(self, raw: msgspec.Raw) -> None:
        response = _response.decode(raw)
        self.id = response.id or self.id
        self.model = response.model or self.model
        self.created_at = count({"at": decoded(response.created_at)}, "at") or self.created_at
        self.service_tier = (response.service_tier or self.service_tier)[:64]
        if response.status == "failed" or given(response.error):
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


class OpenAIResponses:
    """The `Dialect` of OpenAI's Responses API."""

    name = DialectName.RESPONSES

    def read_request(self, operation: Operation, path_model: str, body: bytes) -> RequestFacts:
        if operation is Operation.RESPONSES_STORED:
            return RequestFacts("", None, False, 0, True, 0, "")
        fields = scan(body)
        model, span = required_model(fields)
        tools = "tools" in fields or b'"additional_tools"' in body[:4096]
        size = measure(body, image_upper=image_upper(model), bytes_per_token=BYTES_PER_TOKEN, tools=tools)
        return RequestFacts(
            model=model,
            model_span=span,
            stream=fields.flag("stream"),
            max_output=fields.count("max_output_tokens"),
            asks_usage=True,
            input_tokens_upper=size.upper,
            session=clean_session(fields.text("prompt_cache_key")),
            input_tokens_estimate=size.estimate,
        )

    def rewrite(self, body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
        if facts.model_span is None or model == facts.model:
            return body
        return splice(body, [(*facts.model_span, msgspec.json.encode(model))])

    def meter(self, operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
        billed = operation in (Operation.RESPONSES, Operation.RESPONSES_COMPACT)
        tally: Tally = ResponsesTally(facts) if billed else Unbilled(facts)
        return EventMeter(SseSplitter(), tally) if streaming else BodyMeter(tally)

    def refusal(self, refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
        return openai_refusal(refusal, client, request_id)

    def stream_refusal(self, refusal: Refusal, client: Client, request_id: str, so_far: Meter) -> bytes:
        """`response.failed`, which ends open items with it. Codex takes `invalid_prompt` as final and retries what it
        does not know; clients that overlook `response.failed` (AI SDK) or only raise on errors (OpenAI's SDKs) get
        `error` first."""
        if so_far.complete or isinstance(so_far, BodyMeter):
            return b""
        tally = so_far.tally if isinstance(so_far, EventMeter) and isinstance(so_far.tally, ResponsesTally) else None
        codex = client.name == clients.CODEX
        code = "invalid_prompt" if codex and not refusal.retryable else refusal.code.value
        error = openai_error(refusal, refusal.status, code)
        number = so_far.events
        events = []
        if not codex:
            flat = {"code": code, "message": refusal.message, "param": None}
            events.append({"type": "error", "sequence_number": number, **flat, "error": error})
            number += 1
        response = {
            "id": (tally.id if tally else "") or f"resp_{request_id}",
            "object": "response",
            "created_at": tally.created_at if tally else 0,
            "status": "failed",
            "error": error,
            "incomplete_details": None,
            "model": so_far.model,
            "output": [],
            "usage": None,
        }
        events.append({"type": "response.failed", "sequence_number": number, "response": response})
        boundary = b"\n\n" if so_far.mid_event else b""
        return boundary + b"".join(
            b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), msgspec.json.encode(event)) for event in events
        )
