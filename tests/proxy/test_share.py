"""The share of the loop that a provider's dear bytes have: little by little, owners in turn, with rests; counted on
clocks of our own. What passes through it is what came, in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest

from dataplane.proxy.limits import Limits
from dataplane.proxy.provider import share as share_module
from dataplane.proxy.provider.connection import ConnectionState, UpstreamConnection
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.reading import LARGE_BYTES, LEAST_BYTES, LITTLE_BYTES, READ_BYTES, Reading
from dataplane.proxy.provider.response import Response, UpstreamFailure
from dataplane.proxy.provider.share import MOST_STEP_BYTES, REST, STEP_BYTES, STEPS_OF_DOUBT, Share
from dataplane.proxy.provider.watched import Watched
from tests.proxy.stage import MESSAGE, Stage, answer, chunk, play, post
from tests.proxy.test_provider_connection import Wire

DEAR = 0.3e-6  # seconds for a byte: ten times what is dear
CHEAP = 1e-9


class Loop:
    """Goes on by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(share_module, "asyncio", SimpleNamespace(get_running_loop=lambda: self))

    def call_soon(self, call: Callable[[], None]) -> None:
        self.due.append((0.0, call))

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        self.due.append((delay, call))

    def turn(self) -> float:
        """One thing that is due; how long it was waited for."""
        ((delay, call),) = self.due
        self.due.clear()
        call()
        return delay


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def test_one_step_at_a_time_owners_in_turn(monkeypatch):
    loop, order = Loop(monkeypatch), list[str]()
    share = Share(Time())
    for step in ("a1", "a2", "a3", "b1"):
        share.wait(step[0], partial(order.append, step))
    for length in range(1, 5):
        loop.turn()
        assert len(order) == length
    assert order == ["a1", "b1", "a2", "a3"]
    loop.turn()
    assert not loop.due  # nothing is waited for where nothing is to be done


def test_behind_what_steps_took_everybody_else_has_three_times_as_long(monkeypatch):
    loop, time = Loop(monkeypatch), Time()
    share = Share(time)
    for whose in range(100):
        share.wait(whose, partial(time.passes, 0.0004))
    rested = sum(loop.turn() for _ in range(100))
    assert rested >= REST * time.now - REST * 0.001
    assert REST == 3


def test_what_was_dear_before_anybody_knew_is_rested_for_too_and_so_is_the_last_step(monkeypatch):
    loop, time = Loop(monkeypatch), Time()
    share = Share(time)
    share.owes(0.02)
    share.wait("one", partial(time.passes, 0.01))
    assert loop.turn() == pytest.approx(REST * 0.02)
    share.wait("two", lambda: None)
    assert loop.turn() == pytest.approx(REST * 0.01)


def test_a_step_that_fails_ends_nobody_elses_turn(monkeypatch):
    loop, done = Loop(monkeypatch), list[str]()

    def fails() -> None:
        raise ValueError

    share = Share(Time())
    share.wait("one", fails)
    share.wait("two", partial(done.append, "two"))
    with pytest.raises(ValueError):
        loop.turn()
    loop.turn()
    assert done == ["two"]


def test_an_account_is_watched_once_its_dear_bytes_go_on_and_until_they_have_stopped_for_long():
    time = Time()
    watched = Watched(time)
    for _ in range(100):  # now and then is nothing
        assert not watched.add("one", 0.02)
        time.passes(2.0)
    verdicts = [watched.add("one", 0.02) for _ in range(9)]
    assert verdicts == [False, True, *[False] * 7]
    assert ("one" in watched, "two" in watched) == (True, False)
    time.passes(9.9)
    watched.sweep()
    assert "one" in watched
    time.passes(0.2)
    watched.sweep()
    assert "one" not in watched


