"""Watch over real gRPC and mutual TLS: configuration arrives, revocations cut, connections die and come back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from dataplane.core.snapshot import KeyState
from dataplane.link import watch
from dataplane.link.session import Status
from protos import fleet_pb2 as pb
from tests.link import fleet_model as fleet
from tests.link.fleet_model import Database
from tests.link.scripted_fleet import Linked, ScriptedFleet, serving


@pytest.fixture
def database():
    database = Database()
    database.commit(*(fleet.key(number) for number in range(5)))
    return database


async def until(condition, what: str):
    """Within a few turns of the loop and of the wire; for what no message announces."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_pod_learns_its_configuration_over_mutual_tls_and_knows_that_it_is_fresh(on_loop, authority, database):
    async def story():
        server = ScriptedFleet()
        certificates = authority.issue("pod")
        async with (
            serving(server, authority.issue("fleet")) as port,
            Linked.make(port, certificates=certificates).running() as pod,
        ):
            assert not pod.watch.fresh(0)
            conversation = await server.next()
            hello = await conversation.introduces(database)
            assert (hello.pod_id, hello.revision) == ("pod_1", 0)
            await pod.watch.configured.wait()
            assert pod.watch.snapshot.revision == database.revision
            assert pod.watch.peppers[1].reveal() == fleet.PEPPER
            heartbeat = pb.HeartbeatAck(seq=1, head_revision=2, fresh=True, epoch="epoch-1")
            await conversation.says(pb.FleetMessage(heartbeat_ack=heartbeat))
            await until(lambda: pod.watch.fresh(0), "fresh")

    on_loop(story())


@pytest.mark.parametrize("wrong", ["client", "server"])
def test_a_peer_whose_certificate_another_authority_signed_is_not_talked_to(on_loop, authority, wrong_authority, wrong):
    async def story():
        server = ScriptedFleet()
        at_server = (authority if wrong == "client" else wrong_authority).issue("fleet")
        own = (wrong_authority if wrong == "client" else authority).issue("pod")
        at_pod = replace(own, ca=authority.directory / "ca.pem")
        async with serving(server, at_server) as port, Linked.make(port, certificates=at_pod).running() as pod:
            await until(lambda: pod.counted('link_reconnects_total{reason="lost"}') >= 2, "turned away twice")
            assert server.conversations.empty()
            assert not pod.watch.configured.is_set()

    on_loop(story())


def test_a_revocation_reaches_whoever_runs_the_streams(on_loop, database):
    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.introduces(database)
            database.commit(replace(database.key(1), state=KeyState.REVOKED))
            await conversation.says(*fleet.delta(database, 2))
            assert await pod.stopped.get() == (frozenset({"vk_1"}), True)
            assert pod.watch.snapshot.keys["vk_1"].state is KeyState.REVOKED
            assert (await conversation.hears("ack")).revision == 3

    on_loop(story())


def test_a_rejected_update_is_refused_in_words_and_the_next_good_one_is_taken(on_loop, database):
    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.introduces(database)
            database.commit(replace(fleet.key(9), project_id="proj_gone"))
            await conversation.says(*fleet.delta(database, 2))
            nack = await conversation.hears("nack")
            assert (nack.revision, nack.resync) == (3, False)
            assert "proj_gone" in nack.problem
            assert pod.watch.snapshot.revision == 2
            database.commit(fleet.key(9))
            await conversation.says(*fleet.delta(database, 2))
            assert (await conversation.hears("ack")).revision == 4

    on_loop(story())


def test_a_large_configuration_comes_in_parts_and_is_worked_on_beside_the_loop(on_loop, database):
    async def story():
        server = ScriptedFleet()
        database.commit(*(fleet.key(number) for number in range(3_000)))
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.hears("hello")
            parts = fleet.full(database, part=1_000)
            assert len(parts) > 2
            await conversation.says(fleet.welcome("epoch-1"), *parts)
            assert (await conversation.hears("ack")).revision == 3
            assert len(pod.watch.snapshot.keys) == 3_000

    on_loop(story())


def test_after_a_lost_connection_the_pod_says_what_it_holds_and_goes_on_from_there(on_loop, database):
    async def story():
        server = ScriptedFleet()
        async with contextlib.AsyncExitStack() as first:
            port = await first.enter_async_context(serving(server))
            async with Linked.make(port).running() as pod:
                await (await server.next()).introduces(database)
                await first.aclose()  # the server is killed
                database.commit(fleet.key(77))
                async with serving(server, port=port):
                    conversation = await server.next()
                    hello = await conversation.hears("hello")
                    assert (hello.epoch, hello.revision) == ("epoch-1", 2)
                    assert hello.digest == fleet.digest(database.at(2).values())
                    await conversation.says(fleet.welcome("epoch-1"), *fleet.delta(database, 2))
                    assert (await conversation.hears("ack")).revision == 3
                    assert pod.watch.has_key(fleet.key(77).public_id)

    on_loop(story())


