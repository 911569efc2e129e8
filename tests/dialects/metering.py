"""Feeding meters in tests: whole, split, cut short."""

from __future__ import annotations

from dataplane.core.usage import UsageClass
from dataplane.dialects.dialect import Dialect, Meter, Operation, RequestFacts

FACTS = RequestFacts("asked", None, True, 0, True, 90_000, "", input_tokens_estimate=20_000)


def metered(
    dialect: Dialect, operation: Operation, chunks: list[bytes], *, streaming: bool = True, facts: RequestFacts = FACTS
) -> Meter:
    meter = dialect.meter(operation, streaming=streaming, facts=facts)
    for chunk in chunks:
        meter.feed(chunk)
    meter.close()
    return meter


def result(meter: Meter) -> object:
    return meter.usage(), meter.model, meter.events, meter.complete, meter.failed


def units(meter: Meter) -> dict[str, int]:
    return {unit.value: count for unit, count in meter.usage().units.items()}


def tokens(meter: Meter) -> int:
    calls = (UsageClass.WEB_SEARCH, UsageClass.TOOL_CALL)
    return sum(count for unit, count in meter.usage().units.items() if unit not in calls)
