"""Pace, models without a price, and what was lost: found in the ledger, once each, and over when it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from controlplane.alerts import raising, spend_watch, usage_watch
from controlplane.alerts.models import Alert, AlertState, RuleKind
from controlplane.alerts.rule_actions import create_rule
from controlplane.tenancy.models import Role
from controlplane.usage.models import DeadLetter, ReportSession
from tests.controlplane import factories as make
from tests.controlplane.alerts import world

DOLLAR = 10**9
NOW = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def grace(organization):
    return make.principal(organization, display_name="Grace Hopper")


def usual(person, dollars: int, days: range = range(1, 15)) -> None:
    for day in days:
        world.spent(person, dollars * DOLLAR, NOW - day * DAY - 30 * MINUTE)


def pace(organization, **fields):
    return world.rule(
        organization, RuleKind.SPEND_VELOCITY, **{"factor": Decimal(4), "floor_nano": 5 * DOLLAR} | fields
    )


def test_four_times_the_usual_hour_is_told_and_less_is_not(organization, grace):
    pace(organization)
    usual(grace, 3)
    world.spent(grace, 12 * DOLLAR, NOW - 10 * MINUTE)
    assert spend_watch.look(NOW) == 0
    world.spent(grace, DOLLAR // 100, NOW - 5 * MINUTE)
    assert spend_watch.look(NOW) == 1
    alert = Alert.objects.get()
    assert alert.title == "Grace Hopper spent $12.01 in the last hour, 4.0 times the usual $3.00"
    assert (alert.data["usual_nano"], alert.subject) == (3 * DOLLAR, grace.pk)


def test_an_hour_below_the_floor_is_never_too_fast(organization, grace):
    pace(organization)
    world.spent(grace, 5 * DOLLAR, NOW - MINUTE)
    assert spend_watch.look(NOW) == 0
    world.spent(grace, 1, NOW - MINUTE)
    assert spend_watch.look(NOW) == 1
    assert Alert.objects.get().title.endswith("in the last hour, usually nothing")


def test_the_usual_is_the_median_of_the_same_hour(organization, grace):
    """Neither one wild day nor another time of the day makes the usual."""
    usual(grace, 3)
    world.spent(grace, 1000 * DOLLAR, NOW - 3 * DAY - 30 * MINUTE)
    for day in range(1, 15):
        world.spent(grace, 500 * DOLLAR, NOW - day * DAY - 90 * MINUTE)
    world.spent(grace, 13 * DOLLAR, NOW - 30 * MINUTE)
    world.spent(grace, 99 * DOLLAR, NOW - 61 * MINUTE)
    [found] = spend_watch.paces(spend_watch.rows_of(pace(organization)), NOW, 0)
    assert (found.now_nano, found.usual_nano) == (13 * DOLLAR, 3 * DOLLAR)


def test_an_episode_is_one_alert_until_it_is_calm(organization, grace):
    rule = pace(organization)
    for minutes in range(0, 180, 5):
        at = NOW + minutes * MINUTE
        world.spent(grace, 2 * DOLLAR, at - MINUTE)
        spend_watch.look(at)
    assert Alert.objects.count() == 1
    spend_watch.look(NOW + 180 * MINUTE + 59 * MINUTE)
    alert = Alert.objects.get()
    assert (alert.state, alert.resolution) == (AlertState.RESOLVED, "The last hour was calm again.")
    tomorrow = NOW + DAY
    world.spent(grace, 20 * DOLLAR, tomorrow - MINUTE)
    assert spend_watch.look(tomorrow) == 1
    assert Alert.objects.filter(rule_id=rule.pk).count() == 2


def test_corrections_count(organization, grace):
    pace(organization)
    row = world.spent(grace, 20 * DOLLAR, NOW - MINUTE)
    world.spent(grace, -18 * DOLLAR, NOW - MINUTE, request_id=row.request_id, correction=True)
    assert spend_watch.look(NOW) == 0


def test_pace_may_be_about_one_team_and_sees_no_other_organization(organization, grace):
    pace(organization, scope_id="team_a")
    world.spent(grace, 20 * DOLLAR, NOW - MINUTE, team_id="team_b")
    world.spent(make.principal(make.organization()), 20 * DOLLAR, NOW - MINUTE, team_id="team_a")
    assert spend_watch.look(NOW) == 0
    world.spent(grace, 20 * DOLLAR, NOW - MINUTE, team_id="team_a")
    assert spend_watch.look(NOW) == 1


# ---- models without a price ----


def test_an_unpriced_model_is_told_once_a_day(organization, grace):
    world.rule(organization, RuleKind.UNPRICED_MODEL)
    provider = make.provider(organization, name="local")
    free: dict[str, Any] = {"priced": False, "provider_id": provider.pk, "model": "secret-model"}
    for _ in range(3):
        world.spent(grace, 0, **free)
    assert usage_watch.look(timezone.now()) == 1
    assert usage_watch.look(timezone.now()) == 0
    alert = Alert.objects.get()
    assert alert.title == "secret-model has no price: its requests are booked at $0.00"
    assert ["Provider", "local"] in alert.facts
    assert alert.ends_at is not None
    assert raising.end_over(alert.ends_at) == 1


def test_a_refusal_for_want_of_a_price_is_told(organization, grace):
    world.rule(organization, RuleKind.UNPRICED_MODEL)
    refused: dict[str, Any] = {
        "outcome": "refused",
        "refusal_code": "unpriced_model",
        "input_tokens": 0,
        "priced": False,
    }
    world.spent(grace, 0, model="new-model", **refused)
    assert usage_watch.look(timezone.now()) == 1
    assert "requests are refused" in Alert.objects.get().title


def test_what_has_a_price_or_was_never_used_is_not_told(organization, grace):
    world.rule(organization, RuleKind.UNPRICED_MODEL)
    world.spent(grace, DOLLAR)
    world.spent(grace, 0, model="free-but-priced", priced=True)
    world.spent(grace, 0, model="failed", priced=False, input_tokens=0)
    world.spent(grace, DOLLAR, model="dearest-of-family", priced=False)
    assert usage_watch.look(timezone.now()) == 0


# ---- what was lost ----


def lost(missing: int) -> None:
    now = timezone.now()
    ReportSession.objects.update_or_create(
        session_id="session-1",
        defaults={"pod_id": "pod-1", "missing": missing, "gaps": [[3, 2 + missing]], "first_at": now, "last_at": now},
    )


def test_gaps_and_dead_letters_are_told_to_whoever_runs_the_installation(organization):
    world.rule(organization, RuleKind.LOST_USAGE)
    lost(0)
    assert usage_watch.look(timezone.now()) == 0
    lost(4)
    DeadLetter.objects.create(session_id="s", seq=1, received_at=timezone.now(), problem="x", content=b"")
    assert usage_watch.look(timezone.now()) == 2
    assert usage_watch.look(timezone.now()) == 0
    titles = sorted(Alert.objects.values_list("title", flat=True))
    assert titles == ["1 usage record could not be applied", "4 usage records of pod pod-1 never came"]


def test_how_many_dead_letters_were_not_kept_is_told_by_itself(organization):
    world.rule(organization, RuleKind.LOST_USAGE)
    fields = {"received_at": timezone.now(), "problem": "x", "content": b""}
    DeadLetter.objects.create(session_id="s", seq=1, identity="pod-9", **fields)
    assert usage_watch.look(timezone.now()) == 1
    DeadLetter.objects.create(session_id="of pod-9", seq=-739_000, identity="pod-9", count=4_711, **fields)
    assert usage_watch.look(timezone.now()) == 1
    alert = Alert.objects.get(subject="dead_letters_not_kept")
    assert alert.title == "4711 usage records could not be applied, and were not kept"
    assert ["Most from", "pod-9"] in alert.facts
    assert usage_watch.look(timezone.now()) == 0


def test_a_tenant_is_not_told_what_the_installation_loses(organization):
    owner, _ = make.member(organization, Role.OWNER)
    with pytest.raises(PermissionDenied, match="operator"):
        create_rule(by=owner, organization=organization, name="x", kind=RuleKind.LOST_USAGE)
