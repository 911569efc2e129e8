"""The way to providers: connections that are kept, replaced, counted, and never trusted after anything odd."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import pytest

from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import ConnectionState, UpstreamConnection
from dataplane.proxy.provider.gate import Destination
from tests.proxy.stage import ANSWER, MESSAGE, PATIENCE_S, Peer, Stage, answer, chunk, play, post

REQUEST = post("/v1/messages", MESSAGE)


async def served(stage: Stage, client: Peer, provider: Peer, body: bytes = ANSWER) -> None:
    await provider.send(answer(body))
    assert (await client.response()).body == body


def test_the_connection_used_last_is_used_next():
    async def scene() -> None:
        async with Stage() as stage:
            clients = [await stage.client() for _ in range(3)]
            providers = [await stage.asked(client, REQUEST) for client in clients]
            for client, provider in zip(clients, providers, strict=True):
                await served(stage, client, provider)
            await clients[0].send(REQUEST)
            await providers[2].request()
            await clients[1].send(REQUEST)
            await providers[1].request()
            assert stage.nobody_called()

    play(scene())


class Wire(asyncio.Transport):
    """Takes what is written."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None: ...
    def abort(self) -> None: ...

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def connected() -> UpstreamConnection:
    connection = UpstreamConnection(Destination("http", "provider.test", 80, True), Limits(), lambda ended: None)
    connection.connection_made(Wire())
    return connection


def test_a_connection_that_is_asked_again_before_the_first_one_has_noticed_its_answer_serves_both():
    async def scene() -> None:
        connection, loop = connected(), asyncio.get_running_loop()
        first = asyncio.ensure_future(connection.ask("POST", b"1", b""))
        await asyncio.sleep(0)
        connection.data_received(answer(b"{}", status="201 Created"))
        loop.call_soon(connection.data_received, answer(b"{}", status="202 Accepted"))
        async with asyncio.timeout(PATIENCE_S):
            second = await connection.ask("POST", b"2", b"")  # `first` has had no turn since it was answered
        assert ((await first).head.status, second.head.status) == (201, 202)

    play(scene())


@pytest.mark.parametrize("stopped_first", [True, False])
def test_who_is_stopped_in_the_turn_of_the_answer_takes_nobody_elses_connection_away(stopped_first: bool):
    async def scene() -> None:
        connection = connected()
        first = asyncio.ensure_future(connection.ask("POST", b"1", b""))
        await asyncio.sleep(0)
        if stopped_first:
            first.cancel()
        connection.data_received(answer(b"{}"))
        first.cancel()
        assert connection.alive is not stopped_first  # an answer that nobody waits for: what follows it may be anything
        if connection.alive:
            asyncio.get_running_loop().call_soon(connection.data_received, answer(b"{}"))
            async with asyncio.timeout(PATIENCE_S):
                assert (await connection.ask("POST", b"2", b"")).head.status == 200
        with pytest.raises(asyncio.CancelledError):
            await first

    play(scene())


def test_an_answer_that_had_begun_when_its_asker_was_stopped_is_given_up():
    async def scene() -> None:
        connection = connected()
        first = asyncio.ensure_future(connection.ask("POST", b"1", b""))
        await asyncio.sleep(0)
        connection.data_received(answer(b"{}")[:-1])
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert connection.state is ConnectionState.CLOSED

    play(scene())


def test_an_idle_connection_is_closed_before_the_provider_would():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, REQUEST)
            await served(stage, client, provider)
            stage.time_passes(54)
            await client.send(REQUEST)
            await provider.request()
            await served(stage, client, provider)
            stage.time_passes(56)
            assert await provider.closed()
            again = await stage.asked(client, REQUEST)
            await served(stage, client, again)

    play(scene())


def test_a_connection_that_had_gone_stale_is_replaced_once_and_nobody_notices():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            await client.send(REQUEST)
            await first.request()
            first.abort()  # before a byte of the answer
            second = await stage.provider()
            _, _, body = await second.request()
            assert body == MESSAGE
            await served(stage, client, second)
            record = await stage.settled(2)
            assert record.outcome == "ok"
            assert len(stage.journal.admitted) == 2

    play(scene())


def test_a_connection_closed_while_idle_is_not_even_tried():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            first.close()
            second = await stage.asked(client, REQUEST)
            await served(stage, client, second)

    play(scene())


def test_a_new_connection_that_is_closed_is_not_tried_again():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            first.abort()
            assert (await client.response()).status == 502
            assert stage.nobody_called()

    play(scene())


def test_the_replacement_is_not_replaced():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            await client.send(REQUEST)
            await first.request()
            first.abort()
            second = await stage.provider()
            await second.request()
            second.abort()
            assert (await client.response()).status == 502
            assert stage.nobody_called()

    play(scene())


def test_a_request_that_was_worked_on_is_not_sent_twice():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            await client.send(REQUEST)
            await first.request()
            stage.now += 3
            first.abort()
            assert (await client.response()).status == 502
            assert stage.nobody_called()

    play(scene())


