"""What is owed for a request that was written and never answered, and that no request is executed unrecorded."""

from __future__ import annotations

import pytest

from dataplane.proxy.exchange import Exchange
from tests.hostile.provider import HostileProvider
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import MESSAGE, STREAMED_MESSAGE, Peer, Stage, answer, play, post

CHAT = b'{"model":"%s","stream":%s,"messages":[{"role":"user","content":"hello"}],"max_tokens":64}'


def chat(model: str, *, stream: bool) -> bytes:
    return CHAT % (model.encode(), b"true" if stream else b"false")


async def unanswered(stage: Stage, request: bytes) -> Peer:
    """The provider reads it and hangs up."""
    client = await stage.client()
    (await stage.asked(client, request)).close()
    assert (await client.response()).status == 502
    return client


@pytest.mark.parametrize(
    ("path", "body", "all_of_it"),
    [
        ("/v1/messages", MESSAGE, True),
        ("/v1/messages", STREAMED_MESSAGE, False),
        ("/v1/chat/completions", chat("gpt-4.1", stream=True), False),
        ("/v1/chat/completions", chat("gpt-5.5", stream=True), True),
        ("/v1/chat/completions", chat("gpt-5.5", stream=False), True),
    ],
    ids=["whole", "stream", "stream that shows all", "stream with hidden reasoning", "whole with hidden reasoning"],
)
def test_what_was_written_and_not_answered_owes_its_hold_or_its_input(path: str, body: bytes, all_of_it: bool):
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            await unanswered(stage, post(path, body))
            record = await stage.settled()
            assert record.reserved_nano > 0
            assert 0 < record.cost_nano <= record.reserved_nano
            assert (record.cost_nano == record.reserved_nano) is all_of_it
            assert record.usage.source == ("held" if all_of_it else "metered")
            assert record.usage.why == "no_answer"
            assert stage.holds.settled == [(record.request_id, record.cost_nano)]
            assert stage.holds.in_flight == 0

    play(scene())


def test_without_a_budget_it_is_what_would_have_been_held():
    async def scene() -> None:
        async with Stage() as stage:
            await unanswered(stage, post("/v1/messages", MESSAGE))
            record = await stage.settled()
            assert (record.usage.source, record.reserved_nano) == ("held", 0)
            # 64 tokens of output at $15 a million, and the input at its upper bound.
            assert record.cost_nano > 64 * 15_000

    play(scene())


def test_who_hangs_up_before_the_head_of_a_whole_answer_owes_the_hold():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            await stage.asked(client, post("/v1/messages", MESSAGE))
            client.close()
            record = await stage.settled()
            assert (record.outcome, record.cost_nano) == ("client_gone", record.reserved_nano)

    play(scene())


def _has_head(one: object) -> bool:
    return isinstance(one, Exchange) and one.records.current.provider_request_id == "req_p"


def test_an_error_of_the_provider_owes_nothing_also_while_its_body_is_waited_for():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            refusal = answer(b'{"error":{}}', status="401 Unauthorized", extra="Request-Id: req_p\r\n")
            await provider.send(refusal[:-4])
            await stage.eventually(lambda: any(_has_head(one) for one in stage.pod.exchanges))
            client.close()
            assert (await stage.settled()).cost_nano == 0

    play(scene())


def test_what_was_never_written_owes_nothing():
    async def scene() -> None:
        async with Stage(rows=(budget(),), provider_fields={"base_url": "http://127.0.0.1:1"}) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            assert (await client.response()).status == 502
            assert (await stage.settled()).cost_nano == 0

    play(scene())


@pytest.mark.parametrize("trick", ["read_and_close", "read_and_close_at_once", "read_and_reset_at_once"])
def test_no_request_is_executed_twice_nor_without_a_record(trick: str):
    """The first request of each connection is answered; the second is read, worked on, and dropped."""
    most = 6

    async def scene() -> None:
        async with HostileProvider(trick) as provider, Stage(provider_fields={"base_url": provider.url}) as stage:
            statuses: list[int] = []
            for _ in range(most):
                client = await stage.client()
                await client.send(post("/v1/messages", MESSAGE))
                statuses.append((await client.response()).status)
            await stage.settled(most)
            assert statuses == [200, 502] * (most // 2)
            assert len(provider.requests) == most
            owing = [record for record in stage.journal.settled if record.cost_nano > 0]
            assert len(owing) == len({record.request_id for record in owing}) == most

    play(scene())
