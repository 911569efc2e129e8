"""Calls of tools without a known price: each is counted, each name is told once per provider."""

from __future__ import annotations

import pytest

from dataplane.core.usage import Usage, UsageRecord, UsageSource
from dataplane.telemetry import logs
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tallies import MOST_CALLS_TOLD, Tallies


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, object]]:
    lines: list[tuple[object, object]] = []
    monkeypatch.setattr(logs, "warning", lambda event, **held: lines.append((held["provider"], held["call"])))
    return lines


def record(calls: dict[str, int], provider: str = "prv_a") -> UsageRecord:
    usage = Usage({}, UsageSource.PROVIDER, unknown_calls=calls)
    return UsageRecord(request_id="req_1", provider_id=provider, provider_kind="openai", usage=usage)


def test_every_call_is_counted_and_each_name_is_told_once_per_provider(told: list[tuple[object, object]]) -> None:
    metrics = Metrics("test")
    sums = Tallies(metrics)
    for one in (record({"teleport_call": 2}), record({"teleport_call": 1}), record({"teleport_call": 1}, "prv_b")):
        sums.add(one, [one], 0)
    assert told == [("prv_a", "teleport_call"), ("prv_b", "teleport_call")]
    text = metrics.exposition().decode()
    assert 'tool_calls_unpriced_total{provider="prv_a",provider_kind="openai"} 3.0' in text
    assert 'tool_calls_unpriced_total{provider="prv_b",provider_kind="openai"} 1.0' in text


def test_a_provider_that_invents_names_fills_neither_the_log_nor_memory(told: list[tuple[object, object]]) -> None:
    sums = Tallies(Metrics("test"))
    for number in range(2 * MOST_CALLS_TOLD):
        one = record({f"x{number}_call": 1})
        sums.add(one, [one], 0)
    assert len(told) == MOST_CALLS_TOLD
