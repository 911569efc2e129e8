"""Revocation, staleness, and the way out: what ends, when, and in which words."""

from __future__ import annotations

import asyncio
import json

import pytest

from dataplane.core.errors import Code
from dataplane.core.snapshot import KeyState
from dataplane.proxy.life import Life, Phase
from tests.core import build
from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    TOKEN,
    Peer,
    Stage,
    answer,
    chunk,
    get,
    mint,
    play,
    post,
    virtual_key,
)

OTHER_TOKEN, _ = mint(2)
OTHER = virtual_key(OTHER_TOKEN, "vk_2")

STREAMS = {
    "/v1/messages": (STREAMED_MESSAGE, EVENTS[0], b"event: error\n"),
    "/v1/responses": (
        b'{"model":"gpt-5.5","stream":true,"input":"hi"}',
        b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n',
        b"response.failed",
    ),
    "/v1/chat/completions": (
        b'{"model":"gpt-4.1","stream":true,"messages":[]}',
        b'data: {"id":"1","model":"gpt-4.1","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
        b"[DONE]",
    ),
    "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse": (
        b'{"contents":[]}',
        b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n',
        b'"error"',
    ),
}


async def stream(stage: Stage, path: str = "/v1/messages", token: str = TOKEN) -> tuple[Peer, Peer]:
    body, first, _ = STREAMS[path]
    client = await stage.client()
    provider = await stage.asked(client, post(path, body, token=token))
    await provider.send(STREAM_HEAD + chunk(first))
    await client.until(first)
    return client, provider


@pytest.mark.parametrize("path", STREAMS)
def test_a_revoked_key_cuts_its_streams_in_the_same_turn_and_in_the_dialects_words(path: str):
    async def scene() -> None:
        async with Stage(rows=(OTHER,)) as stage:
            client, provider = await stream(stage, path)
            other, others_provider = await stream(stage, path, OTHER_TOKEN)
            stage.configuration.stop("vk_1")
            # the same turn: nothing was awaited
            (record,) = stage.journal.settled
            assert (record.outcome, record.refusal_code, record.key_id) == ("cut", "virtual_key_revoked", "vk_1")
            assert record.usage.source == ("metered" if path == "/v1/messages" or "chat" in path else "estimated")
            assert record.http_status == 200
            rest = await client.until(b"0\r\n\r\n")
            assert STREAMS[path][2] in rest
            assert b"revoked" in rest
            assert await provider.closed()
            assert len(stage.telemetry.records) == 1
            await client.send(post(path, STREAMS[path][0]))
            assert (await client.response()).status in (401, 403)
            await others_provider.send(chunk(b": more\n\n"))
            await other.until(b": more")

    play(scene())


def test_two_hundred_streams_of_a_key_are_cut_at_once():
    async def scene() -> None:
        async with Stage() as stage:
            pairs = [await stream(stage) for _ in range(200)]
            stage.configuration.stop("vk_1")
            assert [record.outcome for record in stage.journal.settled] == ["cut"] * 200
            for client, provider in pairs:
                assert b"event: error" in await client.until(b"0\r\n\r\n")
                assert await provider.closed()
            await stage.settled(200)

    play(scene())


def test_a_request_whose_answer_has_not_begun_gets_the_401():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            stage.configuration.stop("vk_1")
            response = await client.response()
            assert response.status == 401
            assert json.loads(response.body)["error"]["code"] == "virtual_key_revoked"
            assert response.headers["x-should-retry"] == "false"
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.usage.source) == ("cut", "held")

    play(scene())


def test_a_request_that_waits_for_a_connection_gets_the_401_and_owes_nothing():
    async def scene() -> None:
        async with Stage(limits={"upstream_per_host": 1}, rows=(OTHER,)) as stage:
            other, _ = await stream(stage, token=OTHER_TOKEN)
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            await stage.eventually(lambda: len(stage.journal.admitted) == 2)
            stage.configuration.stop("vk_1")
            assert (await client.response()).status == 401
            (record,) = stage.telemetry.records
            assert (record.outcome, record.usage.units) == ("cut", {})
            other.close()

    play(scene())


def test_a_plain_answer_under_way_is_broken_off_when_its_key_is_revoked():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER)[:-10])
            await client.until(b"msg_1")
            stage.configuration.stop("vk_1")
            assert not (await client.rest()).endswith(ANSWER[-10:])
            assert (await stage.settled()).outcome == "cut"

    play(scene())


