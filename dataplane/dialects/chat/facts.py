"""The facts of a request for chat completions or embeddings, and its body with another model and asked for usage.

A stream carries usage only when `stream_options.include_usage` asks for it; where the client does not, we do.
"""

from __future__ import annotations

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.asked import asked
from dataplane.dialects.clients import CURSOR, clean_session
from dataplane.dialects.dialect import Operation, RequestFacts, Splice
from dataplane.dialects.openai_usage import BYTES_PER_TOKEN, image_upper
from dataplane.dialects.scan import Scan, required_model, scan, splice
from dataplane.dialects.size import measure


def read_request(operation: Operation, path_model: str, body: bytes, *, surveyed: bool = False) -> RequestFacts:
    fields = scan(body, surveyed=surveyed)
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
        wishes=asked(fields),
        usage_splice=usage_splice,
    )


def rewrite(body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
    changes: list[Splice] = []
    if facts.model_span is not None and model != facts.model:
        changes.append((*facts.model_span, msgspec.json.encode(model)))
    if include_usage and facts.usage_splice is not None:
        changes.append(facts.usage_splice)
    return splice(body, changes) if changes else body


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
    """Tells whether the stream will carry usage by itself, else the splice that asks for it."""
    span = fields.spans.get("stream_options")
    if span is None:
        at = fields.spans["stream"][1]
        return False, (at, at, b',"stream_options":{"include_usage":true}')
    options = fields.inner("stream_options")
    if options is None:
        # null asks for nothing; anything else is the provider's to refuse
        return False, (*span, b'{"include_usage":true}') if "stream_options" not in fields else None
    if "include_usage" in options:
        if options.flag("include_usage"):
            return True, None
        # false becomes true; what is neither is the provider's to refuse
        return False, (*options.spans["include_usage"], b"true") if options.is_false("include_usage") else None
    if "include_usage" in options.spans:
        return False, (*options.spans["include_usage"], b"true")
    comma = b"," if options.spans else b""
    return False, (span[0] + 1, span[0] + 1, b'"include_usage":true' + comma)
