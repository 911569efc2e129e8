"""A client that does not read holds its provider at once, and what waits for it is bounded, counted and given up."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from dataplane.core.usage import Outcome
from dataplane.proxy.client.body import Pieces
from dataplane.proxy.client.connection import ClientConnection, Crowd
from dataplane.proxy.client.door import Room
from dataplane.proxy.client.pace import UNREAD_BYTES, Pace
from dataplane.proxy.http.framing import UntilClose
from dataplane.proxy.http.heads import ResponseHead
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.response import Response
from tests.proxy.filtered import Wire
from tests.proxy.floods import stuck, write_on
from tests.proxy.stage import MESSAGE, STREAM_HEAD, STREAMED_MESSAGE, Peer, Stage, chunk, play, post

READ = 24 * 1024


class Unread(Wire):
    """A transport that sends nothing, and says that it is full only when the turn of the loop is over."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0

    def write(self, data: Any) -> None:
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting


class Talk:
    """What an exchange hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def client_gone(self) -> None:
        self.heard.append("gone")

    def client_reads(self, reads: bool) -> None:
        self.heard.append(reads)

    def reserve_memory(self, size: int) -> None: ...

    def overdue(self, waiting: object) -> None:
        self.heard.append(waiting)


def connected(room: int = 1 << 30) -> tuple[ClientConnection, Unread, Talk, Crowd]:
    wire, talk, crowd = Unread(), Talk(), Crowd(Room(room))
    connection = ClientConnection(Limits(), crowd, lambda *_: talk, lambda *_: None, ending=lambda: False)
    connection.connection_made(wire)
    connection.data_received(post("/v1/messages", MESSAGE))
    return connection, wire, talk, crowd


def test_of_many_reads_in_one_turn_the_second_finds_the_provider_resting():
    async def scene() -> None:
        connection, wire, talk, _ = connected()
        connection.write(b"x" * READ)
        assert talk.heard == []
        connection.write(b"x" * READ)
        assert talk.heard == [False]
        assert wire.waiting <= UNREAD_BYTES + READ
        await asyncio.sleep(0)
        assert talk.heard == [False, True]  # the transport took it all

    play(scene())


def test_small_events_by_the_dozen_do_not_make_anybody_rest():
    async def scene() -> None:
        connection, _, talk, _ = connected()
        for _ in range(32):
            connection.write(b"x" * 1000)
        assert talk.heard == []

    play(scene())


def test_a_client_that_reads_makes_nobody_rest_however_much_it_is_sent():
    async def scene() -> None:
        connection, wire, talk, _ = connected()
        for _ in range(10):
            connection.write(b"x" * READ)
            wire.waiting = 0  # the transport took it all
            await asyncio.sleep(0)
        assert talk.heard == []

    play(scene())


def test_the_provider_rests_on_as_long_as_the_transport_is_full():
    async def scene() -> None:
        connection, wire, talk, crowd = connected()
        for _ in range(2):
            connection.write(b"x" * READ)
        connection.pause_writing()  # the transport has tried
        await asyncio.sleep(0)
        assert talk.heard == [False]
        assert crowd.memory.held == wire.waiting == 2 * READ
        connection.resume_writing()
        assert talk.heard == [False, True]
        assert crowd.memory.held == 0

    play(scene())


def test_what_waits_for_a_client_that_goes_is_no_longer_counted():
    async def scene() -> None:
        connection, _, talk, crowd = connected()
        connection.write(b"x" * 3 * READ)
        connection.pause_writing()
        assert crowd.memory.held == 3 * READ
        connection.connection_lost(None)
        assert crowd.memory.held == 0
        assert talk.heard == [False, "gone"]

    play(scene())


def test_where_memory_is_short_whoever_does_not_read_is_given_up():
    async def scene() -> None:
        connection, _, talk, crowd = connected(room=READ)
        connection.write(b"x" * 2 * READ)
        connection.pause_writing()
        assert [str(each) for each in talk.heard] == ["False", "Waiting.CLIENT"]
        assert crowd.memory.held == 0

    play(scene())


def test_a_pace_tells_each_change_once():
    heard: list[bool] = []

    async def scene() -> None:
        pace = Pace(Room(1 << 20))
        pace.full(10, heard.append)
        pace.rest(heard.append)
        pace.drained(heard.append)
        assert heard == [False]
        await asyncio.sleep(0)
        assert heard == [False, True]
        pace.full(10, heard.append)
        pace.full(20, heard.append)
        pace.drained(heard.append)
        assert heard == [False, True, False, True]

    play(scene())


def test_the_kernel_takes_no_more_of_an_answer_than_it_was_told():
    """A meter keeps what has passed of an event: that must not be what a kernel likes to hold."""

    async def scene() -> None:
        async with Stage() as stage:
            for _ in range(20):  # whichever descriptor accepts them
                await stage.client()
            await stage.eventually(lambda: len(stage.pod.connections) == 20)
            for connection in stage.pod.connections:
                accepted = connection._transport.get_extra_info("socket")
                unsent = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
                assert unsent == stage.pod.limits.unsent_bytes

    play(scene())


async def deaf_client(stage: Stage) -> Peer:
    client = await stage.client()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    return client


def test_what_a_pod_holds_for_a_client_that_does_not_read_is_bounded():
    """Whatever the length of the answer, and in the provider's largest chunks."""

    async def scene() -> None:
        async with Stage() as stage:
            clients = []
            for _ in range(3):
                client = await deaf_client(stage)
                provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
                await provider.send(STREAM_HEAD)
                progress: list[int] = []
                comment = b": " + b"x" * 1_000_000 + b"\n\n"
                flooding = asyncio.ensure_future(write_on(provider, chunk(comment), 400, progress))
                await stuck(flooding, progress)
                clients.append((client, flooding))
            held = [connection._transport.get_write_buffer_size() for connection in stage.pod.connections]
            assert len(held) == 3
            assert all(0 < size < 64 * 1024 + 256 * 1024 for size in held)  # what is written, and one read of the loop
            assert stage.pod.bodies.held >= sum(held) // 2
            for client, flooding in clients:
                flooding.cancel()
                client.abort()
            await stage.eventually(lambda: not stage.pod.connections)
            assert stage.pod.bodies.held == 0

    play(scene())


