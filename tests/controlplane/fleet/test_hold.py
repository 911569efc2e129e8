"""The Hold call over gRPC: asks of many at once, recalls between pods, answers that outlive a connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import psycopg
import pytest
from django.db import OperationalError, connection

from controlplane.budgets import answers, lease_sessions, statements, unit_of_work
from controlplane.budgets.answers import PodMessage
from controlplane.budgets.models import Account, AskReply, Budget, Lease, LeaseSession
from controlplane.budgets.statements import Locks, is_locked
from controlplane.fleet.calls import hold_writer
from controlplane.fleet.calls.booking import HeldUp
from controlplane.fleet.calls.hold import RULES, HoldCalls
from controlplane.fleet.calls.hold_writer import HoldWriter
from controlplane.fleet.calls.serve import MOST_BOOKINGS
from controlplane.fleet.database import THREADS
from controlplane.fleet.state import recalls
from controlplane.fleet.state.replica import Unavailable
from dataplane.core.money.lessor import Recalls
from dataplane.core.money.messages import AccountRef, Ask, AskItem, AskKind, Hello, LiveHold, Report
from protos import fleet_pb2 as wire
from protos import fleet_pb2_grpc
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.fleet.pods import PATIENCE_S, do, fleet
from tests.controlplane.fleet.test_process import database_url

pytestmark = pytest.mark.django_db(transaction=True)
DOLLAR = 10**9


def account(ref: AccountRef) -> wire.AccountRef:
    return wire.AccountRef(budget_id=ref[0], member_id=ref[1], window_key=ref[2])


class Holder:
    """A pod that speaks the raw protocol."""

    def __init__(self, call: Any, name: str) -> None:
        self.call = call
        self.name = name
        self.heard: list[Any] = []

    async def say(self, **message: Any) -> None:
        await self.call.write(wire.HoldUp(**message))

    async def hear(self) -> Any:
        while not self.heard:
            async with asyncio.timeout(PATIENCE_S):
                message = await self.call.read()
            assert isinstance(message, wire.HoldDown), "the call ended"
            self.heard += [message.welcome] if message.HasField("welcome") else []
            self.heard += [*message.grants, *message.denies, *message.recalls, *message.report_acks]
        return self.heard.pop(0)

    async def ask(self, ref: AccountRef, id: int = 1, need: int = DOLLAR) -> None:
        item = wire.AskItem(account=account(ref), need_nano=need, minimum_nano=need)
        await self.say(asks=[wire.Ask(ask_id=id, kind=wire.ASK_KIND_ADMIT, request_id=f"r{id}", items=[item])])


@asynccontextmanager
async def holder(port: int, name: str) -> AsyncIterator[Holder]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = fleet_pb2_grpc.FleetStub(channel)
        pod = Holder(stub.Hold(), name)
        await pod.say(hello=wire.HoldHello(pod_id=name, session_id=f"session-{name}"))
        assert (await pod.hear()).ttl_ms > 0
        yield pod
        pod.call.cancel()


def budget_and_ref(**fields: Any) -> tuple[Budget, AccountRef]:
    budget = factories.budget(**fields)
    return budget, ref_of(budget)


def test_many_at_once_get_what_there_is_and_nobody_more() -> None:
    async def scenario() -> None:
        _, ref = await do(budget_and_ref, limit_nano=10 * DOLLAR)
        async with fleet() as server, holder(server.port, "a") as one, holder(server.port, "b") as other:
            for id in range(1, 11):
                await one.ask(ref, id)
                await other.ask(ref, id)
            answers = [await pod.hear() for pod in (one, other) for _ in range(10)]
        granted = [answer for answer in answers if isinstance(answer, wire.Grant)]
        assert len(granted) == 10
        assert (await do(lambda: Account.objects.get().held_nano)) == 10 * DOLLAR

    asyncio.run(scenario())


async def rich_is_asked(rich: Holder, poor: Holder, ref: AccountRef) -> None:
    """One has all the money, idle; the other wants it; the first is asked to give it back."""
    await rich.ask(ref)
    assert isinstance(await rich.hear(), wire.Grant)
    said = wire.AccountReport(account=account(ref), free_nano=DOLLAR, granted_cum=DOLLAR)
    await rich.say(reports=[wire.HoldReport(seq=1, accounts=[said])])
    assert (await rich.hear()).seq == 1
    await poor.ask(ref)
    recalled = await rich.hear()
    assert list(recalled.accounts) == [account(ref)]


def test_a_pod_is_asked_to_give_back_what_idles_before_another_is_refused() -> None:
    async def scenario() -> None:
        _, ref = await do(budget_and_ref, limit_nano=DOLLAR)
        async with fleet() as server, holder(server.port, "a") as rich, holder(server.port, "b") as poor:
            await rich_is_asked(rich, poor, ref)
            await rich.say(returned=[wire.Return(account=account(ref), returned_cum=DOLLAR)])
            await poor.hear()  # a refusal only where this machine took longer than a recall may
            await poor.ask(ref, 2)
            await poor.hear()
            assert await do(lambda: Account.objects.get().held_nano) == DOLLAR
            leases = await do(lambda: dict(Lease.objects.values_list("session_id", "granted_nano")))
            assert leases["session-b"] == DOLLAR

    asyncio.run(scenario())


def test_a_pod_of_another_fleet_server_is_asked_to_give_back_too() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one fleet server")

    async def scenario() -> None:
        _, ref = await do(budget_and_ref, limit_nano=DOLLAR)
        async with (
            fleet() as here,
            fleet() as there,
            holder(here.port, "a") as rich,
            holder(there.port, "b") as poor,
        ):
            await rich_is_asked(rich, poor, ref)

    asyncio.run(scenario())


def test_a_recall_for_many_accounts_travels_in_pieces_that_a_notification_holds() -> None:
    refs = tuple(AccountRef("b" * 40, "m" * 40, "w" * 60 + str(number)) for number in range(50))
    pieces = list(recalls._payloads({"session": refs}))
    assert all(len(piece) < 8_000 for piece in pieces)
    assert tuple(ref for piece in pieces for ref in recalls.parse(piece)[1]) == refs


def test_an_answer_outlives_the_connection_that_it_was_asked_over() -> None:
    async def scenario() -> None:
        _, ref = await do(budget_and_ref)
        async with fleet() as server:
            async with holder(server.port, "a") as pod:
                await pod.ask(ref)
                first = await pod.hear()
            async with holder(server.port, "a") as pod:
                await pod.ask(ref)
                assert await pod.hear() == first
        assert await do(AskReply.objects.count) == 1

    asyncio.run(scenario())


def test_a_closed_session_is_told_so_and_its_call_ends() -> None:
    async def scenario() -> None:
        async with fleet() as server, holder(server.port, "a") as pod:
            await do(lambda: LeaseSession.objects.update(state="closed"))
            await pod.say(reports=[wire.HoldReport(seq=1)])
            async with asyncio.timeout(PATIENCE_S):
                assert await pod.call.read() is grpc.aio.EOF  # type: ignore[attr-defined]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                stub: Any = fleet_pb2_grpc.FleetStub(channel)
                again = Holder(stub.Hold(), "a")
                await again.say(hello=wire.HoldHello(pod_id="a", session_id="session-a"))
                assert (await again.hear()).closed

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "up",
    [
        wire.HoldUp(),
        wire.HoldUp(hello=wire.HoldHello(pod_id="a", session_id="s")),
        wire.HoldUp(asks=[wire.Ask(ask_id=1, kind=wire.ASK_KIND_ADMIT, request_id="r")]),
        wire.HoldUp(returned=[wire.Return(returned_cum=1)]),
        wire.HoldUp(reports=[wire.HoldReport(seq=-1)]),
    ],
)
def test_what_makes_no_sense_ends_the_call_with_a_reason(up: wire.HoldUp) -> None:
    async def scenario() -> None:
        async with fleet() as server, holder(server.port, "a") as pod:
            await pod.call.write(up)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await pod.call.read()
            assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(scenario())


def test_who_is_decided_once_more_waits_until_everybody_else_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[list[int]] = []

    def decide(messages: Sequence[PodMessage], locks: Locks, alone: Collection[str]) -> list[bytes]:
        batches.append([message.recalls for message in messages])
        return [b""] * len(messages)

    async def scenario() -> None:
        monkeypatch.setattr("controlplane.budgets.answers.answer", decide)
        writer = HoldWriter()
        messages = [PodMessage("s", "p", "", Report(1, (), ()), recalls) for recalls in [1] * 50 + [0]]
        asks = [asyncio.ensure_future(writer.answer(message)) for message in messages]
        await asyncio.sleep(0)
        writing = asyncio.ensure_future(writer.run())
        await asyncio.gather(*asks)
        writing.cancel()
        assert batches == [[0] + [1] * 20, [1] * 20, [1] * 10]

    asyncio.run(scenario())


@contextmanager
def somebody_holds(sql: str, *parameters: str) -> Iterator[None]:
    """A person with a console, in a transaction that does not end."""
    with psycopg.connect(database_url()) as other:
        other.execute(sql.encode(), parameters)
        yield
        other.rollback()


ACCOUNT = "SELECT 1 FROM budgets_account WHERE budget_id = %s FOR UPDATE"
LEASES = (
    "SELECT 1 FROM budgets_lease JOIN budgets_account a ON a.id = account_id WHERE budget_id = %s "
    "FOR UPDATE OF budgets_lease"
)
OPENING = (
    "INSERT INTO budgets_account (organization_id, budget_id, member_id, window_key, limit_nano, settled_nano, "
    "held_nano, overdraft_used_nano, overdraft_limit_nano, excess_nano, opened_at, drawn_at) "
    "VALUES ('o', %s, %s, %s, 0, 0, 0, 0, 0, 0, now(), now())"
)


@pytest.mark.parametrize(("held_by", "acknowledged_of"), [(ACCOUNT, ["free"]), (LEASES, ["free", "held"])])
def test_a_row_that_somebody_holds_stops_only_what_is_about_it(
    monkeypatch: pytest.MonkeyPatch, held_by: str, acknowledged_of: list[str]
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no locks of rows")
    monkeypatch.setattr(hold_writer, "LOCKED_S", 0.5)
    monkeypatch.setattr(hold_writer, "PATIENCE_S", PATIENCE_S)  # what is not decided is not taken for a lost database
    locks: list[Locks] = []
    real = answers.answer

    def noted(
        messages: Sequence[PodMessage], how: Locks, alone: Collection[str]
    ) -> list[answers.Answer | answers.Locked]:
        locks.append(how)
        return real(messages, how, alone)

    monkeypatch.setattr(answers, "answer", noted)

    async def scenario() -> None:
        held, held_ref = await do(budget_and_ref)
        _, free_ref = await do(budget_and_ref)
        async with fleet() as server, holder(server.port, "a") as one, holder(server.port, "b") as other:
            for pod, ref in ((one, held_ref), (other, free_ref)):  # the accounts are there
                await pod.ask(ref)
                assert isinstance(await pod.hear(), wire.Grant)
            with somebody_holds(held_by, held.pk):
                await one.ask(held_ref, 2)
                for id in (2, 3, 4):
                    await other.ask(free_ref, id)
                    assert isinstance(await other.hear(), wire.Grant), "of another organization"
                said = [wire.AccountReport(account=account(ref), granted_cum=DOLLAR) for ref in (held_ref, free_ref)]
                await other.say(reports=[wire.HoldReport(seq=7, accounts=said)])
                acknowledged = await other.hear()
                assert acknowledged.seq == 7
                names = {free_ref.budget_id: "free", held_ref.budget_id: "held"}
                assert sorted(names[item.account.budget_id] for item in acknowledged.accounts) == acknowledged_of
                denied = await one.hear()
                assert isinstance(denied, wire.Deny)
                assert (denied.ask_id, denied.reason) == (2, wire.DENY_REASON_UNDECIDED)
            await one.ask(held_ref, 3)
            assert isinstance(await one.hear(), wire.Grant)
        assert Locks.SKIP in locks
        assert await do(lambda: list(lease_sessions.problems())) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["SHARE", "ACCESS EXCLUSIVE"])
def test_where_the_whole_table_of_accounts_is_held_pods_hear_that_nothing_is_decided(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such locks")
    monkeypatch.setattr(hold_writer, "LOCKED_S", 0.5)
    monkeypatch.setattr(hold_writer, "PATIENCE_S", PATIENCE_S)

    async def scenario() -> None:
        _, ref = await do(budget_and_ref)
        async with fleet() as server, holder(server.port, "a") as pod:
            await pod.ask(ref)
            assert isinstance(await pod.hear(), wire.Grant)
            with somebody_holds(f"LOCK TABLE budgets_account IN {mode} MODE"):
                await pod.ask(ref, 2)
                denied = await pod.hear()
                assert (denied.ask_id, denied.reason) == (2, wire.DENY_REASON_UNDECIDED)
            await pod.ask(ref, 3)
            assert isinstance(await pod.hear(), wire.Grant)

    asyncio.run(scenario())


def ask_of(session: str, id: int, *refs: AccountRef) -> PodMessage:
    items = tuple(AskItem(ref, DOLLAR, DOLLAR, 0) for ref in refs)
    return PodMessage(session, "p", "", Ask(id, AskKind.ADMIT, f"r{id}", 0, items))


def hello_of(session: str) -> PodMessage:
    return PodMessage(session, "p", "", Hello(session, ()))


def what_is_decided(batch: Sequence[PodMessage], locks: Locks) -> list[bool]:
    return [not isinstance(answer, answers.Locked) for answer in answers.answer(batch, locks)]


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Whatever is waited for without a word about it fails at once, instead of waiting for ever."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no locks of rows")
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10s'")
        yield
        cursor.execute("SET lock_timeout = 0")


@pytest.fixture
def in_vain(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the database said each time that it gave up waiting, and somebody went on without that."""
    problems: list[Exception] = []

    def noting(problem: Exception) -> bool:
        problems.append(problem)
        return is_locked(problem)

    monkeypatch.setattr(statements, "is_locked", noting)
    return problems


