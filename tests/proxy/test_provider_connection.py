"""The way to providers: connections that are kept, replaced, counted, and never trusted after anything odd."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import pytest

from dataplane.core.secret import Secret
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import ConnectionState, UpstreamConnection
from dataplane.proxy.provider.gate import Destination, Gate
from dataplane.proxy.provider.pool import Pool
from dataplane.proxy.provider.reading import READ_BYTES, Reading
from dataplane.proxy.provider.response import Response
from tests.proxy.stage import (
    ANSWER,
    MESSAGE,
    NO_AUTHORITIES,
    PATIENCE_S,
    Peer,
    Stage,
    answer,
    chunk,
    get,
    play,
    post,
)

REQUEST = post("/v1/messages", MESSAGE)
CHAT = b'{"model":"gpt-5.5","messages":[{"role":"user","content":"hello"}]}'


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
    connection = UpstreamConnection(
        Destination("http", "provider.test", 80, True), Limits(), lambda ended: None, Reading()
    )
    connection.connection_made(Wire())
    return connection


def test_a_connection_that_is_asked_again_before_the_first_one_has_noticed_its_answer_serves_both():
    async def scene() -> None:
        connection, loop = connected(), asyncio.get_running_loop()
        first = asyncio.ensure_future(connection.ask("POST", b"1", b""))
        await asyncio.sleep(0)
        connection.received(answer(b"{}", status="201 Created"))
        loop.call_soon(connection.received, answer(b"{}", status="202 Accepted"))
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
        connection.received(answer(b"{}"))
        first.cancel()
        assert connection.alive is not stopped_first  # an answer that nobody waits for: what follows it may be anything
        if connection.alive:
            asyncio.get_running_loop().call_soon(connection.received, answer(b"{}"))
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
        connection.received(answer(b"{}")[:-1])
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


LARGE = MESSAGE[:-1] + b',"system":"' + b"x" * 8_000_000 + b'"}'


async def ends_without_taking(stage: Stage, client: Peer, first: Peer) -> None:
    """A kept-alive connection ends when only a part of the next request has reached the provider."""
    client.writer.write(post("/v1/messages", LARGE))
    await first.head()
    first.writer.write_eof()


def test_a_connection_that_ends_before_the_request_has_reached_it_is_replaced_once_and_nobody_notices():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            await ends_without_taking(stage, client, first)
            second = await stage.provider()
            _, _, body = await second.request()
            assert body == LARGE
            await served(stage, client, second)
            record = await stage.settled(2)
            assert record.outcome == "ok"
            assert len(stage.journal.admitted) == 2

    play(scene())


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_a_request_that_reached_the_provider_is_not_asked_again_and_may_have_cost_something(end: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, REQUEST)
            await served(stage, client, first)
            await client.send(REQUEST)
            await first.request()
            if end == "reset":
                first.abort()
            else:
                first.close()
            response = await client.response()
            assert (response.status, json.loads(response.body)["error"]["code"]) == (502, "provider_error")
            assert b"closed the connection without an answer" in response.body
            record = await stage.settled(2)
            assert (record.outcome, record.usage.source) == ("failed", "held")
            assert record.cost_nano > 0
            assert stage.nobody_called()

    play(scene())


def test_what_makes_nothing_is_asked_again_wherever_its_connection_ended():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            first = await stage.asked(client, post("/v1/chat/completions", CHAT))
            await served(stage, client, first)
            await client.send(get("/v1/responses/resp_1"))
            await first.request()
            first.close()
            second = await stage.provider()
            assert (await second.request())[0].startswith(b"GET ")
            await served(stage, client, second)

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
            await ends_without_taking(stage, client, first)
            second = await stage.provider()
            await second.head()
            second.writer.write_eof()
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


class RawProvider:
    """Blocking sockets: what it does is in the kernel when it returns, and the loop has not heard of it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.to = Destination("http", "127.0.0.1", self.listener.getsockname()[1], True, "org_1")
        self.ends: list[socket.socket] = []

    def __enter__(self) -> RawProvider:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.listener, *self.ends):
            each.close()

    async def serves(self, asking: asyncio.Task[Response], body: bytes) -> socket.socket:
        """The next connection's first request."""
        loop = asyncio.get_running_loop()
        self.listener.setblocking(False)
        end, _ = await loop.sock_accept(self.listener)
        self.ends.append(end)
        end.setblocking(False)
        await loop.sock_recv(end, 65_536)
        end.send(answer(body))
        response = await asking
        assert await whole(response) == body
        return end


async def whole(response: Response) -> bytes:
    class Collected:
        def __init__(self) -> None:
            self.body = b""
            self.over = asyncio.get_running_loop().create_future()

        def received(self, wire: bytes, body: bytes, done: bool) -> None:
            self.body += body
            if done:
                self.over.set_result(self.body)

        def broken(self, failure: Exception) -> None:
            self.over.set_exception(failure)

    sink = Collected()
    response.relay_to(sink)
    async with asyncio.timeout(PATIENCE_S):
        body: bytes = await sink.over
    return body


def _says(end: socket.socket) -> None:
    end.send(answer(b"poison"))


def _closes(end: socket.socket) -> None:
    end.close()


