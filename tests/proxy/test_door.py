"""A crowd at the door: everyone is dealt with once, in order, few at a time; nobody joins a line that is too long."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.usage import Outcome
from dataplane.proxy.client.door import AT_ONCE, TURNED_AWAY_PER_START, Door, Room
from tests.proxy.stage import ANSWER, MESSAGE, Stage, answer, play, post

MESSAGES = post("/v1/messages", MESSAGE)


class Crowd:
    """A door whose clock is ours."""

    def __init__(self, patience_s: float = 0.25) -> None:
        self.now = 0.0
        self.started: list[int] = []
        self.refused: list[int] = []
        self.door: Door[int] = Door(self._start, self.refused.append, lambda: self.now, patience_s)

    def _start(self, one: int) -> None:
        self.started.append(one)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.floats(0, 0.6))
def test_whoever_enters_is_started_in_order_or_turned_away_and_never_both(arrivals: list[int], pause: float):
    async def story() -> None:
        crowd, number = Crowd(), 0
        for count in arrivals:
            for _ in range(count):
                crowd.door.enter(number)
                number += 1
            crowd.now += pause
        while len(crowd.started) + len(crowd.refused) < number:
            await asyncio.sleep(0)
        assert sorted(crowd.started + crowd.refused) == list(range(number))
        assert crowd.started == sorted(crowd.started)
        assert len(crowd.door) == 0

    uvloop.run(story())


def test_a_turn_of_the_loop_begins_no_more_than_a_few():
    async def story() -> None:
        crowd = Crowd()
        for number in range(3 * AT_ONCE):
            crowd.door.enter(number)
        assert len(crowd.started) == AT_ONCE
        assert len(crowd.door) == 2 * AT_ONCE
        seen = []
        while len(crowd.door):
            await asyncio.sleep(0)
            seen.append(len(crowd.started))
        assert all(after - before <= AT_ONCE for before, after in zip([AT_ONCE, *seen], seen, strict=False))

    uvloop.run(story())


def test_newcomers_are_turned_away_while_the_first_in_line_has_waited_too_long():
    async def story() -> None:
        crowd = Crowd()
        for number in range(AT_ONCE + 1):
            crowd.door.enter(number)
        crowd.now = 0.3
        crowd.door.enter(100)
        while len(crowd.door):
            await asyncio.sleep(0)
        assert crowd.refused == [100]
        crowd.door.enter(101)
        await asyncio.sleep(0.01)
        assert 101 in crowd.started

    uvloop.run(story())


def test_a_flood_of_refusals_leaves_a_share_of_every_turn_to_those_in_line():
    async def story() -> None:
        crowd = Crowd()
        for number in range(500):
            crowd.door.enter(number)
        crowd.now = 0.3
        for number in range(1000, 1400):
            crowd.door.enter(number)
        before = len(crowd.started)
        await asyncio.sleep(0)
        assert len(crowd.started) - before == 400 // TURNED_AWAY_PER_START
        await asyncio.sleep(0)
        assert len(crowd.started) - before == 400 // TURNED_AWAY_PER_START + AT_ONCE

    uvloop.run(story())


def test_a_burst_of_connections_is_accepted_within_few_turns_of_the_loop():
    async def story() -> None:
        async with Stage() as stage:
            sockets = [socket.create_connection(("127.0.0.1", stage.port)) for _ in range(30)]  # the kernel has them
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(stage.pod.connections) == 30
            for each in sockets:
                each.close()

    play(story())


def test_room_is_bounded_and_comes_back():
    room = Room(10)
    assert room.change(10)
    assert not room.change(1)
    assert room.held == 10
    assert room.change(-10)
    assert room.change(1)


def overloaded(answer: Any) -> None:
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert b'"type":"error"' in answer.body.replace(b" ", b"")  # as Anthropic says it
    assert b"overloaded" in answer.body


def test_beside_too_long_a_line_refusals_have_the_dialects_shape_and_probes_are_answered():
    async def story() -> None:
        async with Stage(limits={"line_s": -1.0}) as stage:
            clients = [await stage.client() for _ in range(4 * AT_ONCE)]
            probe = await stage.client()
            for client in clients:
                client.writer.write(MESSAGES)
            probe.writer.write(b"GET /healthz HTTP/1.1\r\nHost: pod\r\n\r\n")
            assert (await probe.response("GET")).status == 200
            admitted = 0
            for client in clients:
                provider = asyncio.ensure_future(stage.provider())
                refused = asyncio.ensure_future(client.until(b"overloaded"))
                done, _ = await asyncio.wait([provider, refused], return_when=asyncio.FIRST_COMPLETED)
                admitted += provider in done
                refused.cancel()
                provider.cancel()
            assert AT_ONCE <= admitted < len(clients)
            refusals = [record for record in stage.telemetry.records if record.refusal_code == "overloaded"]
            assert len(refusals) == len(clients) - admitted
            assert all(record.outcome is Outcome.REFUSED and not record.key_id for record in refusals)

    play(story())


def test_a_refused_crowd_is_told_so_and_whoever_was_let_in_gets_its_answer():
    async def story() -> None:
        async with Stage() as stage:
            door_holds = stage.pod.bodies.most
            stage.pod.bodies.held = door_holds  # as if others had filled it
            client = await stage.client()
            await client.send(MESSAGES)
            overloaded(await client.response())
            stage.pod.bodies.held = 0
            client = await stage.client()
            provider = await stage.asked(client, MESSAGES)
            assert stage.pod.bodies.held > 0
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200
            await stage.eventually(lambda: stage.pod.bodies.held == 0)

    play(story())


def test_a_chunked_body_finds_room_as_it_grows_or_is_refused():
    async def story() -> None:
        async with Stage(limits={"bodies_bytes": 100_000}) as stage:
            client = await stage.client()
            head = MESSAGES.partition(b"\r\n\r\n")[0]
            kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
            await client.send(b"\r\n".join([*kept, b"Transfer-Encoding: chunked", b"", b""]))
            piece = b"x" * 60_000
            for _ in range(2):
                await client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            overloaded(await client.response())
            await stage.eventually(lambda: stage.pod.bodies.held == 0)

    play(story())
