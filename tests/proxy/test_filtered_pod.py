"""Filtered answers in a pod, between sockets: what is billed, what leaves, and each way to end."""

from __future__ import annotations

import asyncio
import gc
import json
import re

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import UsageClass
from dataplane.dialects.filter import FilteredSide
from dataplane.proxy.channel import Channel
from dataplane.proxy.filtering import Filtering
from tests.dialects import streams
from tests.proxy.fake_holds import budget
from tests.proxy.filtered import EventByEvent, shouted, stand_between
from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Peer,
    Stage,
    answer,
    chunk,
    play,
    post,
)

FORBIDDEN = Refusal(Code.VIRTUAL_KEY_DISABLED, "The tool 'bash' is not allowed here.")


def text(words: str) -> bytes:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}}
    return streams.named([delta])


async def streaming(stage: Stage, monkeypatch: pytest.MonkeyPatch, raw: bytes = b"") -> tuple[Peer, Peer]:
    """A client in the middle of an answer that is filtered event by event, and its provider."""
    stand_between(monkeypatch, stage, EventByEvent)
    client = await stage.client()
    provider = await stage.asked(client, raw or post("/v1/messages", STREAMED_MESSAGE))
    await provider.send(STREAM_HEAD + b"".join(chunk(event) for event in EVENTS[:3]))
    await client.until(shouted(EVENTS[2]))
    return client, provider


def test_a_pod_bills_what_the_provider_said_and_sends_what_the_filter_let_through(monkeypatch: pytest.MonkeyPatch):
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage, monkeypatch)
            await provider.send(b"".join(chunk(event) for event in EVENTS[3:]) + b"0\r\n\r\n")
            await client.until(b"0\r\n\r\n")
            record = await stage.settled()
            assert (record.outcome, record.usage.source) == ("ok", "provider")
            assert record.usage.units == {"input": 12, "output": 7}
            assert record.response_bytes == len(shouted(b"".join(EVENTS)))

    play(scene())


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("raw", [answer(ANSWER), STREAM_HEAD.replace(b"text/event-stream", b"application/json")])
def test_a_pods_whole_answer_has_its_own_length(monkeypatch: pytest.MonkeyPatch, version: bytes, raw: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            stand_between(monkeypatch, stage, lambda: EventByEvent(lambda body: body * 2))
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE).replace(b"HTTP/1.1", version, 1))
            await provider.send(raw if raw.endswith(ANSWER) else raw + chunk(ANSWER) + b"0\r\n\r\n")
            response = await client.response()
            wanted = ANSWER * 2 + b": bye\n\n"
            assert (response.body, response.headers["content-length"]) == (wanted, str(len(wanted)))
            assert "transfer-encoding" not in response.headers
            assert (await stage.settled()).usage.units == {"input": 12, "output": 3}

    play(scene())


def test_a_pods_stream_to_an_old_client_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch):
    async def scene() -> None:
        async with Stage() as stage:
            old = post("/v1/messages", STREAMED_MESSAGE).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
            client, provider = await streaming(stage, monkeypatch, old)
            await provider.send(b"".join(chunk(event) for event in EVENTS[3:]) + b"0\r\n\r\n")
            assert await client.rest() == shouted(b"".join(EVENTS[3:]))

    play(scene())


def test_a_client_of_a_pod_that_hangs_up_stops_the_provider(monkeypatch: pytest.MonkeyPatch):
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage, monkeypatch)
            client.close()
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.usage.source) == ("client_gone", "metered")
            assert record.usage.units[UsageClass.INPUT] == 12

    play(scene())


@pytest.mark.parametrize("how", ["revoked", "broken off", "drained"])
def test_a_pods_stream_ends_with_the_dialects_error_behind_whole_events(monkeypatch: pytest.MonkeyPatch, how: str):
    async def scene() -> None:
        async with Stage(limits={"drain_s": 0.05}) as stage:
            client, provider = await streaming(stage, monkeypatch)
            await provider.send(chunk(EVENTS[2] + EVENTS[2][:40]))
            await client.until(shouted(EVENTS[2]) + b"\r\n")
            if how == "revoked":
                stage.configuration.stop("vk_1")
            elif how == "broken off":
                provider.close()
            else:
                await stage.server.drain()
            rest = await client.until(b"0\r\n\r\n")
            assert rest.partition(b"\r\n")[2].startswith(b"event: error\ndata: ")  # half an event never left
            outcome, code = {
                "revoked": ("cut", "virtual_key_revoked"),
                "broken off": ("failed", "provider_error"),
                "drained": ("cut", "draining"),
            }[how]
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == (outcome, code)
            if how != "broken off":
                assert await provider.closed()

    play(scene())


def test_a_pods_stream_whose_money_runs_out_ends_legally_while_bytes_are_held(monkeypatch: pytest.MonkeyPatch):
    """The provider's bytes are what costs: half an event that never leaves has been made, too."""

    async def scene() -> None:
        async with Stage(rows=(budget(overdraft_nano=1),)) as stage:
            stage.holds.left["bud_1"] = 30_000_000
            client, provider = await streaming(stage, monkeypatch)
            for _ in range(3):
                await provider.send(chunk(text("more " * 1_000)))
            rest = await client.until(b"0\r\n\r\n")
            assert b'"stop_reason":"max_tokens"' in rest
            assert b"is used up" in rest
            assert rest.count(b"event: message_stop") == 1
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("cut", "budget_exceeded")
            assert stage.holds.in_flight == 0

    play(scene())


def test_a_verdict_in_a_pod_ends_the_stream_and_settles_it(monkeypatch: pytest.MonkeyPatch):
    async def scene() -> None:
        async with Stage() as stage:
            stand_between(monkeypatch, stage, lambda: EventByEvent(verdict=FORBIDDEN, at=3))
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(STREAM_HEAD + b"".join(chunk(event) for event in EVENTS))
            rest = await client.until(b"0\r\n\r\n")
            assert shouted(EVENTS[2]) in rest
            assert EVENTS[3] not in rest
            assert b'"virtual_key_disabled"' in rest
            record = await stage.settled()
            assert (record.outcome, record.refusal_code, record.http_status) == ("cut", "virtual_key_disabled", 200)
            assert await provider.closed()
            await stage.asked(client, post("/v1/messages", MESSAGE))  # the connection stays

    play(scene())


def test_a_verdict_in_a_pod_on_a_whole_answer_is_an_http_error_that_is_paid_for(monkeypatch: pytest.MonkeyPatch):
    async def scene() -> None:
        async with Stage() as stage:
            stand_between(monkeypatch, stage, lambda: EventByEvent(verdict=FORBIDDEN, at=0, end=re.compile(b"msg_1")))
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            response = await client.response()
            assert response.status == FORBIDDEN.status
            assert json.loads(response.body)["error"]["code"] == "virtual_key_disabled"
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("cut", "virtual_key_disabled")
            assert record.usage.units == {"input": 12, "output": 3}

    play(scene())


def test_a_filtered_answer_leaves_nothing_for_the_garbage_collector(monkeypatch: pytest.MonkeyPatch):
    def alive() -> list[object]:
        kinds = (Channel, Filtering, FilteredSide)
        return [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)]

    async def scene() -> None:
        async with Stage() as stage:
            gc.collect()
            gc.disable()
            try:
                client, provider = await streaming(stage, monkeypatch)
                assert alive()
                await provider.send(b"0\r\n\r\n")
                await client.until(b"0\r\n\r\n")
                await stage.settled()
                await asyncio.sleep(0.01)
                assert alive() == []
            finally:
                gc.enable()

    play(scene())
