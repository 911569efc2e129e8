"""Usage records ⇄ the wire: by the generated message, and for the request path by hand.

An attempt's beginning and its end are written as two records, and the second says again what the first one said. As
protobuf strings messages together (of a scalar, the last value counts), that is encoded once: 8 µs for both, where the
generated message takes 25. `beginning` and `end` have their plain twins in `beginning_message` and `message_from`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter, getitem
from typing import Any, Final, cast

from dataplane.core.money.messages import AccountRef
from dataplane.core.usage import (
    NO_USAGE,
    Outcome,
    RecordStatus,
    Usage,
    UsageClass,
    UsagePart,
    UsageRecord,
    UsageSource,
    Why,
)
from dataplane.wire.holds import ref_from, ref_message
from dataplane.wire.protobuf import Heads, Moments, Numbers, message, varint
from protos import fleet_pb2 as pb

_STATUS: Final = {
    RecordStatus.ADMITTED: pb.RECORD_STATUS_ADMITTED,
    RecordStatus.FINAL: pb.RECORD_STATUS_FINAL,
}
_SOURCE: Final = {
    UsageSource.PROVIDER: pb.USAGE_SOURCE_PROVIDER,
    UsageSource.METERED: pb.USAGE_SOURCE_METERED,
    UsageSource.ESTIMATED: pb.USAGE_SOURCE_ESTIMATED,
    UsageSource.NONE: pb.USAGE_SOURCE_NONE,
    UsageSource.HELD: pb.USAGE_SOURCE_HELD,
}
STATUSES: Final[Mapping[int, RecordStatus]] = {number: status for status, number in _STATUS.items()}
_SOURCES: Final[Mapping[int, UsageSource]] = {number: source for source, number in _SOURCE.items()}
_OUTCOMES: Final = {str(outcome): outcome for outcome in Outcome}
_CLASSES: Final = {str(unit): unit for unit in UsageClass}
_WHYS: Final = {str(why): why for why in Why}
_CONVERTED: Final = ("status", "usage", "tags", "accounts", "seen")
_ALIKE: Final = tuple(field.name for field in fields(UsageRecord) if field.name not in _CONVERTED)
_alike: Final = attrgetter(*_ALIKE)

# An attempt's beginning: what is known before its provider is asked, and does not change until it ends.
_OFTEN: Final = (  # comes again and again, in a few combinations
    *("attempt", "organization_id", "team_id", "project_id", "principal_id", "key_id", "provider_id", "provider_kind"),
    *("dialect", "operation", "model_requested", "model", "client", "client_version", "streaming", "revision", "tags"),
)
_IDS: Final = ("request_id", "trace_id", "session", "span_id", "parent_span_id")  # short, ASCII
_SELDOM: Final = ("metadata", "end_user_id")
_NUMBERS: Final = ("started_at_ms", "request_bytes", "estimated_input_tokens")
_HELD: Final = ("accounts", "hold_session", "reserved_nano")  # of budgets; nothing where none covers the key
BEGINNING: Final = frozenset((*_OFTEN, *_IDS, *_SELDOM, *_NUMBERS, *_HELD, "status"))
# Its end.
_OFTEN_IN_THE_END: Final = (
    *("http_status", "outcome", "refusal_code", "model_reported", "priced", "price_version"),
    *("usage.source", "usage.service_tier", "usage.speed", "usage.geo", "usage.why"),
)
_NUMBERS_IN_THE_END: Final = ("cost_nano", "first_byte_ms", "duration_ms", "response_bytes", "events")

REMEMBERED: Final = 1024
REMEMBERED_LENGTH: Final = 256

_FIELDS: Final = pb.UsageRecord.DESCRIPTOR.fields_by_name
_often: Final = attrgetter(*_OFTEN)
_ids: Final = attrgetter(*_IDS)
_often_in_the_end: Final = attrgetter(*_OFTEN_IN_THE_END)
_numbers_in_the_end: Final = attrgetter(*_NUMBERS_IN_THE_END)


def _heads(name: str) -> Heads:
    return Heads(_FIELDS[name].number)


def _field(name: str) -> Numbers:
    return Numbers.of(_FIELDS[name].number)


# All ids in one text of Latin-1, in which a length below 128 is one byte: a fifth of what one by one takes.
_ID_FIELDS: Final = "".join(f"{_heads(name).tag.decode('latin-1')}%c%s" for name in _IDS)
_ID_LENGTH: Final = 127
_METADATA, _END_USER, _PROVIDER_REQUEST, _RAW_USAGE = map(_heads, (*_SELDOM, "provider_request_id", "raw_usage"))
_PROVIDER_ERROR: Final = _heads("provider_error")
_REFUSAL_BUDGET: Final = _heads("refusal_budget_id")
_REQUEST_BYTES, _ESTIMATED_INPUT = _field("request_bytes"), _field("estimated_input_tokens")
_RESERVED: Final = _field("reserved_nano")
_FIELDS_IN_THE_END: Final = tuple(map(_field, _NUMBERS_IN_THE_END))
_STARTED: Final = _field("status")[pb.RECORD_STATUS_ADMITTED] + varint(_FIELDS["started_at_ms"].number << 3)
_ENDED: Final = _field("status")[pb.RECORD_STATUS_FINAL] + varint(_FIELDS["ended_at_ms"].number << 3)
_started, _ended = Moments(), Moments()


def _unit(unit: UsageClass) -> Numbers:
    """An entry of the map `units`: key = 1, value = 2, in a message of which only the value's size varies."""
    key = message(1, unit.encode()) + b"\x10"
    return Numbers([_heads("units")[len(key) + size] + key for size in range(11)])


