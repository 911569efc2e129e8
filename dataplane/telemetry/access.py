"""The access log's line: one JSON object per exchange, of the fields that say something.

A struct of msgspec's with defaults to leave out costs a tenth of a dict of fields that goes through `logs.encode_line`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import msgspec

from dataplane.core.usage import UsageRecord
from dataplane.telemetry.logs import FIELD_CHARACTERS, Level, encode_line

EVENT: Final = "exchange"

_TEXTS: Final = ("request_id", "trace_id", "outcome", "refusal_code", "dialect", "operation", "client")
_MORE_TEXTS: Final = ("client_version", "session", "model_requested", "model", "provider_kind", "provider_id", "key_id")
_OWNERS: Final = ("principal_id", "project_id", "organization_id", "provider_request_id")
_NUMBERS: Final = ("http_status", "attempt", "first_byte_ms", "duration_ms", "request_bytes", "response_bytes")
_MORE_NUMBERS: Final = ("events", "cost_nano", "revision")
_RECORD: Final[dict[str, Any]] = {
    **dict.fromkeys((*_TEXTS, *_MORE_TEXTS, *_OWNERS), ""),
    "streaming": False,
    **dict.fromkeys((*_NUMBERS, *_MORE_NUMBERS), 0),
}
_logged: Final = attrgetter(*_RECORD)

_Line: Final = msgspec.defstruct(
    "_Line",
    [
        *(("time", str), ("level", str), ("event", str), ("overhead_us", int)),
        *((name, type(default), default) for name, default in _RECORD.items()),
        *(("input_tokens", int, 0), ("output_tokens", int, 0)),
    ],
    omit_defaults=True,
    gc=False,
)
_encode: Final = msgspec.json.Encoder().encode


def line(record: UsageRecord, overhead_us: int, at_ns: int, stamp: str, *, spotless: bool) -> bytes:
    """With its line feed. `stamp`: `logs.stamp_of(at_ns)`, which many lines share; `spotless`: of `redaction`."""
    try:
        encoded: bytes = _encode(_Line(stamp, "info", EVENT, overhead_us, *_logged(record), *record.usage.tokens))
    except ValueError:
        encoded = b""  # half a surrogate pair
    if spotless and 0 < len(encoded) <= FIELD_CHARACTERS:
        return encoded + b"\n"
    return encode_line(at_ns, Level.INFO, EVENT, {"overhead_us": overhead_us, **_said(record)})


def _said(record: UsageRecord) -> dict[str, Any]:
    names = (*_RECORD, "input_tokens", "output_tokens")
    values = (*_logged(record), *record.usage.tokens)
    return {name: value for name, value in zip(names, values, strict=True) if value}
