"""Questions about unknown keys: one at a time per key, remembered, limited, and never answered by guessing."""

import asyncio

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.link import lookup
from dataplane.link.lookup import BURST, RATE, REMEMBERED_S, Lookup, NoContact
from dataplane.telemetry.metrics import Metrics
from protos import fleet_pb2 as pb


class World:
    """A control plane that knows `minted`, a configuration that holds `held`, and a clock that stands still."""

    def __init__(self):
        self.now = 0.0
        self.held: set[str] = set()
        self.minted: set[str] = set()
        self.asked: list[str] = []
        self.contact = True
        self.answer = asyncio.Event()
        self.answer.set()
        self.lookup = Lookup(self.ask, self, lambda: self.now, Metrics("test"))

    async def ask(self, public_id):
        self.asked.append(public_id)
        await self.answer.wait()
        if not self.contact:
            raise NoContact
        return pb.ResolveResponse(known=public_id in self.minted, revision=1)

    def has_key(self, public_id):
        return public_id in self.held

    async def reached(self, epoch, revision):
        self.held |= self.minted

    async def refused(self, public_id) -> Code:
        with pytest.raises(Refusal) as caught:
            await self.lookup.learn(public_id)
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
        return caught.value.code


def test_a_minted_key_is_known_once_the_revision_that_brings_it_is_applied(on_loop):
    async def story():
        world = World()
        world.minted.add("NEW")
        assert await world.lookup.learn("NEW")
        assert await world.lookup.learn("NEW")
        assert world.asked == ["NEW"]

    on_loop(story())


def test_many_requests_with_one_unknown_key_ask_one_question(on_loop):
    async def story():
        world = World()
        world.answer.clear()
        asking = [asyncio.ensure_future(world.lookup.learn("X")) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()  # its client went away; the others still wait for the answer
        world.answer.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert results[1:] == [False] * 49
        assert world.asked == ["X"]

    on_loop(story())


def test_no_is_remembered_for_a_minute_and_not_longer(on_loop):
    async def story():
        world = World()
        await world.lookup.learn("X")
        world.now = REMEMBERED_S - 0.001
        assert not await world.lookup.learn("X")
        assert len(world.asked) == 1
        world.now = REMEMBERED_S
        world.minted.add("X")
        assert await world.lookup.learn("X")

    on_loop(story())


def test_without_contact_the_answer_is_to_try_again_and_nothing_is_remembered(on_loop):
    async def story():
        world = World()
        world.contact = False
        assert await world.refused("X") is Code.OVERLOADED
        world.contact = True
        world.minted.add("X")
        assert await world.lookup.learn("X")

    on_loop(story())


def test_an_answer_that_does_not_come_is_not_waited_for_long(on_loop, monkeypatch):
    monkeypatch.setattr(lookup, "PATIENCE_S", 0.01)

    async def story():
        world = World()
        world.answer.clear()
        assert await world.refused("X") is Code.OVERLOADED

    on_loop(story())


def test_inventing_keys_costs_the_control_plane_a_bounded_number_of_questions(on_loop):
    async def story():
        world = World()
        for number in range(int(BURST)):
            assert not await world.lookup.learn(f"A{number}")
        assert await world.refused("ONE TOO MANY") is Code.OVERLOADED
        world.now += 1
        for number in range(int(RATE)):
            assert not await world.lookup.learn(f"B{number}")
        assert await world.refused("ONE TOO MANY") is Code.OVERLOADED
        assert len(world.asked) == BURST + RATE

    on_loop(story())


def test_what_is_remembered_is_bounded(on_loop, monkeypatch):
    monkeypatch.setattr(lookup, "REMEMBERED", 3)

    async def story():
        world = World()
        for number in range(10):
            await world.lookup.learn(f"A{number}")
        assert list(world.lookup._unknown) == ["A7", "A8", "A9"]

    on_loop(story())
