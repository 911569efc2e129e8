"""An engineer is stopped by a budget, an admin raises it on its page, the engineer goes on: all of it real."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.browser.person import Person
from tests.contract.house import House, eventually, open_house
from tests.contract.requests import ask
from tests.contract.storms import MODEL, budget_of, token_of

pytestmark = pytest.mark.browser


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = open_house(tmp_path_factory.mktemp("raised"), pods=1)
    yield opened
    opened.close()


def test_a_budget_raised_in_the_admin_works_on_the_next_request(chrome: Chrome, house: House) -> None:
    key = house.mint()
    budget = budget_of(house, key, limit=1_000)
    asked = ask("anthropic_messages", streaming=False, model=MODEL)
    admin = Person(chrome, house.layout.web_url)
    with house.gateway(key=token_of(key)) as engineer:

        def status() -> int:
            return engineer.post(
                asked.path, content=asked.body, headers={"content-type": "application/json"}
            ).status_code

        eventually("the budget stops the key", lambda: status() == 402)
        admin.log_in(house.report["admin_username"], house.report["admin_password"])
        admin.go_to("Budgets")
        admin.open_row(budget["name"])
        admin.fill("limit_nano", "2")
        admin.press("Save")
        began = time.monotonic()
        eventually("the engineer goes on", lambda: status() == 200)
        print(f"\nraised in the admin: passes {time.monotonic() - began:.3f} s after its page came")
    admin.open_row(budget["name"])
    admin.expect("of $2.00")