class Paused(Wire):
    """A wire that can be left unread."""

    reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Costly:
    """Takes an answer, and the time for it: `cost` seconds a byte."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.cost = DEAR
        self.pieces: list[bytes] = []
        self.done = False
        self.failure: UpstreamFailure | None = None

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        self.pieces.append(body)
        self.done = done
        self.time.passes(self.cost * len(body))

    def broken(self, failure: UpstreamFailure) -> None:
        self.failure = failure


class Rig:
    """Connections of one pool, asked, with whatever they are sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = Time()
        self.loop = Loop(monkeypatch)
        self.reading = Reading(self.time, self.time)
        self.idle: list[UpstreamConnection] = []

    def connection(self, account: str = "one") -> tuple[UpstreamConnection, Paused]:
        """Of accounts of the same owner, but for that of another one."""
        to = Destination("http", "p.test", 80, account=account, owner="other" if account == "other's" else "owner")
        connection, wire = UpstreamConnection(to, Limits(), self.idle.append, self.reading), Paused()
        connection.connection_made(wire)
        return connection, wire

    async def answering(self, connection: UpstreamConnection, head: bytes = answer(b"x" * 10_000_000)[:-10_000_000]):
        """The sink of an answer whose head is there."""
        asking = asyncio.ensure_future(connection.ask("POST", b"", b""))
        await asyncio.sleep(0)
        sends(connection, head)
        await self.works_off()
        response: Response = await asking
        sink = Costly(self.time)
        response.relay_to(sink)
        return response, sink

    async def works_off(self) -> None:
        """Everything that waits for its turn."""
        for _ in range(3):
            await asyncio.sleep(0)
        while self.loop.due:
            self.loop.turn()


def sends(connection: UpstreamConnection, data: bytes) -> None:
    """One read."""
    buffer = connection.get_buffer(-1)
    assert len(data) <= len(buffer)
    buffer[: len(data)] = data
    connection.buffer_updated(len(data))


@contextmanager
def steps_of(sink: Costly) -> Iterator[list[int]]:
    """The sizes of what it gets meanwhile."""
    before, sizes = len(sink.pieces), list[int]()
    yield sizes
    sizes += [len(piece) for piece in sink.pieces[before:]]


def played(scene: Callable[[Rig], object], monkeypatch: pytest.MonkeyPatch) -> None:
    play(scene(Rig(monkeypatch)))  # type: ignore[arg-type]


