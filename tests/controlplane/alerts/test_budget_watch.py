"""Budgets that reach a part of their limit: which rule speaks of which account, once, and when it is over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from controlplane.alerts import budget_watch, raising, tasks
from controlplane.alerts.models import About, Alert, AlertState
from controlplane.alerts.words import money, percent_of
from controlplane.budgets import actions as budgets
from controlplane.budgets.models import Account, Budget, Crossing
from tests.controlplane import factories as make
from tests.controlplane.alerts import world

SYSTEM = make.SYSTEM
DOLLAR = 10**9
NOW = timezone.now


def account(of: Budget, spent: int, member: str = "", **fields) -> Account:
    """What the books say: dollars."""
    now = NOW()
    row, _ = Account.objects.update_or_create(
        budget_id=of.pk,
        member_id=member,
        window_key=fields.pop("window_key", "month:2026-11-01@UTC"),
        defaults={
            "organization_id": of.organization_id,
            "limit_nano": of.limit_nano,
            "settled_nano": spent * DOLLAR,
            "excess_nano": 10**15,
            "ends_at": now + timedelta(days=3),
            "drawn_at": now,
        }
        | fields,
    )
    return row


def crossed(of: Budget, spent: int, threshold: int, member: str = "", **fields) -> Crossing:
    """Settlement has booked so much and seen the threshold crossed."""
    row = account(of, spent, member)
    return Crossing.objects.create(
        **{
            "account": row,
            "organization_id": row.organization_id,
            "budget_id": of.pk,
            "member_id": member,
            "window_key": row.window_key,
            "threshold": threshold,
            "limit_nano": row.limit_nano,
            "settled_nano": row.settled_nano,
        }
        | fields
    )


def look() -> list[str]:
    """The titles of what began."""
    before = set(Alert.objects.values_list("pk", flat=True))
    budget_watch.look(NOW())
    return sorted(Alert.objects.exclude(pk__in=before).values_list("title", flat=True))


def test_page_on_call_if_any_engineer_crosses_80_percent_of_their_monthly_personal_cap(organization, sink):
    """The one rule, from settlement to pager, on a budget of their own and on a group's."""
    grace, alan = (make.principal(organization, display_name=name) for name in ("Grace Hopper", "Alan Turing"))
    own = make.budget(grace, limit_nano=100 * DOLLAR, name="Grace's cap")
    shared = make.budget(make.group(organization, grace, alan), limit_nano=50 * DOLLAR, name="Engineers")
    daily = make.budget(grace, limit_nano=5 * DOLLAR, window="day")
    team = make.budget(make.team(organization), limit_nano=10 * DOLLAR)
    rule = world.rule(
        organization, channels=[world.pagerduty(organization, sink).pk],
        about=About.PERSON, window="month", threshold=80, severity="critical",
    )  # fmt: skip
    assert look() == []
    crossed(own, 83, 80)
    crossed(shared, 41, 80, member=alan.pk)
    account(shared, 39, member=grace.pk)
    crossed(daily, 5, 80)
    crossed(team, 9, 80)
    assert look() == ["Alan Turing is at 82 % of $50.00 per month", "Grace Hopper is at 83 % of $100.00 per month"]
    assert look() == []
    for delivery_id in list(rule.organization.alert_deliveries.values_list("pk", flat=True)):
        tasks.deliver(delivery_id)
    pages = sink.bodies("pagerduty")
    assert sorted(page["payload"]["summary"][:4] for page in pages) == ["Alan", "Grac"]
    assert {page["payload"]["severity"] for page in pages} == {"critical"}
    assert pages[0]["payload"]["custom_details"]["Threshold"] == "80 %"


def test_without_a_percentage_each_threshold_of_the_budget_speaks_once(organization):
    budget = make.budget(organization, thresholds=[50, 80, 100], limit_nano=10 * DOLLAR)
    world.rule(organization)
    crossed(budget, 6, 50)
    assert len(look()) == 1
    crossed(budget, 10, 80)
    crossed(budget, 10, 100)
    assert len(look()) == 2
    assert look() == []
    assert sorted(Alert.objects.values_list("threshold", flat=True)) == [50, 80, 100]


def test_a_percentage_that_the_budget_does_not_watch_itself_is_found_in_its_account(organization):
    budget = make.budget(organization, limit_nano=10 * DOLLAR, thresholds=[100])
    world.rule(organization, threshold=70)
    account(budget, 6)
    assert look() == []
    account(budget, 7)
    assert len(look()) == 1
    account(budget, 9)
    assert look() == []


