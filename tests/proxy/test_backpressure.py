"""Who is slow makes nobody else wait, and costs no more memory than what was promised."""

from __future__ import annotations

import asyncio

from tests.proxy.floods import stuck, write_on
from tests.proxy.stage import (
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Stage,
    answer,
    chunk,
    play,
    post,
)

MIB = 1024 * 1024
LARGE = MESSAGE[:-2] + b',{"role":"user","content":"' + b"x" * MIB + b'"}]}'


def test_uploads_to_a_provider_that_does_not_read_are_held_up_to_a_bound_and_refused_beyond_it():
    async def scene() -> None:
        async with Stage(limits={"bodies_bytes": 3 * len(LARGE) + 1000}) as stage:
            uploading = []
            for count in range(1, 4):
                client = await stage.client()
                await client.send(post("/v1/messages", LARGE))
                provider = await stage.provider()
                await provider.head()  # and no more of it
                uploading.append((client, provider))
                assert stage.pod.bodies.held == count * len(LARGE)
            client = await stage.client()
            await client.send(post("/v1/messages", LARGE))
            refused = await client.response()
            assert (refused.status, b"overloaded" in refused.body) == (503, True)
            for client, provider in uploading:
                await provider.exactly(len(LARGE))
                await provider.send(answer(b"{}"))
                assert (await client.response()).body == b"{}"
            await stage.eventually(lambda: stage.pod.bodies.held == 0)

    play(scene())


def test_a_client_that_sends_on_while_its_provider_thinks_is_left_unread():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            progress: list[int] = []
            pushing = asyncio.ensure_future(write_on(client, LARGE, 64, progress))
            await stuck(pushing, progress)
            (connection,) = stage.pod.connections
            assert len(connection._next) < MIB
            pushing.cancel()
            await provider.send(answer(b"{}"))
            assert (await client.response()).body == b"{}"

    play(scene())


def test_a_client_that_does_not_read_delays_nobody_else():
    async def scene() -> None:
        async with Stage() as stage:
            slow = await stage.client()
            provider = await stage.asked(slow, post("/v1/messages", STREAMED_MESSAGE))
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await provider.send(STREAM_HEAD)
            progress: list[int] = []
            comment = b": " + b"x" * 65_000 + b"\n\n"
            flooding = asyncio.ensure_future(write_on(provider, chunk(comment), 400, progress))
            await stuck(flooding, progress)

            quick = await stage.client()
            other = await stage.asked(quick, post("/v1/messages", STREAMED_MESSAGE))
            await other.send(STREAM_HEAD)
            for each in EVENTS:  # one by one: each has reached the client before the next leaves
                await other.send(chunk(each))
                await quick.until(each)
            await other.send(b"0\r\n\r\n")
            await quick.until(b"0\r\n\r\n")
            assert not flooding.done()

            slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
            response = asyncio.ensure_future(slow.response())
            await flooding
            await provider.send(b"0\r\n\r\n")
            assert (await response).body == comment * 400

    play(scene())
