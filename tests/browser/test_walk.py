"""Owner, team admin, member and auditor click through everything; the operator too, with axe beside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from selenium.webdriver import Chrome

from controlplane.changes.actor import Actor
from controlplane.tenancy.actions import grant_role
from controlplane.tenancy.models import Role
from tests.browser.axe import findings, source
from tests.browser.person import Person
from tests.browser.walk import Walk
from tests.controlplane import factories as make
from tests.controlplane.console.buttons import BUTTONS, LISTS, buttons_for, lists_of
from tests.controlplane.console.world import WALKERS, World, busy_world, pod

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PASSWORD = "correct horse battery"


@pytest.fixture
def there(private_providers: None) -> World:
    made = busy_world(provider_url="http://127.0.0.1:9", channel_url="http://127.0.0.1:9/")
    zoe = make.user(username="zoe", is_staff=False)
    grant_role(by=make.SYSTEM, user=zoe, organization=made.own.organization, role=Role.MEMBER, team=made.own.team)
    return made


def arrived(chrome: Chrome, base_url: str, login: User) -> Person:
    login.set_password(PASSWORD)
    login.save()
    person = Person(chrome, base_url)
    person.log_in(login.username, PASSWORD)
    return person


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


def test_the_operator_reaches_everything_and_axe_finds_nothing_grave_in_the_light_or_the_dark(
    chrome: Chrome, live_server, there: World
):
    source()
    pod(name="a", certificate="c" * 64)
    person = Person(chrome, live_server.url)
    person.arrive()
    found = {"login": findings(chrome)}
    person = arrived(chrome, live_server.url, there.operator)

    def look(where: str) -> None:
        page = re.sub(r"(/admin/\w+/\w+/)[^/]+/", r"\1…/", person.path())  # of any row: the pages of two are alike
        if page not in found:
            found[page] = findings(chrome)

    everything = {words: (label, add is not None) for words, label, _, add in LISTS}
    walk = Walk(
        person,
        Actor.of_user(there.operator),
        everything,
        lambda row: {words for words, _ in BUTTONS[row._meta.label_lower]},
        look,
    )
    walk.through_everything()
    ask_the_palette(person, "project")
    person.find("Projects", within="#command-results")
    found["palette"] = findings(chrome)
    print(f"\noperator: {walk}; {len(found)} kinds of pages looked at by axe")
    assert said_once(found) == []


def said_once(found: Mapping[str, list[str]]) -> list[str]:
    """Each finding, and the pages that it is on."""
    pages: dict[str, list[str]] = {}
    for where, said in found.items():
        for one in said:
            pages.setdefault(one, []).append(where)
    return [f"{one} on {len(where)} pages: {', '.join(where[:4])}" for one, where in pages.items()]


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


def ask_the_palette(person: Person, words: str) -> None:
    person.hold_control_and_press("k")
    person.wait().until(
        lambda chrome: chrome.switch_to.active_element.get_attribute("id") == "search-input-command", "no palette"
    )
    person.type(words)


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
