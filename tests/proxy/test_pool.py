"""The pool under a burst: few handshakes at a time, first come first served, and a line that has an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dataplane.core.errors import Refusal
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import UpstreamConnection, UpstreamFailure, UpstreamTimeout
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.pool import Pool
from tests.proxy.stage import MESSAGE, Stage, answer, play, post

TO = Destination("http", "provider.test", 80)
REQUEST = post("/v1/messages", MESSAGE)


class Wire(asyncio.Transport):
    """What a connection writes to; the test answers."""

    def __init__(self, protocol: UpstreamConnection) -> None:
        super().__init__()
        self.protocol = protocol
        self.asked: list[bytes] = []
        self.closing = False
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        self.asked.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def answers(self) -> None:
        self.protocol.received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


class Network:
    """A gate whose connections come when the test says so."""

    tls = None

    def __init__(self) -> None:
        self.opening: list[tuple[asyncio.Future[None], Callable[[], UpstreamConnection]]] = []
        self.wires: list[Wire] = []

    async def connect(self, to: Destination, protocol: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opening.append((gate, protocol))
        await gate
        self.wires.append(Wire(protocol()))
        return self.wires[-1].protocol

    async def opens(self, failure: OSError | None = None) -> None:
        """The oldest handshake comes to its end."""
        gate, _ = self.opening.pop(0)
        if failure is None:
            gate.set_result(None)
        else:
            gate.set_exception(failure)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def pool(network: Network, **limits: Any) -> Pool:
    return Pool(network, Limits(**{"upstream_waiting_s": 30.0} | limits), lambda: 0.0)  # type: ignore[arg-type]


class Asker:
    """Requests by number; `order` is that in which they reached a connection."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.order: list[int] = []
        self.tasks: list[asyncio.Task[Any]] = []

    async def asks(self, count: int) -> None:
        for _ in range(count):
            number = len(self.tasks)
            ask = self.pool.ask(TO, "POST", b"head", b"", partial(self.order.append, number))
            self.tasks.append(asyncio.ensure_future(ask))
        await settle()


def test_a_burst_of_first_requests_opens_few_connections_at_a_time():
    async def scene() -> None:
        network = Network()
        asker = Asker(pool(network, upstream_connecting=4))
        await asker.asks(50)
        assert len(network.opening) == 4
        await network.opens()
        assert len(network.opening) == 4
        while network.opening:
            await network.opens()
            for wire in network.wires:
                if wire.asked and not wire.closing:
                    wire.asked.clear()
                    wire.answers()
            await settle()
        await asyncio.gather(*asker.tasks)
        assert len(network.wires) < 50
        assert asker.pool.counts() == (len(network.wires), 0)

    play(scene())


def test_who_came_first_is_served_first_also_before_one_who_comes_as_a_connection_comes_back():
    async def scene() -> None:
        network = Network()
        asker = Asker(pool(network, upstream_per_host=1))
        await asker.asks(4)
        await network.opens()
        for number in range(1, 8):
            network.wires[0].answers()
            if number < 4:
                await asker.asks(1)
            await settle()
        await asyncio.gather(*asker.tasks)
        assert asker.order == [0, 1, 2, 3, 4, 5, 6]
        assert len(network.wires) == 1

    play(scene())


def test_a_failed_handshake_gives_its_place_to_the_next():
    async def scene() -> None:
        network = Network()
        asker = Asker(pool(network, upstream_connecting=1))
        await asker.asks(3)
        await network.opens(ConnectionRefusedError())
        with pytest.raises(UpstreamFailure):
            await asker.tasks[0]
        await network.opens()
        await network.opens()
        for wire in network.wires:
            wire.answers()
        assert all(await asyncio.gather(*asker.tasks[1:]))

    play(scene())


@pytest.mark.parametrize("given", ["a connection", "a place"])
def test_a_turn_that_comes_as_its_request_is_cancelled_goes_to_the_next(given: str):
    async def scene() -> None:
        network = Network()
        limits = {"upstream_per_host": 1} if given == "a connection" else {"upstream_connecting": 1}
        asker = Asker(pool(network, **limits))
        await asker.asks(3)
        gate, _ = network.opening.pop(0)
        if given == "a connection":
            gate.set_result(None)
            await settle()
            network.wires[0].answers()
        else:
            gate.set_exception(ConnectionRefusedError())
            while not asker.tasks[0].done():
                await asyncio.sleep(0)
        asker.tasks[1].cancel()
        await settle()
        while network.opening:
            await network.opens()
        network.wires[-1].answers()
        assert await asker.tasks[2]
        assert asker.pool.counts()[1] == 0

    play(scene())


def test_the_line_has_an_end_and_a_wait_in_it_has_one_too():
    async def scene() -> None:
        network = Network()
        asker = Asker(pool(network, upstream_per_host=1, upstream_line=2, upstream_waiting_s=0.05))
        await asker.asks(4)
        with pytest.raises(Refusal, match="wait for this provider"):
            await asker.tasks[3]
        for waited in asker.tasks[1:3]:
            with pytest.raises(UpstreamTimeout):
                await waited
        await network.opens()
        network.wires[0].answers()
        assert await asker.tasks[0]

    play(scene())


def test_a_provider_with_too_long_a_line_is_a_503_that_says_so_and_costs_nothing():
    async def scene() -> None:
        async with Stage(limits={"upstream_per_host": 1, "upstream_line": 0}) as stage:
            one, two = await stage.client(), await stage.client()
            provider = await stage.asked(one, REQUEST)
            await two.send(REQUEST)
            response = await two.response()
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            assert json.loads(response.body)["error"]["code"] == "overloaded"
            await provider.send(answer(b"{}"))
            assert (await one.response()).status == 200
            refused = next(record for record in stage.journal.settled if record.refusal_code)
            assert (refused.outcome, refused.usage.units, refused.cost_nano) == ("refused", {}, 0)

    play(scene())
