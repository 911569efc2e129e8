"""The facts of a request to the Messages API, and its body with another model."""

from __future__ import annotations

import msgspec

from dataplane.dialects.asked import asked
from dataplane.dialects.clients import session_of_user_id
from dataplane.dialects.dialect import Operation, RequestFacts
from dataplane.dialects.scan import required_model, scan, splice
from dataplane.dialects.size import measure

IMAGE_UPPER = 5_000  # the largest is 2,576 pixels on its long edge: 4,784 tokens
BYTES_PER_TOKEN = 3.4  # of English prose and code with the newer tokenisers


class _Metadata(msgspec.Struct):
    user_id: str = ""


_metadata = msgspec.json.Decoder(_Metadata)
_NOBODY = _Metadata()


def read_request(operation: Operation, path_model: str, body: bytes, *, surveyed: bool = False) -> RequestFacts:
    fields = scan(body, surveyed=surveyed)
    model, span = required_model(fields)
    size = measure(body, image_upper=IMAGE_UPPER, bytes_per_token=BYTES_PER_TOKEN, tools="tools" in fields)
    return RequestFacts(
        model=model,
        model_span=span,
        stream=fields.flag("stream"),
        max_output=fields.count("max_tokens"),
        asks_usage=True,
        input_tokens_upper=size.upper,
        session=session_of_user_id(fields.part("metadata", _metadata, _NOBODY).user_id),
        input_tokens_estimate=size.estimate,
        wishes=asked(fields),
    )


def rewrite(body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
    if facts.model_span is None or model == facts.model:
        return body
    return splice(body, [(*facts.model_span, msgspec.json.encode(model))])
