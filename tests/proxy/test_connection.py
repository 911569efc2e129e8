"""The client's side of the wire: what is refused, what is waited for, and what comes after."""

from __future__ import annotations

import json

import pytest

from dataplane.proxy.client.connection import ClientConnection
from dataplane.proxy.client.conversation import Waiting
from tests.proxy.corpus import ACCEPTED, CASES, READ, Case
from tests.proxy.stage import (
    ANSWER,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    TOKEN,
    Response,
    Script,
    Stage,
    answer,
    chunk,
    get,
    mint,
    play,
    post,
)

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"


def code(response: Response) -> str:
    return str(json.loads(response.body)["error"]["code"])


def check(case: Case, response: Response) -> None:
    if case.verdict == READ:
        assert (response.status, code(response)) == (400, "missing_model"), response.body
    else:
        assert response.status == case.verdict, response.body
        assert code(response) == "bad_request"
        assert response.headers["connection"] == "close"
        assert response.headers["x-langwatch-request-id"].startswith("req_")


def test_every_request_of_the_corpus_gets_its_verdict_and_nothing_behind_an_error_is_parsed():
    async def scene() -> None:
        async with Stage() as stage:
            for case in CASES:
                client = await stage.client()
                await client.send(case.raw + SMUGGLED)
                check(case, await client.response())
                if case.verdict == READ:
                    client.abort()
                else:
                    client.writer.write_eof()
                    assert await client.closed(), case.name
            await stage.eventually(lambda: not stage.telemetry.open)
            smuggled = [record for record in stage.telemetry.records if record.refusal_code == "not_found"]
            assert len(smuggled) <= len(ACCEPTED)  # behind an accepted request, one of its own

    play(scene())


def test_one_byte_at_a_time_changes_no_verdict():
    async def scene() -> None:
        async with Stage() as stage:
            for case in CASES:
                client = await stage.client()
                await stage.eventually(lambda: len(stage.pod.connections) == 1)
                (connection,) = stage.pod.connections
                for at in range(len(case.raw)):
                    connection.data_received(case.raw[at : at + 1])
                check(case, await client.response())
                client.abort()
                await stage.eventually(lambda: not stage.pod.connections)

    play(scene())


def test_a_connection_serves_one_request_after_another():
    script = Script()
    for _ in range(3):
        script.client(post("/v1/messages", MESSAGE)).upstream_expects(MESSAGE).upstream(answer(ANSWER))
        script.client_expects(b"HTTP/1.1 200 OK", ANSWER)
    stage = script.play()
    assert [record.outcome for record in stage.telemetry.records] == ["ok"] * 3
    assert stage.nobody_called()  # one connection to the provider was enough


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE) * 3 + get("/api/hello", token=None))
            provider = await stage.provider()
            for number in range(3):
                await provider.request()
                assert stage.telemetry.most_open == 1
                await provider.send(answer(b"%d" % number))
            for number in range(3):
                assert (await client.response()).body == b"%d" % number
            assert (await client.response()).body == b'{"message":"hello"}'

    play(scene())


def test_a_flood_of_pipelined_requests_is_left_in_the_socket():
    async def scene() -> None:
        async with Stage(limits={"pipelined_bytes": 4096}) as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            (connection,) = stage.pod.connections
            client.writer.write(post("/v1/messages", MESSAGE) * 100_000)
            await stage.eventually(lambda: not connection._reading)
            assert len(connection._next) <= 4096 + 256 * 1024
            await provider.send(answer(ANSWER))
            assert (await client.response()).body == ANSWER

    play(scene())


def test_a_client_that_reads_no_answers_gets_no_further_ones():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            (connection,) = await _connections(stage)
            client.writer.write(get("/", token=None) * 100_000)
            await stage.eventually(lambda: connection.waiting is Waiting.CLIENT)
            answered = len(stage.telemetry.records)
            assert connection._transport.get_write_buffer_size() < 256 * 1024
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(answered + 10):
                assert (await client.response()).status == 200

    play(scene())


