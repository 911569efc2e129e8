"""An answer whose client has gone: figures that are outstanding are read; in the middle the provider is stopped."""

from __future__ import annotations

import json

import pytest

from dataplane.core.usage import UsageClass, Why
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import Stage, play, post

ASKED = json.dumps({"model": "gpt-5.5", "input": "hi", "stream": True, "max_output_tokens": 50_000}).encode()
CHAT = json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(**said: object) -> bytes:
    data = f"event: {said.get('type')}\ndata: {json.dumps(said)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def completed() -> bytes:
    usage = {"input_tokens": 1000, "output_tokens": 30_000, "total_tokens": 31_000}
    return event(type="response.completed", response={"status": "completed", "output": [], "usage": usage})


DELTA = event(type="response.output_text.delta", delta="Done.")
SAID = event(type="response.output_text.done")


def test_figures_that_are_on_their_way_when_the_client_goes_are_waited_for():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/responses", ASKED))
            await provider.send(HEAD + DELTA + SAID)
            await client.until(b"output_text.done")
            client.close()
            await provider.send(completed())
            record = await stage.settled()
            assert (record.outcome, record.usage.source, record.usage.why) == ("ok", "provider", Why.NOTHING)
            assert record.usage.tokens == (1_000, 30_000)
            await provider.closed()

    play(scene())


@pytest.mark.parametrize("how", ["closes", "is silent"])
def test_figures_that_do_not_come_are_not_waited_for_for_ever(how: str):
    async def scene() -> None:
        async with Stage(rows=(budget(),), limits={"reading_on_s": 0.05}) as stage:
            stage.holds.left["bud_1"] = 10 * DOLLAR
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/responses", ASKED))
            await provider.send(HEAD + DELTA + SAID)
            await client.until(b"output_text.done")
            client.close()
            if how == "closes":
                provider.close()
            record = await stage.settled()
            # What it hides may be all that was set aside.
            assert (record.outcome, record.usage.source, record.usage.why) == ("ok", "held", Why.NO_FIGURES)
            assert record.cost_nano == record.reserved_nano > 0

    play(scene())


def test_in_the_middle_the_provider_is_stopped_at_once_and_the_time_it_had_is_charged():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = 10 * DOLLAR
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/responses", ASKED))
            await provider.send(HEAD + DELTA)
            await client.until(b"Done.")
            stage.time_passes(10)
            client.close()
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.usage.source, record.usage.why) == (
                "client_gone",
                "estimated",
                Why.CLIENT_GONE,
            )
            assert 1_000 <= record.usage.units[UsageClass.OUTPUT_REASONING] <= 2_000  # ten seconds of it
            assert 0 < record.cost_nano <= record.reserved_nano

    play(scene())


def test_a_longer_time_is_never_charged_above_what_was_held():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = 10 * DOLLAR
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/responses", ASKED.replace(b"50000", b"500")))
            await provider.send(HEAD + DELTA)
            await client.until(b"Done.")
            stage.time_passes(500)
            client.close()
            record = await stage.settled()
            assert record.usage.source == "estimated"
            assert record.cost_nano == record.reserved_nano > 0

    play(scene())


def chunk(**said: object) -> bytes:
    data = f"data: {json.dumps(said)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


WORD = chunk(id="c", choices=[{"index": 0, "delta": {"content": "Hi"}}], usage=None)
END = chunk(id="c", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None)
FIGURES = chunk(id="c", choices=[], usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7})
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def content(wire: bytes) -> bytes:
    pieces, rest = [], wire
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(pieces)


@pytest.mark.parametrize(
    "asks", [b"", b',"stream_options":{"include_usage":false}', b',"stream_options":{"include_usage":true}']
)
@pytest.mark.parametrize("cut", sorted({*range(0, len(END + FIGURES + DONE), 7), len(END), len(END + FIGURES)}))
def test_usage_that_only_we_asked_for_is_heard_and_taken_out(asks: bytes, cut: int):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/chat/completions", CHAT[:-1] + asks + b"}"))
            rest = END + FIGURES + DONE
            await provider.send(HEAD + WORD + rest[:cut])
            await provider.send(rest[cut:])
            response = await client.response()
            wanted = [WORD, END, *([FIGURES] if b"true" in asks else []), DONE]
            assert response.body == content(b"".join(wanted))
            record = await stage.settled()
            assert (record.usage.units, record.usage.source) == (
                {UsageClass.INPUT: 3, UsageClass.OUTPUT: 4},
                "provider",
            )

    play(scene())


@pytest.mark.parametrize("kind", [b"", b"Content-Type: text/plain\r\n", b"Content-Type: application/json\r\n"])
def test_the_first_bytes_say_that_it_is_a_stream_where_the_head_does_not(kind: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/responses", ASKED))
            await provider.send(b"HTTP/1.1 200 OK\r\n" + kind + b"Transfer-Encoding: chunked\r\n\r\n4\r\nda")
            await provider.send(b"ta\r\n3\r\n: {\r\n")
            rest = b'"type":"response.output_text.delta","delta":"x"}\n\n'
            await provider.send(b"%x\r\n%s\r\n" % (len(rest), rest))
            await client.until(b'"x"}')  # it is passed on as it comes
            await provider.send(completed() + b"0\r\n\r\n")
            record = await stage.settled()
            assert (record.outcome, record.usage.source, record.events) == ("ok", "provider", 2)

    play(scene())


def test_a_json_answer_to_a_request_for_a_stream_stays_one():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/responses", ASKED))
            body = json.dumps(
                {"id": "r", "status": "completed", "usage": {"input_tokens": 3, "output_tokens": 4}}
            ).encode()
            await provider.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert (await client.response()).body == body
            record = await stage.settled()
            assert (record.usage.units, record.usage.source) == (
                {UsageClass.INPUT: 3, UsageClass.OUTPUT: 4},
                "provider",
            )

    play(scene())
