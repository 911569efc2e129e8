"""Where budgets stand: amounts, burn, projection; who is covered; what exists for whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from controlplane.budgets import actions, queries
from controlplane.budgets.models import Account, Budget, Crossing
from controlplane.keys import actions as keys
from controlplane.tenancy.models import Role
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
AT = datetime(2026, 11, 11, tzinfo=UTC)  # a third of the month


def account(budget: Budget, member: str = "", window_key: str = "month:2026-11-01@UTC", **columns: int) -> Account:
    return Account.objects.create(
        **{
            "organization_id": budget.organization_id,
            "budget_id": budget.pk,
            "member_id": member,
            "window_key": window_key,
            "limit_nano": budget.limit_nano,
        }
        | columns
    )


def test_what_stands_on_a_month_and_where_it_goes() -> None:
    budget = factories.budget(limit_nano=20 * DOLLAR)
    account(budget, settled_nano=8 * DOLLAR, held_nano=DOLLAR)
    account(budget, window_key="month:2026-10-01@UTC", settled_nano=3)
    found = queries.standing(budget, at=AT)
    assert (found.settled_nano, found.held_nano, found.remaining_nano) == (8 * DOLLAR, DOLLAR, 11 * DOLLAR)
    assert (found.percent, found.exhausted) == (40, False)
    assert (found.starts_at, found.ends_at) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert found.burn_nano_per_hour == 8 * DOLLAR // 240
    assert found.projected_nano == 24 * DOLLAR
    assert found.runs_out_at == datetime(2026, 11, 26, tzinfo=UTC)


def test_a_budget_that_nobody_drew_on_stands_at_nothing() -> None:
    found = queries.standing(factories.budget(window="total"))
    assert (found.account, found.settled_nano, found.percent, found.runs_out_at) == (None, 0, 0, None)
    assert (found.starts_at, found.ends_at, found.projected_nano) == (None, None, None)


def test_overrides_count_while_they_live_and_a_reset_counts_from_nothing() -> None:
    budget = factories.budget(limit_nano=10 * DOLLAR, window="manual")
    account(budget, window_key="manual", settled_nano=9 * DOLLAR)
    until = timezone.now() + timedelta(hours=1)
    more = actions.override_budget(budget, by=SYSTEM, extra_nano=5 * DOLLAR, until=until, reason="r")
    assert queries.standing(budget).limit_nano == 15 * DOLLAR
    assert queries.standing(budget, at=until).limit_nano == 10 * DOLLAR
    actions.withdraw_override(more, by=SYSTEM)
    assert queries.standing(budget).limit_nano == 10 * DOLLAR
    assert queries.standing(budget).settled_nano == 9 * DOLLAR
    actions.reset_budget(budget, by=SYSTEM)
    assert queries.standing(budget).settled_nano == 0
    assert queries.past_accounts(budget).count() == 1


def test_a_group_budget_stands_once_for_each_member() -> None:
    ann = factories.principal()
    bob = factories.principal(ann.organization)
    budget = factories.budget(factories.group(ann.organization, ann, bob))
    account(budget, bob.pk, settled_nano=5)
    found = queries.member_standings(budget, AT)
    assert [(one.member_id, one.settled_nano) for one in found] == [(bob.pk, 5), (ann.pk, 0)]
    assert queries.covered(budget.organization_id, "group", budget.scope_id).accounts == 2


def test_who_is_covered() -> None:
    project = factories.project()
    person = factories.principal(project.organization)
    mine = factories.key(project, principal=person, name="Mine")
    factories.key(project, name="Shared")
    factories.key(factories.project(factories.team(project.organization)), name="Elsewhere")
    revoked = factories.key(project, name="Gone")
    keys.revoke(revoked, by=SYSTEM)
    factories.key()
    org = project.organization_id

    def covered(kind: str, id: str) -> tuple[int, int, int]:
        found = queries.covered(org, kind, id)
        return found.keys, found.principals, found.projects

    assert covered("organization", org) == (3, 1, 2)
    assert covered("team", project.team_id) == (2, 1, 1)
    assert covered("project", project.pk) == (2, 1, 1)
    assert covered("principal", person.pk) == (1, 1, 1)
    assert covered("virtual_key", mine.pk) == (1, 1, 1)
    assert queries.covered(org, "project", project.pk).sample == ("Mine", "Shared")


def test_the_tree_shows_every_budget_once_at_its_place() -> None:
    project = factories.project()
    organization = project.organization
    person = factories.principal(organization)
    key = factories.key(project, principal=person)
    for scope in (organization, project.team, key, person, factories.group(organization, person)):
        factories.budget(scope)
    factories.project(factories.team(organization))
    factories.budget()
    tree = queries.tree(SYSTEM, organization)
    assert (tree.kind, len(tree.standings)) == ("organization", 1)
    assert [child.kind for child in tree.children] == ["team", "group", "principal"]
    (of_project,) = tree.children[0].children
    assert (of_project.id, of_project.standings) == (project.pk, ())
    assert [(leaf.id, len(leaf.standings)) for leaf in of_project.children] == [(key.pk, 1)]


def test_budgets_and_crossings_of_others_do_not_exist() -> None:
    project = factories.project()
    other_team = factories.team(project.organization)
    rows = {scope: factories.budget(scope) for scope in (project, other_team, project.organization)}
    for row in [*rows.values(), factories.budget()]:
        Crossing.objects.create(
            account=account(row),
            organization_id=row.organization_id,
            budget_id=row.pk,
            window_key="w",
            threshold=80,
            limit_nano=1,
            settled_nano=1,
        )
    viewer, _ = factories.member(project.organization, Role.VIEWER)
    admin, _ = factories.member(project.organization, Role.TEAM_ADMIN, project.team)
    member, _ = factories.member(project.organization, Role.MEMBER)
    assert set(queries.budgets_for(viewer)) == set(rows.values())
    assert set(queries.budgets_for(admin)) == {rows[project]}
    assert not queries.budgets_for(member).exists()
    assert {row.budget_id for row in queries.crossings_for(viewer)} == {row.pk for row in rows.values()}
    assert [row.budget_id for row in queries.crossings_for(admin)] == [rows[project].pk]
    assert queries.accounts_for(admin).count() == 1


def test_a_budget_that_began_within_its_window_counts_and_is_extrapolated_from_there() -> None:
    budget = factories.budget(limit_nano=20 * DOLLAR)
    budget.counts_from = AT - timedelta(hours=2)
    account(budget, settled_nano=4 * DOLLAR)
    found = queries.standing(budget, at=AT)
    assert (found.counts_from, found.burn_nano_per_hour) == (AT - timedelta(hours=2), 2 * DOLLAR)
    assert found.runs_out_at == AT + timedelta(hours=8)
    budget.counts_from = datetime(2026, 10, 31, tzinfo=UTC)
    assert queries.standing(budget, at=AT).counts_from is None


def test_another_window_and_a_reset_begin_to_count_and_another_limit_does_not() -> None:
    budget = factories.budget(count_earlier=False)
    began = budget.counts_from
    actions.update_budget(budget, by=SYSTEM, limit_nano=DOLLAR, name="other")
    assert budget.counts_from == began
    actions.update_budget(budget, by=SYSTEM, window="week")
    changed = budget.counts_from
    actions.reset_budget(budget, by=SYSTEM)
    budget.refresh_from_db()
    assert began < changed < budget.counts_from
