"""A fleet server and raw pods: what is sent when, and what happens to peers that misbehave."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import grpc
import pytest

from controlplane.changes.models import Revision
from controlplane.environment import ConfigurationError
from controlplane.fleet.calls import watch
from controlplane.fleet.models import Pod
from controlplane.fleet.state import reading
from controlplane.fleet.state.catalogue import Catalogue, Loaded, Ref
from controlplane.fleet.state.reading import renew_epoch
from controlplane.keys import actions as keys
from controlplane.tenancy import actions as tenancy
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM
from tests.controlplane.fleet.pods import PATIENCE_S, RawPod, do, fleet, pod

pytestmark = pytest.mark.django_db(transaction=True)


def head() -> int:
    return Revision.objects.get().value


async def level(of: RawPod) -> None:
    await of.until(await do(head))


def test_a_new_pod_gets_everything_and_then_only_what_changes() -> None:
    async def scenario() -> None:
        key, _token = await do(factories.key_and_token)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await level(one)
            assert one.updates[0].full
            held = one.get("virtual_key", key.pk)
            assert held.state == wire.KEY_STATE_ACTIVE
            assert [secret.public_id for secret in held.secrets] == [key.public_id]
            assert one.welcome.peppers
            await do(keys.disable, key, by=SYSTEM, reason="lost laptop")
            await level(one)
            assert not one.updates[-1].full
            assert len(one.updates[-1].upserts) == 1
            assert one.get("virtual_key", key.pk).state == wire.KEY_STATE_DISABLED

    asyncio.run(scenario())


def test_a_revocation_travels_first_and_says_whether_to_cut() -> None:
    async def scenario() -> None:
        key = await do(factories.key)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await level(one)
            await do(keys.revoke, key, by=SYSTEM)
            await level(one)
            update = one.updates[-1]
            assert [(gone.key_id, gone.public_id, gone.cut) for gone in update.revocations] == [
                (key.pk, key.public_id, True)
            ]
            assert update.revocations[0].revision == update.revision
            assert update.part == 0

    asyncio.run(scenario())


def test_an_empty_database_makes_a_pod_ready_too() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            assert await one.step() == "update"
            assert (one.held, one.revision) == ({}, 0)
            assert one.updates[-1].full

    asyncio.run(scenario())


def test_a_pod_that_comes_back_gets_the_difference_or_nothing() -> None:
    async def scenario() -> None:
        await do(factories.key)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await level(one)
            before = len(one.updates)
            await one.connect()
            assert (await one.beat(1)).fresh
            assert len(one.updates) == before
            await do(factories.organization)
            await level(one)
            assert [update.full for update in one.updates[before:]] == [False]

    asyncio.run(scenario())


def test_a_pod_whose_digest_differs_gets_everything() -> None:
    async def scenario() -> None:
        await do(factories.key)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await level(one)
            await one.connect(digest=b"x" * 16)
            while len(one.updates) < 2:
                await one.step()
            assert one.updates[-1].full

    asyncio.run(scenario())


@pytest.mark.parametrize("recent", [1000, 0], ids=["a delta", "everything"])
def test_a_pod_behind_a_restarted_server_gets_what_it_lacks(recent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that starts knows the present and the recent past; for pods from before that, only the present."""
    monkeypatch.setattr(reading, "RECENT_REVISIONS", recent)

    async def scenario() -> None:
        organization = await do(factories.organization)
        key = await do(factories.key)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await level(one)
        await do(tenancy.update_organization, organization, by=SYSTEM, contact="the platform team")
        await do(keys.revoke, key, by=SYSTEM)
        async with fleet() as server, pod(server.port) as two:
            two.held, two.epoch, two.revision = dict(one.held), one.epoch, one.revision
            await two.connect()
            await level(two)
            assert two.updates[-1].full is (recent == 0)
            assert two.get("organization", organization.pk).contact == "the platform team"
            assert [gone.key_id for gone in two.updates[0].revocations] == [key.pk]

    asyncio.run(scenario())


def test_a_slow_pod_gets_one_update_that_spans_many_revisions() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await one.step()
            one.answer = False
            first = await do(factories.organization)
            await level(one)
            for number in range(5):
                await do(tenancy.update_organization, first, by=SYSTEM, contact=f"contact {number}")
            one.answer = True
            await server.replica.caught_up()
            await one.send(ack=wire.Ack(revision=one.revision))
            await level(one)
            assert one.updates[-1].revision - one.updates[-1].from_revision == 5
            assert len(one.updates[-1].upserts) == 1

    asyncio.run(scenario())


