"""Budgets by what engineers and providers see of them: raised, aborted, far from the edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.contract.house import House, eventually, open_house
from tests.contract.requests import ask
from tests.contract.storms import DOLLAR, LIMIT, MODEL, PODS, Rates, budget_of, everywhere, metric, token_of

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

    (record,) = eventually("it is booked", lambda: house.booked(request_id))
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

    def thousand(what: str) -> float:
        began, before = time.monotonic(), _counted(house)
        asyncio.run(send(1_000))
        questions, messages = (now - then for now, then in zip(_counted(house), before, strict=True))
        took = time.monotonic() - began
        print(f"\n{what}: 1,000 requests in {took:.0f} s, {questions:g} questions, {messages:g} messages with reports")
        return questions

    thousand("from cold")
    time.sleep(REPORT_S)  # the pods say how fast they spend
    asyncio.run(send(150))
    assert thousand("known rate") <= 20


def _counted(house: House) -> tuple[float, float]:
    """What all pods together have said to the control plane about money: questions, and messages of any kind."""
    pages = [house.metrics(pod) for pod in range(PODS)]
    names = ("aigateway_budget_asks_total", "aigateway_budget_messages_total")
    questions, messages = (sum(metric(page, name) for page in pages) for name in names)
    return questions, messages
