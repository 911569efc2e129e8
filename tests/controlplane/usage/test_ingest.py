"""Booking: whatever way the records come, the ledger ends up the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from controlplane.usage.ingest import book
from controlplane.usage.models import DeadLetter, ReportSession, UsageRecord
from protos import fleet_pb2 as wire
from tests.controlplane.usage.records import AT_MS, admitted, batch, booked, ledger, record


@pytest.mark.django_db
def test_a_record_becomes_a_row_with_everything_that_people_filter_by() -> None:
    ack = booked(
        record(
            attempt=1,
            team_id="team_1",
            project_id="proj_1",
            principal_id="prin_1",
            provider_id="prov_1",
            client="claude_code",
            session="s",
            tags=["a", "b"],
            metadata='{"a": 1}',
            raw_usage='{"input_tokens": 100}',
            first_byte_ms=3,
            revision=4,
            trace_id="t" * 32,
            request_bytes=5,
        ),
        first=9,
    )
    assert (ack.session_id, ack.through_seq, list(ack.dead_lettered)) == ("session-1", 9, [])
    row = UsageRecord.objects.get()
    assert (row.request_id, row.attempt, row.state, row.outcome) == ("req_1", 1, "final", "ok")
    assert (row.team_id, row.project_id, row.principal_id) == ("team_1", "proj_1", "prin_1")
    assert (row.client, row.session, row.tags, row.metadata) == ("claude_code", "s", ["a", "b"], '{"a": 1}')
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (120, 20, 10)
    assert (row.cost_nano, row.priced, row.source, row.revision) == (5000, True, "provider", 4)
    assert int(row.started_at.timestamp() * 1000) == AT_MS


@pytest.mark.django_db
def test_what_a_pod_of_another_version_says_more_is_no_reason_to_refuse_its_record() -> None:
    """Field 48 is what an older one could send; words and units of a newer one are kept."""
    older = wire.UsageRecord.FromString(record("req_1").SerializeToString() + b"\x82\x03\x03abc")
    newer = record("req_2", outcome="vanished", units={"smell": 3, "input": 4})
    ack = book(wire.UsageBatch.FromString(batch(older, newer).SerializeToString()), "")
    assert (ack.through_seq, list(ack.dead_lettered)) == (2, [])
    assert ledger()[0] == ("req_1", 0, False, "final", "ok", 5000, 120, 10)
    row = UsageRecord.objects.get(request_id="req_2")
    assert (row.outcome, row.units, row.input_tokens) == ("vanished", {"input": 4, "smell": 3}, 4)


@pytest.mark.django_db
def test_an_admission_waits_for_its_end_and_is_replaced_by_it_once() -> None:
    booked(admitted())
    assert ledger() == [("req_1", 0, False, "admitted", "", 0, 0, 0)]
    booked(record(), first=2)
    booked(record(cost_nano=9), admitted(), first=3)
    assert ledger() == [("req_1", 0, False, "final", "ok", 5000, 120, 10)]


@pytest.mark.django_db
def test_attempts_of_one_request_are_booked_apart() -> None:
    booked(admitted(), record(outcome="failed", cost_nano=0), admitted(attempt=1), record(attempt=1))
    assert [(row[1], row[4]) for row in ledger()] == [(0, "failed"), (1, "ok")]


@pytest.mark.django_db
def test_a_report_after_the_estimate_is_booked_as_the_difference() -> None:
    booked(admitted())
    UsageRecord.objects.update(
        state="estimated", units={"input": 50}, input_tokens=50, cost_nano=6000, outcome="failed", source="estimated"
    )
    for first in (2, 3):
        booked(record(), first=first)
    assert ledger() == [
        ("req_1", 0, False, "corrected", "failed", 6000, 50, 0),
        ("req_1", 0, True, "final", "ok", -1000, 70, 10),
    ]
    assert UsageRecord.objects.get(correction=True).units == {
        "input": 50,
        "cache_read": 20,
        "output": 7,
        "output_reasoning": 3,
    }


POISON = [
    {"request_id": ""},
    {"request_id": "r" * 65},
    {"request_id": "a\0b"},
    {"status": 0},
    {"status": 77},
    {"attempt": -1},
    {"started_at_ms": 0},
    {"started_at_ms": 2**62},
    {"ended_at_ms": -5},
    {"cost_nano": -1},
    {"units": {"input": -1}},
    {"units": {"input": 2**60}},
    {"units": {f"class {number}": 1 for number in range(65)}},
    {"key_id": "k" * 41},
    {"events": -1},
]


@pytest.mark.django_db
@pytest.mark.parametrize("poison", POISON, ids=lambda poison: "-".join(poison))
def test_a_record_that_cannot_be_booked_is_buried_and_the_batch_goes_through(poison: dict[str, Any]) -> None:
    ack = booked(record("req_a"), record(**({"request_id": "req_b"} | poison)), record("req_c"))
    assert ack.through_seq == 3
    assert [row[0] for row in ledger()] == ["req_a", "req_c"]
    letter = DeadLetter.objects.get()
    assert (letter.seq, bool(letter.problem)) == (2, True)
    assert wire.UsageRecord.FromString(bytes(letter.content)).model == "claude-sonnet-4-5"
    booked(record("req_a"), record(**({"request_id": "req_b"} | poison)), record("req_c"))
    assert DeadLetter.objects.count() == 1


@pytest.mark.django_db
def test_one_record_that_the_database_refuses_does_not_take_the_batch_with_it() -> None:
    """Whatever validation overlooks."""
    too_large = record("req_b", http_status=9999)
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE usage_usagerecord ADD CONSTRAINT sane CHECK (http_status < 1000)"
            if connection.vendor == "postgresql"
            else "CREATE TRIGGER sane BEFORE INSERT ON usage_usagerecord WHEN NEW.http_status > 999 "
            "BEGIN SELECT RAISE(ABORT, 'insane'); END"
        )
    ack = booked(record("req_a"), too_large, record("req_c"))
    assert (ack.through_seq, list(ack.dead_lettered)) == (3, ["req_b"])
    assert [row[0] for row in ledger()] == ["req_a", "req_c"]
    assert "IntegrityError" in DeadLetter.objects.get().problem


@pytest.mark.django_db
def test_texts_that_only_describe_are_cut_to_size() -> None:
    booked(record(model_requested="m" * 1000, client="a\0b", metadata="{not json", raw_usage="[" * 100_000))
    row = UsageRecord.objects.get()
    assert (len(row.model_requested), row.client, row.metadata, row.raw_usage) == (256, "a b", "", "")


@pytest.mark.django_db
def test_a_hole_in_the_sequence_is_noted_and_closed_when_it_is_filled() -> None:
    booked(record("req_1"), first=1)
    booked(record("req_5"), first=5)
    known = ReportSession.objects.get()
    assert (known.through_seq, known.gaps, known.missing) == (5, [[2, 4]], 3)
    booked(record("req_3"), first=3)
    known = ReportSession.objects.get()
    assert (known.through_seq, known.gaps, known.missing) == (5, [[2, 2], [4, 4]], 2)


@pytest.mark.django_db
def test_a_dead_pods_spool_may_be_reported_by_the_next_pod_that_finds_it() -> None:
    booked(record("req_1"), identity="pod-1")
    refused = booked(record("req_1"), record("req_2"), identity="pod-2")
    assert (refused.through_seq, [row[0] for row in ledger()]) == (0, ["req_1"])
    ReportSession.objects.update(last_at=timezone.now() - timedelta(seconds=61))
    booked(record("req_1"), record("req_2"), identity="pod-2")
    assert [row[0] for row in ledger()] == ["req_1", "req_2"]
    assert (ReportSession.objects.get().identity, ReportSession.objects.get().missing) == ("pod-2", 0)


def test_replicas_booking_the_same_batches_at_once_make_one_ledger(in_threads: Callable[..., Any]) -> None:
    requests = [f"req_{number}" for number in range(8)]
    batches = [
        batch(*[admitted(request) for request in requests], first=1, session="a"),
        batch(*[record(request) for request in reversed(requests)], first=9, session="a"),
        batch(*[record(request) for request in requests], first=17, session="a"),
        batch(*[admitted(request) for request in reversed(requests)], first=25, session="a"),
    ]
    in_threads(lambda one: book(one, ""), batches * 2)
    assert ledger() == sorted((request, 0, False, "final", "ok", 5000, 120, 10) for request in requests)


@st.composite
def deliveries(draw: st.DrawFn) -> list[wire.UsageBatch]:
    """One spool, cut into batches anywhere, every batch delivered at least once, in any order."""
    spool = []
    for number in range(draw(st.integers(1, 5))):
        for attempt in range(draw(st.integers(1, 2))):
            spool.append(admitted(f"req_{number}", attempt=attempt))
            spool.append(record(f"req_{number}", attempt=attempt, cost_nano=number * 10 + attempt))
    cuts = sorted(draw(st.sets(st.integers(1, len(spool) - 1), max_size=4)))
    edges = [0, *cuts, len(spool)]
    batches = [batch(*spool[a:b], first=a + 1) for a, b in itertools.pairwise(edges)]
    again = draw(st.lists(st.sampled_from(batches), max_size=4))
    return draw(st.permutations(batches + again))


class AnyDelivery(TestCase):
    @settings(max_examples=30)
    @given(deliveries())
    def test_duplicated_and_reordered_batches_leave_the_ledger_of_one_clean_delivery(
        self, delivered: list[wire.UsageBatch]
    ) -> None:
        for one in delivered:
            book(one, "")
        records = {
            (r.request_id, r.attempt): r for b in delivered for r in b.records if r.status == wire.RECORD_STATUS_FINAL
        }
        assert ledger() == sorted(
            (request, attempt, False, "final", "ok", found.cost_nano, 120, 10)
            for (request, attempt), found in records.items()
        )
        known = ReportSession.objects.get()
        assert (known.gaps, known.missing) == ([], 0)
        assert known.through_seq == max(b.first_seq + len(b.records) - 1 for b in delivered)


@pytest.mark.django_db
def test_the_budget_that_refused_a_request_is_kept() -> None:
    booked(record(outcome="refused", refusal_code="budget_exceeded", refusal_budget_id="bud_1"))
    assert UsageRecord.objects.get().refusal_budget_id == "bud_1"