def test_a_refused_update_is_offered_again_only_with_something_newer() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await one.step()
            one.answer = False
            organization = await do(factories.organization)
            await level(one)
            refused, one.revision, one.held = one.revision, 0, {}
            await one.send(nack=wire.Nack(revision=refused, problem="it\0hurts"))
            assert (await one.beat(1)).head_revision == refused
            one.answer = True
            await do(tenancy.update_organization, organization, by=SYSTEM, contact="x")
            await level(one)
            assert one.updates[-1].from_revision == 0
            await one.beat(2)
            await server.roster.flush()
            row = await do(Pod.objects.get)
            assert (row.nack_revision, row.nack_problem) == (0, "")

    asyncio.run(scenario())


def test_a_nack_is_kept_in_the_pods_own_words() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await one.step()
            one.answer = False
            await do(factories.organization)
            await level(one)
            await one.send(nack=wire.Nack(revision=one.revision, problem="it\0hurts"))
            await one.beat(1)
            await server.roster.flush()
            row = await do(Pod.objects.get)
            assert (row.nack_revision, row.nack_problem) == (one.revision, "it hurts")

    asyncio.run(scenario())


def test_a_pod_that_lost_track_gets_everything() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await one.step()
            one.answer = False
            await do(factories.organization)
            await level(one)
            one.answer = True
            await one.send(nack=wire.Nack(revision=one.revision, problem="gap", resync=True))
            while len(one.updates) < 3:
                await one.step()
            assert one.updates[-1].full

    asyncio.run(scenario())


def test_another_epoch_means_everything_anew() -> None:
    async def scenario() -> None:
        await do(factories.organization)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await level(one)
            await do(renew_epoch, one.epoch)
            old = one.epoch
            async with asyncio.timeout(PATIENCE_S):
                while one.epoch == old:
                    await one.step()
            assert one.updates[-1].full
            assert (await one.beat(9)).epoch == one.epoch

    asyncio.run(scenario())


def test_a_database_that_lost_revisions_gets_another_epoch_by_itself() -> None:
    async def scenario() -> None:
        organization = await do(factories.organization)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await level(one)
            old = one.epoch

            def restore() -> None:
                """As a copy that lacks the last commit would look, with another one since."""
                Revision.objects.update(value=0)
                tenancy.update_organization(organization, by=SYSTEM, contact="after the failover")

            from controlplane.changes.models import ConfigChange

            await do(lambda: ConfigChange.objects.all().delete())
            await do(restore)
            async with asyncio.timeout(PATIENCE_S):
                while one.epoch == old:
                    await one.step()
            assert one.get("organization", organization.pk).contact == "after the failover"

    asyncio.run(scenario())


def test_a_pod_ahead_of_the_database_is_never_called_fresh_nor_taken_back_in_its_epoch() -> None:
    async def scenario() -> None:
        await do(factories.organization)
        async with fleet() as server, pod(server.port) as one:
            epoch = server.replica.catalogue.epoch
            one.epoch, one.revision = epoch, 10**6
            await one.connect()
            async with asyncio.timeout(PATIENCE_S):
                while one.epoch == epoch:
                    await one.step()
            assert one.updates[0].full
            assert one.updates[0].epoch != epoch

    asyncio.run(scenario())


def test_resolve_knows_a_key_that_was_minted_a_moment_ago() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            key = await do(factories.key)
            answer = await one.stub.Resolve(wire.ResolveRequest(pod_id="pod-1", public_id=key.public_id))
            assert answer.known
            await one.until(answer.revision)
            assert ("virtual_key", key.pk) in one.held
            unknown = await one.stub.Resolve(wire.ResolveRequest(pod_id="pod-1", public_id="0000000000"))
            assert not unknown.known

    asyncio.run(scenario())


async def _refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), str(error.details())
    raise AssertionError("it was not refused")


async def _watch_refusal(port: int, *messages: bytes) -> tuple[grpc.StatusCode, str]:
    channel: Any
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream("/aigateway.fleet.v1.Fleet/Watch")()
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for message in messages:
                await call.write(message)
            async with asyncio.timeout(PATIENCE_S):
                while isinstance(await call.read(), bytes):
                    pass
        return await call.code(), await call.details()