@pytest.mark.usefixtures("no_waiting")
def test_an_account_that_somebody_else_is_opening_stops_only_who_draws_on_it(in_vain: list[Exception]) -> None:
    opening, *fresh = [ref_of(factories.budget()) for _ in range(8)]
    answers.answer([hello_of("a"), hello_of("b")])
    batch = [
        *[ask_of("a", id, opening, fresh[0]) for id in range(1, 5)],
        *[ask_of("b", id, ref) for id, ref in enumerate(fresh, 1)],
    ]
    with somebody_holds(OPENING, *opening):
        with pytest.raises(OperationalError) as problem:
            what_is_decided(batch, Locks.SHORT)
        assert is_locked(problem.value)
        assert what_is_decided(batch, Locks.SKIP) == [False] * 4 + [True] * len(fresh)
        assert 1 <= len(in_vain) <= 4  # by halves, however many ask
    assert what_is_decided(batch, Locks.SHORT) == [True] * len(batch)
    assert lease_sessions.problems() == []


@pytest.mark.usefixtures("no_waiting")
def test_one_pods_lease_that_somebody_holds_stops_that_pod_only() -> None:
    ref, other = ref_of(factories.budget()), ref_of(factories.budget())
    answers.answer([hello_of("a"), hello_of("b"), ask_of("a", 1, ref), ask_of("b", 1, ref)])
    batch = [ask_of("a", 2, ref), ask_of("b", 2, ref), ask_of("a", 3, other)]
    with somebody_holds("SELECT 1 FROM budgets_lease WHERE session_id = %s FOR UPDATE", "a"):
        assert what_is_decided(batch, Locks.SKIP) == [False, True, True]
    assert lease_sessions.problems() == []


