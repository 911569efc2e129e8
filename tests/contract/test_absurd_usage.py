"""A provider that tells absurd figures, on PostgreSQL: what is booked is what passed, and nobody else notices."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.contract.conftest import fresh_database
from tests.contract.house import House, eventually
from tests.contract.requests import ask
from tests.contract.storms import DOLLAR, MODEL, budget_of, token_of
from tests.contract.test_kill import own_postgres  # noqa: F401  a server of the test's own
from tests.postgres import Server

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ASKED = ask("anthropic_messages", streaming=False, model=MODEL)
JSON = {"content-type": "application/json"}
ABSURD = [{"output": 10**18}, {"output": 10**12}, {"input": 10**15, "output": 5}, {"output": -5}]


def test_absurd_answers_spend_no_blocking_budget_and_break_no_call(
    build_house: Callable[..., House],
    own_postgres: Server,  # noqa: F811
) -> None:
    house = build_house(pods=2, database_url=fresh_database(own_postgres.url(), "absurd"))
    absurd, fair = house.mint(), house.mint()
    warned = budget_of(house, absurd, limit=DOLLAR, on_breach="warn")
    organization = house.report["organization_id"]
    whole = {"organization_id": organization, "name": "all", "scope_kind": "organization", "scope_id": organization}
    house.post("budgets", whole | {"window": "month", "limit_nano": 500 * DOLLAR})
    budget_of(house, fair, limit=2 * DOLLAR)

    def status(pod: int, token: str, **headers: str) -> int:
        with house.gateway(pod, token) as client:
            return client.post(ASKED.path, content=ASKED.body, headers=JSON | headers).status_code

    eventually("the key is known", lambda: status(0, token_of(absurd)) == status(1, token_of(absurd)) == 200)
    sent = [status(n % 2, token_of(absurd), **{"x-sim-usage": json.dumps(ABSURD[n % 4])}) for n in range(40)]
    assert sent == [200] * 40
    eventually("all is booked", lambda: len(house.usage(key_id=absurd.get("virtual_key", absurd)["id"])) >= 42)
    records = house.usage(key_id=absurd.get("virtual_key", absurd)["id"])
    assert all(record["cost_nano"] < DOLLAR for record in records)
    assert sum(record["source"] == "metered" for record in records) == 40
    assert [status(pod, token_of(fair)) for pod in (0, 1) * 5] == [200] * 10
    with house.api() as api:
        assert api.get("usage/totals").status_code == 200
        assert api.delete(f"budgets/{warned['id']}").status_code < 300
    assert [status(pod, token_of(fair)) for pod in (0, 1) * 5] == [200] * 10
    assert "holds_interrupted" not in "".join(text for name, text in house.logs() if name.startswith("pod"))
