"""The operator clicks through everything, and axe looks at every page, in the light and in the dark."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from selenium.webdriver import Chrome

from controlplane.changes.actor import Actor
from tests.browser.axe import findings, source
from tests.browser.person import Person
from tests.browser.walk import Walk, arrived, ask_the_palette
from tests.controlplane.console.buttons import BUTTONS, LISTS
from tests.controlplane.console.world import World, pod

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


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
        page = re.sub(r"((?:/\w+){3}/)[^/]+/", r"\1…/", person.path())  # of any row: the pages of two are alike
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