@pytest.mark.usefixtures("no_waiting")
def test_whatever_else_somebody_holds_is_found_by_halves(in_vain: list[Exception]) -> None:
    ref = ref_of(factories.budget())
    answers.answer([hello_of("a")])
    batch = [hello_of("new"), *[ask_of("a", id, ref) for id in range(1, 8)]]
    beginning = (
        "INSERT INTO budgets_leasesession (session_id, pod_id, identity, state, expires_ms, alone_ms, opened_at) "
        "VALUES (%s, 'p', '', 'open', 0, 0, now())"
    )
    with somebody_holds(beginning, "new"):
        assert what_is_decided(batch, Locks.SKIP) == [False] + [True] * 7
    in_vain.clear()
    with somebody_holds("LOCK TABLE budgets_account IN ACCESS EXCLUSIVE MODE"):
        assert what_is_decided([ask_of("a", id, ref) for id in range(10, 50)], Locks.SKIP) == [False] * 40
        assert len(in_vain) == unit_of_work.WAITS_IN_VAIN


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("table", ["tenancy_organization", "tenancy_project", "keys_virtualkey", "budgets_budget"])
def test_nobody_who_opens_an_account_waits_for_a_row_of_the_configuration(table: str) -> None:
    ref = ref_of(factories.budget())
    answers.answer([hello_of("a")])
    with somebody_holds(f"SELECT 1 FROM {table} FOR UPDATE"):
        assert what_is_decided([ask_of("a", 1, ref)], Locks.SHORT) == [True]


