"""A hundred broken answers of every kind under a $1 budget: what is booked against what the provider bills.

The provider of these scenes knows what it made: `WORDS` tokens that show, and for a model that hides its reasoning as
many again that do not. Its bill is compared with what was booked for all of them together, and no booking of a model
that hides may be above what was held.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from dataplane.core.usage import UsageClass, UsageRecord
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import PRICES, Peer, Stage, play, post

WORDS = 400  # tokens of an answer: four letters each
HUNDRED = 100
SHOWS, HIDES = "gpt-4.1", "gpt-5.5"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
TEXT = "word" * WORDS


def chunk(**said: object) -> bytes:
    data = f"data: {json.dumps(said)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


CONTENT = chunk(id="c", choices=[{"index": 0, "delta": {"content": TEXT}}])
FINISHED = chunk(id="c", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
DONE = b"e\r\ndata: [DONE]\n\n\r\n"
Breaks = Callable[[Stage, Peer, Peer], Awaitable[None]]


async def hangs_up(stage: Stage, client: Peer, provider: Peer) -> None:
    await provider.send(HEAD + CONTENT)
    await client.until(b"word")
    client.close()


async def breaks_off(stage: Stage, client: Peer, provider: Peer) -> None:
    await provider.send(HEAD + CONTENT)
    await client.until(b"word")
    provider.close()


async def is_cut(stage: Stage, client: Peer, provider: Peer) -> None:
    await provider.send(HEAD + CONTENT)
    await client.until(b"word")
    stage.configuration.stop("vk_1")


async def falls_silent(stage: Stage, client: Peer, provider: Peer) -> None:
    await provider.send(HEAD + CONTENT)
    await client.until(b"word")
    stage.time_passes(601)


async def tells_nothing(stage: Stage, client: Peer, provider: Peer) -> None:
    await provider.send(HEAD + CONTENT + FINISHED + DONE + END)


async def tells_zeros(stage: Stage, client: Peer, provider: Peer) -> None:
    usage = chunk(id="c", choices=[], usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
    await provider.send(HEAD + CONTENT + FINISHED + usage + DONE + END)


async def tells_strings(stage: Stage, client: Peer, provider: Peer) -> None:
    usage = chunk(id="c", choices=[], usage={"prompt_tokens": "9", "completion_tokens": "400"})
    await provider.send(HEAD + CONTENT + FINISHED + usage + DONE + END)


BROKEN: list[Breaks] = [hangs_up, breaks_off, falls_silent, tells_nothing, tells_zeros, tells_strings]


def request(model: str) -> bytes:
    asked = {"model": model, "stream": True, "max_tokens": 2_000, "messages": [{"role": "user", "content": "hi"}]}
    return post("/v1/chat/completions", json.dumps(asked).encode())


def output_rate(model: str) -> int:
    """Nano-dollars a token."""
    price = next(price for price in PRICES.prices if model.startswith(price.model))
    return price.cards[0].tiers[0].rates_pico[UsageClass.OUTPUT] // 1_000


async def broken(stage: Stage, model: str, breaks: Breaks) -> UsageRecord | None:
    """One of them; None: the budget refused it."""
    done = len(stage.journal.settled)
    client = await stage.client()
    await client.send(request(model))
    provider = asyncio.ensure_future(stage.provider())
    refused = asyncio.ensure_future(stage.settled(done + 1))
    first, _ = await asyncio.wait({provider, refused}, return_when=asyncio.FIRST_COMPLETED)
    if provider not in first:
        provider.cancel()
        client.close()
        return None
    asked = provider.result()
    await asked.request()
    await breaks(stage, client, asked)
    record = await refused
    client.close()
    asked.close()
    return record


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_what_shows_is_booked_as_the_provider_bills_it(breaks: Breaks):
    async def scene() -> None:
        async with Stage(rows=(budget(limit_nano=DOLLAR),)) as stage:
            stage.holds.left["bud_1"] = DOLLAR
            records = [record for _ in range(HUNDRED) if (record := await broken(stage, SHOWS, breaks)) is not None]
            assert len(records) == HUNDRED
            bill = len(records) * WORDS * output_rate(SHOWS)
            booked = sum(record.cost_nano for record in records)
            assert booked == pytest.approx(bill, rel=0.1)
            assert booked <= DOLLAR
            assert {str(record.usage.source) for record in records} == {"metered"}
            assert all(record.usage.why for record in records)

    play(scene())


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_what_is_hidden_is_never_booked_above_what_was_held_nor_below_what_shows(breaks: Breaks):
    async def scene() -> None:
        async with Stage(rows=(budget(limit_nano=DOLLAR),)) as stage:
            stage.holds.left["bud_1"] = DOLLAR
            records = [record for _ in range(HUNDRED) if (record := await broken(stage, HIDES, breaks)) is not None]
            assert len(records) >= 30
            for record in records:
                assert WORDS * output_rate(HIDES) <= record.cost_nano <= record.reserved_nano
                assert record.usage.why
            assert sum(record.cost_nano for record in records) <= DOLLAR

    play(scene())


def test_a_cut_books_what_was_seen():
    async def scene() -> None:
        async with Stage(rows=(budget(limit_nano=DOLLAR),)) as stage:
            stage.holds.left["bud_1"] = DOLLAR
            record = await broken(stage, SHOWS, is_cut)
            assert record is not None
            assert (record.usage.why, record.outcome) == ("cut", "cut")
            assert record.cost_nano == pytest.approx(WORDS * output_rate(SHOWS), rel=0.1)

    play(scene())