def test_a_client_that_reads_none_of_its_answers_gets_no_more_of_them():
    """Fifty thousand requests are sent in one go; what is answered of them fits what may wait."""

    async def scene() -> None:
        async with Stage() as stage:
            client = await deaf_client(stage)
            ask = post("/v1/messages", b"[]")
            sending = asyncio.ensure_future(client.send(ask * 50_000))
            before = -1
            while before != len(stage.telemetry.records):
                before = len(stage.telemetry.records)
                await asyncio.sleep(0.05)
            assert before < 50_000
            (connection,) = stage.pod.connections
            assert connection._transport.get_write_buffer_size() <= 2 * UNREAD_BYTES
            assert stage.pod.bodies.held <= 2 * UNREAD_BYTES
            stage.time_passes(Limits().client_stall_s + 1)
            await stage.eventually(lambda: not stage.pod.connections)
            sending.cancel()

    play(scene())


def test_a_client_that_reads_nothing_is_given_up_in_time_and_so_is_what_was_held_for_it():
    async def scene() -> None:
        async with Stage() as stage:
            client = await deaf_client(stage)
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(STREAM_HEAD)
            progress: list[int] = []
            flooding = asyncio.ensure_future(write_on(provider, chunk(b": " + b"x" * 60_000 + b"\n\n"), 400, progress))
            await stuck(flooding, progress)
            stage.time_passes(Limits().client_stall_s + 1)
            record = await stage.settled()
            assert record.outcome is Outcome.CLIENT_GONE
            await stage.eventually(lambda: not stage.pod.connections and not stage.pod.bodies.held)
            flooding.cancel()

    play(scene())


@pytest.mark.parametrize("sizes", [[1] * 10_000, [5_000, 1, 1, 70_000, 2, 5_000], [0, 1], [], [100_000]])
def test_a_body_is_what_came_and_small_pieces_are_kept_together(sizes: list[int]):
    pieces, whole = Pieces(), bytearray()
    for number, size in enumerate(sizes):
        piece = bytes([number % 256]) * size
        pieces.append(piece)
        whole += piece
    assert len(pieces) < 8
    assert pieces.take() == bytes(whole)
    assert len(pieces) == 0


def test_a_body_in_one_piece_is_not_copied():
    pieces, body = Pieces(), b"x" * 100
    pieces.append(body)
    assert pieces.take() is body


def test_a_body_of_single_bytes_is_refused_before_it_has_cost_many_steps():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
            await client.send(b"1\r\nx\r\n" * 40_000)
            refused = await client.response()
            assert (refused.status, b"too small" in refused.body) == (400, True)

    play(scene())


class Source:
    """A provider's connection, as far as it can be left unread."""

    def __init__(self) -> None:
        self.reads = True

    def pause(self, response: Response) -> None:
        self.reads = False

    def resume(self, response: Response) -> None:
        self.reads = True

    def abort(self, response: Response) -> None: ...


class Narrow:
    """A sink that has enough with whatever it gets."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        self._response.pause()

    def broken(self, failure: object) -> None: ...


@pytest.mark.parametrize("reads", [1, 2, 20])
def test_a_client_that_is_full_with_what_came_before_it_was_there_holds_its_provider(reads: int):
    source = Source()
    response = Response(source, ResponseHead(), UntilClose())
    for _ in range(reads):
        response.received(b"", b"x" * READ, False)
    assert source.reads is (reads == 1)  # the bound is between one and two
    response.relay_to(Narrow(response))
    assert not source.reads
