"""An admin sets budgets in a real browser: on a project from the tree, more money until Friday, a reset, off and on."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from selenium.webdriver import Chrome

from controlplane.budgets.models import Budget, Override
from tests.browser.person import Person
from tests.controlplane.console.world import Tenant, tenant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def there() -> Tenant:
    return tenant()


@pytest.fixture
def ada(chrome: Chrome, live_server, there: Tenant) -> Person:
    get_user_model().objects.create_superuser("ada", "ada@example.com", "correct horse battery")
    person = Person(chrome, live_server.url)
    person.log_in("ada", "correct horse battery")
    return person


def picture(ada: Person, name: str) -> None:
    """For whoever wants to look: AIGATEWAY_TEST_PICTURES names the folder."""
    folder = os.environ.get("AIGATEWAY_TEST_PICTURES", "")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        ada.chrome.set_window_size(1440, 1400)
        ada.chrome.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_a_budget_from_the_tree_to_its_books(ada: Person, there: Tenant):
    ada.go_to("Budgets")
    ada.expect("Project's month")
    ada.expect("$85.00 of $101.00")
    ada.expect("84 % spent")
    picture(ada, "budget-tree")
    set_on_the_team(ada, there)
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
    picture(ada, "budget-form")
    ada.press("Save")
    ada.expect("Platform team, a month")
    made = Budget.objects.get(name="Platform team, a month")
    assert (made.scope_kind, made.scope_id, made.limit_nano) == ("team", there.team.pk, 250 * 10**9)


def more_until_friday(ada: Person) -> None:
    ada.open_row("Project's month")
    ada.press("More money")
    friday = timezone.now() + timedelta(days=3)
    ada.fill("extra_nano", "50")
    ada.fill("until_0", f"{friday:%Y-%m-%d}")
    ada.fill("until_1", "18:00:00")
    ada.fill("reason", "Launch week")
    picture(ada, "budget-override")
    ada.press("Add it")
    ada.expect("+$50.00")
    ada.expect("$85.00 of $151.00")
    picture(ada, "budget-page")
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
