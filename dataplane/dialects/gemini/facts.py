"""The facts of a request to the Gemini API, and its body with another model.

The model stands in the path; bodies that repeat it (embeddings, token counts, caches) say `models/<name>`.
"""

from __future__ import annotations

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.asked import asked
from dataplane.dialects.dialect import Operation, RequestFacts
from dataplane.dialects.scan import Scan, as_count, scan, splice
from dataplane.dialects.size import measure

IMAGE_UPPER = 5_000  # 16 tiles of 258 tokens, or 2,240 at the highest media resolution
BYTES_PER_TOKEN = 4.0
_MODELS = "models/"


class _Config(msgspec.Struct):
    maxOutputTokens: object = 0


_config = msgspec.json.Decoder(_Config)
_NO_CONFIG = _Config()


def read_request(operation: Operation, path_model: str, body: bytes, *, surveyed: bool = False) -> RequestFacts:
    model = path_model.removeprefix(_MODELS)
    if operation is Operation.CACHED_CONTENTS and not body:
        return RequestFacts(model, None, False, 0, True, 0, "")
    fields = scan(body, surveyed=surveyed)
    spans = _model_spans(operation, fields)
    if not model and spans:
        named = fields.text("model")
        model = named.removeprefix(_MODELS)
    if not model and operation is not Operation.CACHED_CONTENTS:
        raise Refusal(Code.MISSING_MODEL, "the request names no model")
    size = measure(body, image_upper=IMAGE_UPPER, bytes_per_token=BYTES_PER_TOKEN, tools="tools" in fields)
    return RequestFacts(
        model=model,
        model_span=None,
        stream=operation is Operation.STREAM_GENERATE_CONTENT,
        max_output=as_count(fields.part("generationConfig", _config, _NO_CONFIG).maxOutputTokens),
        asks_usage=True,
        input_tokens_upper=size.upper,
        session="",
        input_tokens_estimate=size.estimate,
        wishes=asked(fields),
        nested_model_spans=spans,
    )


def rewrite(body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
    if not facts.nested_model_spans or model == facts.model:
        return body
    name = msgspec.json.encode(_MODELS + model)
    return splice(body, [(start, end, name) for start, end in facts.nested_model_spans])


def _model_spans(operation: Operation, fields: Scan) -> tuple[tuple[int, int], ...]:
    """Finds where a body repeats the model of the path. A conversation does not: there the word is the user's."""
    if operation not in (Operation.EMBED_CONTENT, Operation.COUNT_TOKENS, Operation.CACHED_CONTENTS):
        return ()
    places: list[Scan | None] = [fields, fields.inner("generateContentRequest")]
    places += [fields.at(span) for span in fields.elements("requests")]
    return tuple(place.spans["model"] for place in places if place is not None and "model" in place.spans)
