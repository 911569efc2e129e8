"""Every trick of a hostile provider, against a pod that serves somebody else meanwhile: he gets his answers, all of
them, and nothing of the tricks; and what was read by the provider is on record."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.contract.house import House, eventually, open_house
from tests.contract.requests import ask
from tests.contract.storms import token_of
from tests.hostile.provider import HostileProvider, in_thread
from tests.hostile.tricks import TRICKS
from tests.hostile.turns import mark_of

pytestmark = pytest.mark.processes

ATTACKS = 2  # requests at a time to the provider with the trick, and again on the connections that these left
OTHERS = 6  # requests of somebody else meanwhile


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileProvider]:
    with in_thread() as provider:
        yield provider


@pytest.fixture(scope="module")
def house(hostile: HostileProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The other's provider is at the same address, with another credential."""
    opened = open_house(
        tmp_path_factory.mktemp("house"),
        settings={
            "ANTHROPIC_API_KEY": "sk-ant-hostile-0123456789abcdef",
            "OPENAI_API_KEY": "sk-honest-0123456789abcdef",
            "GEMINI_API_KEY": "AIza-hostile-0123456789abcdef",
            "DEMO_ANTHROPIC_BASE_URL": hostile.url,
            "DEMO_GEMINI_BASE_URL": hostile.url,
            "DEMO_OPENAI_BASE_URL": f"{hostile.url}/honest/v1",
        },
    )
    yield opened
    opened.close()


def attacks(trick: str) -> list[tuple[str, bytes]]:
    """Path and body: where the trick's bytes are parsed by what they were made for."""
    if trick in ("brackets", "empty_elements"):
        asked = ask("gemini", streaming=True)
        return [(asked.path.replace("?alt=sse", ""), asked.body)]
    return [(each.path, each.body) for each in (ask("anthropic_messages", streaming=s) for s in (False, True))]


async def attack(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    """However it ends, it ends."""
    with contextlib.suppress(httpx.HTTPError):
        await client.post(path, content=body)


async def asks_honestly(client: httpx.AsyncClient, number: int) -> str:
    """What was wrong with the answer; "" for nothing."""
    body = json.dumps({"model": "gpt-5.5", "messages": [{"role": "user", "content": f"number {number}"}]}).encode()
    answer = await client.post("/v1/chat/completions", content=body)
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:200]}"
    return "" if mark_of(body) in answer.text else f"another's: {answer.text[:200]}"


async def beside(house: House, key: str, trick: str) -> list[str]:
    url, timeout = house.layout.gateway_urls[0], httpx.Timeout(30.0)
    kind = {"content-type": "application/json"}
    one = httpx.AsyncClient(
        base_url=url, headers=kind | {"authorization": f"Bearer {house.virtual_key}"}, trust_env=False, timeout=timeout
    )
    other = httpx.AsyncClient(
        base_url=url, headers=kind | {"authorization": f"Bearer {key}"}, trust_env=False, timeout=timeout
    )
    async with one, other:
        attacking = asyncio.ensure_future(_attack_twice(one, trick))
        wrong = [await asks_honestly(other, number) for number in range(OTHERS)]
        await attacking
        wrong.append(await asks_honestly(other, OTHERS))
    return [each for each in wrong if each]


async def _attack_twice(client: httpx.AsyncClient, trick: str) -> None:
    for _ in range(2):
        await asyncio.gather(*[attack(client, *attacks(trick)[n % len(attacks(trick))]) for n in range(ATTACKS)])


@pytest.fixture(scope="module")
def key(house: House) -> str:
    secret = token_of(house.mint())

    def serves() -> bool:
        with house.gateway(key=secret) as client:
            return client.get("/v1/models").status_code == 200

    eventually("the other's key reaches the pod", serves)
    return secret


@pytest.mark.parametrize("trick", sorted(TRICKS))
def test_somebody_else_gets_every_answer_and_his_own(
    hostile: HostileProvider, house: House, key: str, trick: str
) -> None:
    hostile.trick = trick
    assert asyncio.run(beside(house, key, trick)) == []


def test_afterwards_every_request_that_was_read_is_on_record_once_and_no_defect_was_logged(
    hostile: HostileProvider, house: House
) -> None:
    read = len(hostile.requests)

    def booked() -> Callable[[], bool] | bool:
        records = [record for record in house.usage() if record["state"] == "final" and record["provider_id"]]
        return len(records) == len({record["request_id"] for record in records}) >= read

    assert read
    eventually(f"{read} requests are booked", booked)
    assert [line for _, text in house.logs() for line in text.splitlines() if "exchange_defect" in line] == []
