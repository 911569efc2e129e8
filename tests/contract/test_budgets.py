"""Budgets by what engineers and providers see of them: raised, aborted, far from the edge."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.contract.house import House, eventually, open_house
from tests.contract.requests import ask
from tests.contract.storms import DOLLAR, LIMIT, MODEL, PODS, Rates, budget_of, everywhere, metric, token_of
from tests.contract.streams import Streams

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


# A stream of 1,000 tokens at 100 a second, and one of 6,000 at 2,000 a second: $0.09.
SLOW = {"x_sim_text_bytes": "4000", "x_sim_delta_chars": "40", "x_sim_interval_ms": "100"}
NINE_CENTS = {"x_sim_text_bytes": "24000", "x_sim_delta_chars": "400", "x_sim_interval_ms": "50"}
FOUR_CENTS = DOLLAR // 25
TOO_MANY = 40


def test_a_budget_that_begins_to_block_spends_nothing_of_what_was_leased_while_it_only_warned(house: House) -> None:
    """Leases of a budget that only warns are generous, and a running stream keeps them at its pod."""
    key = house.mint()
    budget = budget_of(house, key, window="total", on_breach="warn", overdraft_nano=0)
    token = token_of(key)
    everywhere(house, token)
    asked, streamed = (ask("anthropic_messages", streaming=streaming, model=MODEL) for streaming in (False, True))
    headers = {"content-type": "application/json"}
    dear = headers | {"x-sim-usage": json.dumps({"output": int(3.12 * DOLLAR / Rates.of(house).output)})}

    def served(pod: int, **fields: Any) -> bool:
        with house.gateway(pod, token) as client:
            answer = client.post(asked.path, content=asked.body, headers=fields.get("headers", headers))
        assert answer.status_code in (200, 402), answer.text
        return answer.status_code == 200

    def settled() -> int:
        with house.api() as api:
            accounts = api.get("budget-accounts", params={"budget_id": budget["id"]}).json()["data"]
        return sum(int(account["settled_nano"]) for account in accounts)

    async def scene() -> int:
        async with Streams(house.layout.gateway_urls[:2], token, streamed, 2, **SLOW) as streams:
            await streams.running()
            await asyncio.sleep(REPORT_S)  # what the pods spend by itself is leased
            with house.api() as api:
                changed = api.patch(f"budgets/{budget['id']}", json={"on_breach": "block"})
            assert changed.status_code == 200, changed.text
            assert changed.json()["lease_epoch"] == 1
            count = 0
            for pod in (0, 1):
                while count < TOO_MANY and await asyncio.to_thread(served, pod):
                    count += 1
            return count

    assert served(0, headers=dear)
    assert served(1)
    eventually("it is spent", lambda: settled() > 3 * DOLLAR)
    count = asyncio.run(scene())
    print(f"\nfrom warn to block: {count} requests passed until both pods refused")
    assert count < TOO_MANY // 2


def test_a_budget_that_is_taken_away_in_mid_stream_cuts_nothing(house: House) -> None:
    streamed = ask("anthropic_messages", streaming=True, model=MODEL)
    edits: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
        "none": lambda api, path: api.get(path),
        "disabled": lambda api, path: api.post(f"{path}/disable", json={}),
        "deleted": lambda api, path: api.delete(path),
        "for other models": lambda api, path: api.patch(path, json={"model_pattern": "gpt-*"}),
        "only warns": lambda api, path: api.patch(path, json={"on_breach": "warn"}),
    }

    async def scene(path: str, token: str, edit: Callable[[httpx.Client, str], httpx.Response]) -> bytes:
        async with Streams(house.layout.gateway_urls[:1], token, streamed, 1, **NINE_CENTS) as streams:
            await streams.running()

            def change() -> None:
                with house.api() as api:
                    changed = edit(api, path)
                assert changed.status_code < 300, changed.text

            await asyncio.to_thread(change)
            await streams.ended()
            return bytes(streams.watched[0].content)

    async def all_of_them() -> list[bytes]:
        scenes = []
        for edit in edits.values():
            key = await asyncio.to_thread(house.mint)
            budget = await asyncio.to_thread(budget_of, house, key, FOUR_CENTS, window="total", overdraft_nano=0)
            await asyncio.to_thread(everywhere, house, token_of(key))
            scenes.append(scene(f"budgets/{budget['id']}", token_of(key), edit))
        return await asyncio.gather(*scenes)

    contents = dict(zip(edits, asyncio.run(all_of_them()), strict=True))
    whole = {name for name, content in contents.items() if b"is used up" not in content and b"message_stop" in content}
    assert whole == edits.keys() - {"none"}