def test_behind_a_dear_read_what_comes_is_kept_and_worked_on_in_steps_until_enough_of_them_were_cheap(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, wire = rig.connection()
        _, sink = await rig.answering(connection)
        sends(connection, b"a" * READ_BYTES)
        await rig.works_off()
        assert len(connection.get_buffer(-1)) == LITTLE_BYTES
        with steps_of(sink) as sizes:
            sends(connection, b"b" * LITTLE_BYTES)
            assert (len(sink.pieces), wire.reads) == (1, False)
            await rig.works_off()
        assert (sizes, wire.reads) == ([STEP_BYTES] * (LITTLE_BYTES // STEP_BYTES), True)
        sink.cost = CHEAP
        with steps_of(sink) as sizes:
            sends(connection, b"b" * LITTLE_BYTES)
            await rig.works_off()
        assert sizes == [STEP_BYTES, 2 * STEP_BYTES, *[MOST_STEP_BYTES] * 3, STEP_BYTES]
        for number in range(STEPS_OF_DOUBT - len(sizes)):
            assert len(connection.get_buffer(-1)) == LITTLE_BYTES
            sends(connection, b"c%d" % number)
            await rig.works_off()
        with steps_of(sink) as sizes:
            sends(connection, b"d" * READ_BYTES)
        assert sizes == [READ_BYTES]
        came = b"a" * READ_BYTES + b"b" * 2 * LITTLE_BYTES + b"".join(b"c%d" % n for n in range(10))
        assert b"".join(sink.pieces) == came + b"d" * READ_BYTES

    played(scene, monkeypatch)


def test_an_account_that_goes_on_has_no_large_read_on_any_connection_and_others_do(monkeypatch):
    async def scene(rig: Rig) -> None:
        one, other, else_ = [rig.connection(account)[0] for account in ("one", "one", "other's")]
        await rig.answering(one)
        _, beside = await rig.answering(other)
        _, elsewhere = await rig.answering(else_)
        sends(one, b"a" * READ_BYTES)
        await rig.works_off()
        assert rig.reading.window(one.destination, "owner") is rig.reading.buffer
        sends(else_, b"small")
        for _ in range(3):
            sends(one, b"a" * LITTLE_BYTES)
            await rig.works_off()
        assert rig.reading.window(one.destination, "owner") is rig.reading.little
        sends(else_, b"small")
        fresh, _ = rig.connection()
        assert len(fresh.get_buffer(-1)) == LITTLE_BYTES
        with steps_of(beside) as sizes:
            sends(other, b"b" * 3 * STEP_BYTES)
            sends(other, b"small")
            assert not beside.pieces
            await rig.works_off()
        assert sizes == [STEP_BYTES] * 3 + [5]
        elsewhere.cost = CHEAP
        sends(else_, b"c" * READ_BYTES)
        assert [len(piece) for piece in elsewhere.pieces] == [5, 5, READ_BYTES]

    played(scene, monkeypatch)


def test_the_next_account_of_the_same_owner_is_read_in_small_pieces_and_dear_once_is_enough(monkeypatch):
    async def scene(rig: Rig) -> None:
        await in_the_share(rig, b"x")
        second, wire = rig.connection("two")
        _, sink = await rig.answering(second)
        sink.cost = CHEAP
        for _ in range(3):  # what is cheap waits for nobody
            sends(second, b"small")
        assert (sink.pieces, wire.reads) == ([b"small"] * 3, True)
        assert len(second.get_buffer(-1)) == LEAST_BYTES
        sink.cost = DEAR
        sends(second, b"x" * LEAST_BYTES)
        assert rig.reading.window(second.destination, "owner") is rig.reading.little
        other, _ = rig.connection("other's")
        assert len(other.get_buffer(-1)) == READ_BYTES

    played(scene, monkeypatch)


def test_one_small_read_of_the_next_account_that_was_slow_does_not_make_it_dear_and_two_do(monkeypatch):
    async def scene(rig: Rig) -> None:
        await in_the_share(rig, b"x")
        second, _ = rig.connection("two")
        await rig.answering(second)
        beside = rig.connection("two")[0]
        await rig.answering(beside)
        sends(second, b"x" * (LEAST_BYTES - 1))
        assert len(rig.reading.window(second.destination, "owner")) == LEAST_BYTES
        sends(beside, b"x" * (LEAST_BYTES - 1))
        assert rig.reading.window(second.destination, "owner") is rig.reading.little

    played(scene, monkeypatch)


def test_reads_too_small_to_be_measured_are_once_a_second(monkeypatch):
    async def scene(rig: Rig) -> None:
        connections = [rig.connection()[0] for _ in range(2)]
        sinks = [(await rig.answering(connection))[1] for connection in connections]
        small = b"a" * (LARGE_BYTES - 1)
        for _ in range(3):
            sends(connections[0], small)
        assert sinks[0].pieces == [small] * 3
        rig.reading.sweep()
        for connection in connections:
            sends(connection, small)
        assert rig.reading.window(connections[0].destination, "owner") is rig.reading.little
        sends(connections[0], small)
        assert sinks[0].pieces == [small] * 4

    played(scene, monkeypatch)


def test_a_cheap_connection_that_had_to_look_again_reads_as_before(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, _ = rig.connection()
        _, sink = await rig.answering(connection)
        sink.cost = CHEAP
        rig.reading.look_again()
        sends(connection, b"small")
        assert connection.get_buffer(-1) is rig.reading.buffer

    played(scene, monkeypatch)


async def in_the_share(rig: Rig, body: bytes) -> tuple[UpstreamConnection, Response, Costly]:
    """A connection of a watched account, whose answer of so many bytes has begun."""
    connection, _ = rig.connection()
    rig.reading.was_dear(connection.destination, "owner", 1.0)
    response, sink = await rig.answering(connection, answer(body)[: -len(body)])
    return connection, response, sink


def test_more_than_an_answer_is_noticed_though_it_waits_for_its_turn(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, _, sink = await in_the_share(rig, b"x" * STEP_BYTES)
        sends(connection, b"x" * STEP_BYTES + answer(b"{}"))
        await rig.works_off()
        assert (sink.done, connection.state, sink.pieces) == (True, ConnectionState.CLOSED, [b"x" * STEP_BYTES])

    played(scene, monkeypatch)


def test_what_comes_unasked_does_not_wait_for_a_turn(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, _, sink = await in_the_share(rig, b"x")
        sends(connection, b"x")
        await rig.works_off()
        assert (sink.done, connection.alive) == (True, True)
        sends(connection, answer(b"{}"))
        assert connection.state is ConnectionState.CLOSED

    played(scene, monkeypatch)


def test_an_answer_before_the_request_is_written_is_noticed_as_it_comes(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, wire = rig.connection()
        rig.reading.was_dear(connection.destination, "owner", 1.0)
        connection.used = True
        monkeypatch.setattr(wire, "get_write_buffer_size", lambda: 1)
        asking = asyncio.ensure_future(connection.ask("POST", b"", b""))
        await asyncio.sleep(0)
        sends(connection, answer(b"{}"))
        monkeypatch.setattr(wire, "get_write_buffer_size", lambda: 0)
        await rig.works_off()
        with pytest.raises(UpstreamFailure):
            await asking

    played(scene, monkeypatch)


def test_whoever_takes_the_answer_may_pause_between_two_steps(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, response, sink = await in_the_share(rig, b"x" * 3 * STEP_BYTES)
        sends(connection, b"x" * 3 * STEP_BYTES)
        rig.loop.turn()
        response.pause()
        await rig.works_off()
        assert len(sink.pieces) == 1
        response.resume()
        await rig.works_off()
        assert len(sink.pieces) == 2

    played(scene, monkeypatch)


def test_what_was_read_before_the_end_is_not_lost_with_the_connection(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, _, sink = await in_the_share(rig, b"x" * 3 * STEP_BYTES)
        sends(connection, b"x" * 3 * STEP_BYTES)
        rig.loop.turn()
        connection.connection_lost(None)
        await rig.works_off()
        assert (sink.done, sink.failure, b"".join(sink.pieces)) == (True, None, b"x" * 3 * STEP_BYTES)

    played(scene, monkeypatch)


def test_nothing_is_worked_on_that_nobody_wants_any_more(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, response, sink = await in_the_share(rig, b"x" * 2 * STEP_BYTES)
        sends(connection, b"x" * 2 * STEP_BYTES)
        response.abort()
        await rig.works_off()
        assert (sink.pieces, connection.state) == ([], ConnectionState.CLOSED)

    played(scene, monkeypatch)


PACKED = answer(b"x" * 3 * STEP_BYTES, extra="Content-Encoding: gzip\r\n")


def test_what_is_compressed_though_nobody_asked_for_it_is_worked_on_little_by_little_from_the_beginning(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, wire = rig.connection()
        asking = asyncio.ensure_future(connection.ask("POST", b"", b""))
        await asyncio.sleep(0)
        sends(connection, PACKED)
        sink = Costly(rig.time)
        (await asking).relay_to(sink)
        assert ([len(piece) for piece in sink.pieces], wire.reads) == ([STEP_BYTES], False)
        assert len(connection.get_buffer(-1)) == LITTLE_BYTES
        await rig.works_off()
        assert ([len(piece) for piece in sink.pieces], sink.done) == ([STEP_BYTES] * 3, True)
        assert connection.alive

    played(scene, monkeypatch)


def test_more_than_a_compressed_answer_is_noticed_with_its_first_step(monkeypatch):
    async def scene(rig: Rig) -> None:
        connection, _ = rig.connection()
        asking = asyncio.ensure_future(connection.ask("POST", b"", b""))
        await asyncio.sleep(0)
        head = answer(b"x" * STEP_BYTES, extra="Content-Encoding: gzip\r\n")
        sends(connection, head + answer(b"{}"))
        await asking
        assert (connection.state, rig.idle) == (ConnectionState.CLOSED, [])

    played(scene, monkeypatch)


@pytest.mark.parametrize("size", [1, 7, 1_000, 70_000])
def test_a_stream_that_is_dear_all_along_arrives_byte_for_byte(size: int):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            stage.pod.upstreams._reading.clock = count(step=0.0003).__next__
            text = b"".join(b'data: {"n":%d}\r\n\r\n' % n for n in range(6_000 if size > 7 else 600))
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunks = b"".join(chunk(text[at : at + size]) for at in range(0, len(text), size))
            sending = asyncio.ensure_future(provider.send(head + chunks + b"0\r\n\r\n"))
            assert (await client.response()).body == text
            await sending

    play(scene())
