"""Usage records as spans: OpenTelemetry's GenAI and HTTP conventions, and `langwatch.*`.

One server span per exchange, below it one client span per attempt that reached for a provider. No prompt, no key.
Source of the names: OpenTelemetry semantic conventions 1.38, gen-ai.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from dataplane.core.money.messages import AccountRef
from dataplane.core.usage import Outcome, UsageClass, UsageRecord
from dataplane.telemetry.otlp import Text, Value, attributes, double_head, number
from dataplane.wire.protobuf import Heads, varint

# Field numbers: ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans.
_RESOURCE_SPANS: Final = Heads(1)
_SCOPE_SPANS: Final = Heads(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER)
_SPAN: Final = b"\x12"

# Combinations of owners, models and clients: a busy pod sees some hundreds at a time, two kilobytes each.
REMEMBERED: Final = 1_024
REMEMBERED_LENGTH: Final = 256

NANO_PER_MS: Final = 1_000_000
NANO_PER_DOLLAR: Final = 1_000_000_000
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15  # odd: no two attempts' spans of an exchange have the same id

# What gen_ai.provider.name says for each kind of provider: OpenTelemetry's word, or ours where it has none.
PROVIDER_NAMES: Final = {
    "anthropic": "anthropic",
    "openai": "openai",
    "gemini": "gcp.gemini",
    "azure_openai": "azure.ai.openai",
    "openai_compatible": "openai_compatible",
    "anthropic_compatible": "anthropic_compatible",
}
_OPERATIONS: Final = {
    "messages": "chat",
    "responses": "chat",
    "chat": "chat",
    "generate_content": "generate_content",
    "stream_generate_content": "generate_content",
    "embeddings": "embeddings",
    "embed_content": "embeddings",
}
_BROKEN: Final = (Outcome.PROVIDER_ERROR, Outcome.FAILED, Outcome.CUT)

_CONVERSATION: Final = Text("gen_ai.conversation.id")
_REQUEST: Final = Text("langwatch.gateway_request_id")
_SESSION: Final = Text("langwatch.session_id")
_END_USER: Final = Text("langwatch.end_user_id")
_BUDGETS: Final = Text("langwatch.budget.ids")
_RESERVED: Final = number("langwatch.budget.reserved_nano")
_METADATA: Final = Text("langwatch.reserved.request_metadata")
_PROVIDER_REQUEST: Final = Text("langwatch.provider_request_id")
_CHUNKS: Final = number("langwatch.stream.chunk_count")
_FIRST_CHUNK: Final = number("langwatch.stream.first_chunk_ms")
_REQUEST_SIZE: Final = number("http.request.body.size")
_RESPONSE_SIZE: Final = number("http.response.body.size")
_INPUT: Final = number("gen_ai.usage.input_tokens")
_OUTPUT: Final = number("gen_ai.usage.output_tokens")
_CACHE_READ: Final = number("gen_ai.usage.cache_read.input_tokens")
_CACHE_WRITE: Final = number("gen_ai.usage.cache_creation.input_tokens")

# Span: trace_id = 1, span_id = 2, parent_span_id = 4, name = 5, kind = 6, start = 7 and end = 8 (fixed64), status = 15.
_IDS: Final = b"\x0a\x10%b\x12\x08%b"
_IDS_BELOW: Final = b"\x0a\x10%b\x12\x08%b\x22\x08%b"
_COST: Final = double_head("langwatch.cost_usd")
_OVERHEAD: Final = double_head("langwatch.gateway.overhead_ms")
_FIXED: Final = struct.Struct(f"<BQBQ{len(_COST)}sd{len(_OVERHEAD)}sd")  # times, cost, overhead
_FIXED_BELOW: Final = struct.Struct(f"<BQBQ{len(_COST)}sd")


def request(resource: dict[str, str], version: str, encoded: Sequence[bytes]) -> bytes:
    """An OTLP export request of what `encode` gave for some exchanges, serialised."""
    scope = ScopeSpans(scope=InstrumentationScope(name="aigateway", version=version)).SerializeToString()
    described = ResourceSpans()
    described.resource.attributes.extend(
        KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in resource.items()
    )
    resource_bytes = described.SerializeToString()
    scope_head = _SCOPE_SPANS[len(scope) + sum(map(len, encoded))]
    whole_head = _RESOURCE_SPANS[len(resource_bytes) + len(scope_head) + len(scope) + sum(map(len, encoded))]
    return b"".join((whole_head, resource_bytes, scope_head, scope, *encoded))  # a megabyte is copied once


def encode(record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> bytes:
    """The spans of one exchange and of its attempts as fields of a ScopeSpans; nothing where its ids are none.

    Texts go out as they are: what looks like a secret was cut out before (`redaction.scrubbed`).
    """
    try:
        trace, span = bytes.fromhex(record.trace_id), bytes.fromhex(record.span_id)
        parent = bytes.fromhex(record.parent_span_id)
    except ValueError:
        return b""
    if len(trace) != 16 or len(span) != 8 or len(parent) not in (0, 8):
        return b""
    server, client = _of_labels(record)
    started, ended = record.started_at_ms * NANO_PER_MS, record.ended_at_ms * NANO_PER_MS
    cost = record.cost_nano / NANO_PER_DOLLAR
    session = record.session
    both = _REQUEST.encode(record.request_id) + (_CONVERSATION.encode(session) if session else b"")
    parts = [
        _IDS_BELOW % (trace, span, parent) if parent else _IDS % (trace, span),
        _FIXED.pack(0x39, started, 0x41, ended, _COST, cost, _OVERHEAD, overhead_us / 1000),
        server,
        both,
        _CHUNKS[record.events],
        _FIRST_CHUNK[record.first_byte_ms],
        _REQUEST_SIZE[record.request_bytes],
        _RESPONSE_SIZE[record.response_bytes],
    ]
    if session:
        parts.append(_SESSION.encode(session))
    if record.end_user_id:
        parts.append(_END_USER.encode(record.end_user_id))
    if record.accounts:
        parts.append(_budgets(record.accounts))
        parts.append(_RESERVED[record.reserved_nano])
    if record.metadata:
        parts.append(_METADATA.encode(record.metadata))
    whole = b"".join(parts)
    encoded = [_SPAN, varint(len(whole)), whole]
    for attempt in attempts:
        labels = _of_labels(attempt)[1] if record.attempt else client
        if labels:
            below = _below(attempt, trace, span, labels + both, overhead_us)
            encoded += (_SPAN, varint(len(below)), below)
    return b"".join(encoded)


def _below(attempt: UsageRecord, trace: bytes, span: bytes, labels: bytes, overhead_us: int) -> bytes:
    """The client span of one attempt."""
    asked_ns = attempt.started_at_ms * NANO_PER_MS + overhead_us * 1000
    ended_ns = attempt.ended_at_ms * NANO_PER_MS
    own = (int.from_bytes(span) ^ _GOLDEN * (attempt.attempt + 1)) & 0xFFFF_FFFF_FFFF_FFFF or 1
    cost = attempt.cost_nano / NANO_PER_DOLLAR
    incoming, outgoing = attempt.usage.tokens
    units = attempt.usage.units.get
    reads = units(UsageClass.CACHE_READ, 0)
    writes = (
        units(UsageClass.CACHE_WRITE, 0) + units(UsageClass.CACHE_WRITE_5M, 0) + units(UsageClass.CACHE_WRITE_1H, 0)
    )
    return b"".join(
        [
            _IDS_BELOW % (trace, own.to_bytes(8), span),
            _FIXED_BELOW.pack(0x39, asked_ns, 0x41, ended_ns if ended_ns > asked_ns else asked_ns, _COST, cost),
            labels,
            _INPUT[incoming],
            _OUTPUT[outgoing],
            _CACHE_READ[reads],
            _CACHE_WRITE[writes],
            _PROVIDER_REQUEST.encode(attempt.provider_request_id),
        ]
    )


class _Labels(NamedTuple):
    """What many exchanges have in common: encoded once and remembered, spans cost 0.2 of what they did without that."""

    operation: str
    model: str
    http_status: int
    outcome: Outcome
    refusal_code: str
    key_id: str
    organization_id: str
    team_id: str
    project_id: str
    principal_id: str
    tags: tuple[str, ...]
    client: str
    client_version: str
    model_requested: str
    dialect: str
    streaming: bool
    attempt: int
    provider_kind: str
    provider_id: str
    model_reported: str
    source: str


_of_many: Final = attrgetter(*("usage.source" if name == "source" else name for name in _Labels._fields))


def _of_labels(record: UsageRecord) -> tuple[bytes, bytes]:
    remembers = len(record.model_requested) < REMEMBERED_LENGTH
    server_and_client: tuple[bytes, bytes] = (_repeated if remembers else _repeated.__wrapped__)(_of_many(record))
    return server_and_client


@lru_cache(maxsize=REMEMBERED)
def _budgets(accounts: tuple[AccountRef, ...]) -> bytes:
    """The same accounts come again until a window ends."""
    return _BUDGETS.encode(",".join([account.budget_id for account in accounts]))


@lru_cache(maxsize=REMEMBERED)
def _repeated(values: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """Name, kind, status and attributes of the server span and of the client span; of the latter, nothing where no
    provider was reached for."""
    labels = _Labels(*values)
    outcome, broken = labels.outcome, labels.outcome in _BROKEN
    operation = _OPERATIONS.get(labels.operation, labels.operation)
    shared = attributes(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": labels.model or labels.model_requested,
            "http.response.status_code": labels.http_status,
            "error.type": labels.refusal_code or (str(outcome) if broken else ""),
            "langwatch.virtual_key_id": labels.key_id,
            "langwatch.organization_id": labels.organization_id,
            "langwatch.team_id": labels.team_id,
            "langwatch.project_id": labels.project_id,
            "langwatch.principal_id": labels.principal_id,
        }
    )
    request: dict[str, Value] = {
        "langwatch.vk.tags": labels.tags,
        "langwatch.labels": labels.tags,
        "langwatch.client": labels.client,
        "langwatch.client_version": labels.client_version,
        "langwatch.requested_model": labels.model_requested,
        "langwatch.dialect": labels.dialect,
        "langwatch.outcome": str(outcome),
        "langwatch.streaming": labels.streaming,
        "langwatch.fallback.attempts_count": labels.attempt + bool(labels.provider_id),
    }
    ours = outcome is Outcome.FAILED or outcome is Outcome.CUT or labels.http_status >= 500
    head = _head(f"gateway {labels.operation or 'request'}", Span.SPAN_KIND_SERVER, broken=ours)
    server = head + shared + attributes(request)
    if not labels.provider_id or outcome is Outcome.REFUSED:
        return server, b""
    answer: dict[str, Value] = {
        "gen_ai.provider.name": PROVIDER_NAMES.get(labels.provider_kind, labels.provider_kind),
        "gen_ai.response.model": labels.model_reported,
        "langwatch.provider_id": labels.provider_id,
        "langwatch.usage_source": str(labels.source),
        "langwatch.fallback.attempt": labels.attempt,
    }
    below = _head(f"{operation} {labels.model}".strip(), Span.SPAN_KIND_CLIENT, broken=broken)
    return server, below + shared + attributes(answer)


def _head(name: str, kind: Span.SpanKind.ValueType, *, broken: bool) -> bytes:
    status = Status(code=Status.STATUS_CODE_ERROR if broken else Status.STATUS_CODE_UNSET)
    named = Span(name=name.encode("utf-8", "replace").decode(), kind=kind, status=status)
    return named.SerializeToString()