_UNITS: Final = {unit: _unit(unit) for unit in UsageClass}


def beginning(record: UsageRecord) -> bytes:
    """An ADMITTED record: what its BEGINNING says, which is enough to account for it if nobody sees its end.

    Raises ValueError and TypeError for what this way does not take: a lone surrogate, a count beyond 64 bits, ids that
    are none of ours.
    """
    ids = request, trace, session, span, parent = _ids(record)
    if max(map(len, ids)) > _ID_LENGTH or not "".join(ids).isascii():
        raise ValueError("ids that are none of ours")
    lengths_and_ids = (
        *(len(request), request, len(trace), trace, len(session), session),
        *(len(span), span, len(parent), parent),
    )
    remembers = len(record.model_requested) < REMEMBERED_LENGTH
    encoded = b"".join(
        (
            (_alike_begun if remembers else _alike_begun.__wrapped__)(*_often(record)),
            (_ID_FIELDS % lengths_and_ids).encode("latin-1"),
            _REQUEST_BYTES[record.request_bytes],
            _ESTIMATED_INPUT[record.estimated_input_tokens],
            _STARTED,
            _started.encode(record.started_at_ms),
        )
    )
    if record.metadata or record.end_user_id:
        encoded += _text(_METADATA, record.metadata) + _text(_END_USER, record.end_user_id)
    if record.accounts or record.hold_session or record.reserved_nano:
        encoded += _alike_held(record.accounts, record.hold_session) + _RESERVED[record.reserved_nano]
    return encoded


def end(record: UsageRecord) -> bytes:
    """What follows its beginning to make it a FINAL record. Raises as that does."""
    usage = record.usage
    parts = [_alike_ended(*_often_in_the_end(record)), _ENDED, _ended.encode(record.ended_at_ms)]
    parts += map(getitem, _FIELDS_IN_THE_END, _numbers_in_the_end(record))
    for unit, count in usage.units.items():
        parts.append(_UNITS[unit][count])
    if usage.raw:
        parts.append(_text(_RAW_USAGE, usage.raw))
    if usage.parts or usage.unknown_calls:
        parts.append(_beside(usage, pb.UsageRecord()).SerializeToString())
    if record.kept_id:
        parts.append(_kept(record, pb.UsageRecord(kept_id=record.kept_id, goes_on=record.goes_on)).SerializeToString())
    if record.provider_request_id:
        parts.append(_text(_PROVIDER_REQUEST, record.provider_request_id))
    if record.provider_error:
        parts.append(_text(_PROVIDER_ERROR, record.provider_error))
    if record.refusal_budget_id:
        parts.append(_text(_REFUSAL_BUDGET, record.refusal_budget_id))
    return b"".join(parts)


def _text(heads: Heads, text: str) -> bytes:
    data = text.encode()
    return heads[len(data)] + data


@lru_cache(maxsize=REMEMBERED)
def _alike_begun(*values: Any) -> bytes:
    return pb.UsageRecord(**dict(zip(_OFTEN, values, strict=True))).SerializeToString()


@lru_cache(maxsize=REMEMBERED)
def _alike_held(accounts: tuple[AccountRef, ...], hold_session: str) -> bytes:
    """The same accounts come again until a window ends."""
    held = pb.UsageRecord(hold_session=hold_session)
    held.accounts.extend(map(ref_message, accounts))
    return held.SerializeToString()


