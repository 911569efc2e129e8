"""An exchange of several attempts as one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dataplane.core.usage import Usage, UsageClass, UsageRecord


def whole(record: UsageRecord, attempts: Sequence[UsageRecord]) -> UsageRecord:
    """How it ended is what `record` says, the last one; what it took and used is of all."""
    first = attempts[0]
    before_ms = record.started_at_ms - first.started_at_ms
    units: dict[UsageClass, int] = {}
    for attempt in attempts:
        for unit, count in attempt.usage.units.items():
            units[unit] = units.get(unit, 0) + count
    return replace(
        record,
        started_at_ms=first.started_at_ms,
        first_byte_ms=record.first_byte_ms + before_ms if record.first_byte_ms else 0,
        duration_ms=record.ended_at_ms - first.started_at_ms,
        usage=Usage(units, record.usage.source),
        cost_nano=sum(attempt.cost_nano for attempt in attempts),
    )
