"""Owner, team admin, member and auditor click through everything; the palette finds what they may see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from controlplane.changes.actor import Actor
from controlplane.tenancy.models import Role
from tests.browser.walk import Walk, arrived, ask_the_palette
from tests.controlplane.console.buttons import buttons_for, lists_of
from tests.controlplane.console.world import WALKERS, World

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("role", WALKERS)
def test_a_role_reaches_everything_that_is_its_own_by_clicking_and_finds_no_other_button(
    chrome: Chrome, live_server, there: World, role: Role
):
    login = there.logins[role]
    actor = Actor.of_user(login)
    walk = Walk(
        arrived(chrome, live_server.url, login), actor, lists_of(role), lambda row: buttons_for(actor, role, row)
    )
    walk.through_everything()
    print(f"\n{role}: {walk}")


def test_the_palette_opens_a_row_by_its_name_for_somebody_who_is_no_staff(chrome: Chrome, live_server, there: World):
    person = arrived(chrome, live_server.url, there.logins[Role.MEMBER])
    ask_the_palette(person, "grace-l")
    person.press("grace-laptop", within="#command-results")
    assert person.sees("Set up a CLI")
    assert "grace-laptop" in chrome.title
    ask_the_palette(person, there.own.provider.name)
    person.expect("Nothing that you may see is called that.")


def test_a_key_pasted_into_the_palette_leaves_its_secret_in_the_browser(chrome: Chrome, live_server, there: World):
    person = arrived(chrome, live_server.url, there.logins[Role.MEMBER])
    ask_the_palette(person, f"lw_vk_live_{'A' * 10}{'S' * 32}")
    person.expect("Nothing that you may see is called that.")
    asked = [name for name in chrome.execute_script(ASKED_FOR) if "/search/" in name]
    assert asked
    assert "SS" not in "".join(asked)


ASKED_FOR = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
TYPED = re.compile(r"/admin/|chrome\.get\(|window\.location|reverse\(")


def test_nobody_types_an_address():
    """`Person` has one verb for it, and no test goes around `Person`."""
    here = Path(__file__).parent
    typed = {
        f"{path.name}:{number}: {line.strip()}"
        for path in sorted(here.glob("*.py"))
        if path.name not in ("person.py", Path(__file__).name)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if TYPED.search(line)
    }
    assert typed == set()
