"""Byte for byte, both ways, in every dialect, however the bytes are cut; a mapped model is the one exception."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest

from tests.core import build
from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Script,
    Stage,
    answer,
    chunk,
    get,
    play,
    post,
)


@dataclass(frozen=True)
class Talk:
    """One request and the stream that answers it, full of what a careless proxy would touch."""

    path: str
    upstream_path: bytes
    body: bytes
    stream: bytes


ODD = b', "zz_unknown": {"b":1.0,"a":1e400}, "text": "\\u00e9 \\ud83d\\ude00  \\/"'

TALKS = {
    "anthropic": Talk(
        "/v1/messages?beta=true",
        b"POST /v1/messages?beta=true HTTP/1.1",
        b'{ "model" : "claude-sonnet-4-5", "max_tokens":9,"stream": true,"messages":[{"role":"system","content":""}]'
        + ODD
        + b" }",
        b"".join(EVENTS) + b"event: zz_unknown\ndata: {not json\n\n: keepalive\r\n\r\n",
    ),
    "responses": Talk(
        "/v1/responses",
        b"POST /v1/responses HTTP/1.1",
        b'{"stream":true,"model":"gpt-5.5","input":[{"type":"reasoning","encrypted_content":"AAA="}]' + ODD + b"}\n",
        b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'
        b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_1","model":"gpt-5.5",'
        b'"usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7}}}\n\n',
    ),
    "chat": Talk(
        "/v1/chat/completions",
        b"POST /v1/chat/completions HTTP/1.1",
        b'{"model":"gpt-4.1","stream":true,"stream_options":{"include_usage":true},"messages":[]' + ODD + b"}",
        b'data: {"id":"1","model":"gpt-4.1","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
        b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":1,"total_tokens":5}}\n\n'
        b"data: [DONE]\n\n",
    ),
    "gemini": Talk(
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        b"POST /v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse HTTP/1.1",
        b'{"contents":[{"parts":[{"text":"hi","thoughtSignature":"AA=="}]}]' + ODD + b"}",
        b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],'
        b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1,"totalTokenCount":4}}\r\n\r\n',
    ),
}


@pytest.mark.parametrize("name", TALKS)
@pytest.mark.parametrize("step", [1, 7, 0])
def test_a_stream_arrives_as_it_was_sent_in_chunks_of_any_size(name: str, step: int):
    talk = TALKS[name]

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post(talk.path, talk.body))
            provider = await stage.provider()
            line, _, body = await provider.request()
            assert line == talk.upstream_path
            assert hashlib.sha256(body).digest() == hashlib.sha256(talk.body).digest()
            pieces = [talk.stream[at : at + step] for at in range(0, len(talk.stream), step)] if step else [talk.stream]
            await provider.send(STREAM_HEAD)
            await provider.send(b"".join(chunk(piece) for piece in pieces) + b"0\r\n\r\n")
            response = await client.response()
            assert hashlib.sha256(response.body).digest() == hashlib.sha256(talk.stream).digest()
            record = await stage.settled()
            assert record.outcome == "ok"
            assert record.priced
            assert record.cost_nano > 0
            assert record.usage.source == "provider"

    play(scene())


@pytest.mark.parametrize("name", TALKS)
def test_segments_that_cut_the_chunks_anywhere_change_nothing(name: str):
    talk = TALKS[name]
    wire = b"".join(chunk(talk.stream[at : at + 50]) for at in range(0, len(talk.stream), 50)) + b"0\r\n\r\n"
    dice = random.Random(name)

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post(talk.path, talk.body))
            for number in range(6):
                if number:
                    await client.send(post(talk.path, talk.body))
                    await provider.request()
                at, everything = 0, STREAM_HEAD + wire
                while at < len(everything):
                    size = dice.choice([1, 1, 2, 3, 40, 200])
                    await provider.send(everything[at : at + size])
                    at += size
                response = await client.response()
                assert response.body == talk.stream
            assert (await stage.settled(6)).outcome == "ok"

    play(scene())


@pytest.mark.parametrize("name", TALKS)
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
def test_a_plain_answer_arrives_as_it_was_sent(name: str, size: int):
    talk = TALKS[name]
    body = random.Random(size).randbytes(size)

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post(talk.path, talk.body))
            await provider.send(answer(body))
            response = await client.response()
            assert response.headers["content-length"] == str(size)
            assert response.body == body

    play(scene())


@pytest.mark.parametrize("sent", ["Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n", ""])
def test_an_answer_has_a_date_be_it_the_providers_or_ours(sent: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER, extra=sent))
            date = parsedate_to_datetime((await client.response()).headers["date"])
            assert int(date.timestamp()) == (784887151 if sent else stage.wall_ms // 1000)

    play(scene())


def test_chunks_pass_with_their_own_framing():
    wire = chunk(EVENTS[0]) + b"00" + chunk(EVENTS[1])
    script = Script().client(post("/v1/messages", STREAMED_MESSAGE)).upstream_expects().upstream(STREAM_HEAD)
    script.client_expects(b"\r\n\r\n").upstream(wire).client_expects(wire).upstream(b"0\r\n\r\n").client_expects(
        b"0\r\n\r\n"
    )
    script.play()


def test_what_stands_in_chunk_extensions_and_trailers_does_not_pass():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(STREAM_HEAD + b"3;leak=one\r\nabc\r\n0;leak=two\r\nX-Leak: three\r\n\r\n")
            response = await client.response()
            assert response.body == b"abc"
            assert b"leak" not in response.wire.lower()

    play(scene())


def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
            await provider.send(b"}")
            provider.close()
            response = await client.response()
            assert (response.body, response.complete) == (b"{}", True)
            assert response.headers["transfer-encoding"] == "chunked"
            await client.send(get("/api/hello"))
            assert (await client.response()).status == 200

    play(scene())


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body_have_none(status: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(f"HTTP/1.1 {status}\r\nrequest-id: r1\r\n\r\n".encode())
            response = await client.response()
            assert response.status == int(status[:3])
            assert response.headers["request-id"] == "r1"
            assert "transfer-encoding" not in response.headers
            await client.send(get("/api/hello"))
            assert (await client.response()).body == b'{"message":"hello"}'

    play(scene())


def test_interim_answers_are_not_the_answer():
    (
        Script()
        .client(post("/v1/messages", MESSAGE))
        .upstream_expects(MESSAGE)
        .upstream(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}"))
        .client_expects(b"HTTP/1.1 200 OK", b"{}")
        .play()
    )


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "429 Too Many Requests", "529 Overloaded"])
def test_a_providers_error_is_passed_on_word_for_word(status: str):
    words = b'{"type":"error","error":{"type":"overloaded_error","message":"prompt is too long: 250000 tokens"}}'

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(words, status=status, extra="retry-after: 7\r\nx-should-retry: true\r\n"))
            response = await client.response()
            assert (response.status, response.body) == (int(status[:3]), words)
            assert response.headers["retry-after"] == "7"
            assert response.headers["x-should-retry"] == "true"
            record = await stage.settled()
            assert (record.outcome, record.http_status, record.cost_nano) == ("provider_error", int(status[:3]), 0)

    play(scene())


def test_an_alias_changes_the_model_and_not_another_byte():
    sent = b'{"max_tokens":9, "metadata":{"model":"fast"},  "model" : "fast" ,"messages":[]}'
    wanted = b'{"max_tokens":9, "metadata":{"model":"fast"},  "model" : "claude-haiku-4-5" ,"messages":[]}'
    stage = (
        Script(rows=(build.alias(),))
        .client(post("/v1/messages", sent))
        .upstream_expects(b"content-length: %d" % len(wanted), wanted)
        .upstream(answer(b"{}"))
        .client_expects(b"X-Langwatch-Model: claude-haiku-4-5", b"{}")
        .play()
    )
    record = stage.telemetry.records[0]
    assert (record.model_requested, record.model) == ("fast", "claude-haiku-4-5")


def test_usage_is_asked_for_when_a_chat_stream_did_not():
    sent = b'{"model":"gpt-4.1","stream":true,"messages":[]}'

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/chat/completions", sent))
            _, _, body = await (await stage.provider()).request()
            assert json.loads(body) == json.loads(sent) | {"stream_options": {"include_usage": True}}

    play(scene())


def test_an_answer_that_is_compressed_in_spite_of_us_passes_as_it_is_and_is_metered_all_the_same():
    stream = b"".join(EVENTS)
    packed = gzip.compress(stream)

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", STREAMED_MESSAGE, headers={"Accept-Encoding": "gzip, br"}))
            provider = await stage.provider()
            _, headers, _ = await provider.request()
            assert headers["accept-encoding"] == "identity"
            await provider.send(STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
            for at in range(0, len(packed), 10):
                await provider.send(chunk(packed[at : at + 10]))
            await provider.send(b"0\r\n\r\n")
            response = await client.response()
            assert response.headers["content-encoding"] == "gzip"
            assert response.body == packed
            record = await stage.settled()
            assert record.usage.units == {"input": 12, "output": 7}

    play(scene())


def test_a_compressed_stream_that_is_a_bomb_is_not_unfolded_and_ends_in_our_words():
    """Nobody can tell what is in there, so nobody gets it."""
    bomb = gzip.compress(b"\0" * 50_000_000)

    async def scene() -> None:
        async with Stage(limits={"body_bytes": 1_000_000}) as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(
                STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + chunk(bomb) + b"0\r\n\r\n"
            )
            response = await client.response()
            assert response.status == 502
            assert "content-encoding" not in response.headers
            assert b"cannot be looked into" in response.body

    play(scene())
