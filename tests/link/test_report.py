"""Usage records reach the ledger: batched, acknowledged, again after every break, also those of dead pods beside us."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from dataplane.core.usage import UsageRecord
from dataplane.link import report
from dataplane.link.segments import SegmentStore
from dataplane.link.spool import Spool
from dataplane.telemetry.metrics import Metrics
from protos import fleet_pb2 as pb
from tests.link.fleet_model import Database
from tests.link.scripted_fleet import Linked, ScriptedFleet, serving


def record(number: int) -> UsageRecord:
    return UsageRecord(request_id=f"req_{number}", model="claude", cost_nano=number)


def directory_spool(parent, session_id: str) -> Spool:
    store = SegmentStore.create(parent, session_id)
    return Spool(store, session_id, Metrics("test"), limit_bytes=10**8, limit_records=10**8)


@contextlib.asynccontextmanager
async def linked(server: ScriptedFleet, **made):
    """Connected, welcomed and configured: Report may run."""
    async with serving(server) as port, Linked.make(port, **made).running() as pod:
        conversation = await server.next()
        await conversation.introduces(Database())
        yield pod, conversation


async def delivered(server: ScriptedFleet, count: int) -> None:
    while len(server.ledger) < count:
        await server.batches.get()


def test_records_arrive_in_batches_with_their_numbers_and_acknowledged_ones_are_freed(on_loop):
    async def story():
        server = ScriptedFleet()
        async with linked(server) as (pod, _):
            for number in range(1, 1_201):
                pod.spool.settle(record(number))
            assert await pod.reporter.flush(20)
            assert server.ledger == {("ses_own", number): f"req_{number}" for number in range(1, 1_201)}
            assert server.batches.qsize() <= 4
            assert pod.spool.pending == 0

    on_loop(story())


def test_a_record_written_while_nothing_happens_goes_out_by_itself(on_loop):
    async def story():
        server = ScriptedFleet()
        async with linked(server) as (pod, _):
            pod.spool.settle(record(1))
            batch = await server.batches.get()
            assert (batch.pod_id, batch.session_id, batch.first_seq) == ("pod_1", "ses_own", 1)
            pod.spool.settle(record(2))
            assert (await server.batches.get()).first_seq == 2

    on_loop(story())


def test_what_was_not_acknowledged_goes_out_again_after_the_connection_broke(on_loop):
    async def story():
        server = ScriptedFleet()
        server.acknowledge = lambda batch: None
        async with contextlib.AsyncExitStack() as first:
            port = await first.enter_async_context(serving(server))
            async with Linked.make(port).running() as pod:
                await (await server.next()).introduces(Database())
                for number in range(1, 4):
                    pod.spool.settle(record(number))
                await delivered(server, 3)
                assert pod.spool.pending == 3
                await first.aclose()
                again = ScriptedFleet()
                async with serving(again, port=port):
                    await (await again.next()).introduces(Database())
                    assert await pod.reporter.flush(20)
                    assert again.ledger == server.ledger

    on_loop(story())


def test_a_partial_acknowledgement_frees_what_it_names(on_loop):
    async def story():
        server = ScriptedFleet()
        server.acknowledge = lambda batch: pb.UsageAck(session_id=batch.session_id, through_seq=2)
        spool = Linked.make(1).spool
        for number in range(1, 5):
            spool.settle(record(number))
        async with linked(server, spool=spool) as (pod, _):
            assert not await pod.reporter.flush(0.3)
            assert pod.spool.pending == 2

    on_loop(story())


@pytest.mark.parametrize("lie", [("ses_other", 1), ("ses_own", 99)])
def test_an_acknowledgement_of_what_was_never_sent_frees_nothing(on_loop, lie):
    async def story():
        server = ScriptedFleet()
        server.acknowledge = lambda batch: pb.UsageAck(session_id=lie[0], through_seq=lie[1])
        async with linked(server) as (pod, _):
            pod.spool.settle(record(1))
            assert not await pod.reporter.flush(0.3)
            assert pod.spool.pending == 1

    on_loop(story())


def test_a_dead_letter_is_counted_and_does_not_stop_the_rest(on_loop):
    async def story():
        server = ScriptedFleet()
        server.acknowledge = lambda batch: pb.UsageAck(
            session_id=batch.session_id, through_seq=batch.first_seq, dead_lettered=[batch.records[0].request_id]
        )
        async with linked(server) as (pod, _):
            pod.spool.settle(record(1))
            assert await pod.reporter.flush(20)
            assert pod.counted("dead_letters_total") == 1

    on_loop(story())


def test_only_so_much_is_under_way_unacknowledged(on_loop):
    async def story():
        server = ScriptedFleet()
        server.acknowledge = lambda batch: None
        async with linked(server) as (pod, _):
            for number in range(1, 5_001):
                pod.spool.settle(record(number))
            await delivered(server, 1_000)
            assert not await pod.reporter.flush(0.3)
            assert len(server.ledger) == 1_000

    on_loop(story())


class SlowLedger(ScriptedFleet):
    """Books one batch after the other, the first as soon as `opens` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.opens = asyncio.Event()

    async def Report(self, request_iterator, context):  # type: ignore[override]
        async for batch in request_iterator:
            self.batches.put_nowait(batch)
            await self.opens.wait()
            through = batch.first_seq + len(batch.records) - 1
            await context.write(pb.UsageAck(session_id=batch.session_id, through_seq=through))


