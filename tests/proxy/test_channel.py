"""How an answer ends: at the client's pace, by a hang-up, by a break, by the clock; and what is recorded each time."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest

from dataplane.core.usage import UsageClass
from dataplane.core.waits import Wait
from dataplane.proxy.attempt import Attempt
from dataplane.proxy.channel import Channel
from dataplane.proxy.client.conversation import Waiting
from dataplane.proxy.client.memory import NO_HEAD
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.heads import RequestHead
from dataplane.proxy.provider.connection import Response, UpstreamConnection
from tests.proxy.floods import stuck, write_on
from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Peer,
    Script,
    Stage,
    answer,
    chunk,
    play,
    post,
)

COMPLETED = (
    b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_1","model":"gpt-5.5",'
    b'"usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7}}}\n\n'
)
RESPONSES_REQUEST = b'{"model":"gpt-5.5","stream":true,"input":"hi"}'


async def streaming(stage: Stage, events: int = 3) -> tuple[Peer, Peer]:
    """A client in the middle of a stream, and its provider."""
    client = await stage.client()
    provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
    await provider.send(STREAM_HEAD + b"".join(chunk(each) for each in EVENTS[:events]))
    if events:
        await client.until(EVENTS[events - 1])
    else:
        await client.until(b"\r\n\r\n")
    return client, provider


def test_a_slow_client_slows_the_provider_and_memory_stays_flat():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await provider.send(STREAM_HEAD)
            piece = chunk(b": " + b"x" * 65_000 + b"\n\n")
            progress: list[int] = []
            flooding = asyncio.ensure_future(write_on(provider, piece, 400, progress))
            (connection,) = stage.pod.connections
            transport = connection._transport
            await stuck(flooding, progress)
            assert not flooding.done()
            assert transport.get_write_buffer_size() < 1_000_000
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            response = asyncio.ensure_future(client.response())
            await flooding
            await provider.send(b"0\r\n\r\n")
            assert (await response).body == (b": " + b"x" * 65_000 + b"\n\n") * 400

    play(scene())


def test_a_client_that_hangs_up_stops_its_provider_and_pays_for_what_it_saw():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage)
            client.close()
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.usage.source) == ("client_gone", "metered")
            assert record.usage.units[UsageClass.INPUT] == 12
            assert record.usage.units[UsageClass.OUTPUT] >= 1
            assert record.cost_nano > 0

    play(scene())


def test_a_client_that_hangs_up_before_the_answer_pays_for_the_input():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            client.close()
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.usage.source) == ("client_gone", "metered")
            assert record.usage.units[UsageClass.INPUT] > 0
            assert stage.journal.settled == [record]

    play(scene())


def test_a_client_that_hangs_up_after_the_last_event_was_served():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/responses", RESPONSES_REQUEST))
            await provider.send(STREAM_HEAD + chunk(COMPLETED))
            await client.until(COMPLETED)
            assert [record.outcome for record in stage.journal.settled] == ["ok"]
            client.close()
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.usage.source) == ("ok", "provider")
            assert record.usage.units == {"input": 5, "output": 2}

    play(scene())


@pytest.mark.parametrize("chunked", [True, False])
def test_the_record_is_written_before_the_last_bytes_leave(chunked: bool):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            (connection,) = stage.pod.connections
            written: list[bytes] = []
            at_settling: list[bytes] = []
            write = connection.write

            def noting(data: bytes) -> None:
                written.append(data)
                write(data)

            connection.write = noting  # type: ignore[method-assign]
            stage.journal.watch = lambda record: at_settling.append(b"".join(written))
            whole = b"".join([chunk(ANSWER[:50]), chunk(ANSWER[50:]), b"0\r\n\r\n"]) if chunked else ANSWER
            head = STREAM_HEAD if chunked else answer(ANSWER)[: -len(ANSWER)]
            await provider.send(head + whole[:-4])
            await client.until(ANSWER[:20])
            assert not stage.journal.settled
            await provider.send(whole[-4:])
            await stage.settled()
            assert len(stage.journal.settled) == 1
            (before,) = at_settling
            assert not before.endswith(whole[-4:])
            assert b"".join(written).endswith(whole[-4:])

    play(scene())


def test_a_stream_that_breaks_off_ends_with_the_dialects_error_event():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage)
            provider.close()
            rest = await client.until(b"0\r\n\r\n")
            assert b"event: error\ndata: " in rest
            assert b'"provider_error"' in rest
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("failed", "provider_error")
            assert record.usage.units[UsageClass.INPUT] == 12

    play(scene())


def test_a_stream_that_breaks_off_inside_a_chunk_still_ends_readably():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            whole = chunk(EVENTS[0]) + chunk(EVENTS[1])
            await provider.send(STREAM_HEAD + whole[:-30])
            await client.until(b"content_block_start")
            provider.close()
            response_rest = await client.until(b"0\r\n\r\n")
            assert b"\n\nevent: error\n" in response_rest

    play(scene())


def test_a_stream_that_breaks_off_after_its_last_event_is_whole():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(STREAM_HEAD + b"".join(chunk(each) for each in EVENTS))
            provider.close()
            response = await client.response()
            assert response.complete
            assert response.body == b"".join(EVENTS)
            assert (await stage.settled()).outcome == "ok"

    play(scene())


def test_a_plain_answer_that_breaks_off_is_not_passed_off_as_whole():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER)[:-10])
            await client.until(b"msg_1")
            provider.close()
            rest = await client.rest()
            assert not rest.endswith(ANSWER[-10:])
            assert (await stage.settled()).outcome == "failed"

    play(scene())


def test_a_provider_that_breaks_off_before_answering_is_a_502_in_the_dialect():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            provider.close()
            response = await client.response()
            assert response.status == 502
            assert json.loads(response.body)["error"]["code"] == "provider_error"
            record = await stage.settled()
            assert (record.outcome, record.http_status, record.usage.source) == ("failed", 502, "held")
            assert record.usage.why == "no_answer"
            assert record.cost_nano > record.usage.units[UsageClass.INPUT] * 3_000
            assert len(stage.journal.admitted) == len(stage.journal.settled) == 1

    play(scene())


@pytest.mark.parametrize(
    "spoiled",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"<html>",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    ],
)
def test_a_provider_that_breaks_http_is_a_502(spoiled: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(spoiled)
            if spoiled == b"<html>":
                provider.close()
            response = await client.response()
            assert response.status == 502
            assert (await stage.settled()).outcome == "failed"

    play(scene())


def _answers(one: object) -> bool:
    return isinstance(one, Exchange) and one.channel is not None


BAD_CHUNKS = [b"zz\r\n{}\r\n", b"2\r\n{}{}\r\n", b"2\n{}\r\n", b"2;" + b"x" * 300, b"0\r\nnot a trailer\r\n\r\n"]
JSON_HEAD = STREAM_HEAD.replace(b"text/event-stream", b"application/json")


@pytest.mark.parametrize("asked", [MESSAGE, STREAMED_MESSAGE], ids=["whole", "stream"])
@pytest.mark.parametrize("bad", BAD_CHUNKS)
def test_a_bad_first_chunk_in_the_same_read_as_the_head_is_a_502_in_the_dialect(asked: bytes, bad: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", asked))
            await provider.send((STREAM_HEAD if asked is STREAMED_MESSAGE else JSON_HEAD) + bad)
            response = await client.response()
            assert (response.status, response.complete) == (502, True)
            assert json.loads(response.body)["error"]["code"] == "provider_error"
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.http_status) == ("failed", 502)
            assert record.cost_nano > 0  # it said 200: it may have worked on it
            again = await stage.asked(client, post("/v1/messages", MESSAGE))  # our connection to the client stays
            await again.send(answer(ANSWER))
            assert (await client.response()).body == ANSWER

    play(scene())


@pytest.mark.parametrize("end", ["a bad chunk", "a close", "silence", "a cut"])
def test_an_answer_in_one_piece_that_fails_before_its_first_byte_is_an_error_in_the_dialect(end: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(JSON_HEAD)
            await stage.eventually(lambda: any(_answers(each) for each in stage.pod.exchanges))
            match end:
                case "a bad chunk":
                    await provider.send(b"zz\r\n")
                case "a close":
                    provider.close()
                case "silence":
                    stage.time_passes(600)
                case "a cut":
                    stage.configuration.stop("vk_1")
            response = await client.response()
            assert response.complete
            code = json.loads(response.body)["error"]["code"]
            expected = {"silence": (504, "upstream_timeout"), "a cut": (401, "virtual_key_revoked")}
            assert (response.status, code) == expected.get(end, (502, "provider_error"))

    play(scene())


def test_a_broken_chunk_in_the_middle_ends_the_stream_with_an_error_event():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage)
            await provider.send(b"zz\r\n")
            assert b"event: error" in await client.until(b"0\r\n\r\n")
            assert await provider.closed()

    play(scene())


def test_who_was_told_in_words_that_a_stream_broke_may_ask_again_on_the_same_connection():
    """The answer ended as HTTP: a client that keeps its connection would meet a close with its next request."""

    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage)
            provider.close()
            await client.until(b"0\r\n\r\n")
            again = await stage.asked(client, post("/v1/messages", MESSAGE))
            await again.send(STREAM_HEAD + chunk(EVENTS[0]) + b"0\r\n\r\n")
            await client.until(EVENTS[0])

    play(scene())


def test_an_error_event_inside_a_200_is_the_providers_error():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage)
            failed = (
                b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
            )
            await provider.send(chunk(failed) + b"0\r\n\r\n")
            assert failed in await client.until(b"0\r\n\r\n")
            assert (await stage.settled()).outcome == "provider_error"

    play(scene())


def test_no_first_byte_in_time_is_a_504():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            stage.time_passes(599)
            assert stage.telemetry.open == 1
            stage.time_passes(1)
            response = await client.response()
            assert (response.status, json.loads(response.body)["error"]["code"]) == (504, "upstream_timeout")
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("failed", "upstream_timeout")
            assert record.usage.units[UsageClass.INPUT] > 0  # it may well have been working

    play(scene())


def test_a_provider_and_a_model_may_take_longer_or_less_than_the_pod_says():
    waits = (Wait("claude-opus-*", 1800, 900), Wait("*", 20, 30))

    async def scene() -> None:
        async with Stage(provider_fields={"waits": waits}) as stage:
            client = await stage.client()
            await stage.asked(client, post("/v1/messages", MESSAGE.replace(b"claude-sonnet", b"claude-opus")))
            stage.time_passes(1799)
            assert stage.telemetry.open == 1
            stage.time_passes(1)
            response = await client.response()
            error = json.loads(response.body)["error"]
            assert (response.status, error["code"]) == (504, "upstream_timeout")
            assert "nothing came within 1800 s; an admin can change that for the provider" in error["message"]
            assert "AIGATEWAY" not in error["message"]
            assert response.headers["x-should-retry"] == "false"
            other = await stage.client()
            await stage.asked(other, post("/v1/messages", MESSAGE))
            stage.time_passes(20)
            assert (await other.response()).status == 504

    play(scene())


def test_a_provider_may_be_silent_for_as_long_as_its_row_says():
    async def scene() -> None:
        async with Stage(provider_fields={"waits": (Wait("*", 0, 1200),)}) as stage:
            client, _ = await streaming(stage)
            stage.time_passes(1199)
            assert stage.telemetry.open == 1
            stage.time_passes(1)
            assert b"nothing came for 1200 s" in await client.until(b"0\r\n\r\n")

    play(scene())


def test_a_stream_that_falls_silent_is_ended_with_an_event():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage)
            stage.time_passes(200)
            await provider.send(chunk(b": still there\n\n"))
            await client.until(b"still there")
            stage.time_passes(599)
            assert stage.telemetry.open == 1
            stage.time_passes(1)
            assert b'"upstream_timeout"' in await client.until(b"0\r\n\r\n")
            assert await provider.closed()

    play(scene())


def test_a_client_that_stops_reading_is_given_up_after_a_while():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            (connection,) = stage.pod.connections
            while connection.waiting is not Waiting.CLIENT:
                provider.writer.write(chunk(b": " + b"x" * 65_000 + b"\n\n"))
                await asyncio.sleep(0)
            stage.time_passes(299)
            assert stage.telemetry.open == 1
            stage.time_passes(1)
            record = await stage.settled()
            assert record.outcome == "client_gone"

    play(scene())


@pytest.mark.parametrize("size", [40_000, 5_000_000])
def test_the_request_body_is_forgotten_once_the_provider_has_answered(size: int):
    def held() -> list[bytes]:
        referents = (thing for holder in gc.get_objects() for thing in gc.get_referents(holder))
        # By type, not isinstance: that would wake other tests' lazy objects.
        return [thing for thing in referents if type(thing) is bytes and b"#" * 30_000 in thing]

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", STREAMED_MESSAGE[:-1] + b',"system":"' + b"#" * size + b'"}'))
            provider = await stage.provider()
            await provider.request()
            await provider.send(STREAM_HEAD + chunk(EVENTS[0]))
            await client.until(EVENTS[0])
            assert held() == []

    play(scene())


def test_one_conversation_after_a_failed_one_starts_afresh():
    (
        Script()
        .client(post("/v1/messages", MESSAGE))
        .upstream_expects(MESSAGE)
        .upstream_closes()
        .client_expects(b"HTTP/1.1 502", b"}")
        .client(post("/v1/messages", MESSAGE))
        .upstream_expects(MESSAGE)
        .upstream(answer(ANSWER))
        .client_expects(b"HTTP/1.1 200", ANSWER)
        .play()
    )


@pytest.mark.parametrize("end", ["whole", "hung up", "cut", "broken off", "unanswered", "refused"])
def test_an_exchange_leaves_nothing_for_the_garbage_collector(end: str):
    def alive() -> list[object]:
        things = gc.get_objects()
        return [thing for thing in things if issubclass(type(thing), (Exchange, Attempt, Channel, Response))] + [
            thing for thing in things if issubclass(type(thing), UpstreamConnection) and not thing.alive
        ]

    def remembered() -> list[object]:
        return [thing for thing in gc.get_objects() if type(thing) is RequestHead and thing is not NO_HEAD.head]

    async def scene() -> None:
        async with Stage() as stage:
            gc.collect()
            gc.freeze()  # what other tests left is not looked at
            gc.disable()
            try:
                if end == "refused":
                    client = await stage.client()
                    await client.send(post("/v1/messages", MESSAGE, token="lw_vk_live_WRONG"))
                    await client.response()
                elif end == "unanswered":
                    client = await stage.client()
                    (await stage.asked(client, post("/v1/messages", MESSAGE))).close()
                    await client.response()
                else:
                    client, provider = await streaming(stage)
                    if end == "whole":
                        await provider.send(b"0\r\n\r\n")
                        await client.until(b"0\r\n\r\n")
                    elif end == "cut":
                        stage.configuration.stop("vk_1")
                    elif end == "broken off":
                        provider.abort()
                    else:
                        client.close()
                await stage.settled()
                await asyncio.sleep(0.01)
                assert alive() == []
                client.close()  # what its connection remembers goes with it
                await stage.eventually(lambda: not stage.pod.connections)
                await asyncio.sleep(0.01)
                assert remembered() == []
            finally:
                gc.enable()
                gc.unfreeze()

    play(scene())


def test_a_cut_waits_for_the_end_of_the_event_that_is_under_way():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage, 2)
            await provider.send(chunk(EVENTS[2][:30]))
            await client.until(EVENTS[2][:30])
            stage.configuration.stop("vk_1")
            await provider.send(chunk(EVENTS[2][30:] + EVENTS[2]))
            rest = await client.until(b"0\r\n\r\n")
            assert EVENTS[2][30:] in rest
            assert EVENTS[2] not in rest
            assert rest.index(b"event: error\ndata: ") > rest.index(EVENTS[2][30:])
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("cut", "virtual_key_revoked")

    play(scene())


def test_a_cut_does_not_wait_for_ever_for_the_end_of_an_event():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage, 2)
            await provider.send(chunk(EVENTS[2][:30]))
            await client.until(EVENTS[2][:30])
            stage.configuration.stop("vk_1")
            assert b"0\r\n\r\n" not in await client.rest()
            assert (await stage.settled()).outcome == "cut"

    play(scene())


def test_a_provider_that_breaks_off_while_a_cut_waits_leaves_the_last_word_to_the_cut():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await streaming(stage, 2)
            await provider.send(chunk(EVENTS[2][:30]))
            await client.until(EVENTS[2][:30])
            stage.configuration.stop("vk_1")
            provider.close()
            assert b"virtual_key_revoked" in await client.until(b"0\r\n\r\n")
            assert (await stage.settled()).refusal_code == "virtual_key_revoked"

    play(scene())
