"""However much a pod sends that is no record: what is kept of it has an end, and the rest is counted."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.db.models import Sum
from django.utils import timezone

from controlplane.usage import dead_letters
from controlplane.usage.ingest import book
from controlplane.usage.models import DeadLetter, UsageRecord
from protos import fleet_pb2 as wire
from tests.controlplane.usage.records import booked, record
from tests.controlplane.usage.test_claims import Speaker
from tests.hostile.pod import UNFIT, answers

pytestmark = pytest.mark.django_db

MOST, IN_ALL = 20, 30


@pytest.fixture(autouse=True)
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MOST_OF_ONE_POD", MOST)
    monkeypatch.setattr(dead_letters, "MOST", IN_ALL)


def flood(identity: str, number: int, session: str = "", first: int = 1) -> None:
    records = list(answers(number, UNFIT))
    ack = booked(*records, session=session or f"spool-{identity}", identity=identity, first=first)
    assert ack.through_seq == first + number - 1, "it is acknowledged all the same"


def kept(identity: str) -> list[int]:
    return list(dead_letters.one_by_one().filter(identity=identity).order_by("seq").values_list("seq", flat=True))


def not_kept(identity: str) -> int:
    return dead_letters.numbers().filter(identity=identity).aggregate(number=Sum("count"))["number"] or 0


def test_the_newest_of_a_pod_are_kept_and_the_others_counted() -> None:
    for start in range(0, 100, 10):
        flood("mallory", 10, first=start + 1)
    assert kept("mallory") == list(range(81, 101))
    assert not_kept("mallory") == 80
    assert dead_letters.numbers().get().problem.startswith("not kept one by one; the last of them: ")


def test_one_batch_beyond_what_is_kept() -> None:
    flood("mallory", 3 * MOST)
    assert (kept("mallory"), not_kept("mallory")) == (list(range(2 * MOST + 1, 3 * MOST + 1)), 2 * MOST)


def test_a_name_for_each_spool_makes_no_room() -> None:
    for number in range(10):
        flood("mallory", 10, session=f"spool-{number}")
    assert (len(kept("mallory")), not_kept("mallory")) == (MOST, 80)


def test_what_one_pod_sends_takes_no_others_letters_before_all_is_full() -> None:
    flood("honest", 5)
    flood("mallory", 10 * MOST)
    assert (len(kept("honest")), len(kept("mallory"))) == (5, MOST)
    flood("eve", MOST)
    assert dead_letters.one_by_one().count() == IN_ALL
    assert not_kept("honest") + not_kept("mallory") + not_kept("eve") == 5 + 11 * MOST - IN_ALL
    assert len(kept("eve")) == MOST


def test_batches_for_the_spool_of_another_have_an_end_too() -> None:
    honest = Speaker("honest")
    honest.tell(record("req_1"))
    honest.alive()
    for first in range(1, 10 * MOST):
        booked(record(f"req_{first}"), session=honest.spool, identity="mallory", first=first)
    assert (len(kept("mallory")), not_kept("mallory")) == (MOST, 9 * MOST - 1)
    assert UsageRecord.objects.count() == 1


def test_each_day_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    flood("mallory", MOST + 3)
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: tomorrow)
    flood("mallory", 5, first=MOST + 4)
    assert list(dead_letters.numbers().order_by("-seq").values_list("count", flat=True)) == [3, 5]


def test_of_large_records_a_few_are_kept_whole() -> None:
    sizes = itertools.repeat(10_000, 15)
    records = [wire.UsageRecord(request_id=f"req_{number}", model="m" * size) for number, size in enumerate(sizes)]
    book(wire.UsageBatch(pod_id="p", session_id="s", first_seq=1, records=records), "mallory")
    lengths = [len(bytes(letter.content)) for letter in DeadLetter.objects.order_by("seq")]
    assert sum(length > dead_letters.SMALL for length in lengths) == dead_letters.LARGE_ONES
    assert lengths[dead_letters.LARGE_ONES :] == [0] * 5
