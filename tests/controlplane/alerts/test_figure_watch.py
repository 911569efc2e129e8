"""Figures of a provider that cannot be true, and calls without a price, are told once a day and provider."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.alerts import figure_watch, tasks
from controlplane.alerts.models import Alert, RuleKind
from controlplane.tenancy.models import Organization, Principal
from tests.controlplane import factories as make
from tests.controlplane.alerts import world

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


@pytest.fixture
def organization() -> Organization:
    return make.organization()


@pytest.fixture
def grace(organization: Organization) -> Principal:
    return make.principal(organization, display_name="Grace Hopper")


def test_figures_that_cannot_be_are_told_once_a_day(organization: Organization, grace: Principal) -> None:
    world.rule(organization, RuleKind.ODD_FIGURES)
    provider = make.provider(organization, name="acme")
    for why in ("implausible", "implausible", "not_counts", "client_gone", ""):
        world.spent(grace, DOLLAR, provider_id=provider.pk, why=why)
    assert tasks.watch_usage() == 2
    assert tasks.watch_usage() == 0
    assert sorted(Alert.objects.values_list("title", flat=True)) == [
        "acme told figures that cannot be, in 1 request: they are metered instead",
        "acme told figures that cannot be, in 2 requests: they are metered instead",
    ]
    alert = Alert.objects.get(title__contains="2 requests")
    assert ["Why", "no answer of this kind can have used what the provider told"] in alert.facts
    assert alert.ends_at is not None


def test_tools_without_a_price_are_told_by_name(organization: Organization, grace: Principal) -> None:
    world.rule(organization, RuleKind.ODD_FIGURES)
    provider = make.provider(organization, name="acme")
    world.spent(grace, DOLLAR, provider_id=provider.pk, unknown_calls={"x_search_call": 2, "teleport_call": 1})
    world.spent(grace, DOLLAR, provider_id=provider.pk, unknown_calls={"x_search_call": 3})
    world.spent(grace, DOLLAR, provider_id=provider.pk, unknown_calls={f"tool{n}_call": 1 for n in range(9)})
    world.spent(grace, DOLLAR, provider_id="prv_gone", unknown_calls={"y_call": 1})
    assert figure_watch.look(timezone.now()) == 2
    assert figure_watch.look(timezone.now()) == 0
    alert = Alert.objects.get(title__startswith="acme")
    assert alert.title.startswith("acme ran tools that have no price: x_search_call (5)")
    (calls,) = [words for name, words in alert.facts if name == "Calls"]
    assert calls.startswith("x_search_call (5), ")
    assert calls.endswith(", and 6 other tools")
    assert Alert.objects.filter(title__startswith="A provider that is gone").count() == 1


def test_what_is_right_or_old_or_somebody_elses_is_not_told(organization: Organization, grace: Principal) -> None:
    rule = world.rule(organization, RuleKind.ODD_FIGURES)
    world.spent(grace, DOLLAR)
    world.spent(make.principal(make.organization()), DOLLAR, why="implausible")
    world.spent(grace, DOLLAR, why="implausible")
    world.rearmed(rule, timezone.now() + timedelta(minutes=1))
    assert figure_watch.look(timezone.now()) == 0


def test_a_rule_may_be_about_one_person(organization: Organization, grace: Principal) -> None:
    world.rule(organization, RuleKind.ODD_FIGURES, scope_id=grace.pk)
    world.spent(make.principal(organization), DOLLAR, why="implausible")
    assert figure_watch.look(timezone.now()) == 0
    world.spent(grace, DOLLAR, why="implausible")
    assert figure_watch.look(timezone.now()) == 1
