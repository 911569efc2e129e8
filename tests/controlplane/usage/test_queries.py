"""Browsing and summing the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.changes.actor import Actor
from controlplane.tenancy.models import Role
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import By, Cursor, Filter, page, total, totals, visible_to
from tests.controlplane import factories
from tests.controlplane.usage.records import AT_MS, admitted, booked, record

pytestmark = pytest.mark.django_db


def test_pages_hold_every_row_once_newest_first_while_others_arrive() -> None:
    booked(*[record(f"req_{number:02}", started_at_ms=AT_MS + number // 3) for number in range(23)])
    seen: list[UsageRecord] = []
    after: Cursor | None = None
    while True:
        found = page(UsageRecord.objects.all(), after=after, size=5)
        seen.extend(found.rows)
        booked(record(f"later_{len(seen)}", started_at_ms=AT_MS + 1000), first=100 + len(seen))
        if found.next is None:
            break
        after = Cursor.parse(str(found.next))
    assert len(seen) == len({row.pk for row in seen}) == 23
    assert [row.started_at for row in seen] == sorted((row.started_at for row in seen), reverse=True)


@given(st.text())
def test_what_is_not_a_cursor_is_refused_as_such(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        Cursor.parse(text)


def test_a_filter_takes_what_matches_in_all_respects() -> None:
    booked(
        record("a", client="codex", model="m1"),
        record("b", client="codex", model="m2", outcome="refused"),
        record("c", client="opencode", model="m1", started_at_ms=AT_MS + 5000),
    )
    every = UsageRecord.objects.all()

    def found(**asked: object) -> set[str]:
        return {row.request_id for row in Filter(**asked).apply(every)}  # type: ignore[arg-type]

    assert found() == {"a", "b", "c"}
    assert found(client="codex", model="m1") == {"a"}
    assert found(outcome="refused") == {"b"}
    assert found(since=datetime.fromtimestamp(AT_MS / 1000 + 1, UTC)) == {"c"}
    assert found(until=datetime.fromtimestamp(AT_MS / 1000 + 5, UTC)) == {"a", "b"}


def test_totals_count_attempts_once_and_take_corrections_into_the_sums() -> None:
    booked(admitted("a", key_id="vk_1"))
    UsageRecord.objects.update(state="estimated", units={"input": 50}, input_tokens=50, cost_nano=8000)
    booked(
        record("a", key_id="vk_1"),
        record("b", key_id="vk_2", cost_nano=9000),
        record("c", key_id="vk_2", cost_nano=0, outcome="refused", units={}),
        first=2,
    )
    by_key = totals(UsageRecord.objects.all(), By.KEY)
    assert [(row.of, row.attempts, row.refused, row.cost_nano) for row in by_key] == [
        ("vk_2", 2, 1, 9000),
        ("vk_1", 1, 0, 5000),
    ]
    whole = total(UsageRecord.objects.all())
    assert (whole.attempts, whole.cost_nano, whole.input_tokens, whole.output_tokens) == (3, 14000, 240, 20)
    assert total(UsageRecord.objects.none()).cost_nano == 0


def test_days_are_of_utc_and_in_order() -> None:
    day = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    for number, at in enumerate((day + timedelta(seconds=1), day, day - timedelta(days=2))):
        booked(record(f"r{number}", started_at_ms=int(at.timestamp() * 1000), cost_nano=number), first=number + 1)
    found = totals(UsageRecord.objects.all(), By.DAY)
    assert [(row.of, row.cost_nano) for row in found] == [("2026-11-18", 2), ("2026-11-20", 1), ("2026-11-21", 0)]


def test_hours_are_of_utc_too() -> None:
    at = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    booked(*[record(f"r{number}", started_at_ms=int(at.timestamp() * 1000) + number * 1000) for number in range(2)])
    hours = [row.of for row in totals(UsageRecord.objects.all(), By.HOUR)]
    assert hours == ["2026-11-20T23:00:00+00:00", "2026-11-21T00:00:00+00:00"]


@pytest.mark.parametrize("by", list(By))
def test_every_dimension_sums_to_the_whole(by: By) -> None:
    booked(*[record(f"r{number}", key_id=f"vk_{number % 3}", client=f"c{number % 2}") for number in range(7)])
    assert sum(row.cost_nano for row in totals(UsageRecord.objects.all(), by)) == 35_000


def test_people_see_their_own_team_admins_their_teams_admins_all_of_their_organizations() -> None:
    project = factories.project()
    organization, team = project.organization, project.team
    member, membership = factories.member(organization, Role.MEMBER)
    person = factories.principal(organization, user=membership.user)
    booked(
        record("own", organization_id=organization.pk, principal_id=person.pk),
        record("team", organization_id=organization.pk, team_id=team.pk),
        record("foreign", organization_id="org_other"),
    )
    admin, _ = factories.member(organization, Role.ADMIN)
    lead, _ = factories.member(organization, Role.TEAM_ADMIN, team)

    def seen(actor: Actor) -> set[str]:
        return {row.request_id for row in visible_to(actor)}

    assert seen(member) == {"own"}
    assert seen(lead) == {"team"}
    assert seen(admin) == {"own", "team"}
    assert seen(factories.SYSTEM) == {"own", "team", "foreign"}