def test_however_many_batches_are_held_up_asks_find_a_thread() -> None:
    may_end, held = threading.Event(), threading.Semaphore(0)

    def is_held_up(batch: wire.UsageBatch, identity: str) -> wire.UsageAck:
        held.release()
        may_end.wait(PATIENCE_S)
        raise HeldUp(wire.UsageAck(session_id=batch.session_id, through_seq=batch.first_seq))

    async def scenario() -> None:
        _, ref = await do(budget_and_ref)
        async with fleet(ledger=is_held_up) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub: Any = fleet_pb2_grpc.FleetStub(channel)
            calls = [stub.Report() for _ in range(2 * THREADS)]
            try:
                for number, call in enumerate(calls):
                    records = [wire.UsageRecord(request_id="r1"), wire.UsageRecord(request_id="r2")]
                    await call.write(wire.UsageBatch(pod_id="p", session_id=f"s{number}", first_seq=1, records=records))
                for _ in range(MOST_BOOKINGS):
                    assert await asyncio.to_thread(held.acquire, timeout=PATIENCE_S)
                async with holder(server.port, "a") as pod:
                    await pod.ask(ref)
                    assert isinstance(await pod.hear(), wire.Grant)
            finally:
                may_end.set()
            for call in calls:
                assert (await call.read()).through_seq == 1, "what comes before it is acknowledged"
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await call.read()
                assert ended.value.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(scenario())


