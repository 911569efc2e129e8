"""A provider that refuses `stream_options` is asked without it, once it said so; others are not asked twice."""

from __future__ import annotations

import json
from typing import Any

from dataplane.core.usage import UsageClass
from tests.proxy.stage import Peer, Stage, play, post

ASKED = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}], "stream": True}
REFUSED = b'{"error":{"message":"Unrecognized request argument supplied: stream_options","param":"stream_options"}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(**said: object) -> bytes:
    data = f"data: {json.dumps(said)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


ANSWER = (
    HEAD
    + chunk(choices=[{"index": 0, "delta": {"content": "word" * 10}}])
    + chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)


def error(body: bytes) -> bytes:
    return b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


async def sent(stage: Stage, client: Peer, **more: Any) -> tuple[Peer, dict[str, Any]]:
    await client.send(post("/v1/chat/completions", json.dumps(ASKED | more).encode()))
    provider = await stage.provider()
    return provider, json.loads((await provider.request())[2])


def test_it_is_asked_once_more_without_and_the_next_one_at_once_so():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider, body = await sent(stage, client)
            assert body["stream_options"] == {"include_usage": True}
            await provider.send(error(REFUSED))
            provider.close()
            again = await stage.provider()
            assert json.loads((await again.request())[2]) == ASKED
            await again.send(ANSWER)
            assert (await client.response()).status == 200
            record = await stage.settled()
            assert (record.usage.source, record.usage.why, record.attempt) == ("metered", "no_figures", 0)
            again.close()
            _, body = await sent(stage, client)
            assert "stream_options" not in body
            stage.now += 3601
            other = await stage.client()
            _, body = await sent(stage, other)
            assert body["stream_options"] == {"include_usage": True}

    play(scene())


def test_a_provider_that_is_known_to_refuse_them_is_never_asked():
    """And a usage chunk that it sends by itself is the client's: nobody but it has asked for one."""
    own = chunk(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})

    async def scene() -> None:
        async with Stage(provider_fields={"no_stream_options": True}) as stage:
            client = await stage.client()
            provider, body = await sent(stage, client)
            assert body == ASKED
            await provider.send(ANSWER.replace(b"e\r\ndata: [DONE]", own + b"e\r\ndata: [DONE]"))
            response = await client.response()
            assert b'"prompt_tokens": 9' in response.body
            record = await stage.settled()
            assert record.usage.units[UsageClass.INPUT] == 9
            provider.close()
            again = await stage.client()
            _, body = await sent(stage, again, stream_options={"include_usage": True})
            assert body["stream_options"] == {"include_usage": True}  # as the client wrote it

    play(scene())


def test_another_error_passes():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider, _ = await sent(stage, client)
            await provider.send(error(b'{"error":{"message":"no such model"}}'))
            response = await client.response()
            assert (response.status, response.body) == (400, b'{"error":{"message":"no such model"}}')
            assert stage.nobody_called()

    play(scene())


def test_what_the_client_asked_for_itself_is_its_own_to_mend():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider, _ = await sent(stage, client, stream_options={"include_usage": True})
            await provider.send(error(REFUSED))
            response = await client.response()
            assert (response.status, response.body) == (400, REFUSED)
            assert stage.nobody_called()

    play(scene())
