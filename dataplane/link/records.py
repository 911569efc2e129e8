"""Usage records as they go into the spool. `begun` and `ended` are on the request path: they never fail and bound what
they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from enum import StrEnum
from itertools import islice
from typing import Any, Final, TypeVar

from dataplane.core.usage import NO_USAGE, RecordStatus, Usage, UsagePart, UsageRecord
from dataplane.telemetry.redaction import OURS, shorten
from dataplane.wire.records import beginning, beginning_message, end, message_from
from protos import fleet_pb2 as pb

# An ordinary record has 400 to 800 bytes. How large one can get is in the hands of clients (model names, metadata) and
# providers (their usage object), so it is bounded here; the spool keeps that much room for each end that is to come.
RECORD_BYTES: Final = 16 * 1024
# What a text keeps of itself in a record that would be larger: characters, at most 4 bytes each.
LARGE_TEXT: Final = 256
SHORT_TEXT: Final = 64
LARGE_TAGS: Final = 8
INT64: Final = 2**63 - 1
INT32: Final = 2**31 - 1

Name = TypeVar("Name", bound=str)


def begun(record: UsageRecord) -> bytes:
    """An ADMITTED record on the wire: what its BEGINNING says, which is enough to account for it if nobody sees its
    end. At most RECORD_BYTES, without any key that a client wrote where its words go."""
    try:
        encoded = beginning(record)
        if len(encoded) <= RECORD_BYTES and OURS not in encoded:
            return encoded
    except (ValueError, TypeError):
        pass  # a lone surrogate, or a count beyond 64 bits
    return beginning_message(pb.UsageRecord.FromString(_with_care(record))).SerializeToString()


def ended(record: UsageRecord, start: bytes) -> bytes:
    """A FINAL record on the wire, all of it. `start`: what `begun` gave for it."""
    try:
        encoded = start + end(record)
        if len(encoded) <= RECORD_BYTES and OURS not in encoded:
            return encoded
    except (ValueError, TypeError):
        pass
    return _with_care(record)


def encode(record: UsageRecord) -> bytes:
    """A record on its own: refused before it was admitted, or of somebody who did not ask for its beginning first."""
    return begun(record) if record.status is RecordStatus.ADMITTED else ended(record, begun(record))


def _with_care(record: UsageRecord) -> bytes:
    """The long way, for what the short one does not take."""
    shortened = _changed(record, shorten)
    try:
        encoded = message_from(shortened).SerializeToString()
        if len(encoded) <= RECORD_BYTES:
            return encoded
    except (ValueError, TypeError):
        pass
    return message_from(_tamed(shortened)).SerializeToString()


def _tamed(record: UsageRecord) -> UsageRecord:
    """The same record with every text short and clean and every number within its field."""
    tamed = _changed(record, _tame_text, _tame_number)
    return replace(
        tamed,
        attempt=max(-INT32, min(INT32, tamed.attempt)),
        http_status=max(-INT32, min(INT32, tamed.http_status)),
        usage=_short(tamed.usage),
        seen=NO_USAGE,
        tags=tamed.tags[:LARGE_TAGS],
        metadata="",
    )


def _short(usage: Usage) -> Usage:
    calls = islice(usage.unknown_calls.items(), LARGE_TAGS)
    parts = [UsagePart(part.model[:SHORT_TEXT], part.units) for part in usage.parts[:LARGE_TAGS]]
    return usage._replace(raw="", parts=tuple(parts), unknown_calls={name[:SHORT_TEXT]: count for name, count in calls})


def _changed(
    record: UsageRecord, text: Callable[[str], str], number: Callable[[int], int] = lambda value: value
) -> UsageRecord:
    """The record with every text and every number replaced; words from a list of ours stay."""

    def change(value: Any) -> Any:
        if isinstance(value, StrEnum | bool):
            return value
        if isinstance(value, str):
            return text(value)
        return number(value) if isinstance(value, int) else value

    def counts(units: Mapping[Name, int]) -> dict[Name, int]:
        return {unit: number(count) for unit, count in units.items()}

    def changed(usage: Usage) -> Usage:
        return Usage(*map(change, usage))._replace(
            units=counts(usage.units),
            parts=tuple(UsagePart(*map(change, part))._replace(units=counts(part.units)) for part in usage.parts),
            unknown_calls={text(name): number(count) for name, count in usage.unknown_calls.items()},
        )

    own = {"usage": changed(record.usage), "seen": record.seen if record.seen is NO_USAGE else changed(record.seen)}
    values = {field.name: change(getattr(record, field.name)) for field in fields(UsageRecord)}
    return UsageRecord(**values | own | {"tags": tuple(text(tag) for tag in record.tags)})


def _tame_text(text: str) -> str:
    return text[:LARGE_TEXT].encode("utf-8", "replace").decode()


def _tame_number(number: int) -> int:
    return max(-INT64, min(INT64, number))
