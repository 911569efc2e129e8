"""Usage records as spans: OpenTelemetry's GenAI and HTTP conventions, and `langwatch.*`.

One server span per exchange, below it one client span per attempt that reached for a provider. No prompt, no key.
Source of the names: OpenTelemetry semantic conventions 1.38, gen-ai.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final

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


def encode(record: UsageRecord, overhead_us: int) -> bytes:
    """The spans of one exchange as fields of a ScopeSpans; nothing where its ids are none.

    Texts go out as they are: what looks like a secret was cut out before (`redaction.scrubbed`).
    """
    try:
        trace, span = bytes.fromhex(record.trace_id), bytes.fromhex(record.span_id)
        parent = bytes.fromhex(record.parent_span_id)
    except ValueError:
        return b""
    if len(trace) != 16 or len(span) != 8 or len(parent) not in (0, 8):
        return b""
    remembers = len(record.model_requested) < REMEMBERED_LENGTH
    server, client = (_repeated if remembers else _repeated.__wrapped__)(*_of_many(record))
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
    encoded = b"".join(parts)
    if not client:
        return b"%b%b%b" % (_SPAN, varint(len(encoded)), encoded)
    asked = started + overhead_us * 1000
    own = (int.from_bytes(span) ^ _GOLDEN * (record.attempt + 1)) & 0xFFFF_FFFF_FFFF_FFFF or 1
    incoming, outgoing = record.usage.tokens
    units = record.usage.units.get
    reads = units(UsageClass.CACHE_READ, 0)
    writes = (
        units(UsageClass.CACHE_WRITE, 0) + units(UsageClass.CACHE_WRITE_5M, 0) + units(UsageClass.CACHE_WRITE_1H, 0)
    )
    below = b"".join(
        [
            _IDS_BELOW % (trace, own.to_bytes(8), span),
            _FIXED_BELOW.pack(0x39, asked, 0x41, ended if ended > asked else asked, _COST, cost),
            client,
            both,
            _INPUT[incoming],
            _OUTPUT[outgoing],
            _CACHE_READ[reads],
            _CACHE_WRITE[writes],
            _PROVIDER_REQUEST.encode(record.provider_request_id),
        ]
    )
    return b"%b%b%b%b%b%b" % (_SPAN, varint(len(encoded)), encoded, _SPAN, varint(len(below)), below)


# What many exchanges have in common is encoded once and remembered: spans cost 0.2 of what they did without that.
_of_many: Final = attrgetter(
    *("operation", "model", "http_status", "outcome", "refusal_code"),
    *("key_id", "organization_id", "team_id", "project_id", "principal_id"),
    *("tags", "client", "client_version", "model_requested", "dialect", "streaming", "attempt"),
    *("provider_kind", "provider_id", "model_reported", "usage.source"),
)


@lru_cache(maxsize=REMEMBERED)
def _budgets(accounts: tuple[AccountRef, ...]) -> bytes:
    """The same accounts come again until a window ends."""
    return _BUDGETS.encode(",".join([account.budget_id for account in accounts]))


@lru_cache(maxsize=REMEMBERED)
def _repeated(
    operation: str,
    model: str,
    http_status: int,
    outcome: Outcome,
    refusal_code: str,
    key: str,
    organization: str,
    team: str,
    project: str,
    principal: str,
    tags: tuple[str, ...],
    client: str,
    client_version: str,
    model_requested: str,
    dialect: str,
    streaming: bool,
    attempt: int,
    provider_kind: str,
    provider: str,
    model_reported: str,
    source: str,
) -> tuple[bytes, bytes]:
    """Name, kind, status and attributes of the server span and of the client span; of the latter, nothing where no
    provider was reached for."""
    shared = attributes(
        {
            "gen_ai.operation.name": _OPERATIONS.get(operation, operation),
            "gen_ai.request.model": model or model_requested,
            "http.response.status_code": http_status,
            "error.type": refusal_code or (str(outcome) if outcome in _BROKEN else ""),
            "langwatch.virtual_key_id": key,
            "langwatch.organization_id": organization,
            "langwatch.team_id": team,
            "langwatch.project_id": project,
            "langwatch.principal_id": principal,
        }
    )
    asked: dict[str, Value] = {
        "langwatch.vk.tags": tags,
        "langwatch.labels": tags,
        "langwatch.client": client,
        "langwatch.client_version": client_version,
        "langwatch.requested_model": model_requested,
        "langwatch.dialect": dialect,
        "langwatch.outcome": str(outcome),
        "langwatch.streaming": streaming,
        "langwatch.fallback.attempts_count": attempt + 1 if provider else 0,
    }
    broken = outcome is Outcome.FAILED or outcome is Outcome.CUT or http_status >= 500
    head = _head(f"gateway {operation or 'request'}", Span.SPAN_KIND_SERVER, broken=broken)
    server = head + shared + attributes(asked)
    if not provider or outcome is Outcome.REFUSED:
        return server, b""
    answered: dict[str, Value] = {
        "gen_ai.provider.name": PROVIDER_NAMES.get(provider_kind, provider_kind),
        "gen_ai.response.model": model_reported,
        "langwatch.provider_id": provider,
        "langwatch.usage_source": str(source),
        "langwatch.fallback.attempt": attempt,
    }
    name = f"{_OPERATIONS.get(operation, operation)} {model}".strip()
    below = _head(name, Span.SPAN_KIND_CLIENT, broken=outcome in _BROKEN)
    return server, below + shared + attributes(answered)


def _head(name: str, kind: Span.SpanKind.ValueType, *, broken: bool) -> bytes:
    status = Status(code=Status.STATUS_CODE_ERROR if broken else Status.STATUS_CODE_UNSET)
    named = Span(name=name.encode("utf-8", "replace").decode(), kind=kind, status=status)
    return named.SerializeToString()