def test_who_never_reads_is_given_up():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            (connection,) = await _connections(stage)
            client.writer.write(get("/", token=None) * 100_000)
            await stage.eventually(lambda: connection.waiting is Waiting.CLIENT)
            stage.time_passes(300)
            await stage.eventually(lambda: not stage.pod.connections)

    play(scene())


def test_a_body_may_come_in_chunks():
    wire = chunk(MESSAGE[:10]) + chunk(MESSAGE[10:]) + b"0\r\n\r\n"
    raw = post("/v1/messages").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + wire
    length = b"content-length: %d" % len(MESSAGE)
    Script().client(raw).upstream_expects(MESSAGE, length).upstream(answer(ANSWER)).client_expects(ANSWER).play()


def test_a_client_that_waits_for_100_gets_it_once_its_key_is_known():
    head = post("/v1/messages", MESSAGE, headers={"Expect": "100-continue"})[: -len(MESSAGE)]
    script = Script().client(head).client_expects(b"HTTP/1.1 100 Continue\r\n\r\n").client(MESSAGE)
    script.upstream_expects(MESSAGE).upstream(answer(ANSWER)).client_expects(b"HTTP/1.1 200 OK").play()


def test_a_client_that_waits_for_100_with_a_bad_key_sends_nothing():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            raw = post("/v1/messages", MESSAGE, token="lw_vk_live_WRONG", headers={"Expect": "100-continue"})
            await client.send(raw[: -len(MESSAGE)])
            response = await client.response()
            assert response.status == 401
            assert response.headers["connection"] == "close"

    play(scene())


def test_a_declared_length_beyond_the_limit_is_refused_before_the_key_is_looked_at():
    async def scene() -> None:
        async with Stage(limits={"body_bytes": 1000}) as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", b"x" * 1001, token=None))
            response = await client.response()
            assert (response.status, json.loads(response.body)["error"]["type"]) == (413, "request_too_large")
            assert code(response) == "payload_too_large"

    play(scene())


