"""The pod's own link against the fleet's own server: what each side's tests assume of the other holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from controlplane.budgets.models import Budget
from controlplane.changes.change_set import change_set
from controlplane.changes.models import Revision
from controlplane.fleet.models import Pod
from controlplane.fleet.register.queries import Convergence, convergence
from controlplane.keys import actions as keys
from controlplane.providers import actions as providers
from controlplane.tenancy import actions as tenancy
from controlplane.usage.ingest import book
from controlplane.usage.models import UsageRecord as Booked
from dataplane.core import rows as core
from dataplane.core.authenticate import authenticate
from dataplane.core.errors import Refusal
from dataplane.core.keys import digest
from dataplane.core.rows import Ref
from dataplane.core.secret import Secret
from dataplane.core.usage import RecordStatus, Usage, UsageClass, UsageRecord, UsageSource
from dataplane.link.channel import Backoff, Connector
from dataplane.link.replica import Replica
from dataplane.link.report import Reporter
from dataplane.link.session import Introduction, Session, Status
from dataplane.link.spool import MemoryStore, Spool
from dataplane.link.watch import Watch
from dataplane.telemetry.metrics import Metrics
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM
from tests.controlplane.fleet.pods import PATIENCE_S, do, fleet

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class LinkedPod:
    """A pod without its proxy."""

    watch: Watch
    spool: Spool
    targets: list[str]
    cut: list[tuple[frozenset[str], bool]] = field(default_factory=list)
    cut_by_hand: list[frozenset[Ref]] = field(default_factory=list)
    something: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, key_ids: frozenset[str], cut: bool) -> None:
        self.cut.append((key_ids, cut))
        self.something.set()

    def note_cut(self, rows: frozenset[Ref]) -> None:
        self.cut_by_hand.append(rows)

    async def level(self) -> None:
        revision = await do(lambda: Revision.objects.get().value)
        async with asyncio.timeout(PATIENCE_S):
            await self.watch.reached(self.watch.snapshot.epoch, revision)


@asynccontextmanager
async def linked(port: int, pod_id: str = "pod-1") -> AsyncIterator[LinkedPod]:
    metrics = Metrics("test")
    spool = Spool(MemoryStore(), f"session-{pod_id}", metrics, limit_bytes=1 << 20, limit_records=1000)
    introduction = Introduction(pod_id, spool.session_id, "1.0", pod_id, "http://127.0.0.1:1", 1_795_000_000_000)
    session = Session(replica=Replica(), introduction=introduction, status=lambda: Status("ready"), jitter=lambda: 0.5)
    reporter = Reporter(pod_id, spool, None, metrics, Backoff(lambda: 0.5))
    targets = [f"127.0.0.1:{port}"]
    connector = Connector(targets, None, "")
    watch = Watch(session, connector, reporter.run, metrics)
    made = LinkedPod(watch, spool, targets)
    watch.on_revoked(made.note)
    watch.on_cut(made.note_cut)
    running = asyncio.ensure_future(watch.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await watch.configured.wait()
        yield made
    finally:
        running.cancel()
        await asyncio.wait([running])


def test_a_minted_key_is_learnt_at_once_and_a_revoked_one_is_cut() -> None:
    async def scenario() -> None:
        await do(factories.provider)
        async with fleet() as server, linked(server.port) as pod:
            key, token = await do(factories.key_and_token)
            assert await pod.watch.learn(key.public_id)
            held = pod.watch.snapshot.key_by_public_id(key.public_id)
            assert held is not None
            [secret] = held.secrets
            assert secret.digest == digest(pod.watch.peppers[secret.pepper_version], token.reveal())
            now_ms = 1_795_000_000_000
            authenticate(pod.watch.snapshot, token.reveal(), pod.watch.peppers, now_ms)
            assert not await pod.watch.learn("0000000000")
            async with asyncio.timeout(PATIENCE_S):
                while not pod.watch.fresh(0):
                    await asyncio.sleep(0)
            await do(keys.revoke, key, by=SYSTEM)
            async with asyncio.timeout(PATIENCE_S):
                await pod.something.wait()
            assert pod.cut == [(frozenset({key.pk}), True)]
            with pytest.raises(Refusal, match="revoked"):
                authenticate(pod.watch.snapshot, token.reveal(), pod.watch.peppers, now_ms)
            await pod.level()
            await server.roster.flush()
            async with asyncio.timeout(PATIENCE_S):
                while (found := await do(convergence, pod.watch.snapshot.revision)).live != 1:
                    await server.roster.flush()
            assert str(found).startswith("live on 1 of 1 pod, slowest ")

    asyncio.run(scenario())


def test_a_disabled_key_drains_and_an_enabled_one_works_again() -> None:
    async def scenario() -> None:
        key, token = await do(factories.key_and_token)
        async with fleet() as server, linked(server.port) as pod:
            await pod.level()
            await do(keys.disable, key, by=SYSTEM, reason="away")
            async with asyncio.timeout(PATIENCE_S):
                await pod.something.wait()
            assert pod.cut == [(frozenset({key.pk}), False)]
            await do(keys.enable, key, by=SYSTEM)
            await pod.level()
            authenticate(pod.watch.snapshot, token.reveal(), pod.watch.peppers, 1_795_000_000_000)

    asyncio.run(scenario())


def test_running_answers_are_cut_under_every_kind_of_row_that_an_admin_says() -> None:
    async def scenario() -> None:
        key = await do(factories.key)
        principal, provider = await do(factories.principal), await do(factories.provider)
        project = await do(lambda: key.project)
        organization = await do(lambda: key.organization)
        async with fleet() as server, linked(server.port) as pod:
            await pod.level()
            await do(keys.disable, key, by=SYSTEM, cut=True)
            await do(keys.enable, key, by=SYSTEM)
            await do(keys.rotate, key, by=SYSTEM, grace=timedelta(0), cut=True)
            await do(tenancy.update_project, project, by=SYSTEM, active=False, cut=True)
            await do(tenancy.update_principal, principal, by=SYSTEM, cut=True)
            await do(tenancy.update_organization, organization, by=SYSTEM, active=False, cut=True)
            await do(providers.update_provider, provider, by=SYSTEM, enabled=False, cut=True)
            # Without a cut running answers go on.
            await do(keys.rotate, key, by=SYSTEM, grace=timedelta(0))
            await do(tenancy.update_principal, principal, by=SYSTEM, active=False)
            await pod.level()
            assert frozenset().union(*pod.cut_by_hand) == {
                (core.VirtualKey, key.pk),
                (core.Project, project.pk),
                (core.Principal, principal.pk),
                (core.Organization, organization.pk),
                (core.Provider, provider.pk),
            }
            assert pod.watch.snapshot.keys[key.pk].cuts == 2

    asyncio.run(scenario())


def moved(budget: Budget, timezone: str) -> None:
    """To a time zone that an action would not let in, if this machine does not know it."""
    with change_set(SYSTEM):
        budget.timezone = timezone
        budget.save()


def test_a_rule_that_a_pod_does_not_understand_is_live_nowhere_until_the_pod_does() -> None:
    async def scenario() -> None:
        key, token = await do(factories.key_and_token)
        _, another = await do(factories.key_and_token)
        budget = await do(factories.budget, key, window="day")
        async with fleet() as server, linked(server.port) as pod:

            def refused(said: Secret) -> str:
                """By which resource, as the holder of the key is told."""
                try:
                    authenticate(pod.watch.snapshot, said.reveal(), pod.watch.peppers, 1_795_000_000_000)
                except Refusal as refusal:
                    return f"{refusal.code} {refusal.meta.get('id')}"
                return ""

            async def told(words: str) -> Convergence:
                await pod.level()
                async with asyncio.timeout(PATIENCE_S):
                    while words not in str(found := await do(convergence, pod.watch.snapshot.revision)):
                        await server.roster.flush()
                return found  # type: ignore[no-any-return]

            await told("live on 1 of 1 pod")
            assert (refused(token), refused(another)) == ("", "")
            await do(moved, budget, "Mars/Olympus")
            found = await told("live on 0 of 1 pod; pod-1 does not understand it and refuses what it covers")
            assert found.pods[0].problem == "budget: time zone 'Mars/Olympus' is unknown"
            assert (refused(token), refused(another)) == (f"rule_not_understood {budget.pk}", "")
            await do(moved, budget, "Europe/Berlin")
            await told("live on 1 of 1 pod")
            assert (refused(token), refused(another)) == ("", "")

    asyncio.run(scenario())


def used(request_id: str, status: RecordStatus) -> UsageRecord:
    final = status is RecordStatus.FINAL
    usage = Usage({UsageClass.INPUT: 10, UsageClass.OUTPUT: 2}, UsageSource.PROVIDER) if final else Usage()
    at = 1_795_000_000_000
    return UsageRecord(
        request_id=request_id, status=status, started_at_ms=at, ended_at_ms=at if final else 0, usage=usage
    )


def test_the_spool_arrives_whole_and_once_although_the_server_goes_away_in_between() -> None:
    async def booked(pod: LinkedPod) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while pod.spool.pending:
                await asyncio.sleep(0.01)

    async def scenario() -> None:
        async with AsyncExitStack() as life:
            first = await life.enter_async_context(fleet(ledger=book))
            pod = await life.enter_async_context(linked(first.port))
            for number in range(20):
                pod.spool.admit(used(f"req_{number}", RecordStatus.ADMITTED))
            await booked(pod)
            first.servicer.say_goodbye()
            for number in range(20):
                pod.spool.settle(used(f"req_{number}", RecordStatus.FINAL))
            async with fleet(ledger=book) as second:
                pod.targets[:] = [f"127.0.0.1:{second.port}"]
                await booked(pod)
        rows = await do(lambda: list(Booked.objects.values_list("state", "input_tokens", "correction")))
        assert rows == [("final", 10, False)] * 20
        async with asyncio.timeout(PATIENCE_S):
            while (await do(Pod.objects.get)).connected:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