def _resets(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


@pytest.mark.parametrize("does", [_says, _closes, _resets])
def test_what_came_between_two_requests_is_noticed_before_the_second_is_written(does: Callable[[socket.socket], None]):
    async def scene() -> None:
        pool = Pool(Gate(NO_AUTHORITIES, 5.0), Limits(), lambda: 0.0)
        with RawProvider() as provider:
            asking = asyncio.ensure_future(pool.ask(provider.to, "POST", b"POST / HTTP/1.1\r\n\r\n", b""))
            end = await provider.serves(asking, b"1")
            assert pool.counts() == (1, 0)
            does(end)  # and the loop has no turn before the next request is written
            asking = asyncio.ensure_future(pool.ask(provider.to, "POST", b"POST / HTTP/1.1\r\n\r\n", b""))
            await provider.serves(asking, b"2")

    play(scene())


def test_no_connection_of_one_credential_is_used_for_another():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            anthropic = await stage.asked(client, REQUEST)
            await served(stage, client, anthropic)
            openai = await stage.asked(client, post("/v1/chat/completions", CHAT))  # at the same address
            await served(stage, client, openai)
            assert stage.pod.upstreams.counts() == (2, 0)

    play(scene())


def test_a_rotated_credential_gets_connections_of_its_own():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            before = await stage.asked(client, REQUEST)
            await served(stage, client, before)
            provider = stage.configuration.snapshot.providers["prov_anthropic"]
            rotated = replace(provider, credential=Secret("sk-ant-api03-rotated"), revision=provider.revision + 1)
            stage.configuration.change(rotated)
            await client.send(REQUEST)
            after = await stage.provider()
            _, headers, _ = await after.request()
            assert headers["x-api-key"] == "sk-ant-api03-rotated"
            await served(stage, client, after)
            await before.send(answer(b"poison"))
            assert await before.closed()

    play(scene())


def test_an_early_refusal_of_a_large_request_is_heard_on_a_used_connection_too_which_then_goes():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, REQUEST)
            await served(stage, client, provider)
            client.writer.write(post("/v1/messages", LARGE))
            await provider.head()
            await provider.send(answer(b'{"too":"large"}', status="413 Content Too Large"))
            response = await client.response()
            assert (response.status, response.body) == (413, b'{"too":"large"}')
            await provider.rest()

    play(scene())


def test_a_used_connection_that_answers_before_it_was_asked_says_it_to_nobody():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, REQUEST)
            await served(stage, client, provider)
            client.writer.write(post("/v1/messages", LARGE))
            await provider.head()
            await provider.send(answer(b"poison"))
            response = await client.response()
            assert (response.status, json.loads(response.body)["error"]["code"]) == (502, "provider_error")
            assert b"poison" not in response.wire
            await provider.rest()
            assert (await stage.settled(2)).cost_nano > 0

    play(scene())


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_few_interim_answers_are_passed_over():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, REQUEST)
            hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
            for _ in range(2):
                await provider.send(INTERIM * 9 + hints + answer(b"{}"), step=7)
                assert (await client.response()).body == b"{}"
                await client.send(REQUEST)
                await provider.request()

    play(scene())


@pytest.mark.parametrize(
    "flood",
    [INTERIM * 11, (b"HTTP/1.1 103 Early Hints\r\nX: " + b"y" * 40_000 + b"\r\n\r\n") * 2],
    ids=["many", "large"],
)
def test_more_than_a_few_interim_answers_are_a_502_and_the_connection_goes(flood: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, REQUEST)
            await provider.send(flood)
            response = await client.response()
            assert (response.status, json.loads(response.body)["error"]["code"]) == (502, "provider_error")
            assert b"too many interim answers" in response.body
            assert await provider.closed()

    play(scene())


def test_a_provider_that_sends_much_is_read_in_turns():
    """Behind a large read the socket is left unread until its turn, and the turns go round the destinations."""

    async def scene() -> None:
        order: list[str] = []
        reading = Reading()
        for whose in ("one", "one", "one", "two"):
            reading.wait(whose, partial(order.append, whose))
        for expected in (["one"], ["one", "two"], ["one", "two", "one"], ["one", "two", "one", "one"]):
            await asyncio.sleep(0)
            assert order == expected

    play(scene())


def test_on_a_slow_machine_no_read_is_dear_that_is_not_where_the_bounds_were_measured():
    seconds = iter((0.0, 6.0))
    reading = Reading(clock=lambda: next(seconds), slowness=3.0)
    assert (reading.clock(), reading.clock()) == (0.0, 2.0)


def test_a_turn_has_enough_after_so_many_bytes_however_cheap_and_the_next_turn_begins_anew():
    async def scene() -> None:
        reading = Reading()
        verdicts = [reading.was_enough(READ_BYTES, 0.0) for _ in range(5)]
        assert verdicts == [False] * 4 + [True]
        await asyncio.sleep(0)
        assert not reading.was_enough(READ_BYTES, 0.0)

    play(scene())


def test_no_read_is_larger_than_its_bound_and_a_paused_one_stays_paused():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, REQUEST)
            sizes: list[int] = []
            (connection,) = upstreams(stage)
            received = connection.received

            def noting(data: bytes) -> None:
                sizes.append(len(data))
                received(data)

            connection.received = noting  # type: ignore[method-assign]
            body = b"x" * 3_000_000
            sending = asyncio.ensure_future(provider.send(answer(body)))
            assert (await client.response()).body == body
            await sending
            assert max(sizes) == READ_BYTES

    play(scene())


def upstreams(stage: Stage) -> list[UpstreamConnection]:
    """The connections that wait for an answer, or get one."""
    return [each for each in gc.get_objects() if type(each) is UpstreamConnection and each.state.name == "WAITING"]


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
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            client.writer.write(post("/v1/messages", LARGE))
            provider = await stage.provider()
            await provider.head()
            await provider.send(answer(b'{"too":"large"}', status="413 Content Too Large"))
            response = await client.response()
            assert (response.status, response.body) == (413, b'{"too":"large"}')
            await provider.rest()

    play(scene())