def test_chunks_beyond_the_limit_are_refused_while_they_come():
    async def scene() -> None:
        async with Stage(limits={"body_bytes": 1000}) as stage:
            client = await stage.client()
            await client.send(post("/v1/messages").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
            await client.send(chunk(b"x" * 900) + chunk(b"x" * 200))
            assert (await client.response()).status == 413
            assert stage.nobody_called()

    play(scene())


def test_many_tiny_chunks_cost_their_sender_the_request():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
            await client.send(b"1\r\nx\r\n" * 600_000)
            assert (await client.response()).status == 400

    play(scene())


def test_a_client_without_a_key_cannot_make_the_pod_hold_its_body():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.known_above = {}
            client = await stage.client()
            (connection,) = await _connections(stage)
            # the key is well-formed but unknown: the pod asks, and meanwhile the body keeps coming
            waiting = stage.configuration.learn

            async def slow(public_id: str) -> bool:
                await stage.eventually(lambda: not connection._reading)
                assert connection._body_bytes < 1_000_000
                return await waiting(public_id)

            stage.configuration.learn = slow  # type: ignore[method-assign]
            client.writer.write(post("/v1/messages", b"x" * 20_000_000, token=mint(7)[0]))
            assert (await client.response()).status == 401

    play(scene())


async def _connections(stage: Stage) -> list[ClientConnection]:
    await stage.eventually(lambda: bool(stage.pod.connections))
    return list(stage.pod.connections)


def test_a_refusal_reaches_a_client_that_is_still_sending():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            client.writer.write(post("/v1/messages", b"x" * 8_000_000, token="lw_vk_live_WRONG"))
            response = await client.response()
            assert response.status == 401
            assert response.headers["connection"] == "close"
            await client.writer.drain()

    play(scene())


def test_a_slow_head_is_408():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(b"POST /v1/messages HTTP/1.1\r\nHo")
            (connection,) = await _connections(stage)
            await stage.eventually(lambda: connection.waiting is Waiting.HEAD)
            stage.time_passes(9)
            assert not stage.telemetry.records
            await client.send(b"st: gateway.test\r\n")  # a byte now and then buys no time
            stage.time_passes(1)
            response = await client.response()
            assert response.status == 408
            client.close()

    play(scene())


def test_a_body_must_come_at_a_kilobyte_per_second():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            (connection,) = await _connections(stage)
            await client.send(post("/v1/messages", b"x" * 100_000)[:-99_000])
            await stage.eventually(lambda: connection.waiting is Waiting.BODY)
            stage.time_passes(29)
            await client.send(b"x" * 40_000)
            await stage.eventually(lambda: connection._body_bytes > 40_000)
            stage.time_passes(29)
            assert not stage.telemetry.records
            await client.send(b"x" * 10)
            stage.time_passes(2)
            response = await client.response()
            assert response.status == 408

    play(scene())


def test_an_idle_connection_is_closed_and_a_running_one_is_not():
    async def scene() -> None:
        async with Stage() as stage:
            idle, running = await stage.client(), await stage.client()
            provider = await stage.asked(running, post("/v1/messages", MESSAGE))
            stage.time_passes(80)
            assert await idle.closed()
            await provider.send(answer(ANSWER))
            assert (await running.response()).body == ANSWER

    play(scene())


def test_one_connection_too_many_is_told_so():
    async def scene() -> None:
        async with Stage(limits={"connections": 2}) as stage:
            first, second = await stage.client(), await stage.client()
            third = await stage.client()
            response = await third.response()
            assert (response.status, code(response)) == (503, "overloaded")
            assert await third.closed()
            first.abort()
            second.abort()

    play(scene())


def test_one_exchange_too_many_is_told_so_but_probes_are_answered():
    async def scene() -> None:
        async with Stage(limits={"exchanges": 1}) as stage:
            busy = await stage.client()
            provider = await stage.asked(busy, post("/v1/messages", MESSAGE))
            other = await stage.client()
            await other.send(post("/v1/messages", MESSAGE))
            response = await other.response()
            assert (response.status, code(response)) == (503, "overloaded")
            assert response.headers["retry-after"] == "1"
            await other.send(get("/healthz", token=None))
            assert (await other.response()).status == 200
            await provider.send(answer(ANSWER))
            assert (await busy.response()).status == 200

    play(scene())


def test_head_is_answered_without_a_body():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            for path in ("/api/hello", "/healthz", "/v1/models"):
                await client.send(get(path, method="HEAD"))
                response = await client.response("HEAD")
                assert response.status == 200
                assert int(response.headers["content-length"]) > 0
            await client.send(get("/api/hello"))
            assert (await client.response()).body == b'{"message":"hello"}'

    play(scene())


def test_an_http10_client_gets_a_plain_body_that_ends_with_the_connection():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(
                client, post("/v1/messages", STREAMED_MESSAGE).replace(b"HTTP/1.1", b"HTTP/1.0")
            )
            await provider.send(STREAM_HEAD + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n") + b"0\r\n\r\n")
            response = await client.response()
            assert "transfer-encoding" not in response.headers
            assert response.body == b"data: 1\n\ndata: 2\n\n"

    play(scene())


def test_an_http10_client_may_keep_its_connection_where_the_length_is_known():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            raw = post("/v1/messages", MESSAGE, headers={"Connection": "keep-alive"}).replace(b"HTTP/1.1", b"HTTP/1.0")
            provider = await stage.asked(client, raw)
            await provider.send(answer(ANSWER))
            response = await client.response()
            assert response.headers["connection"] == "keep-alive"
            await client.send(raw)
            await provider.request()
            await provider.send(answer(ANSWER))
            assert (await client.response()).body == ANSWER

    play(scene())


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_connection_close_is_honoured(version: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            raw = get("/api/hello", headers={"Connection": "close"}).replace(b"HTTP/1.1", version)
            await client.send(raw)
            response = await client.response()
            assert response.headers["connection"] == "close"
            assert await client.closed()

    play(scene())


def test_a_client_that_leaves_before_the_pipeline_has_begun_leaves_nothing_open():
    async def scene() -> None:
        async with Stage() as stage:
            await stage.client()
            (connection,) = await _connections(stage)
            connection.data_received(post("/v1/messages", MESSAGE))
            connection.connection_lost(None)
            record = await stage.settled()
            assert record.outcome == "client_gone"
            assert stage.nobody_called()
            assert TOKEN not in repr(record)

    play(scene())
