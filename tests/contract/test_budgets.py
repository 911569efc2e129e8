"""Budgets by what engineers and providers see of them: raised, aborted, far from the edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.house import House, eventually, open_house
from tests.contract.requests import ask
from tests.contract.storms import DOLLAR, LIMIT, MODEL, PODS, Rates, budget_of, everywhere, token_of

pytestmark = [pytest.mark.processes, pytest.mark.slow]

REPORT_S = 5.5

# A stream of 1,500 tokens at 250 a second.
LONG = {"x_sim_text_bytes": "6000", "x_sim_delta_chars": "100", "x_sim_interval_ms": "100"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = open_house(tmp_path_factory.mktemp("budgets"), pods=PODS)
    yield opened
    opened.close()


def test_a_raised_budget_works_on_the_next_request(house: House) -> None:
    key = house.mint()
    budget = budget_of(house, key, limit=1_000)
    token = token_of(key)
    everywhere(house, token)
    asked = ask("anthropic_messages", streaming=False, model=MODEL)
    headers = {"content-type": "application/json"}
    with house.gateway(0, token) as client, house.api() as api:
        refused = client.post(asked.path, content=asked.body, headers=headers)
        assert refused.status_code == 402
        assert refused.json()["error"]["code"] == "budget_exceeded"
        changed = api.patch(f"budgets/{budget['id']}", json={"limit_nano": LIMIT})
        assert changed.status_code == 200, changed.text
        began = time.monotonic()
        eventually(
            "the next request passes",
            lambda: client.post(asked.path, content=asked.body, headers=headers).status_code == 200,
        )
        print(f"\nraised: passes after {time.monotonic() - began:.3f} s")


def test_an_aborted_stream_is_charged_what_it_produced(house: House) -> None:
    rates = Rates.of(house)
    key = house.mint()
    budget_of(house, key)
    token = token_of(key)
    everywhere(house, token)
    asked = ask("anthropic_messages", streaming=True, model=MODEL)
    headers = {"content-type": "application/json", **dict(asked.headers)}
    headers |= {name.replace("_", "-"): value for name, value in LONG.items()}
    with (
        house.gateway(0, token) as client,
        client.stream("POST", asked.path, content=asked.body, headers=headers) as answer,
    ):
        request_id = answer.headers["x-langwatch-request-id"]
        seen = b""
        for piece in answer.iter_raw():
            seen += piece
            if seen.count(b"content_block_delta") >= 20:
                break

    def booked() -> list[dict[str, Any]]:
        return [each for each in house.usage(request_id=request_id) if each["state"] == "final"]

    (record,) = eventually("it is booked", booked)
    assert record["outcome"] == "client_gone"
    least = 10 * 25 * rates.output
    assert least < record["cost_nano"] < 6000 / 4 * rates.output


def test_far_from_its_edge_a_budget_costs_few_messages(house: House) -> None:
    key = house.mint()
    budget_of(house, key, limit=1_000 * DOLLAR)
    token = token_of(key)
    everywhere(house, token)
    asked = ask("anthropic_messages", streaming=False, model=MODEL)

    async def send(count: int) -> None:
        waiting = asyncio.Semaphore(16)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:

            async def one(number: int) -> None:
                async with waiting:
                    url = f"{house.layout.gateway_urls[number % PODS]}{asked.path}"
                    assert (await client.post(url, content=asked.body, headers=headers)).status_code == 200

            await asyncio.gather(*(one(number) for number in range(count)))

    asyncio.run(send(150))
    time.sleep(REPORT_S)  # the pods say how fast they spend
    asyncio.run(send(150))
    before = [_messages(house, pod) for pod in range(PODS)]
    asyncio.run(send(1_000))
    asked_for = sum(_messages(house, pod) for pod in range(PODS)) - sum(before)
    print(f"\n1,000 requests: {asked_for:g} questions")
    assert asked_for <= 20


def _messages(house: House, pod: int) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in house.metrics(pod).splitlines()
        if line.startswith("aigateway_budget_asks_total{")
    )
