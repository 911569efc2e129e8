"""What pods say about themselves, on its way to the database."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.db import OperationalError

from controlplane.fleet.models import Pod, PodAck
from controlplane.fleet.register import roster as module
from controlplane.fleet.register.roster import Roster
from controlplane.fleet.register.roster_rows import write
from protos import fleet_pb2 as wire
from tests.controlplane.fleet.pods import do

pytestmark = pytest.mark.django_db(transaction=True)


def hello(pod_id: str = "p", **fields: Any) -> wire.Hello:
    return wire.Hello(pod_id=pod_id, session_id="s", name="n", version="1", **fields)


async def stored(pod_id: str = "p") -> Pod:
    found: Pod = await do(Pod.objects.get, pk=pod_id)
    return found


def test_what_cannot_be_written_now_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OperationalError

    async def scenario() -> None:
        roster = Roster()
        entry = roster.hello(hello(), "pod-1")
        roster.ack(entry, "e", wire.Ack(revision=1, apply_ms=5))
        with monkeypatch.context() as broke:
            broke.setattr(module, "write", broken)
            with pytest.raises(OperationalError):
                await roster.flush()
            roster.ack(entry, "e", wire.Ack(revision=2))
            with pytest.raises(OperationalError):
                await roster.flush()
        await roster.flush()
        row = await stored()
        assert (row.identity, row.applied_revision, row.epoch) == ("pod-1", 2, "e")
        assert await do(lambda: list(PodAck.objects.order_by("revision").values_list("revision", flat=True))) == [1, 2]

    asyncio.run(scenario())


def test_a_write_that_is_under_way_when_the_server_ends_comes_before_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, released = threading.Event(), threading.Event()

    def slow(*given: Any) -> None:
        begun.set()
        released.wait(60)
        write(*given)

    async def scenario() -> None:
        roster = Roster()
        entry = roster.hello(hello(), "")
        with monkeypatch.context() as slowed:
            slowed.setattr(module, "write", slow)
            running = asyncio.ensure_future(roster.flush())
            assert await asyncio.to_thread(begun.wait, 60)
            running.cancel()
        roster.left(entry)
        last = asyncio.ensure_future(roster.flush())
        for _ in range(20):
            await do(int)
        assert not last.done()
        released.set()
        await last
        assert running.cancelled()
        assert (await stored()).connected is False

    asyncio.run(scenario())


def test_only_the_newest_watch_of_a_pod_writes_whichever_replica_serves_it() -> None:
    async def scenario() -> None:
        here, there = Roster(), Roster()
        old = here.hello(hello(), "")
        await here.flush()
        new = there.hello(hello(), "")
        there.ack(new, "e", wire.Ack(revision=7))
        await there.flush()
        here.ack(old, "e", wire.Ack(revision=3))
        here.left(old)
        await here.flush()
        row = await stored()
        assert (row.applied_revision, row.connected) == (7, True)
        again = here.hello(hello(), "")
        here.left(old)
        await here.flush()
        assert (await stored()).stream_id == again.stream_id
        assert (await stored()).connected

    asyncio.run(scenario())


def test_a_hello_that_waits_while_its_pod_moves_to_another_replica_comes_too_late() -> None:
    async def scenario() -> None:
        here, there = Roster(), Roster()
        old = here.hello(hello(watch=1), "")
        here.ack(old, "e", wire.Ack(revision=6))
        new = there.hello(hello(watch=2), "")
        there.ack(new, "e", wire.Ack(revision=7))
        await there.flush()
        here.left(old)
        await here.flush()
        row = await stored()
        assert (row.stream_id, row.applied_revision, row.connected) == (new.stream_id, 7, True)

    asyncio.run(scenario())


def test_a_pod_that_drained_is_gone_and_one_that_was_cut_off_is_not() -> None:
    async def scenario() -> None:
        roster = Roster()
        for pod_id, state in (("drained", "draining"), ("cut-off", "ready")):
            entry = roster.hello(hello(pod_id), "")
            roster.heartbeat(entry, wire.PodStatus(state=state))
            roster.left(entry)
        await roster.flush()
        assert (await stored("drained")).state == "gone"
        assert (await stored("cut-off")).state == "ready"

    asyncio.run(scenario())


def test_words_that_nobody_knows_change_nothing() -> None:
    async def scenario() -> None:
        roster = Roster()
        entry = roster.hello(hello(started_at_ms=-1), "")
        roster.heartbeat(entry, wire.PodStatus(state="dancing", open_exchanges=-1, requests_total=2**63 - 1))
        await roster.flush()
        row = await stored()
        assert (row.state, row.open_exchanges, row.requests_total, row.started_at) == ("starting", 0, 2**63 - 1, None)

    asyncio.run(scenario())


def test_what_is_kept_for_a_database_that_is_away_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PODS_KEPT", 10)

    async def scenario() -> None:
        roster = Roster()
        for number in range(50):
            entry = roster.hello(hello(f"p{number}"), "")
            for _ in range(3):
                roster.left(roster.hello(hello("same"), ""))
            roster.heartbeat(entry, wire.PodStatus())
        await roster.flush()
        assert await do(Pod.objects.count) == 10

    asyncio.run(scenario())


def not_understood(*ids: str, keys: int = 0, count: int | None = None) -> wire.NotUnderstood:
    items = [wire.NotUnderstood.Item(kind=wire.RESOURCE_KIND_BUDGET, id=id, problem="scope unknown") for id in ids]
    return wire.NotUnderstood(items=items, count=len(ids) if count is None else count, keys=keys)


def test_what_a_pod_does_not_understand_is_kept_with_since_when_however_often_it_says_so_and_to_whom() -> None:
    async def scenario() -> None:
        here, there = Roster(), Roster()
        entry = here.hello(hello(watch=1), "")
        here.ack(entry, "e", wire.Ack(revision=1))
        await here.flush()
        silent = await stored()
        assert (silent.not_understood_count, silent.not_understood, silent.not_understood_since) == (None, [], None)
        here.ack(entry, "e", wire.Ack(revision=2, not_understood=not_understood()))
        await here.flush()
        assert (await stored()).not_understood_count == 0
        here.ack(entry, "e", wire.Ack(revision=3, not_understood=not_understood("bud_1")))
        await here.flush()
        began = await stored()
        assert began.not_understood == [{"kind": "budget", "id": "bud_1", "problem": "scope unknown"}]
        assert (began.not_understood_count, began.refused_keys) == (1, 0)
        status = wire.PodStatus(state="ready", not_understood=not_understood("bud_1", "bud_2", keys=7))
        again = there.hello(hello(watch=2), "")
        there.heartbeat(again, status)
        await there.flush()
        there.heartbeat(again, wire.PodStatus(state="ready"))
        await there.flush()
        goes_on = await stored()
        assert (goes_on.not_understood_count, goes_on.refused_keys) == (2, 7)
        assert goes_on.not_understood_since == began.not_understood_since
        there.heartbeat(again, wire.PodStatus(state="ready", not_understood=not_understood()))
        await there.flush()
        over = await stored()
        assert (over.not_understood, over.not_understood_count, over.refused_keys) == ([], 0, 0)
        there.ack(again, "e", wire.Ack(revision=9, not_understood=not_understood("bud_1")))
        await there.flush()
        new, old = (await stored()).not_understood_since, began.not_understood_since
        assert new is not None
        assert old is not None
        assert new > old

    asyncio.run(scenario())


def test_what_a_pod_says_of_it_is_bounded_and_printable_and_may_be_of_a_kind_that_nobody_knows() -> None:
    async def scenario() -> None:
        roster = Roster()
        said = not_understood(*(f"bud_{number}" for number in range(50)), count=-5)
        said.items[0].kind = 99  # type: ignore[assignment]
        said.items[0].id, said.items[0].problem = "x" * 500, "a\0b\n" * 500
        entry = roster.hello(hello(), "")
        roster.ack(entry, "e", wire.Ack(revision=1, not_understood=said))
        await roster.flush()
        row = await stored()
        assert (len(row.not_understood), row.not_understood_count) == (20, 0)
        first = row.not_understood[0]
        assert (first["kind"], len(first["id"]), len(first["problem"])) == ("kind 99", 64, 200)
        assert first["problem"].isprintable()

    asyncio.run(scenario())
