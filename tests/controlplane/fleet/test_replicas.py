"""Replicas against the database: concurrency, lost connections, restarts. Nothing is half, stale or taken back."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import pytest
from django.db import connection

from controlplane.changes.change_set import change_set
from controlplane.changes.models import Revision
from controlplane.fleet.database import in_database, one_moment
from controlplane.fleet.models import Pod, PodAck
from controlplane.fleet.state import notify, reading
from controlplane.fleet.state import replica as module
from controlplane.fleet.state.catalogue import Catalogue
from controlplane.fleet.state.reading import refreshed
from controlplane.fleet.state.replica import FRESH_S, Replica
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Organization
from controlplane.usage.ingest import book
from controlplane.usage.models import UsageRecord
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM
from tests.controlplane.fleet.pods import PATIENCE_S, RawPod, do, fleet, pod
from tests.controlplane.usage.records import batch, record

pytestmark = pytest.mark.django_db(transaction=True)


def head() -> int:
    return Revision.objects.get().value


def everything() -> Catalogue:
    found = refreshed(Catalogue())
    assert isinstance(found, Catalogue)
    return found


def test_concurrent_change_sets_are_followed_to_the_same_catalogue_and_never_half() -> None:
    """Writers change two rows in each change set; a watcher must see them together, in order, to the end."""
    writers, changes = 4, 12

    def write(left: str, right: str, who: int) -> None:
        rows = [Organization.objects.get(pk=pk) for pk in (left, right)]
        for number in range(changes):
            with change_set(SYSTEM):
                for row in rows:
                    tenancy.update_organization(row, by=SYSTEM, contact=f"{who}:{number}")

    async def scenario() -> None:
        left, right = await do(factories.organization), await do(factories.organization)
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await one.until(await do(head))
            last = one.revision + writers * changes

            def whole() -> bool:
                return bool(one.get("organization", left.pk).contact == one.get("organization", right.pk).contact)

            assert whole()
            async with asyncio.TaskGroup() as tasks:
                for who in range(writers):
                    tasks.create_task(do(write, left.pk, right.pk, who))
                async with asyncio.timeout(2 * PATIENCE_S):
                    while one.revision < last:
                        if await one.step() == "update" and not one.parts:
                            assert whole()
            assert one.revisions == sorted(one.revisions)
            fresh = await do(everything)
            assert one.digest == fresh.digest == server.replica.catalogue.digest
            assert len(fresh) == len(one.held) == len(server.replica.catalogue)

    asyncio.run(scenario())


def test_one_moment_does_not_see_what_commits_meanwhile() -> None:
    organization = factories.organization(contact="before")

    def elsewhere() -> None:
        tenancy.update_organization(Organization.objects.get(), by=SYSTEM, contact="after")
        connection.close()

    with one_moment():
        assert Organization.objects.get().contact == "before"
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()
        assert Organization.objects.get(pk=organization.pk).contact == "before"
    assert Organization.objects.get().contact == "after"


def test_two_replicas_on_one_database_hold_the_same_and_a_pod_moves_between_them_without_a_resync() -> None:
    async def scenario() -> None:
        organization = await do(factories.organization)
        async with fleet() as first, fleet() as second, pod(first.port, watch=1) as one:
            await one.connect()
            await one.until(await do(head))
            for number in range(5):
                await do(tenancy.update_organization, organization, by=SYSTEM, contact=str(number))
            await one.until(await do(head))
            await second.replica.caught_up()
            assert first.replica.catalogue.digest == second.replica.catalogue.digest
            async with pod(second.port, watch=2) as moved:
                moved.held, moved.epoch, moved.revision = one.held, one.epoch, one.revision
                await moved.connect()
                assert (await moved.beat(1)).fresh
                assert not moved.updates
                await second.roster.flush()
                await one.close()
                await do(tenancy.update_organization, organization, by=SYSTEM, contact="moved")
                await moved.until(await do(head))
                assert [update.full for update in moved.updates] == [False]
                await moved.beat(2)
                await first.roster.flush()
                await second.roster.flush()
                row = await do(Pod.objects.get)
                assert (row.connected, row.applied_revision) == (True, moved.revision)

    asyncio.run(scenario())


def test_a_commit_rings_the_bell_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL only: with the poll out of the way, a change still arrives."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no notifications: it is polled")
    monkeypatch.setattr(module, "POLL_S", 3600.0)
    monkeypatch.setattr(notify, "POLL_S", 3600.0)

    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one:
            await one.connect()
            await one.step()
            key = await do(factories.key)
            await one.until(await do(head))
            assert ("virtual_key", key.pk) in one.held

    asyncio.run(scenario())


def kill_backends() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_server_whose_database_connections_die_goes_on() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections that die")

    async def scenario() -> None:
        organization = await do(factories.organization)
        async with fleet(ledger=book) as server, pod(server.port) as one:
            await one.connect()
            await one.until(await do(head))
            for number in range(3):
                await do(kill_backends)
                await do(tenancy.update_organization, organization, by=SYSTEM, contact=str(number))
                await one.until(await do(head))
                assert one.get("organization", organization.pk).contact == str(number)
                report = one.stub.Report()
                await report.write(batch(record(f"req_{number}"), first=number + 1))
                async with asyncio.timeout(PATIENCE_S):
                    assert (await report.read()).through_seq == number + 1
                report.cancel()
            await server.roster.flush()
            assert (await do(Pod.objects.get)).applied_revision == one.revision
            assert await do(UsageRecord.objects.count) == 3

    asyncio.run(scenario())


def test_a_replica_that_cannot_read_is_not_fresh_and_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    async def scenario() -> None:
        replica = Replica(poll_s=3600, clock=lambda: now[0])
        running = asyncio.ensure_future(replica.run())
        assert not replica.fresh
        await replica.caught_up()
        assert replica.fresh
        now[0] += FRESH_S
        assert replica.fresh
        now[0] += 0.1
        assert not replica.fresh

        def broken(held: Catalogue) -> Catalogue:
            raise ZeroDivisionError

        with monkeypatch.context() as broke:
            broke.setattr(module, "refreshed", broken)
            with pytest.raises(module.Unavailable):
                await replica.caught_up()
            assert not replica.fresh
        await replica.caught_up()
        assert replica.fresh
        running.cancel()

    asyncio.run(scenario())


def test_freshness_counts_from_before_the_reading_began(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def slow(held: Catalogue) -> Any:
        now[0] += FRESH_S + 1
        return refreshed(held)

    async def scenario() -> None:
        replica = Replica(poll_s=3600, clock=lambda: now[0])
        running = asyncio.ensure_future(replica.run())
        monkeypatch.setattr(module, "refreshed", slow)
        await replica.caught_up()
        assert not replica.fresh
        running.cancel()

    asyncio.run(scenario())


def test_a_standby_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no standbys")

    async def scenario() -> None:
        replica = Replica(poll_s=3600)
        running = asyncio.ensure_future(replica.run())
        await replica.caught_up()
        monkeypatch.setattr(reading, "IS_STANDBY", "SELECT true")
        with pytest.raises(module.Unavailable, match="standby"):
            await replica.caught_up()
        running.cancel()

    asyncio.run(scenario())


def test_work_in_the_database_runs_side_by_side() -> None:
    """Each unit has a thread and a connection of its own: two that wait for each other both end."""
    meeting = threading.Barrier(4, timeout=PATIENCE_S)

    def meet() -> int:
        Revision.objects.count()
        return meeting.wait()

    async def scenario() -> None:
        assert sorted(await asyncio.gather(*(in_database(meet) for _ in range(4)))) == [0, 1, 2, 3]

    asyncio.run(scenario())


def test_reports_are_acknowledged_when_committed_and_rubbish_is_refused() -> None:
    async def scenario() -> None:
        async with fleet(ledger=book) as server, pod(server.port) as one:
            report = one.stub.Report()
            await report.write(batch(record("a"), record(""), first=1))
            async with asyncio.timeout(PATIENCE_S):
                ack = await report.read()
            assert (ack.session_id, ack.through_seq) == ("session-1", 2)
            assert await do(UsageRecord.objects.count) == 1
            report.cancel()
            for wrong in (wire.UsageBatch(), wire.UsageBatch(pod_id="p", session_id="s", first_seq=-1)):
                report = one.stub.Report()
                await report.write(wrong)
                async with asyncio.timeout(PATIENCE_S):
                    with pytest.raises(grpc.aio.AioRpcError):
                        await report.read()
                    assert await report.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(scenario())


def test_every_applied_revision_leaves_an_acknowledgement() -> None:
    async def scenario() -> None:
        async with fleet() as server, pod(server.port) as one, pod(server.port, "pod-2") as two:
            for each in (one, two):
                await each.connect()
                await each.step()
            await do(factories.organization)
            for each in (one, two):
                await each.until(await do(head))
                await each.beat(1)
            await server.roster.flush()
            acked = await do(lambda: sorted(PodAck.objects.values_list("pod_id", "revision")))
            assert acked == [("pod-1", 0), ("pod-1", 1), ("pod-2", 0), ("pod-2", 1)]

    asyncio.run(scenario())


def test_a_pod_that_reconnects_keeps_what_it_had_while_the_server_restarts() -> None:
    async def scenario() -> None:
        organization = await do(factories.organization)
        one = RawPod(0)
        await one.close()
        for number in range(3):
            async with fleet() as server, pod(server.port) as again:
                again.held, again.epoch, again.revision = one.held, one.epoch, one.revision
                await again.connect()
                await again.until(await do(head))
                assert (await again.beat(1)).fresh
                one = again
            await do(tenancy.update_organization, organization, by=SYSTEM, contact=str(number))

    asyncio.run(scenario())