def test_malformed_peers_are_told_so_and_the_server_lives() -> None:
    hello = wire.PodMessage(hello=wire.Hello(pod_id="p", session_id="s")).SerializeToString()
    rubbish = [
        (b"\xff\xff\xff\xff",),
        (b"",),
        (wire.PodMessage(heartbeat=wire.Heartbeat(seq=1)).SerializeToString(),),
        (wire.PodMessage(hello=wire.Hello(pod_id="", session_id="s")).SerializeToString(),),
        (wire.PodMessage(hello=wire.Hello(pod_id="p" * 65, session_id="s")).SerializeToString(),),
        (wire.PodMessage(hello=wire.Hello(pod_id="p", session_id="s", name="a\0b")).SerializeToString(),),
        (wire.PodMessage(hello=wire.Hello(pod_id="p", session_id="s", revision=-1)).SerializeToString(),),
        (hello, hello),
        (hello, b"\x08"),
        (hello, wire.PodMessage(ack=wire.Ack(revision=10**9)).SerializeToString()),
        (hello, wire.PodMessage(nack=wire.Nack(revision=10**9)).SerializeToString()),
    ]

    async def scenario() -> None:
        channel: Any
        async with fleet() as server:
            for messages in rubbish:
                code, details = await _watch_refusal(server.port, *messages)
                assert code is grpc.StatusCode.INVALID_ARGUMENT, (messages, details)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                resolve = channel.unary_unary("/aigateway.fleet.v1.Fleet/Resolve")
                assert (await _refusal(resolve(b"\xff")))[0] is grpc.StatusCode.INVALID_ARGUMENT
                assert (await _refusal(resolve(b"x" * (5 << 20))))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            async with pod(server.port) as one:
                await one.connect()
                assert await one.step() == "update"

    asyncio.run(scenario())


def test_a_heartbeat_is_answered_with_the_newest_revision_and_written_down() -> None:
    async def scenario() -> None:
        await do(factories.organization)
        async with fleet() as server, pod(server.port, address="http://127.0.0.1:5563") as one:
            await one.connect()
            await level(one)
            before = time.time_ns() // 1_000_000
            words = {"clock_ahead_ms": -6_500, "problem": "no minute\0s"}
            ack = await one.beat(7, open_exchanges=3, requests_total=2**63 - 1, spool_records=-5, **words)
            assert before <= ack.server_time_ms <= time.time_ns() // 1_000_000
            assert (ack.head_revision, ack.fresh, ack.epoch) == (one.revision, True, one.epoch)
            await server.roster.flush()
            row = await do(Pod.objects.get)
            assert (row.connected, row.state, row.open_exchanges, row.spool_records) == (True, "ready", 3, 0)
            assert (row.applied_revision, row.address) == (one.revision, "http://127.0.0.1:5563")
            assert (row.clock_ahead_ms, row.problem) == (-6_500, "no minute s")
        row = await do(Pod.objects.get)
        assert not row.connected

    asyncio.run(scenario())


def test_a_stopping_server_says_goodbye_to_every_pod() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port, "a") as one, pod(server.port, "b") as two:
            await one.connect()
            await two.connect()
            await one.step()
            await two.step()
            server.servicer.say_goodbye()
            assert await one.step() == await two.step() == "goodbye"
            assert one.goodbye

    asyncio.run(scenario())


def test_the_newest_connection_of_a_pod_takes_the_place_of_the_one_before() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one, pod(server.port) as two:
            await one.connect()
            await one.step()
            await two.connect()
            assert await one.step() == "goodbye"
            assert (await two.beat(1)).seq == 1
            await server.roster.flush()
            assert (await do(Pod.objects.get)).connected

    asyncio.run(scenario())


def test_two_servers_cannot_share_a_port() -> None:
    async def scenario() -> None:
        async with fleet() as first, pod(first.port) as one:
            with pytest.raises(ConfigurationError, match="cannot listen"):
                async with fleet(f"127.0.0.1:{first.port}"):
                    pass
            await one.connect()
            assert await one.step() == "update"

    asyncio.run(scenario())


def test_a_pod_that_reads_nothing_is_let_go_and_others_are_served_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WRITE_S", 5.0)  # on a busy machine the other one needs some of it
    large = {
        Ref(wire.RESOURCE_KIND_PROJECT, f"proj_{number:06}"): wire.Resource(
            project=wire.Project(id=f"proj_{number:06}", organization_id="o" * 900)
        ).SerializeToString(deterministic=True)
        for number in range(10_000)
    }

    async def scenario() -> None:
        async with fleet() as server, pod(server.port, "deaf") as deaf, pod(server.port, "other") as other:
            catalogue = Catalogue()
            catalogue.apply(Loaded(server.replica.catalogue.epoch, 0, 0, True, resources=large))
            server.replica.catalogue = catalogue
            await deaf.connect()
            await other.connect()
            async with asyncio.timeout(PATIENCE_S):
                while not other.updates:
                    await other.step()
            assert len(other.held) == len(large)
            async with asyncio.timeout(PATIENCE_S):
                while "deaf" in server.servicer._watches:
                    await asyncio.sleep(0.01)
            assert "other" in server.servicer._watches

    asyncio.run(scenario())
