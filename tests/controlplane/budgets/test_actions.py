"""Budgets as decided: what is accepted, who may decide, what the audit says, what pods hear."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from controlplane.budgets import actions
from controlplane.budgets.models import Account, Budget, Override
from controlplane.budgets.values import core_budget
from controlplane.changes.change_set import change_set
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.changes.queries import head
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden, NoSuchObject
from dataplane.core.money.lease_epochs import epoch_at
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db


def touched() -> set[tuple[str, str]]:
    return set(ConfigChange.objects.filter(revision=head().revision).values_list("kind", "resource_id"))


def test_a_budget_on_any_scope_knows_its_name_and_its_team() -> None:
    project = factories.project()
    person = factories.principal(project.organization)
    key = factories.key(project, principal=person)
    group = factories.group(project.organization, person)
    on = {scope: factories.budget(scope) for scope in (project.organization, project.team, project, person, key, group)}
    assert all(row.scope_name == str(scope) for scope, row in on.items())
    inside = {scope for scope, row in on.items() if row.team_id == project.team_id}
    assert inside == {project.team, project, key}
    assert touched() == {("budget", on[group].pk)}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": ""}, "name", "blank"),
        ({"limit_nano": -1}, "limit_nano", "amount of 0 to 1,000,000,000 dollars"),
        ({"limit_nano": 1.5}, "limit_nano", "amount"),
        ({"overdraft_nano": -1}, "overdraft_nano", "amount"),
        ({"window": "fortnight"}, "window", "not a valid choice"),
        ({"timezone": "Mars/Olympus"}, "timezone", "IANA"),
        ({"window": "day", "anchor": 24}, "anchor", "0 or from 0 to 23"),
        ({"window": "total", "anchor": 1}, "anchor", "no anchor"),
        ({"thresholds": [0]}, "thresholds", "from 1 to 1000"),
        ({"thresholds": range(1, 20)}, "thresholds", "at most 10"),
        ({"model_pattern": "claude 3"}, "model_pattern", "no blanks"),
        ({"on_breach": "shout"}, "on_breach", "not a valid choice"),
        ({"scope_kind": "planet"}, "scope_kind", "must be one of"),
        ({"scope_id": "org_none"}, "scope_id", "no such organization"),
    ],
)
def test_what_is_refused_says_what_would_be_right(fields: dict[str, Any], field: str, words: str) -> None:
    organization = factories.organization()
    given: dict[str, Any] = {
        "name": "b",
        "scope_kind": "organization",
        "scope_id": organization.pk,
        "limit_nano": 1,
    } | fields
    with pytest.raises(ValidationError) as refused:
        actions.create_budget(by=SYSTEM, organization=organization, **given)
    assert words in str(refused.value.message_dict[field])
    assert not Budget.objects.exists()


def test_what_is_another_organizations_does_not_exist() -> None:
    organization, team = factories.organization(), factories.team()
    with pytest.raises(ValidationError, match="no such team"):
        actions.create_budget(
            by=SYSTEM, organization=organization, name="b", scope_kind="team", scope_id=team.pk, limit_nano=1
        )
    with pytest.raises(ValidationError, match="provider of the organization"):
        factories.budget(organization, provider=factories.provider())


def test_thresholds_are_put_in_order_and_unknown_fields_refused() -> None:
    budget = factories.budget(thresholds=[100, 50, 50])
    assert budget.thresholds == [50, 100]
    with pytest.raises(ValidationError, match="cannot be set"):
        actions.update_budget(budget, by=SYSTEM, scope_id="x")
    actions.update_budget(budget, by=SYSTEM, limit_nano=5, window="day", anchor=6, timezone="Europe/Berlin")
    fresh = Budget.objects.get(pk=budget.pk)
    assert (fresh.limit_nano, fresh.window, fresh.anchor, fresh.timezone) == (5, "day", 6, "Europe/Berlin")
    assert AuditEvent.objects.latest("id").before["limit_nano"] == 10 * 10**9


def test_a_reset_opens_other_windows_and_a_switch_is_told_once() -> None:
    budget = factories.budget()
    actions.reset_budget(budget, by=SYSTEM, reason="new fiscal year")
    actions.reset_budget(Budget.objects.get(pk=budget.pk), by=SYSTEM)
    assert Budget.objects.get(pk=budget.pk).resets == 2
    actions.disable_budget(budget, by=SYSTEM)
    revision = head().revision
    actions.disable_budget(budget, by=SYSTEM)
    assert head().revision == revision
    actions.enable_budget(budget, by=SYSTEM)
    told = list(AuditEvent.objects.filter(target_id=budget.pk).order_by("seq").values_list("action", "details"))
    assert told[1] == ("budget.reset", {"reason": "new fiscal year"})
    assert [action for action, _ in told[3:]] == ["budget.disabled", "budget.enabled"]


def test_an_override_touches_its_budget_and_says_who_approved_it() -> None:
    budget = factories.budget()
    until = timezone.now() + timedelta(days=2)
    more = actions.override_budget(
        budget, by=SYSTEM, extra_nano=50 * 10**9, until=until, reason="release week", approved_by="Ann"
    )
    assert touched() == {("budget", budget.pk)}
    event = AuditEvent.objects.latest("id")
    assert (event.action, event.target_id, event.details["approved_by"]) == ("budget.overridden", budget.pk, "Ann")
    actions.withdraw_override(more, by=SYSTEM)
    assert touched() == {("budget", budget.pk)}
    assert Override.objects.get().withdrawn_at is not None
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"extra_nano": 0}, "extra_nano"),
        ({"until": timezone.now()}, "until"),
        ({"reason": " "}, "reason"),
    ]
    for fields, field in wrong:
        with pytest.raises(ValidationError) as refused:
            actions.override_budget(budget, by=SYSTEM, **{"extra_nano": 1, "until": None, "reason": "because"} | fields)
        assert field in refused.value.message_dict


def test_a_teams_admin_decides_inside_the_team_but_not_over_what_the_team_may_spend() -> None:
    project = factories.project()
    admin, _ = factories.member(project.organization, Role.TEAM_ADMIN, project.team)
    own = actions.create_budget(
        by=admin,
        organization=project.organization,
        name="b",
        scope_kind="project",
        scope_id=project.pk,
        limit_nano=1,
    )
    actions.override_budget(own, by=admin, extra_nano=1, until=None, reason="why not")
    of_team = factories.budget(project.team)
    for refused in (
        lambda: actions.update_budget(of_team, by=admin, limit_nano=10**15),
        lambda: actions.override_budget(of_team, by=admin, extra_nano=1, until=None, reason="more"),
        lambda: actions.reset_budget(of_team, by=admin),
    ):
        with pytest.raises(Forbidden):
            refused()
    assert actions.may_change(admin, own)
    assert not actions.may_change(admin, of_team)
    elsewhere = factories.budget(factories.project(factories.team(project.organization)))
    with pytest.raises(NoSuchObject):
        actions.delete_budget(elsewhere, by=admin)


def test_a_deleted_budget_leaves_its_books() -> None:
    budget = factories.budget()
    actions.override_budget(budget, by=SYSTEM, extra_nano=1, until=None, reason="r")
    Account.objects.create(
        organization_id=budget.organization_id, budget_id=budget.pk, window_key="total", limit_nano=1
    )
    actions.delete_budget(budget, by=SYSTEM)
    assert touched() == {("budget", budget.pk)}
    assert (Budget.objects.count(), Override.objects.count(), Account.objects.count()) == (0, 0, 1)


def test_names_of_renamed_scopes_are_followed() -> None:
    team = factories.team()
    budget = factories.budget(team)
    assert actions.follow_renamed_scopes(by=SYSTEM) == 0
    tenancy.update_team(team, by=SYSTEM, name="Platform")
    assert actions.follow_renamed_scopes(by=SYSTEM) == 1
    assert Budget.objects.get().scope_name == "Platform"
    assert touched() == {("budget", budget.pk)}


@pytest.mark.parametrize(
    "columns",
    [
        {"settled_nano": 70, "held_nano": 31},
        {"settled_nano": 101},
        {"settled_nano": 111, "overdraft_used_nano": 10, "overdraft_limit_nano": 10},
        {"overdraft_used_nano": 11, "overdraft_limit_nano": 10},
        {"held_nano": -1},
        {"excess_nano": -1},
    ],
)
def test_the_database_itself_refuses_an_account_that_breaks_its_limit(columns: dict[str, int]) -> None:
    base: dict[str, Any] = {"organization_id": "o", "budget_id": "b", "window_key": "total", "limit_nano": 100}
    with pytest.raises(IntegrityError), transaction.atomic():
        Account.objects.create(**base | columns)
    Account.objects.create(**base, settled_nano=70, held_nano=40, overdraft_used_nano=10, overdraft_limit_nano=10)


def epoch(row: Budget) -> int:
    stored = Budget.objects.get(pk=row.pk)
    return core_budget(stored, stored.overrides.all()).lease_epoch


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({"on_breach": "warn"}, {"on_breach": "block"}),
        ({}, {"limit_nano": 1}),
        ({"overdraft_nano": 5}, {"overdraft_nano": 0}),
        ({}, {"outage": "strict"}),
        ({"model_pattern": "gpt-*"}, {"model_pattern": ""}),
        ({"model_pattern": "gpt-*"}, {"model_pattern": "claude-*"}),
        ({}, {"window": "day"}),
        ({}, {"timezone": "Europe/Berlin"}),
    ],
    ids=str,
)
def test_an_edit_that_makes_a_budget_stricter_opens_a_lease_epoch(
    before: dict[str, Any], changes: dict[str, Any]
) -> None:
    row = factories.budget(factories.organization(), **before)
    actions.update_budget(row, by=SYSTEM, name="the same")
    assert epoch(row) == 0
    actions.update_budget(row, by=SYSTEM, **changes)
    assert epoch(row) == 1
    assert touched() == {("budget", row.pk)}
    actions.update_budget(row, by=SYSTEM, **changes)
    assert epoch(row) == 1


def test_raising_narrowing_disabling_and_resetting_open_none_and_enabling_does() -> None:
    row = factories.budget(factories.organization(), limit_nano=1)
    actions.update_budget(row, by=SYSTEM, limit_nano=2, model_pattern="gpt-*", on_breach="warn", outage="open")
    actions.reset_budget(row, by=SYSTEM)
    actions.disable_budget(row, by=SYSTEM)
    assert epoch(row) == 0
    actions.enable_budget(row, by=SYSTEM)
    assert epoch(row) == 1


def test_two_who_edit_from_what_they_read_long_ago_open_two_epochs() -> None:
    row = factories.budget(factories.organization(), limit_nano=3)
    earlier = Budget.objects.get(pk=row.pk)
    actions.update_budget(row, by=SYSTEM, limit_nano=2)
    actions.update_budget(earlier, by=SYSTEM, limit_nano=1)
    assert epoch(row) == 2
    actions.update_budget(row, by=SYSTEM, name="another")
    assert (epoch(row), Budget.objects.get(pk=row.pk).limit_nano) == (2, 1)


def test_an_override_that_is_withdrawn_or_ends_opens_a_lease_epoch_and_none_is_ever_taken_back() -> None:
    row = factories.budget(factories.organization())
    soon = timezone.now() + timedelta(seconds=30)
    for_a_while = actions.override_budget(row, by=SYSTEM, extra_nano=1, until=soon, reason="r")
    standing = actions.override_budget(row, by=SYSTEM, extra_nano=1, until=None, reason="r")
    assert epoch(row) == 0
    actions.withdraw_override(standing, by=SYSTEM)
    assert epoch(row) == 1
    later = int(soon.timestamp() * 1000)
    core = core_budget(row, row.overrides.all())
    assert [epoch_at(core, later - 1), epoch_at(core, later)] == [1, 2]
    with change_set(SYSTEM):
        Override.objects.filter(pk=for_a_while.pk).update(until=timezone.now() - timedelta(seconds=1))
    actions.update_budget(row, by=SYSTEM, name="another")  # from here on it is left out of what pods are sent
    assert epoch(row) == 2
    for_a_while.refresh_from_db()
    actions.withdraw_override(for_a_while, by=SYSTEM)
    assert epoch(row) == 2


def test_a_budget_that_nobody_can_read_may_be_put_right() -> None:
    row = factories.budget(factories.organization())
    with change_set(SYSTEM):
        Budget.objects.filter(pk=row.pk).update(outage="whatever")
    actions.update_budget(row, by=SYSTEM, outage="standard")
    assert epoch(row) == 1
