"""The facts of a request to the Responses API, and its body with another model."""

from __future__ import annotations

import msgspec

from dataplane.dialects.asked import asked
from dataplane.dialects.clients import clean_session
from dataplane.dialects.dialect import Operation, RequestFacts
from dataplane.dialects.openai_usage import BYTES_PER_TOKEN, image_upper
from dataplane.dialects.scan import required_model, scan, splice
from dataplane.dialects.size import measure


def read_request(operation: Operation, path_model: str, body: bytes, *, surveyed: bool = False) -> RequestFacts:
    if operation is Operation.RESPONSES_STORED:
        return RequestFacts("", None, False, 0, True, 0, "")
    fields = scan(body, surveyed=surveyed)
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
        wishes=asked(fields),
    )


def rewrite(body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
    if facts.model_span is None or model == facts.model:
        return body
    return splice(body, [(*facts.model_span, msgspec.json.encode(model))])
