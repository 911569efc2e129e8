"""Whose a figure is: said of every row in words, found by one filter, and summed rightly through corrections."""

from __future__ import annotations

import random
from typing import Any

import pytest

from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import Filter, total
from controlplane.usage.reading import REASONS, SOURCES, UNCONFIRMED, whose
from dataplane.core.usage import UsageSource, Why
from protos import fleet_pb2 as wire
from tests.controlplane.usage.records import admitted, booked, record

SOURCE = {
    UsageSource.PROVIDER: wire.USAGE_SOURCE_PROVIDER, UsageSource.METERED: wire.USAGE_SOURCE_METERED,
    UsageSource.ESTIMATED: wire.USAGE_SOURCE_ESTIMATED, UsageSource.HELD: wire.USAGE_SOURCE_HELD,
    UsageSource.NONE: wire.USAGE_SOURCE_NONE,
}  # fmt: skip


def test_every_source_and_reason_has_words() -> None:
    assert SOURCES.keys() == {source.value for source in UsageSource}
    assert REASONS.keys() == {why.value for why in Why} - {""}
    assert {source.value for source in UsageSource} - {"provider", "none"} == UNCONFIRMED
    assert whose("held", "runs_on").startswith("charged with what was held: a background job")
    assert whose("provider", "") == "the provider's own count"
    assert whose("newer", "unheard_of") == "newer: unheard_of"


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(5))
def test_what_is_not_the_providers_is_found_and_summed_whatever_was_corrected(seed: int) -> None:
    """Against a count by hand."""
    dice = random.Random(seed)
    expected: dict[str, tuple[bool, int]] = {}
    for number in range(40):
        request, cost = f"req_{number}", dice.randrange(1, 10_000)
        source = dice.choice(list(SOURCE))
        final = record(request, source=SOURCE[source], cost_nano=cost if source is not UsageSource.NONE else 0)
        if dice.random() < 0.5:  # its end was estimated, and came late
            booked(admitted(request), first=2 * number + 1)
            UsageRecord.objects.filter(request_id=request).update(
                state="estimated", source="estimated", cost_nano=dice.randrange(10_000), unconfirmed=True
            )
        booked(final, first=2 * number + 2)
        expected[request] = source.value in UNCONFIRMED, final.cost_nano
    rows = UsageRecord.objects.all()
    sums = total(rows)
    assert sums.unconfirmed == sum(unsure for unsure, _ in expected.values())
    assert sums.unconfirmed_cost_nano == sum(cost for unsure, cost in expected.values() if unsure)
    assert sums.cost_nano == sum(cost for _, cost in expected.values())
    found = Filter(unconfirmed=True).apply(rows)
    assert {row.request_id for row in found} == {request for request, (unsure, _) in expected.items() if unsure}
    sure = Filter(unconfirmed=False).apply(rows)
    assert {row.request_id for row in sure} == {request for request, (unsure, _) in expected.items() if not unsure}


@pytest.mark.django_db
def test_source_and_reason_are_filters() -> None:
    booked(record("req_1", source=wire.USAGE_SOURCE_HELD, why="no_answer"), record("req_2"))

    def found(**asked: Any) -> list[str]:
        return [row.request_id for row in Filter(**asked).apply(UsageRecord.objects.all())]

    assert found(source="held") == found(why="no_answer") == found(unconfirmed=True) == ["req_1"]
    assert found(source="provider") == ["req_2"]
    assert found(why="cut") == []
