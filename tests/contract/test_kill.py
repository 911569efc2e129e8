"""Processes die at random moments: no request that reached the provider lacks a record, none is counted twice."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest

from tests.contract.conftest import fresh_database
from tests.contract.house import PATIENCE_S, House, eventually
from tests.contract.requests import ask
from tests.postgres import Server, own_server

pytestmark = [pytest.mark.processes, pytest.mark.slow]

REQUESTS = 200
KILLS = 10


def database_of(house: House) -> psycopg.Connection | sqlite3.Connection:
    """Commits where its `with` ends well."""
    if house.layout.database_url:
        return psycopg.connect(house.layout.database_url)
    return sqlite3.connect(house.var / "aigateway.sqlite3", timeout=PATIENCE_S)


def revisions(house: House) -> list[int]:
    """In the order in which they were committed."""
    with database_of(house) as database:
        return [row[0] for row in database.execute("SELECT revision FROM changes_configchange ORDER BY id")]


def a_minute_passes_for_what_has_no_end(house: House) -> None:
    """Instead of waiting for it."""
    earlier = (
        "received_at - interval '61 seconds'" if house.layout.database_url else "datetime(received_at, '-61 seconds')"
    )
    with database_of(house) as database:
        database.execute(f"UPDATE usage_usagerecord SET received_at = {earlier} WHERE state = 'admitted'")


async def one_request(client: httpx.AsyncClient, number: int) -> None:
    asked = ask(("anthropic_messages", "openai_chat")[number % 2], streaming=number % 3 != 0)
    headers = {
        "content-type": "application/json",
        "x-sim-events": "20",
        "x-sim-interval-ms": "10",
        **dict(asked.headers),
    }
    try:
        async with client.stream("POST", asked.path, content=asked.body, headers=headers) as answer:
            async for _ in answer.aiter_raw():
                pass
    except httpx.HTTPError:
        pass  # what the engineer sees while a process dies is not what this test is about


async def traffic(house: House, chance: random.Random, kills: list[Callable[[], None]]) -> None:
    headers = {"authorization": f"Bearer {house.virtual_key}"}
    waiting = asyncio.Semaphore(16)
    clients = [
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60)
        for url in house.layout.gateway_urls
    ]

    async def throttled(number: int) -> None:
        async with waiting:
            await one_request(clients[number % len(clients)], number)

    requests = [asyncio.ensure_future(throttled(number)) for number in range(REQUESTS)]
    for turn in range(KILLS):
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        kills[turn % len(kills)]()  # on this thread: a child ends with the thread that started it
        await asyncio.to_thread(house.mint)
    await asyncio.gather(*requests)
    for client in clients:
        await client.aclose()


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A server that only this test uses, and crashes."""
    with own_server() as server:
        yield server


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_every_request_that_reached_the_provider_is_booked_exactly_once(
    build_house: Callable[..., House], database: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("own_postgres") if database == "postgres" else None
    url = fresh_database(server.url(), "kill") if server else ""
    house = build_house(pods=2, database_url=url, settings={"AIGATEWAY_USAGE_ESTIMATE_AFTER_S": "60"})

    def killing(name: str) -> Callable[[], None]:
        def kill() -> None:
            house.kill(name)
            house.revive(name)

        return kill

    kills = [killing(name) for name in (house.pods[0].name, "fleet", "web", house.pods[1].name)]
    if server:
        kills.insert(1, server.crash)
    asyncio.run(traffic(house, random.Random(20261124), kills))
    house.await_web()
    for pod in range(2):
        house.await_ready(pod)

    with house.simulator() as simulator:
        reached = [
            record for record in simulator.get("/_sim/requests").json() if record["operation"] in ("messages", "chat")
        ]
    assert len(reached) > REQUESTS / 4, "the traffic was real"

    def all_delivered() -> bool:
        spools = list((house.var / "spool").iterdir())
        return len(spools) == len(house.pods) and all(
            "aigateway_spool_records 0.0" in house.metrics(pod) for pod in range(len(house.pods))
        )

    def all_booked() -> bool:
        house.manage("reconcile")
        records = [record for record in house.usage() if record["provider_id"]]
        return len(records) >= len(reached) and all(record["state"] != "admitted" for record in records)

    eventually("what the dead have left is delivered", all_delivered)
    a_minute_passes_for_what_has_no_end(house)
    eventually("every request has its record", all_booked, within=3 * PATIENCE_S)
    booked = [record for record in house.usage() if record["provider_id"]]
    keys = Counter((record["request_id"], record["attempt"]) for record in booked)
    twice = [record for record in booked if keys[record["request_id"], record["attempt"]] > 1]
    assert not twice, "counted twice"
    assert "usage_spool_of_another_pod" not in "".join(text for _, text in house.logs()), "its owner delivers a spool"
    assert {record["state"] for record in booked} <= {"final", "estimated"}

    by_provider_id = {record["provider_request_id"] for record in booked if record["provider_request_id"]}
    finished = {record["request_id"] for record in reached if record["ended"] == "complete"}
    estimated = sum(record["state"] == "estimated" for record in booked)
    assert len(finished - by_provider_id) <= estimated, "what is not booked by name is booked as an estimate"
    order = revisions(house)
    assert order == sorted(order)