def test_each_window_and_each_member_speaks_for_itself(organization):
    people = [make.principal(organization) for _ in range(2)]
    budget = make.budget(make.group(organization, *people), limit_nano=10 * DOLLAR)
    world.rule(organization, threshold=80)
    for person in people:
        account(budget, 8, person.pk)
    assert len(look()) == 2
    account(budget, 8, people[0].pk, window_key="month:2026-12-01@UTC")
    assert len(look()) == 1


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (About.ANY, {"organization", "team", "project", "principal", "virtual_key", "group"}),
        (About.ORGANIZATION, {"organization"}),
        (About.TEAM, {"team"}),
        (About.PROJECT, {"project"}),
        (About.PERSON, {"principal", "group"}),
        (About.VIRTUAL_KEY, {"virtual_key"}),
    ],
)
def test_a_rule_is_about_the_budgets_that_it_names(organization, about, expected):
    team = make.team(organization)
    project = make.project(team)
    person = make.principal(organization)
    scopes = (organization, team, project, person, make.key(project), make.group(organization, person))
    for scope in scopes:
        member = person.pk if scope is scopes[-1] else ""
        account(make.budget(scope, limit_nano=10 * DOLLAR), 9, member)
    account(make.budget(make.organization(), limit_nano=10 * DOLLAR), 9)
    world.rule(organization, about=about, threshold=80)
    look()
    assert {alert.data["scope_kind"] for alert in Alert.objects.all()} == expected


def test_a_rule_about_one_subject_speaks_of_nothing_else(organization):
    one, other = (make.principal(organization) for _ in range(2))
    group = make.group(organization, one, other)
    shared, own = make.budget(group, limit_nano=10 * DOLLAR), make.budget(other, limit_nano=10 * DOLLAR)
    for person in (one, other):
        account(shared, 9, person.pk)
    account(own, 9)
    for scope_id, subjects in (
        (one.pk, {f"{shared.pk}/{one.pk}"}),
        (own.pk, {f"{own.pk}/"}),
        (group.pk, {f"{shared.pk}/{one.pk}", f"{shared.pk}/{other.pk}"}),
    ):
        rule = world.rule(organization, about=About.PERSON, threshold=80, scope_id=scope_id)
        look()
        assert set(Alert.objects.filter(rule_id=rule.pk).values_list("subject", flat=True)) == subjects


def test_what_happened_before_a_rule_was_made_is_not_its_business(organization):
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    hour_ago = NOW() - timedelta(hours=1)
    crossed(budget, 9, 80, at=hour_ago)
    Account.objects.update(drawn_at=hour_ago)
    world.rule(organization, threshold=80)
    assert look() == []
    account(budget, 9)
    assert len(look()) == 1, "who is above and goes on spending is told of"


def test_disabled_rules_and_budgets_are_silent(organization):
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    off = make.budget(organization, limit_nano=10 * DOLLAR, enabled=False)
    rule = world.rule(organization, threshold=80, enabled=False)
    account(budget, 9)
    account(off, 9)
    assert look() == []
    from controlplane.alerts.rule_actions import update_rule

    world.rearmed(update_rule(rule, by=SYSTEM, enabled=True), NOW() - timedelta(minutes=1))
    assert len(look()) == 1


# ---- when it is over ----


def page_of(sink, organization):
    for delivery_id in list(organization.alert_deliveries.values_list("pk", flat=True)):
        tasks.deliver(delivery_id)
    return [page["event_action"] for page in sink.bodies("pagerduty")]


def test_an_alert_ends_with_its_window(organization, sink):
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    world.rule(organization, channels=[world.pagerduty(organization, sink).pk], threshold=80)
    ends_at = NOW() + timedelta(hours=1)
    account(budget, 9, ends_at=ends_at)
    look()
    assert page_of(sink, organization) == ["trigger"]
    raising.end_over(ends_at - timedelta(seconds=1))
    assert Alert.objects.get().state == AlertState.OPEN
    assert raising.end_over(ends_at) == 1
    organization.alert_deliveries.update(next_try_at=NOW())
    assert page_of(sink, organization) == ["trigger", "resolve"]
    assert look() == []


def test_an_alert_ends_when_the_limit_grows_and_begins_again_when_that_is_reached(organization, sink):
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    world.rule(organization, threshold=80)
    crossed(budget, 9, 80)
    look()
    assert budget_watch.end_fallen(NOW()) == 0
    budgets.override_budget(
        budget, by=SYSTEM, extra_nano=10 * DOLLAR, until=NOW() + timedelta(days=1), reason="release"
    )
    assert budget_watch.end_fallen(NOW()) == 1
    assert Alert.objects.get().resolution == "Below 80 % again: $9.00 of $20.00."
    assert look() == []
    account(budget, 17, limit_nano=20 * DOLLAR)
    assert look() == [f"{organization.name} is at 85 % of $20.00 per month"]
    assert look() == []


def test_a_correction_that_goes_up_and_down_does_not_begin_it_again(organization):
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    world.rule(organization, threshold=80)
    for spent in (9, 7, 9, 7, 9):
        account(budget, spent)
        look()
        budget_watch.end_fallen(NOW())
    assert Alert.objects.count() == 1