def test_what_comes_while_a_slow_ledger_books_travels_together(on_loop, monkeypatch):
    monkeypatch.setattr(report, "GATHER_S", 0)

    async def story():
        server = SlowLedger()
        async with linked(server) as (pod, _):
            for number in range(1, 201):
                pod.spool.settle(record(number))
                for _ in range(20):  # of the loop's turns: enough to be sent, if it were
                    await asyncio.sleep(0)
            server.opens.set()
            assert await pod.reporter.flush(20)
            sizes = [len(server.batches.get_nowait().records) for _ in range(server.batches.qsize())]
            assert sum(sizes) == 200
            assert len(sizes) <= 3

    on_loop(story())


def test_what_trickles_in_is_gathered_though_the_ledger_is_fast(on_loop):
    async def story():
        sizes: list[int] = []
        server = ScriptedFleet()
        acknowledge = server.acknowledge

        def counted(batch):
            sizes.append(len(batch.records))
            return acknowledge(batch)

        server.acknowledge = counted
        async with linked(server) as (pod, _):
            began = time.monotonic()
            for number in range(1, 101):
                pod.spool.settle(record(number))
                await asyncio.sleep(0.002)
            await delivered(server, 100)
            most = (time.monotonic() - began) / report.GATHER_S + 1
            assert sum(sizes) == 100
            assert len(sizes) <= most

    on_loop(story())


def test_the_records_of_a_dead_pod_are_delivered_under_its_name_and_its_directory_goes(on_loop, tmp_path):
    dead = directory_spool(tmp_path, "ses_dead")
    for number in range(1, 8):
        dead.settle(record(number))
    dead._store.close()  # type: ignore[attr-defined]  # what the kernel does when a process dies

    async def story():
        server = ScriptedFleet()
        own = directory_spool(tmp_path, "ses_own")
        async with linked(server, spool=own, parent=tmp_path) as (pod, _):
            pod.spool.settle(record(100))
            await delivered(server, 8)
            assert await pod.reporter.flush(20)
            while (tmp_path / "ses_dead").exists():
                await asyncio.sleep(0.005)
        assert server.ledger == {("ses_dead", n): f"req_{n}" for n in range(1, 8)} | {("ses_own", 1): "req_100"}
        assert [path.name for path in tmp_path.iterdir()] == ["ses_own"]

    on_loop(story())


def test_the_spool_of_a_pod_that_lives_is_left_to_it(on_loop, tmp_path):
    async def story():
        neighbour = directory_spool(tmp_path, "ses_neighbour")
        neighbour.settle(record(1))
        server = ScriptedFleet()
        async with linked(server, spool=directory_spool(tmp_path, "ses_own"), parent=tmp_path) as (pod, _):
            pod.spool.settle(record(2))
            assert await pod.reporter.flush(20)
            assert set(server.ledger) == {("ses_own", 1)}
        assert neighbour.pending == 1

    on_loop(story())


def test_a_dead_pods_damaged_record_costs_only_itself(on_loop, tmp_path, monkeypatch):
    monkeypatch.setattr("dataplane.link.segments.SEGMENT_BYTES", 200)
    dead = directory_spool(tmp_path, "ses_dead")
    for number in range(1, 30):
        dead.settle(record(number))
    dead._store.close()  # type: ignore[attr-defined]
    second = sorted((tmp_path / "ses_dead").glob("*.segment"))[1]
    first_lost = int(second.stem)
    second.write_bytes(b"\x00" * 10 + second.read_bytes()[10:])
    lost = set(range(first_lost, int(sorted((tmp_path / "ses_dead").glob("*.segment"))[2].stem)))

    async def story():
        server = ScriptedFleet()
        async with linked(server, parent=tmp_path):
            await delivered(server, 29 - len(lost))
            while (tmp_path / "ses_dead").exists():
                await asyncio.sleep(0.005)
        assert {number for _, number in server.ledger} == set(range(1, 30)) - lost

    on_loop(story())


def test_a_spool_that_is_not_taken_is_offered_again_and_our_own_goes_on(on_loop, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "NOT_TAKEN_S", 0.01)

    async def story():
        store = SegmentStore.create(tmp_path, "ses_dead")
        Spool(store, "ses_dead", Metrics("test"), limit_bytes=10**8, limit_records=10**8).settle(record(1))
        store.close()
        server, offered = ScriptedFleet(), []

        def acknowledge(batch):
            offered.append(batch.session_id)
            taken = batch.session_id != "ses_dead" or offered.count("ses_dead") > 1
            through = batch.first_seq + len(batch.records) - 1 if taken else 0
            return pb.UsageAck(session_id=batch.session_id, through_seq=through)

        server.acknowledge = acknowledge
        async with linked(server, spool=directory_spool(tmp_path, "ses_own"), parent=tmp_path) as (pod, _):
            while offered.count("ses_dead") < 2:
                pod.spool.settle(record(2))
                assert await pod.reporter.flush(20)
                await asyncio.sleep(0)
            assert (await asyncio.to_thread(list, tmp_path.iterdir())) != []

    on_loop(story())


def test_a_pod_that_always_has_something_to_report_looks_around_too(on_loop, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "LOOK_AROUND_S", 0.01)

    async def story():
        server = ScriptedFleet()
        async with linked(server, spool=directory_spool(tmp_path, "ses_own"), parent=tmp_path) as (pod, _):
            pod.spool.settle(record(1))
            assert await pod.reporter.flush(20)  # its first look is behind it
            dead = directory_spool(tmp_path, "ses_dead")
            dead.settle(record(2))
            dead._store.close()  # type: ignore[attr-defined]
            while (tmp_path / "ses_dead").exists():
                pod.spool.settle(record(3))
                await asyncio.sleep(0)

    on_loop(story())
