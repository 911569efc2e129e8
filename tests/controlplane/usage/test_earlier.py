"""A budget that begins to count in mid-window begins with what the ledger has of that window: everything once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.budgets import actions, answers, earlier, lease_sessions, queries
from controlplane.budgets.answers import PodMessage
from controlplane.budgets.models import Account, Budget, Crossing, EarlierCount
from controlplane.changes.change_set import change_set
from controlplane.providers.models import PriceList
from controlplane.tenancy.models import Organization
from controlplane.usage import earlier as ledger
from controlplane.usage.models import UsageRecord
from controlplane.usage.resettle import resettle
from dataplane.core.money.messages import Ask, AskItem, AskKind, Hello
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.factories import SYSTEM
from tests.controlplane.usage.records import admitted, booked, record
from tests.controlplane.usage.test_reconcile import PRICES
from tests.controlplane.usage.test_settlement import lease

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
Moves = Callable[[timedelta], datetime]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Moves:
    """It is noon on the 18th; calling it lets time pass."""
    at = [NOW]
    monkeypatch.setattr(timezone, "now", lambda: at[0])

    def move(by: timedelta) -> datetime:
        at[0] += by
        return at[0]

    return move


@pytest.fixture
def organization() -> Organization:
    return factories.organization()


_numbers = iter(range(1, 10**6))


def spend(organization: Organization, dollars: float, before: timedelta = timedelta(hours=1), **more: Any) -> str:
    """A request that began so long ago."""
    number = next(_numbers)
    at_ms = int((timezone.now() - before).timestamp() * 1000)
    fields = {"organization_id": organization.pk, "started_at_ms": at_ms, "ended_at_ms": at_ms + 1000}
    make = admitted if more.pop("running", False) else record
    given: dict[str, Any] = fields | {"cost_nano": int(dollars * DOLLAR)} | more
    if make is admitted:
        given.pop("cost_nano")
    booked(make(f"req_{number}", **given), session=f"spool-{number}")
    return f"req_{number}"


def end(request: str, organization: Organization, dollars: float, **more: Any) -> None:
    row = UsageRecord.objects.get(request_id=request, correction=False)
    at_ms = int(row.started_at.timestamp() * 1000)
    final = record(
        request, organization_id=organization.pk, started_at_ms=at_ms, cost_nano=int(dollars * DOLLAR), **more
    )
    booked(final, first=2, session=row.session_id)


def settled(budget: Budget, member: str = "", window_key: str = "") -> float:
    rows = Account.objects.filter(budget_id=budget.pk, member_id=member)
    row = rows.filter(window_key=window_key or ref_of(budget).window_key).first()
    return 0.0 if row is None else row.settled_nano / DOLLAR


def drawing_on(budget: Budget, member: str = "") -> dict[str, Any]:
    ref = ref_of(budget, member) if member else ref_of(budget)
    return {"accounts": [wire.AccountRef(budget_id=ref[0], member_id=ref[1], window_key=ref[2])]}


def test_a_budget_made_in_mid_window_begins_with_what_was_spent_in_it(organization: Organization) -> None:
    spend(organization, 3)
    spend(organization, 4, timedelta(days=17))  # on the 1st
    spend(organization, 50, timedelta(days=18))  # in October
    spend(factories.organization(), 60)
    spend(organization, 0, outcome="refused")
    budget = factories.budget(organization)
    found = queries.standing(budget)
    assert (found.settled_nano, found.earlier_nano, found.adding_up) == (7 * DOLLAR, 7 * DOLLAR, False)
    assert found.counts_from is None  # it counts from the window's beginning
    assert found.burn_nano_per_hour == 7 * DOLLAR // (17 * 24 + 12)
    assert lease_sessions.problems() == []


def test_it_counts_from_then_on_where_that_was_chosen(organization: Organization) -> None:
    spend(organization, 3)
    budget = factories.budget(organization, count_earlier=False)
    assert settled(budget) == 0
    budget.counts_from = NOW  # as the model's own clock says, which has no other hands
    assert queries.standing(budget).counts_from == NOW
    assert not EarlierCount.objects.exists()


def test_what_is_spent_already_is_refused_at_once_and_alerted_once(organization: Organization, clock: Moves) -> None:
    spend(organization, 9.5)
    budget = factories.budget(organization, overdraft_nano=0)
    assert list(Crossing.objects.values_list("threshold", "settled_nano")) == [(80, 9_500_000_000)]
    ask = Ask(1, AskKind.ADMIT, "req_x", 0, (AskItem(ref_of(budget), DOLLAR, DOLLAR, 0),))
    said = answers.answer([PodMessage("s1", "p", "", Hello("s1", ())), PodMessage("s1", "p", "", ask)])
    assert not Account.objects.get().held_nano, said
    spend(organization, 2, timedelta(seconds=-1))  # on a pod that had not heard of it yet
    clock(timedelta(seconds=30))
    assert earlier.count_due() == 1
    assert settled(budget) == 11.5
    assert sorted(Crossing.objects.values_list("threshold", flat=True)) == [80, 100]
    account = Account.objects.get()
    assert (account.excess_nano, account.earlier_nano) == (1_500_000_000, 11_500_000_000)


@pytest.mark.parametrize("kind", ["team", "project", "principal", "virtual_key"])
def test_every_scope_counts_its_own(kind: str) -> None:
    project = factories.project()
    organization = project.organization
    key = factories.key(project, principal=factories.principal(organization))
    places = {
        "team": project.team, "project": project, "principal": key.principal, "virtual_key": key,
    }  # fmt: skip
    own: dict[str, Any] = {"team_id": project.team_id, "project_id": project.pk, "principal_id": key.principal_id}
    spend(organization, 2, key_id=key.pk, **own)
    spend(organization, 5, key_id="vk_other", team_id="t", project_id="p", principal_id="q")
    assert settled(factories.budget(places[kind])) == 2


def test_a_groups_members_each_begin_with_their_own(organization: Organization) -> None:
    one, two = factories.principal(organization), factories.principal(organization)
    group = factories.group(organization, one, two)
    spend(organization, 2, principal_id=one.pk)
    spend(organization, 3, principal_id=one.pk)
    spend(organization, 7, principal_id=factories.principal(organization).pk)
    budget = factories.budget(group)
    assert [settled(budget, member.pk) for member in (one, two)] == [5, 0]
    assert {found.counts_from for found in queries.member_standings(budget)} == {None}


def test_a_narrowed_budget_counts_what_it_covers(organization: Organization) -> None:
    provider = factories.provider(organization, name="Acme")
    for model, dollars in (("gpt-5", 1), ("claude-opus-4-5", 2)):
        spend(organization, dollars, model=model, provider_id=provider.pk)
        spend(organization, dollars * 10, model=model, provider_id="prv_gone")
    limit = 1000 * DOLLAR
    assert settled(factories.budget(organization, model_pattern="claude-*", limit_nano=limit)) == 22
    assert settled(factories.budget(organization, model_pattern="Acme/*", limit_nano=limit)) == 3
    assert settled(factories.budget(organization, provider=provider, model_pattern="gpt*", limit_nano=limit)) == 1


def test_what_runs_while_it_is_made_counts_when_it_ends_and_once(organization: Organization, clock: Moves) -> None:
    running = spend(organization, 0, timedelta(minutes=5), running=True)
    budget = factories.budget(organization)
    end(running, organization, 2.5)
    assert settled(budget) == 0
    clock(timedelta(seconds=10))
    earlier.count_due()
    assert settled(budget) == 2.5
    lease(ref_of(budget))
    spend(organization, 0.25, timedelta(0), **drawing_on(budget), hold_session="s1")  # knows the budget: charged
    for _ in range(len(earlier.AGAIN_AFTER) + 1):
        clock(timedelta(hours=30))
        earlier.count_due()
        assert settled(budget) == 2.75
    assert not EarlierCount.objects.exists()
    assert lease_sessions.problems() == []


def test_a_correction_of_what_was_spent_earlier_is_taken_over(organization: Organization, clock: Moves) -> None:
    with change_set(SYSTEM):
        PriceList(version="v2", prices=PRICES).save()
    spend(organization, 5, provider_id=factories.provider(organization).pk)
    budget = factories.budget(organization)
    assert settled(budget) == 5
    resettle(organization, by=SYSTEM, since=NOW - timedelta(days=1), apply=True)
    right = sum(UsageRecord.objects.values_list("cost_nano", flat=True)) / DOLLAR
    assert right < 1
    clock(timedelta(minutes=2))
    earlier.count_due()
    assert settled(budget) == right


@pytest.mark.parametrize(
    "change", [{"window": "week"}, {"timezone": "Asia/Tokyo"}, {"anchor": 5}, {"window": "total"}, {"window": "day"}]
)
def test_another_window_is_carried_what_was_spent_in_it(organization: Organization, change: dict[str, Any]) -> None:
    budget = factories.budget(organization, limit_nano=100 * DOLLAR)
    lease(ref_of(budget), amount=3 * DOLLAR)
    spend(organization, 3, **drawing_on(budget), hold_session="s1")
    spend(organization, 4, timedelta(days=30))
    before = ref_of(budget).window_key
    actions.update_budget(budget, by=SYSTEM, **change)
    assert ref_of(budget).window_key != before
    assert settled(budget) == (7 if change == {"window": "total"} else 3)
    assert settled(budget, window_key=before) == 3  # the books stay as they were
    assert queries.standing(budget).counts_from is None
    actions.update_budget(budget, by=SYSTEM, window="month", timezone="UTC", anchor=0)
    earlier.count_due()
    assert settled(budget) == 3  # charged there, and counted once


def test_another_window_begins_with_nothing_where_that_was_chosen(organization: Organization) -> None:
    budget = factories.budget(organization)
    spend(organization, 3)
    actions.update_budget(budget, by=SYSTEM, window="week", count_earlier=False)
    assert (settled(budget), queries.standing(budget).counts_from) == (0, NOW)


def test_other_models_are_counted_anew_by_the_rules_of_now(
    organization: Organization, django_capture_on_commit_callbacks: Any
) -> None:
    budget = factories.budget(organization, model_pattern="claude-*", limit_nano=100 * DOLLAR)
    lease(ref_of(budget), amount=50 * DOLLAR)
    spend(organization, 3, model="claude-opus-4-5", **drawing_on(budget), hold_session="s1")
    spend(organization, 5, model="gpt-5")
    for pattern, dollars in (("", 8), ("gpt-*", 5), ("claude-*", 3)):
        with django_capture_on_commit_callbacks(execute=True):
            actions.update_budget(budget, by=SYSTEM, model_pattern=pattern)
        assert settled(budget) == dollars
        assert queries.standing(budget).earlier_nano == (dollars - 3) * DOLLAR
    assert lease_sessions.problems() == []


def test_switched_on_again_it_knows_what_was_spent_meanwhile(
    organization: Organization, django_capture_on_commit_callbacks: Any
) -> None:
    budget = factories.budget(organization, enabled=False)
    spend(organization, 3)
    assert not Account.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        actions.enable_budget(budget, by=SYSTEM)
    assert settled(budget) == 3
    actions.disable_budget(budget, by=SYSTEM)
    spend(organization, 4)
    with django_capture_on_commit_callbacks(execute=True):
        actions.enable_budget(budget, by=SYSTEM)
    assert settled(budget) == 7


def test_a_reset_by_hand_begins_at_nothing_and_stays_so(organization: Organization, clock: Moves) -> None:
    spend(organization, 3)
    budget = factories.budget(organization)
    actions.reset_budget(budget, by=SYSTEM)
    reset_at = timezone.now()
    assert settled(budget) == 0
    clock(timedelta(hours=2))
    spend(organization, 2)
    actions.update_budget(budget, by=SYSTEM, timezone="Europe/Berlin")
    assert settled(budget) == 2  # since the reset
    assert queries.standing(budget).counts_from == reset_at


def test_a_window_that_is_reset_by_hand_counts_from_when_the_budget_was_made(
    organization: Organization, clock: Moves
) -> None:
    spend(organization, 3)
    budget = factories.budget(organization)
    with change_set(SYSTEM):
        Budget.objects.update(created_at=NOW)
    budget.refresh_from_db()
    clock(timedelta(hours=2))
    spend(organization, 2)
    actions.update_budget(budget, by=SYSTEM, window="manual")
    assert settled(budget) == 2
    assert settled(factories.budget(organization, window="manual")) == 0


def test_what_pods_tell_after_the_change_fills_an_account_and_no_more(organization: Organization, clock: Moves) -> None:
    spend(organization, 1)
    budget = factories.budget(organization)
    clock(timedelta(minutes=2))
    spend(organization, 10**6, timedelta(minutes=30))
    earlier.count_due()
    assert settled(budget) == 11
    spend(organization, 5, timedelta(hours=-3))  # began long after: its pod knew the budget
    clock(timedelta(hours=5))
    earlier.count_due()
    assert settled(budget) == 11


def test_where_there_is_much_the_newest_counts_at_once_and_the_sweep_adds_the_rest(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, clock: Moves
) -> None:
    spend(organization, 3, timedelta(minutes=1))
    spend(organization, 4, timedelta(days=17))
    with monkeypatch.context() as slow:
        ticks = iter(range(10**6))
        slow.setattr(ledger, "monotonic", lambda: next(ticks))
        slow.setattr(earlier, "monotonic", lambda: 0)
        budget = factories.budget(organization)
        found = queries.standing(budget)
        assert (found.settled_nano, found.adding_up) == (3 * DOLLAR, True)
        slow.setattr(earlier, "SWEEP_S", 1.0)
        earlier.count_due()
        assert queries.standing(budget).settled_nano == 3 * DOLLAR
    clock(timedelta(seconds=10))
    earlier.count_due()
    found = queries.standing(budget)
    assert (found.settled_nano, found.adding_up) == (7 * DOLLAR, False)


def test_a_budget_that_is_gone_or_changed_meanwhile_is_not_added_to(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, clock: Moves
) -> None:
    spend(organization, 1)
    budget = factories.budget(organization)
    spend(organization, 1)
    clock(timedelta(minutes=2))
    look = earlier._ledgers[0]

    def change_meanwhile(question: earlier.Question, deadline: float) -> earlier.EarlierSpend:
        monkeypatch.setattr(earlier, "_ledgers", [look])
        actions.update_budget(budget, by=SYSTEM, window="week")
        return look(question, deadline)

    monkeypatch.setattr(earlier, "_ledgers", [change_meanwhile])
    assert earlier.count_due() == 0
    assert settled(budget, window_key="month:2026-11-01@UTC") == 1
    assert settled(budget) == 2
    clock(timedelta(minutes=2))
    actions.delete_budget(budget, by=SYSTEM)
    assert earlier.count_due() == 0
    assert not EarlierCount.objects.exists()


def test_an_account_that_a_pod_opens_during_the_change_is_counted_right_after_it(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    budget = factories.budget(organization, enabled=False)
    spend(organization, 3)
    opened = earlier._opened

    def while_a_pod_asks(begins_with: Any, *rest: Any) -> Account:
        account = opened(begins_with, *rest)
        Account.objects.create(
            organization_id=organization.pk, budget_id=budget.pk, window_key=account.window_key,
            limit_nano=budget.limit_nano,
        )  # fmt: skip
        return account

    monkeypatch.setattr(earlier, "_opened", while_a_pod_asks)
    with django_capture_on_commit_callbacks(execute=True):
        actions.enable_budget(budget, by=SYSTEM)
    assert (settled(budget), queries.standing(budget).earlier_nano) == (3, 3 * DOLLAR)


def test_a_refused_change_counts_nothing(organization: Organization) -> None:
    spend(organization, 1)
    budget = factories.budget(organization, count_earlier=False)
    with pytest.raises(Exception, match="IANA"):
        actions.update_budget(budget, by=SYSTEM, timezone="Mars/Base", count_earlier=True)
    assert not Account.objects.exists()
    assert not EarlierCount.objects.exists()