def test_goodbye_moves_the_pod_to_the_next_server(on_loop, database):
    async def story():
        one, other = ScriptedFleet(), ScriptedFleet()
        async with (
            serving(one) as first_port,
            serving(other) as second_port,
            Linked.make(first_port, second_port).running() as pod,
        ):
            got = [asyncio.ensure_future(server.next()) for server in (one, other)]
            done, _ = await asyncio.wait(got, return_when=asyncio.FIRST_COMPLETED)
            conversation = done.pop().result()
            await conversation.hears("hello")
            await conversation.says(fleet.welcome("epoch-1"), pb.FleetMessage(goodbye=pb.Goodbye(reason="rolling")))
            await conversation.ended.wait()
            await asyncio.gather(*got)  # the other one is spoken to as well
            assert pod.counted('link_reconnects_total{reason="goodbye"}') == 1

    on_loop(story())


def test_a_pod_that_ends_says_so_and_waits_until_it_was_heard(on_loop, database):
    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.introduces(database)
            pod.session.status = lambda: Status("draining")
            leaving = asyncio.ensure_future(pod.watch.take_leave())
            last = await conversation.hears("heartbeat")
            assert last.status.state == "draining"
            assert not leaving.done()
            ack = pb.HeartbeatAck(seq=last.seq, head_revision=database.revision, fresh=True, epoch=database.epoch)
            await conversation.says(pb.FleetMessage(heartbeat_ack=ack))
            await leaving

    on_loop(story())


def test_a_pod_that_nobody_hears_ends_all_the_same(on_loop, database, monkeypatch):
    monkeypatch.setattr(watch, "LAST_WORDS_S", 0.01)

    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            await pod.watch.take_leave()
            conversation = await server.next()
            await conversation.introduces(database)
            await pod.watch.take_leave()
            assert pod.session.in_doubt

    on_loop(story())


def test_a_message_beyond_the_bound_ends_the_stream_not_the_pod(on_loop, database):
    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.introduces(database)
            with contextlib.suppress(Exception):  # the pod hangs up while it is being sent
                await conversation.says(pb.FleetMessage(goodbye=pb.Goodbye(reason="x" * (5 * 1024 * 1024))))
            assert (await (await server.next()).hears("hello")).revision == 2
            assert pod.watch.snapshot.revision == 2

    on_loop(story())


class RawFleet(grpc.GenericRpcHandler):
    """Answers every stream with the same bytes, whatever they are."""

    def __init__(self, answer: bytes):
        self.answer = answer
        self.calls = 0

    def service(self, handler_call_details):
        async def behave(requests, context):
            self.calls += 1
            yield self.answer
            await asyncio.Event().wait()

        return grpc.stream_stream_rpc_method_handler(behave)


@pytest.mark.parametrize(
    "garbage", [b"\x0a\xff", b"\x7b" * 10_000 + b"\x7c" * 10_000], ids=["torn", "ten thousand deep"]
)
def test_bytes_that_are_no_message_end_the_stream_not_the_pod(on_loop, garbage):
    async def story():
        raw = RawFleet(garbage)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((raw,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with Linked.make(port).running() as pod:
            await until(lambda: raw.calls >= 2, "left and came back")
            assert pod.watch.snapshot.revision == 0
        await server.stop(None)

    on_loop(story())


def test_a_server_that_falls_silent_is_left_for_another_stream(on_loop, database, monkeypatch):
    monkeypatch.setattr("dataplane.link.session.ANSWER_MS", 300)

    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.introduces(database)  # and never answers a heartbeat
            await conversation.ended.wait()
            await server.next()
            assert pod.counted('link_reconnects_total{reason="silent"}') == 1

    on_loop(story())


# ---- keys minted a moment ago ----


def test_a_key_minted_a_moment_ago_is_asked_for_once_and_waited_for(on_loop, database):
    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.introduces(database)
            database.commit(fleet.key(42))
            server.resolve = lambda public_id: pb.ResolveResponse(known=True, revision=3, epoch="epoch-1")
            learning = [asyncio.ensure_future(pod.watch.learn(fleet.key(42).public_id)) for _ in range(20)]
            await until(lambda: server.asked, "asked")
            await conversation.says(*fleet.delta(database, 2))
            assert await asyncio.gather(*learning) == [True] * 20
            assert len(server.asked) == 1

    on_loop(story())


def test_an_unknown_key_is_asked_for_once_a_minute_and_forgotten_when_it_appears(on_loop, database):
    async def story():
        server = ScriptedFleet()
        async with serving(server) as port, Linked.make(port).running() as pod:
            conversation = await server.next()
            await conversation.introduces(database)
            public_id = fleet.key(42).public_id
            assert [await pod.watch.learn(public_id) for _ in range(5)] == [False] * 5
            assert server.asked == [public_id]
            database.commit(fleet.key(42))
            await conversation.says(*fleet.delta(database, 2))
            await conversation.hears("ack")
            assert await pod.watch.learn(public_id)
            assert server.asked == [public_id]

    on_loop(story())