def test_an_answer_that_has_begun_is_not_asked_for_again():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            await client.send(REQUEST)
            await first.request()
            await first.send(b"HTTP/1.1 200")
            await asyncio.sleep(0.01)
            first.close()
            assert (await client.response()).status == 502
            assert stage.nobody_called()

    play(scene())


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(
            answer(b"{}") + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen", id="a second answer behind it"
        ),
        pytest.param(answer(b"{}") + b"\r\n", id="an empty line behind it"),
        pytest.param(answer(b"{}", extra="Connection: close\r\n"), id="connection close"),
        pytest.param(answer(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"{}") + b"0\r\n\r\nmore",
            id="more after chunks",
        ),
    ],
)
def test_a_connection_that_did_anything_odd_is_never_used_again(odd: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await first.send(odd)
            assert (await client.response()).body == b"{}"
            await first.closed()
            second = await stage.asked(client, REQUEST)
            await served(stage, client, second)

    play(scene())


def test_what_an_idle_connection_says_unasked_closes_it_and_reaches_nobody():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            await first.send(answer(b"poison"))
            assert await first.closed()
            second = await stage.asked(client, REQUEST)
            await served(stage, client, second, b"{}")

    play(scene())


def test_beyond_the_most_connections_requests_wait_for_their_turn():
    async def scene() -> None:
        async with Stage(limits={"upstream_per_host": 1}) as stage:
            one, two, three = [await stage.client() for _ in range(3)]
            provider = await stage.asked(one, REQUEST)
            await two.send(REQUEST)
            await stage.eventually(lambda: stage.telemetry.open == 2)
            await three.send(REQUEST)
            await stage.eventually(lambda: stage.telemetry.open == 3)
            await served(stage, one, provider)
            for client in (two, three):
                await provider.request()
                await served(stage, client, provider)
            assert stage.nobody_called()

    play(scene())


def test_a_client_that_leaves_the_queue_gives_its_turn_to_the_next():
    async def scene() -> None:
        async with Stage(limits={"upstream_per_host": 1}) as stage:
            one, two, three = [await stage.client() for _ in range(3)]
            provider = await stage.asked(one, REQUEST)
            await two.send(REQUEST)
            await stage.eventually(lambda: stage.telemetry.open == 2)
            await three.send(REQUEST)
            await stage.eventually(lambda: stage.telemetry.open == 3)
            two.close()
            await stage.eventually(lambda: stage.telemetry.open == 2)
            await served(stage, one, provider)
            await provider.request()
            await served(stage, three, provider)
            assert [record.outcome for record in stage.telemetry.records] == ["client_gone", "ok", "ok"]
            assert stage.telemetry.records[0].usage.units == {}

    play(scene())


def test_a_wait_for_a_connection_has_an_end():
    async def scene() -> None:
        async with Stage(limits={"upstream_per_host": 1, "upstream_waiting_s": 0.01}) as stage:
            one, two = await stage.client(), await stage.client()
            provider = await stage.asked(one, REQUEST)
            await two.send(REQUEST)
            response = await two.response()
            assert (response.status, json.loads(response.body)["error"]["code"]) == (504, "upstream_timeout")
            await served(stage, one, provider)

    play(scene())


def test_places_of_lost_connections_come_free():
    async def scene() -> None:
        async with Stage(limits={"upstream_per_host": 1}) as stage:
            client = await stage.client()
            for _ in range(3):
                provider = await stage.asked(client, REQUEST)
                provider.abort()
                assert (await client.response()).status == 502

    play(scene())


def test_a_provider_that_nobody_answers_for_is_a_502_and_costs_nothing():
    async def scene() -> None:
        async with Stage() as stage:
            stage._server.close()
            await stage._server.wait_closed()
            client = await stage.client()
            await client.send(REQUEST)
            response = await client.response()
            assert (response.status, json.loads(response.body)["error"]["code"]) == (502, "provider_error")
            assert "127.0.0.1" not in response.body.decode()
            record = await stage.settled()
            assert (record.outcome, record.cost_nano) == ("failed", 0)
            assert [kept.status for kept in stage.journal.admitted + stage.journal.settled] == ["admitted", "final"]

    play(scene())


def test_a_name_that_takes_too_long_is_a_504():
    async def scene() -> None:
        async with Stage(limits={"connect_s": 0.01}, provider_fields={"base_url": "http://slow.test"}) as stage:
            stage.pod.upstreams.gate.resolver = lambda host, port: asyncio.sleep(5, result=["127.0.0.1"])
            client = await stage.client()
            await client.send(REQUEST)
            response = await client.response()
            assert (response.status, json.loads(response.body)["error"]["code"]) == (504, "upstream_timeout")

    play(scene())


def test_a_large_request_is_answered_before_it_was_read_and_the_connection_goes():
    body = MESSAGE[:-1] + b',"system":"' + b"x" * 8_000_000 + b'"}'

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            client.writer.write(post("/v1/messages", body))
            provider = await stage.provider()
            await provider.head()
            await provider.send(answer(b'{"too":"large"}', status="413 Content Too Large"))
            response = await client.response()
            assert (response.status, response.body) == (413, b'{"too":"large"}')
            await provider.rest()

    play(scene())