def test_a_limit_that_is_raised_and_reached_between_two_looks_is_told_again(organization, sink):
    budget = make.budget(organization, limit_nano=10 * DOLLAR, thresholds=[100])
    world.rule(organization, threshold=100)
    crossed(budget, 10, 100)
    assert len(look()) == 1
    budgets.update_budget(budget, by=SYSTEM, limit_nano=20 * DOLLAR)
    crossed(budget, 20, 100, limit_nano=20 * DOLLAR)
    assert len(look()) == 1
    assert look() == []
    states = list(Alert.objects.order_by("pk").values_list("state", "data__limit_nano"))
    assert states == [("resolved", 10 * DOLLAR), ("open", 20 * DOLLAR)]


def test_both_are_told_where_nobody_looked_before(organization, sink):
    budget = make.budget(organization, limit_nano=10 * DOLLAR, thresholds=[100])
    world.rule(organization, threshold=100)
    crossed(budget, 10, 100)
    crossed(budget, 20, 100, limit_nano=20 * DOLLAR)
    assert len(look()) == 2
    assert look() == []


def test_a_limit_that_falls_is_no_news_of_the_same_threshold(organization, sink):
    budget = make.budget(organization, limit_nano=10 * DOLLAR, thresholds=[100])
    world.rule(organization, threshold=100)
    crossed(budget, 10, 100)
    assert len(look()) == 1
    budgets.update_budget(budget, by=SYSTEM, limit_nano=5 * DOLLAR)
    assert look() == []


def test_cents_that_fit_no_request_count_as_spent_until_the_limit_grows(organization):
    """The books call it crossed when requests are refused at 97 %."""
    budget = make.budget(organization, limit_nano=100 * DOLLAR)
    world.rule(organization)
    crossed(budget, 97, 80)
    crossed(budget, 97, 100)
    look()
    hundred = Alert.objects.get(threshold=100)
    assert ["Threshold", "100 %: what is left fits no request"] in hundred.facts
    assert budget_watch.end_fallen(NOW()) == 0
    budgets.update_budget(budget, by=SYSTEM, limit_nano=200 * DOLLAR)
    assert budget_watch.end_fallen(NOW()) == 2


def test_an_override_that_has_ended_does_not_begin_it_again(organization):
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    world.rule(organization, threshold=80)
    account(budget, 9)
    look()
    until = NOW() + timedelta(minutes=1)
    budgets.override_budget(budget, by=SYSTEM, extra_nano=10 * DOLLAR, until=until, reason="release")
    budget_watch.end_fallen(NOW())
    budget_watch.look(until + timedelta(seconds=1))
    assert [alert.state for alert in Alert.objects.all()] == ["resolved"]


@pytest.mark.parametrize("deed", [budgets.reset_budget, budgets.disable_budget, budgets.delete_budget])
def test_an_alert_ends_with_what_it_is_about(organization, deed):
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    world.rule(organization, threshold=80)
    account(budget, 9)
    look()
    deed(budget, by=SYSTEM)
    assert budget_watch.end_fallen(NOW()) == 1


def test_an_alert_ends_with_its_rule(organization):
    from controlplane.alerts.rule_actions import delete_rule

    rule = world.rule(organization, threshold=80)
    account(make.budget(organization, limit_nano=10 * DOLLAR), 9)
    look()
    delete_rule(rule, by=SYSTEM)
    assert raising.end_over(NOW()) == 1


def test_a_crossing_of_a_time_without_workers_is_told_late(organization, sink):
    """The window has ended meanwhile: it begins and ends, once."""
    budget = make.budget(organization, limit_nano=10 * DOLLAR)
    rule = world.rule(organization, channels=[world.pagerduty(organization, sink).pk])
    world.rearmed(rule, NOW() - timedelta(days=3))
    crossed(budget, 9, 80, at=NOW() - timedelta(days=2))
    Account.objects.update(drawn_at=NOW() - timedelta(days=2), ends_at=NOW() - timedelta(days=1))
    tasks.sweep()
    tasks.sweep()
    assert page_of(sink, organization) == ["trigger"]
    organization.alert_deliveries.update(next_try_at=NOW())
    assert page_of(sink, organization) == ["trigger", "resolve"]


def test_huge_amounts_do_not_overflow(organization):
    budget = make.budget(organization, limit_nano=10**18, thresholds=[1000])
    world.rule(organization)
    account(budget, 0, settled_nano=8 * 10**18, excess_nano=8 * 10**18)
    assert look() == []
    world.rule(organization, threshold=799)
    assert len(look()) == 1


@given(st.integers(0, 10**18), st.integers(1, 10**18))
def test_a_percentage_is_never_rounded_up_to_a_threshold(part, whole):
    said = int(percent_of(part, whole).partition(" ")[0])
    assert said * whole <= part * 100 < (said + 1) * whole


def test_money_is_said_to_the_cent():
    assert [money(nano) for nano in (83_124_999_999, 4_000_000, 0)] == ["$83.12", "$0.004", "$0.00"]