def test_a_disabled_key_may_finish_what_it_has_begun_and_begin_nothing():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await stream(stage)
            stage.configuration.stop("vk_1", KeyState.DISABLED, cut=False)
            for each in EVENTS[1:]:
                await provider.send(chunk(each))
            await provider.send(b"0\r\n\r\n")
            await client.until(EVENTS[-1])
            await client.until(b"0\r\n\r\n")
            await client.send(post("/v1/messages", MESSAGE))
            assert (await client.response()).status == 401
            assert [record.outcome for record in stage.telemetry.records] == ["ok", "refused"]

    play(scene())


def test_a_stale_pod_goes_on_with_running_streams_unless_the_organization_says_otherwise():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await stream(stage)
            stage.configuration.age_ms = 60_000
            stage.time_passes(1)
            assert stage.telemetry.open == 1
            stage.configuration.change(build.organization(price_list_id="price_1", cut_on_stale=True, revision=2))
            stage.configuration.age_ms = 54_000
            stage.time_passes(1)
            assert stage.telemetry.open == 1
            stage.configuration.age_ms = 55_000
            stage.time_passes(1)
            assert b"configuration_stale" in await client.until(b"0\r\n\r\n")
            assert await provider.closed()
            assert (await stage.settled()).outcome == "cut"

    play(scene())


def test_a_drain_finishes_streams_then_closes_what_is_idle():
    async def scene() -> None:
        async with Stage(limits={"pre_drain_s": 0.05}) as stage:
            idle, (client, provider) = await stage.client(), await stream(stage)
            probe = await stage.client()
            draining = asyncio.ensure_future(stage.server.drain())
            await asyncio.sleep(0)
            await probe.send(get("/readyz", token=None))
            response = await probe.response()
            assert (response.status, response.headers["connection"]) == (503, "close")
            late = await stage.client()  # still accepted: the balancer has not noticed
            await late.send(get("/healthz", token=None))
            assert (await late.response()).status == 200
            await stage.eventually(lambda: stage.pod.life.phase is Phase.DRAINING)
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await stage.client()
            for each in EVENTS[1:]:
                await provider.send(chunk(each))
            await provider.send(b"0\r\n\r\n")
            await client.until(EVENTS[-1])
            await asyncio.wait_for(draining, 30)
            assert await idle.closed()
            assert (await stage.settled(1)).outcome == "ok"

    play(scene())


def test_a_request_on_a_kept_connection_is_served_during_a_drain_and_the_connection_then_closed():
    async def scene() -> None:
        async with Stage(limits={"pre_drain_s": 0.2}) as stage:
            kept = await stage.client()
            await kept.send(get("/api/hello"))
            assert "connection" not in (await kept.response()).headers
            draining = asyncio.ensure_future(stage.server.drain())
            await asyncio.sleep(0)
            provider = await stage.asked(kept, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            response = await kept.response()
            assert (response.body, response.headers["connection"]) == (ANSWER, "close")
            assert await kept.closed()
            await draining

    play(scene())


def test_the_deadline_of_a_drain_cuts_what_still_runs():
    async def scene() -> None:
        async with Stage(limits={"drain_s": 0.05}) as stage:
            client, provider = await stream(stage)
            await stage.server.drain()
            assert b'"draining"' in await client.until(b"0\r\n\r\n")
            record = stage.telemetry.records[-1]
            assert (record.outcome, record.refusal_code) == ("cut", Code.DRAINING)
            assert stage.pod.life.phase is Phase.STOPPED
            assert await provider.closed()

    play(scene())


def test_a_pod_that_is_starting_says_degraded_then_ok():
    async def scene() -> None:
        async with Stage() as stage:
            stage.pod.life.phase = Phase.STARTING
            client = await stage.client()
            await client.send(get("/startupz", token=None))
            response = await client.response()
            said = json.loads(response.body)
            assert (response.status, said["status"], said["checks"]["started"]) == (503, "degraded", "starting")
            await client.send(get("/readyz", token=None))
            assert (await client.response()).status == 503
            stage.server.started()
            await client.send(get("/startupz", token=None))
            response = await client.response()
            assert (response.status, json.loads(response.body)["status"]) == (200, "ok")

    play(scene())


def test_a_life_goes_forward_only():
    life = Life()
    life.enter(Phase.SERVING)
    life.enter(Phase.LEAVING)
    with pytest.raises(AssertionError):
        life.enter(Phase.SERVING)


def test_a_pod_that_serves_nobody_under_a_kind_of_budget_is_not_ready_and_says_why():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(get("/readyz", token=None))
            assert (await client.response()).status == 200
            stage.holds.problem = lambda: "no request under a budget per minute is served"
            await client.send(get("/readyz", token=None))
            response = await client.response()
            assert response.status == 503
            assert json.loads(response.body)["checks"]["budgets"] == "no request under a budget per minute is served"

    play(scene())
