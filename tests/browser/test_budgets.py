"""An admin sets budgets in a real browser: on a project from the tree, more money until Friday, a reset, off and on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.budgets.models import Budget, Override
from tests.browser.person import Person
from tests.controlplane.console.world import Tenant, record, tenant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def there() -> Tenant:
    return tenant()


@pytest.fixture
def ada(there: Tenant, ada: Person) -> Person:
    """Who comes when the tenant is there."""
    return ada


def test_a_budget_from_the_tree_to_its_books(ada: Person, there: Tenant):
    ada.go_to("Budgets")
    ada.expect("Project's month")
    ada.expect("$85.00 of $101.00")
    ada.expect("84 % spent")
    ada.picture("budget-tree")
    set_on_the_team(ada, there)
    in_the_middle_of_a_month(ada, there)
    more_until_friday(ada)
    reset(ada)
    off_and_on(ada)


def set_on_the_team(ada: Person, there: Tenant) -> None:
    ada.start_new()
    ada.choose("scope", str(there.team))
    ada.expect("Covers 1 key of 1 person now, and later ones.")
    ada.expect(there.key.name)
    ada.fill("name", "Platform team, a month")
    ada.fill("limit_nano", "250")
    ada.picture("budget-form")
    ada.press("Save")
    ada.expect("Platform team, a month")
    made = Budget.objects.get(name="Platform team, a month")
    assert (made.scope_kind, made.scope_id, made.limit_nano) == ("team", there.team.pk, 250 * 10**9)


def in_the_middle_of_a_month(ada: Person, there: Tenant) -> None:
    """It begins with what the ledger has of the month; without the tick, with nothing."""
    record(there, cost_nano=240 * 10**9, started_at=timezone.now(), received_at=timezone.now())
    ada.go_to("Budgets")
    ada.start_new()
    ada.choose("scope", str(there.project))
    ada.fill("name", "Project, mid-month")
    ada.fill("limit_nano", "200")
    ada.press("Save")
    ada.expect("$240.00 of it were spent in this window before it counted them.")
    ada.expect("It is over the limit with that: requests are refused until the window ends.")
    ada.picture("budget-mid-month")
    ada.open_row("Project, mid-month")
    ada.expect("$240.00 of $200.00")
    ada.expect("$240.00 of it not by its requests")
    ada.picture("budget-mid-month-page")
    ada.go_to("Budgets")
    ada.start_new()
    ada.choose("scope", str(there.project))
    ada.fill("name", "Project, from now on")
    ada.fill("limit_nano", "200")
    ada.switch("count_earlier")
    ada.press("Save")
    ada.open_row("Project, from now on")
    ada.expect("$0.00 of $200.00")
    ada.expect("what was spent earlier in this window is not in it")
    ada.choose_id("window", "week")
    ada.switch("count_earlier")
    ada.press("Save")
    ada.expect("$240.00 of it were spent in this window before it counted them.")
    ada.go_to("Budgets")


def more_until_friday(ada: Person) -> None:
    ada.open_row("Project's month")
    ada.press("More money")
    friday = timezone.now() + timedelta(days=3)
    ada.fill("extra_nano", "50")
    ada.fill("until_0", f"{friday:%Y-%m-%d}")
    ada.fill("until_1", "18:00:00")
    ada.fill("reason", "Launch week")
    ada.picture("budget-override")
    ada.press("Add it")
    ada.expect("+$50.00")
    ada.expect("$85.00 of $151.00")
    ada.picture("budget-page")
    assert Override.objects.get(reason="Launch week").approved_by == "ada"
    ada.press("Withdraw…")
    ada.press("Withdraw")
    ada.expect("Withdrawn")


def reset(ada: Person) -> None:
    ada.press("Reset…")
    ada.fill("reason", "New contract")
    ada.press("Reset now")
    ada.expect("$0.00 of $101.00")
    ada.expect("Books: every window")


def off_and_on(ada: Person) -> None:
    ada.press("Switch off…")
    ada.press("Switch off")
    ada.expect("Off")
    ada.press("Switch on")
    ada.press("Switch on")
    ada.expect("0 % spent")