def test_nobody_waits_long_for_what_others_may_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def decide(messages: Sequence[PodMessage], locks: Locks, alone: Collection[str]) -> list[bytes | Recalls]:
        asked.extend(message.recalls for message in messages)
        return [b"" if message.recalls >= RULES.recalls else Recalls({}, (ref,)) for message in messages]

    ref = AccountRef("b", "", "w")

    async def scenario() -> None:
        monkeypatch.setattr("controlplane.budgets.answers.answer", decide)
        monkeypatch.setattr("controlplane.fleet.calls.hold.RECALLS_S", 0.0)
        hold_calls = HoldCalls(lambda session, holds: ())
        writing = asyncio.ensure_future(hold_calls.run())
        await hold_calls.answer(PodMessage("s", "p", "", Report(1, (), ())))
        writing.cancel()
        assert asked == [0, RULES.recalls]

    asyncio.run(scenario())


def test_a_writer_that_is_flooded_says_so() -> None:
    async def scenario() -> None:
        writer = HoldWriter()
        writer._waiting.extend([None] * 20_000)  # type: ignore[list-item]
        with pytest.raises(Unavailable):
            await writer.answer(None)  # type: ignore[arg-type]

    asyncio.run(scenario())


def test_what_a_stream_holds_beyond_its_record_is_written_when_the_record_has_come() -> None:
    calls: list[list[LiveHold]] = []

    def grown(session: str, holds: Sequence[LiveHold]) -> list[LiveHold]:
        calls.append(list(holds))
        return list(holds) if len(calls) == 1 else []

    async def scenario() -> None:
        async with fleet(grown=grown) as server, holder(server.port, "a") as pod:
            hold = wire.LiveHold(request_id="r1", reserved_nano=7)
            seq = 0
            while len(calls) < 2:
                seq += 1
                await pod.say(reports=[wire.HoldReport(seq=seq, grown=[hold] if seq == 1 else [])])
                assert (await pod.hear()).seq == seq
        assert calls == [[LiveHold("r1", 0, 7)]] * 2

    asyncio.run(scenario())
