"""What grows is kept by month: the month is the request id's own, and whole months go."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from controlplane.budgets import partitions
from controlplane.budgets.models import Charge
from controlplane.budgets.months import STRAYS, first_day, later, month_of
from controlplane.usage import ingest, reconcile
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import Filter, charged_to
from dataplane.core.money.messages import LiveHold
from dataplane.core.request_ids import RequestIds
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.usage.records import admitted, booked, record
from tests.controlplane.usage.test_settlement import drawing, lease, standing

USAGE, CHARGES = UsageRecord._meta.db_table, Charge._meta.db_table


def minted(at: datetime) -> str:
    return RequestIds("ses_1", 0).make(int(at.timestamp() * 1000))


@pytest.fixture
def parts(db: Any) -> None:
    if not partitions.partitioned():
        pytest.skip("SQLite has plain tables")


def part_of(row: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tableoid::regclass::text FROM {row._meta.db_table} WHERE id = %s", [row.pk])
        found: str = cursor.fetchone()[0]
    return found


@given(st.datetimes(datetime(2020, 1, 1), datetime(2099, 12, 31)))  # noqa: DTZ001
def test_the_month_of_a_request_is_that_in_which_its_id_was_minted(at: datetime) -> None:
    assert month_of(minted(at.replace(tzinfo=UTC))) == date(at.year, at.month, 1)


@pytest.mark.parametrize(
    "id", ["", "req_1", "req_" + "f" * 30, "req_" + "0" * 30, "x" + minted(datetime(2026, 11, 24, tzinfo=UTC))[1:]]
)
def test_an_id_without_a_time_is_a_stray(id: str) -> None:
    assert month_of(id) == STRAYS


@pytest.mark.django_db
def test_a_request_over_the_end_of_a_month_is_settled_once_and_found_wherever_it_is_looked_for() -> None:
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    before, after = midnight - timedelta(seconds=2), midnight + timedelta(seconds=2)
    id, budget = minted(before), factories.budget()
    ref = ref_of(budget)
    lease(ref)
    started = {"started_at_ms": int(after.timestamp() * 1000)}
    booked(admitted(id, reserved_nano=10**8, **started, **drawing(ref)))
    assert ingest.note_grown("s1", [LiveHold(id, 0, 2 * 10**8)]) == []
    for _ in range(2):
        booked(record(id, cost_nano=10**7, **started, **drawing(ref)), first=2)
    row = UsageRecord.objects.get()
    assert (row.month, Charge.objects.get().month) == (date(2026, 10, 1),) * 2
    assert standing(budget)[0] == 10**7
    rows = UsageRecord.objects.all()
    assert Filter(since=midnight, until=midnight + timedelta(days=1)).apply(rows).count() == 1
    assert Filter(request_id=id).apply(rows).count() == 1
    assert not Filter(until=midnight).apply(rows).exists()
    assert charged_to(rows, Charge.objects.get().account_id).count() == 1


@pytest.mark.django_db
def test_the_same_attempt_does_not_fit_in_twice() -> None:
    id = minted(datetime.now(UTC))
    booked(record(id))
    row = UsageRecord.objects.get()
    row.pk, row.month = "use_other", STRAYS
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageRecord.objects.bulk_create([row])


def test_rows_land_in_their_month_and_strays_aside(parts: None) -> None:
    now = datetime.now(UTC)
    ref = ref_of(factories.budget(on_breach="warn"))  # on which a pod may book without a lease
    booked(record(minted(now), cost_nano=5, **drawing(ref)), record("req_1"))
    assert {part_of(row) for row in UsageRecord.objects.all()} == {f"{USAGE}_{now:%Y_%m}", f"{USAGE}_other"}
    assert part_of(Charge.objects.get()) == f"{CHARGES}_{now:%Y_%m}"


def test_coming_months_are_made_ahead_and_what_came_too_early_moves_in(parts: None) -> None:
    far = datetime(2031, 5, 20, tzinfo=UTC)
    booked(record(minted(far)))
    assert part_of(UsageRecord.objects.get()) == f"{USAGE}_other"
    assert partitions.make_ahead(USAGE, datetime(2031, 1, 31, tzinfo=UTC)) == 4  # January to March, and May
    assert partitions.make_ahead(USAGE, datetime(2031, 1, 31, tzinfo=UTC)) == 0
    assert part_of(UsageRecord.objects.get()) == f"{USAGE}_2031_05"
    booked(record(minted(far), cost_nano=1))
    assert UsageRecord.objects.count() == 1
    assert reconcile.make_months() == 0


def test_a_past_month_goes_as_a_whole(parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    old = datetime(2021, 3, 31, 23, 59, 59, tzinfo=UTC)
    booked(record(minted(old)), record(minted(datetime.now(UTC))))
    for table in (USAGE, CHARGES):
        partitions.make_ahead(table, datetime(2021, 3, 5, tzinfo=UTC))
        assert partitions.drop_past(table, datetime(2021, 4, 1, tzinfo=UTC)) == 0  # a request may run over midnight
    assert UsageRecord.objects.count() == 2
    assert partitions.drop_past(USAGE, datetime(2021, 4, 2, tzinfo=UTC)) == 1
    assert UsageRecord.objects.count() == 1
    assert reconcile.forget_old() == 2 + 3  # April and May of the records; March to May of the charges
    assert partitions.parts(USAGE).keys() == {later(first_day(datetime.now(UTC)), ahead) for ahead in range(3)}


def test_a_question_about_some_days_reads_the_months_around_them(parts: None) -> None:
    partitions.make_ahead(USAGE, datetime(2031, 1, 1, tzinfo=UTC))
    since = datetime.now(UTC)
    plan = Filter(since=since, until=since + timedelta(hours=1)).apply(UsageRecord.objects.all()).explain()
    assert f"{USAGE}_{since:%Y_%m}" in plan
    assert f"{USAGE}_other" in plan
    assert "2031" not in plan
    plan = Filter(request_id=minted(since)).apply(UsageRecord.objects.all()).explain()
    assert f"{USAGE}_{since:%Y_%m}" in plan
    assert f"{USAGE}_other" not in plan


@pytest.mark.django_db(transaction=True)
def test_rows_that_are_there_move_into_their_months() -> None:
    now = datetime.now(UTC)
    ids = [minted(now), minted(now - timedelta(days=90)), "req_1"]
    if partitions.partitioned():
        booked(*(record(id) for id in ids))
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute(f"CREATE TABLE plain (LIKE {USAGE} INCLUDING DEFAULTS)")
            cursor.execute("ALTER TABLE plain ADD PRIMARY KEY (id), ADD CONSTRAINT one UNIQUE (request_id, month)")
            cursor.execute("CREATE INDEX plain_trace ON plain (trace_id)")
            cursor.execute(
                "ALTER TABLE plain ALTER attempt DROP DEFAULT, ALTER attempt ADD GENERATED BY DEFAULT AS IDENTITY"
            )
            cursor.execute(f"INSERT INTO plain SELECT * FROM {USAGE}")
            cursor.execute("UPDATE plain SET month = '1970-01-01'")
        with connection.schema_editor() as editor:
            partitions.move_into_months("plain", editor)
        with connection.cursor() as cursor:
            cursor.execute("SELECT request_id, month FROM plain")
            assert dict(cursor.fetchall()) == {id: month_of(id) for id in ids}
            cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'plain'")
            assert {name for (name,) in cursor.fetchall()} == {"plain_pkey", "one", "plain_trace"}
            cursor.execute("SELECT pg_get_serial_sequence('plain', 'attempt')")
            assert cursor.fetchone()[0]
            cursor.execute("DROP TABLE plain")
        return
    booked(*(record(id) for id in ids))
    UsageRecord.objects.update(month=STRAYS)
    with connection.schema_editor() as editor:
        partitions.move_into_months(USAGE, editor)
    assert dict(UsageRecord.objects.values_list("request_id", "month")) == {id: month_of(id) for id in ids}
