"""A revoked key stops: new requests everywhere, running streams on every connected pod, and the admin can see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import fresh_database
from tests.contract.house import House, eventually
from tests.contract.requests import DIALECTS, ask, send
from tests.contract.streams import Streams

pytestmark = pytest.mark.processes

STREAMS = 200


async def revoke_under_load(house: House, key_id: str, token: str) -> Streams:
    asked = ask("anthropic_messages", streaming=True, text="Talk for a long time.")
    streams = Streams(house.layout.gateway_urls, token, asked, STREAMS, x_sim_events="100000", x_sim_interval_ms="100")
    async with streams:
        await streams.running()
        await asyncio.to_thread(house.post, f"virtual-keys/{key_id}/revoke")
        await streams.ended()
    return streams


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_two_hundred_streams_on_three_pods_end_with_our_words_and_are_booked(
    build_house: Callable[..., House], database: str, request: pytest.FixtureRequest
) -> None:
    url = fresh_database(request.getfixturevalue("postgres_url"), "revocation") if database == "postgres" else ""
    house = build_house(pods=3, database_url=url)
    minted = house.mint()

    streams = asyncio.run(revoke_under_load(house, minted["id"], minted["token"]))

    refused = [watched.content for watched in streams.watched if watched.status != 200]
    assert {watched.status for watched in streams.watched} == {200}, refused[:1]
    assert {watched.problem for watched in streams.watched} == {""}, "each stream ended by the rules of HTTP"
    for watched in streams.watched:
        assert b"event: error" in watched.content
        assert b"virtual_key_revoked" in watched.content
    for pod in range(3):
        with house.gateway(pod, key=minted["token"]) as client:
            answer = send(client, ask("anthropic_messages", streaming=True))
        assert answer.status_code == 401
        assert "virtual_key_revoked" in answer.text

    def all_booked() -> bool:
        return len(house.usage(key_id=minted["id"], outcome="cut")) == STREAMS

    eventually("every cut stream has its record", all_booked)
    cut = house.usage(key_id=minted["id"], outcome="cut")
    assert {record["source"] for record in cut} == {"metered"}
    assert all(record["cost_nano"] > 0 and record["units"]["output"] > 0 for record in cut)

    def closed() -> bool:
        with house.simulator() as simulator:
            ended = [record["ended"] for record in simulator.get("/_sim/requests").json() if record["stream"]]
        return ended.count("client_gone") == STREAMS

    eventually("the provider connections are closed too: nothing more is spent", closed)

    def settled() -> dict[str, Any] | None:
        with house.api() as api:
            answer = api.get("fleet/pods/convergence/head").json()
        return answer if answer["settled"] else None

    convergence = eventually("the admin shows all pods", settled)
    assert convergence["live"] == 3
    assert convergence["slowest_s"] is not None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cut_stream_ends_in_its_own_dialects_way(house: House, dialect: str) -> None:
    minted = house.mint()

    async def scene() -> bytes:
        asked = ask(dialect, streaming=True, text="Talk for a long time.")
        urls = house.layout.gateway_urls[:1]
        async with Streams(urls, minted["token"], asked, 1, x_sim_events="100000", x_sim_interval_ms="20") as streams:
            await streams.running()
            await asyncio.to_thread(house.post, f"virtual-keys/{minted['id']}/revoke")
            await streams.ended()
            assert streams.watched[0].problem == ""
            return bytes(streams.watched[0].content)

    content = asyncio.run(scene())
    assert b"was revoked" in content
    terminal = {
        "anthropic_messages": b"event: error",
        "openai_responses": b"response.failed",
        "openai_chat": b"[DONE]",
        "gemini": b'"error"',
    }[dialect]
    assert terminal in content[-2000:]


def test_disable_lets_running_streams_finish_and_enable_restores(house: House) -> None:
    minted = house.mint()

    async def scene() -> bytes:
        asked = ask("openai_chat", streaming=True)
        urls = house.layout.gateway_urls[:1]
        async with Streams(urls, minted["token"], asked, 1, x_sim_hold="disable", x_sim_hold_at="3") as streams:
            await streams.running()
            await asyncio.to_thread(house.post, f"virtual-keys/{minted['id']}/disable", {"reason": "lost laptop"})
            await asyncio.to_thread(refused_with, house, minted["token"], "virtual_key_disabled")
            with house.simulator() as simulator:
                simulator.post("/_sim/release", json={"name": "disable"})
            await streams.ended()
            return bytes(streams.watched[0].content)

    assert asyncio.run(scene()).rstrip().endswith(b"data: [DONE]")
    house.post(f"virtual-keys/{minted['id']}/enable")

    def works() -> bool:
        with house.gateway(key=minted["token"]) as client:
            return send(client, ask("openai_chat", streaming=False)).status_code == 200

    eventually("the enabled key works", works)


def refused_with(house: House, token: str, code: str) -> None:
    def refused() -> bool:
        with house.gateway(key=token) as client:
            return code in send(client, ask("openai_chat", streaming=False)).text

    eventually(f"the pod refuses with {code}", refused)


def test_rotation_keeps_the_old_secret_for_its_grace_and_no_longer(house: House) -> None:
    minted = house.mint()
    rotated = house.post(f"virtual-keys/{minted['id']}/rotate", {"grace_s": 3600})

    def status(token: str) -> int:
        with house.gateway(key=token) as client:
            return send(client, ask("openai_chat", streaming=False)).status_code

    eventually("the new secret works", lambda: status(rotated["token"]) == 200)
    assert status(minted["token"]) == 200
    again = house.post(f"virtual-keys/{minted['id']}/rotate", {"grace_s": 0})
    eventually("the newest secret works", lambda: status(again["token"]) == 200)
    eventually("the secret without grace is refused", lambda: status(rotated["token"]) == 401)
