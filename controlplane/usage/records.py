"""A record from the wire → a row of the ledger, or `Unfit` with the reason why it can be none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import models

from controlplane.changes.ids import new_id
from controlplane.usage.models import RecordState, UsageRecord
from controlplane.usage.reading import UNCONFIRMED
from dataplane.core.money.amounts import MOST_NANO
from dataplane.core.money.messages import AccountRef
from dataplane.core.usage import INPUT_CLASSES, NO_USAGE, RecordStatus, Usage, UsageClass, UsagePart
from dataplane.core.usage import UsageRecord as Record
from dataplane.wire.holds import sane
from dataplane.wire.records import STATUSES, record_from
from protos import fleet_pb2 as wire

MOST_UNITS = 64
MOST_PARTS = 64
LARGEST_COUNT = 2**53 - 1  # exact in JSON, whoever reads it
LONGEST_TEXT = 64 * 1024
EARLIEST_MS, LATEST_MS = 1_577_836_800_000, 4_102_444_800_000  # 2020, 2100: outside, a clock is broken

_STATES = {RecordStatus.ADMITTED: RecordState.ADMITTED, RecordStatus.FINAL: RecordState.FINAL}
_ON_WIRE = {field.name for field in wire.UsageRecord.DESCRIPTOR.fields}
# What joins rows must be whole; what only describes is cut to what its column takes.
_IDS = {
    "request_id": 64,
    "organization_id": 40,
    "team_id": 40,
    "project_id": 40,
    "principal_id": 40,
    "key_id": 40,
    "provider_id": 40,
    "hold_session": 64,
}
_KEPT_ID = 128
_TEXTS = {
    field.name: field.max_length or LONGEST_TEXT
    for field in UsageRecord._meta.get_fields()
    if isinstance(field, models.CharField | models.TextField)
    and field.name in _ON_WIRE
    and field.name not in (*_IDS, "source", "raw_usage", "metadata")
}
_NUMBERS = tuple(
    field.name
    for field in UsageRecord._meta.get_fields()
    if isinstance(field, models.BigIntegerField) and field.name in _ON_WIRE
)
_OF_USAGE = ("service_tier", "speed", "geo", "why")


class Unfit(ValueError):
    """The record cannot be booked; the message says why, without content."""


def row_from(message: wire.UsageRecord, session_id: str, now: datetime) -> UsageRecord:
    """Raises Unfit."""
    if message.status not in STATUSES:
        raise Unfit("its status is unknown")
    record = record_from(message)
    if not record.request_id:
        raise Unfit("it names no request")
    if not 0 <= record.attempt <= 1000:
        raise Unfit("its attempt number is out of range")
    state = _STATES[record.status]
    row = UsageRecord(
        id=new_id("use"),
        attempt=record.attempt,
        state=state,
        received_at=now,
        started_at=_moment("started_at_ms", record.started_at_ms),
        ended_at=_moment("ended_at_ms", record.ended_at_ms) if record.ended_at_ms else None,
        session_id=session_id,
        streaming=record.streaming,
        http_status=record.http_status,
        priced=record.priced,
        source=record.usage.source.value,
        unconfirmed=record.usage.source.value in UNCONFIRMED,
        raw_usage=_json(record.usage.raw),
        metadata=_json(record.metadata),
        tags=[_clean(tag)[:128] for tag in record.tags[:32]],
        accounts=_accounts(record.accounts),
    )
    for name in _IDS:
        setattr(row, name, _id(name, getattr(record, name)))
    for name, limit in _TEXTS.items():
        setattr(row, name, _clean(_text(record, name))[:limit])
    for name in _NUMBERS:
        setattr(row, name, _number(name, getattr(record, name)))
    if state is RecordState.ADMITTED:
        row.outcome = ""
    row.provider_error = _clean(record.provider_error)
    row.kept_id, row.goes_on = _id("kept_id", record.kept_id), record.goes_on
    if record.seen is not NO_USAGE:
        row.seen = _seen(record.seen)
    row.unknown_calls = _unknown_calls(record.usage.unknown_calls)
    set_units(row, _units(record.usage.units), _parts(record.usage.parts))
    return row


def _seen(usage: Usage) -> UsageRecord:
    """A row of the figures alone."""
    row = UsageRecord(source=usage.source.value, raw_usage=_json(usage.raw))
    for name in ("service_tier", "speed", "geo"):
        setattr(row, name, _clean(getattr(usage, name))[: _TEXTS[name]])
    row.unknown_calls = _unknown_calls(usage.unknown_calls)
    set_units(row, _units(usage.units), _parts(usage.parts))
    return row


def _text(record: Record, name: str) -> str:
    text: str = getattr(record.usage if name in _OF_USAGE else record, name)
    return text


def set_units(row: UsageRecord, units: Mapping[str, int], parts: Iterable[dict[str, Any]] = ()) -> None:
    """The counts, those of other models, and the sums over both that totals are made of."""
    row.units, row.parts = dict(units), list(parts)
    all_units = [units, *(part["units"] for part in row.parts)]
    row.input_tokens = _sum(all_units, INPUT_CLASSES.__contains__)
    row.cached_tokens = _sum(all_units, "cache_read".__eq__)
    row.output_tokens = _sum(all_units, lambda unit: unit.startswith("output"))


def _sum(all_units: Iterable[Mapping[str, int]], counts: Callable[[str], bool]) -> int:
    return min(sum(count for units in all_units for unit, count in units.items() if counts(unit)), MOST_NANO)


def _parts(parts: Iterable[UsagePart]) -> list[dict[str, Any]]:
    parts = list(parts)
    if len(parts) > MOST_PARTS:
        raise Unfit("it counts too many parts")
    texts = ("model", "kind", "service_tier", "speed")
    return [
        {name: _clean(getattr(part, name))[: _TEXTS["model"] if name == "model" else 40] for name in texts}
        | {"units": _units(part.units)}
        for part in parts
    ]


def _unknown_calls(calls: Mapping[str, int]) -> dict[str, int]:
    if len(calls) > MOST_UNITS:
        raise Unfit("it counts calls of too many tools")
    if not all(0 <= count <= LARGEST_COUNT for count in calls.values()):
        raise Unfit("a count is out of range")
    return {_clean(name)[:64]: calls[name] for name in sorted(calls) if calls[name]}


def _accounts(refs: Iterable[AccountRef]) -> list[list[str]]:
    try:
        return [list(ref) for ref in sorted(set(map(sane, refs)))]
    except ValueError as problem:
        raise Unfit(str(problem)) from problem


def _units(units: Mapping[UsageClass, int]) -> dict[str, int]:
    if len(units) > MOST_UNITS:
        raise Unfit("it counts too many classes")
    for unit, count in units.items():
        if not 0 <= count <= LARGEST_COUNT or not 0 < len(unit) <= 64 or not unit.isprintable():
            raise Unfit("a count is out of range")
    return {str(unit): units[unit] for unit in sorted(units) if units[unit]}


def _id(name: str, value: str) -> str:
    if len(value) > _IDS.get(name, _KEPT_ID) or not value.isprintable():
        raise Unfit(f"{name} is not an id")
    return value


def _number(name: str, value: int) -> int:
    if not 0 <= value <= MOST_NANO:
        raise Unfit(f"{name} is out of range")
    return value


def _moment(name: str, ms: int) -> datetime:
    if not EARLIEST_MS <= ms < LATEST_MS:
        raise Unfit(f"{name} is not a time of this century")
    return datetime.fromtimestamp(ms / 1000, UTC)


def _clean(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _json(text: str) -> str:
    """Kept as it came when it is JSON of a sane size; nothing otherwise."""
    if not text or len(text) > LONGEST_TEXT:
        return ""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return text if "\0" not in text else ""


def content_of(row: UsageRecord) -> dict[str, Any]:
    """What a FINAL row says, by column: everything but the row's own identity."""
    own = ("id", "request_id", "month", "attempt", "correction", "resettled", "received_at")
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if field.name not in own}