@lru_cache(maxsize=REMEMBERED)
def _alike_ended(*values: Any) -> bytes:
    named = {name.removeprefix("usage."): value for name, value in zip(_OFTEN_IN_THE_END, values, strict=True)}
    return pb.UsageRecord(**named | {"source": _SOURCE[named["source"]]}).SerializeToString()


def message_from(record: UsageRecord) -> pb.UsageRecord:
    """Only what says something is set: half the time of a constructor with every field (7 against 14 µs)."""
    message, usage = pb.UsageRecord(), record.usage
    message.status = _STATUS[record.status]
    message.source = _SOURCE[usage.source]
    for name, value in zip(_ALIKE, _alike(record), strict=True):
        if value:
            setattr(message, name, value)
    if usage is not NO_USAGE:
        units = message.units
        for unit, count in usage.units.items():
            units[unit] = count
        message.raw_usage = usage.raw
        message.service_tier, message.speed, message.geo = usage.service_tier, usage.speed, usage.geo
        message.why = usage.why
        _beside(usage, message)
    if record.tags:
        message.tags.extend(record.tags)
    _kept(record, message)
    message.accounts.extend(map(ref_message, record.accounts))
    return message


def _kept(record: UsageRecord, message: pb.UsageRecord) -> pb.UsageRecord:
    """Adds what was seen of an earlier answer."""
    seen = record.seen
    if seen is not NO_USAGE:
        units = {str(unit): count for unit, count in seen.units.items()}
        message.seen.CopyFrom(
            pb.UsageSeen(
                units=units,
                raw_usage=seen.raw,
                service_tier=seen.service_tier,
                speed=seen.speed,
                geo=seen.geo,
                parts=list(map(_part, seen.parts)),
                unknown_calls=dict(seen.unknown_calls),
            )
        )
    return message


def _part(part: UsagePart) -> pb.UsagePart:
    units = {str(unit): count for unit, count in part.units.items()}
    return pb.UsagePart(model=part.model, units=units, kind=part.kind, service_tier=part.service_tier, speed=part.speed)


def _beside(usage: Usage, message: pb.UsageRecord) -> pb.UsageRecord:
    """Adds what few answers have: parts of other models, calls without a known price."""
    message.parts.extend(map(_part, usage.parts))
    message.unknown_calls.update(usage.unknown_calls)
    return message


def beginning_message(whole: pb.UsageRecord) -> pb.UsageRecord:
    """What of a record its beginning says."""
    values = {field.name: value for field, value in whole.ListFields() if field.name in BEGINNING}
    return pb.UsageRecord(**values | {"status": pb.RECORD_STATUS_ADMITTED})


def _seen(wire: pb.UsageSeen) -> Usage:
    return Usage(
        units=_units(wire.units),
        source=UsageSource.PROVIDER,
        service_tier=wire.service_tier,
        speed=wire.speed,
        geo=wire.geo,
        raw=wire.raw_usage,
        parts=_parts(wire.parts),
        unknown_calls=dict(wire.unknown_calls),
    )


def _parts(parts: Iterable[pb.UsagePart]) -> tuple[UsagePart, ...]:
    return tuple(UsagePart(part.model, _units(part.units), part.kind, part.service_tier, part.speed) for part in parts)


def _units(units: Mapping[str, int]) -> dict[UsageClass, int]:
    return {_CLASSES.get(unit, cast(UsageClass, unit)): count for unit, count in units.items()}


def record_from(wire: pb.UsageRecord) -> UsageRecord:
    """The way back. Outcomes and units that this version does not know stay as they are; an unknown status is FINAL."""
    usage = Usage(
        units=_units(wire.units),
        source=_SOURCES.get(wire.source, UsageSource.NONE),
        service_tier=wire.service_tier,
        speed=wire.speed,
        geo=wire.geo,
        raw=wire.raw_usage,
        why=_WHYS.get(wire.why, cast(Why, wire.why)),
        parts=_parts(wire.parts),
        unknown_calls=dict(wire.unknown_calls),
    )
    alike = {name: getattr(wire, name) for name in _ALIKE}
    return UsageRecord(
        **alike | {"outcome": _OUTCOMES.get(wire.outcome, cast(Outcome, wire.outcome))},
        status=STATUSES.get(wire.status, RecordStatus.FINAL),
        usage=usage,
        seen=_seen(wire.seen) if wire.HasField("seen") else NO_USAGE,
        tags=tuple(wire.tags),
        accounts=tuple(map(ref_from, wire.accounts)),
    )
