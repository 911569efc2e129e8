"""The fleet's gRPC server: Watch, Resolve, Report, Hold. Decisions are in `session.py`, truth is in the database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress

import grpc
from django.db import Error as DatabaseProblem

from controlplane.fleet.calls.booking import BookBatch, HeldUp
from controlplane.fleet.calls.hold import HoldCalls
from controlplane.fleet.calls.peers import (
    LONGEST_ID,
    Context,
    NotAPod,
    Peer,
    demand_ids,
    errors_as_status,
    first_of,
    identified,
    parsed,
)
from controlplane.fleet.calls.session import Malformed
from controlplane.fleet.calls.watch import Watch
from controlplane.fleet.database import THREADS, in_database
from controlplane.fleet.models import Eviction, PodState
from controlplane.fleet.register.metrics import Metrics
from controlplane.fleet.register.roster import Roster
from controlplane.fleet.state.catalogue import Ref
from controlplane.fleet.state.replica import Replica, Unavailable, boottime
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

HELLO_S = 10.0
CATCH_UP_S = 1.5  # pods wait 2 s for a Resolve and 4 s for a Welcome
LONGEST_NAME = 128
LONGEST_ADDRESS = 256
MOST_PODS = 5000
MOST_RECORDS = 5000  # in one batch
REPORT_TRIES = 3
MOST_BOOKINGS = THREADS - 3  # at once
SWEEP_S = 1.0
EVICTED = "this certificate was evicted: the pod needs a new one"
RETRY_S = 0.2


class FleetServicer:
    """One instance per process. `insecure`: peers are on the loopback and carry no certificate."""

    def __init__(
        self, replica: Replica, roster: Roster, book_batch: BookBatch, hold_calls: HoldCalls, *, insecure: bool = False
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._book_batch = book_batch
        self._hold_calls = hold_calls
        self._insecure = insecure
        # However long these wait for rows that somebody holds, heartbeats and asks find a thread.
        self._bookings = asyncio.Semaphore(MOST_BOOKINGS)
        # Set when every stream is to end.
        self._closing = asyncio.Event()
        # By pod: its newest Watch.
        self._watches: dict[str, Watch] = {}
        self.metrics = Metrics()
        # The newest revision that stopped keys; -1: none was read yet.
        self._stopped_revision = -1
        # Certificates that are refused.
        self._evicted: frozenset[str] = frozenset()

    def handlers(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Messages stay bytes here, so that a peer that sends rubbish is told so instead of breaking its call."""
        streams = {"Watch": self.watch, "Report": self.report, "Hold": self.hold}
        methods = {name: grpc.stream_stream_rpc_method_handler(handle) for name, handle in streams.items()}
        methods["Resolve"] = grpc.unary_unary_rpc_method_handler(self.resolve)
        return grpc.method_handlers_generic_handler("aigateway.fleet.v1.Fleet", methods)

    def census(self) -> Counter[str]:
        """Connected pods by state."""
        return Counter(watch.entry.state or PodState.STARTING.value for watch in self._watches.values())

    def notice(self) -> None:
        """The catalogue has changed: from now on it is measured how long a revocation takes."""
        catalogue = self._replica.catalogue
        if catalogue.stopped_revision > self._stopped_revision >= 0:
            streams = [watch.entry.stream_id for watch in self._watches.values()]
            self.metrics.revocations.revoked(catalogue.revision, catalogue.committed_at_ms / 1000, streams)
        self._stopped_revision = max(0, catalogue.stopped_revision)

    def say_goodbye(self) -> None:
        """Every stream ends; pods reconnect elsewhere."""
        self._closing.set()

    async def sweep(self) -> None:
        """Ends the watches that are stuck or evicted and goes on with those that paused, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.read_evictions()
            except DatabaseProblem as problem:  # what was evicted before stays so
                log.warning("fleet_evictions_not_read %s", type(problem).__name__)
            now = boottime()
            self._hold_calls.evict(self._evicted, NotAPod(EVICTED))
            for watch in list(self._watches.values()):
                if watch.peer.certificate in self._evicted:
                    log.warning("fleet_evicted pod=%s identity=%s", watch.pod_id, watch.peer.name)
                    watch.end(NotAPod(EVICTED))
                    self.metrics.evicted.inc()
                else:
                    watch.sweep(now)

    async def read_evictions(self) -> None:
        """Raises database errors."""
        self._evicted = await in_database(_evicted)

    def _admitted(self, context: Context) -> Peer:
        """Raises NotAPod."""
        peer = identified(context, insecure=self._insecure)
        self._demand_not_evicted(peer)
        return peer

    def _demand_not_evicted(self, peer: Peer) -> None:
        if peer.certificate in self._evicted:
            raise NotAPod(EVICTED)

    async def watch(self, _: object, context: Context) -> None:
        async with errors_as_status(context):
            peer = self._admitted(context)
            hello = await self._hello(context)
            if hello.epoch == self._replica.catalogue.epoch and hello.revision > self._replica.catalogue.revision:
                with suppress(Unavailable):
                    await self._caught_up()
            watch = Watch(context, self._replica, self._roster, self.metrics, hello, peer)
            self._take_over(watch)
            try:
                await watch.run(self._closing)
            finally:
                self._roster.left(watch.entry)
                self.metrics.revocations.left(watch.entry.stream_id, time.time())
                if self._watches.get(hello.pod_id) is watch:
                    del self._watches[hello.pod_id]

    async def resolve(self, raw: bytes, context: Context) -> bytes:
        async with errors_as_status(context):
            self._admitted(context)
            request = parsed(wire.ResolveRequest, raw)
            if not 0 < len(request.public_id) <= LONGEST_ID:
                raise Malformed("public_id is missing or too long")
            await self._caught_up()
            catalogue = self._replica.catalogue
            answer = wire.ResolveResponse(epoch=catalogue.epoch)
            key_id = catalogue.key_id(request.public_id)
            resource = catalogue.get(Ref(wire.RESOURCE_KIND_VIRTUAL_KEY, key_id)) if key_id else None
            if resource is not None:
                answer.known, answer.revision = True, wire.Resource.FromString(resource).revision
            return answer.SerializeToString()
        raise AssertionError("the call was ended with a status")

    async def _caught_up(self) -> None:
        """Raises Unavailable."""
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await self._replica.caught_up()
        except TimeoutError as problem:
            raise Unavailable("the database did not answer in time") from problem

    async def report(self, _: object, context: Context) -> None:
        async with errors_as_status(context):
            peer = self._admitted(context)
            await first_of(self._receive(context, peer), self._closing.wait())

    async def hold(self, _: object, context: Context) -> None:
        async with errors_as_status(context):
            await self._hold_calls.serve(context, self._admitted(context), self._closing)

    async def _receive(self, context: Context, peer: Peer) -> None:
        while (raw := await context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            self._demand_not_evicted(peer)
            batch = parsed(wire.UsageBatch, raw)
            demand_ids(pod_id=batch.pod_id, session_id=batch.session_id)
            if len(batch.records) > MOST_RECORDS or not 0 <= batch.first_seq < 2**62:
                raise Malformed("a batch holds at most 5000 records, numbered from 1")
            try:
                ack = await self._booked(batch, peer.name)
            except HeldUp as problem:  # the pod offers the rest again, on another stream
                if problem.ack.through_seq >= batch.first_seq:
                    await context.write(problem.ack.SerializeToString())
                raise Unavailable(str(problem)) from problem
            await context.write(ack.SerializeToString())

    async def _booked(self, batch: wire.UsageBatch, identity: str) -> wire.UsageAck:
        for attempt in range(1, REPORT_TRIES + 1):
            try:
                async with self._bookings:
                    ack = await in_database(self._book_batch, batch, identity)
                self.metrics.booked.inc(len(batch.records))
                return ack
            except DatabaseProblem as problem:
                log.warning("fleet_report_not_booked attempt=%s %s: %s", attempt, type(problem).__name__, problem)
                if attempt == REPORT_TRIES:
                    self.metrics.refused.inc()
                    raise Unavailable("the ledger cannot be written") from problem
                await asyncio.sleep(RETRY_S * attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _hello(self, context: Context) -> wire.Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                raw = await context.read()
        except TimeoutError as problem:
            raise Malformed("no Hello came") from problem
        if raw is grpc.aio.EOF:  # type: ignore[attr-defined]
            raise Malformed("the stream ended before a Hello")
        message = parsed(wire.PodMessage, raw)
        if message.WhichOneof("message") != "hello":
            raise Malformed("the first message must be a Hello")
        hello = message.hello
        demand_ids(pod_id=hello.pod_id, session_id=hello.session_id)
        texts = (hello.version, hello.name, hello.address, hello.epoch)
        limits = (LONGEST_ID, LONGEST_NAME, LONGEST_ADDRESS, 32)
        if any(len(text) > limit or not text.isprintable() for text, limit in zip(texts, limits, strict=True)):
            raise Malformed("a field of the Hello is too long or not printable")
        if not 0 <= hello.revision < 2**62:
            raise Malformed("a revision is not negative")
        return hello

    def _take_over(self, watch: Watch) -> None:
        """The newest Watch of a pod replaces the one before; somebody else's may not."""
        old = self._watches.get(watch.pod_id)
        if old is not None:
            if old.peer.name != watch.peer.name:
                raise NotAPod("this pod_id belongs to another pod")
            old.replaced.set()
        elif len(self._watches) >= MOST_PODS:
            raise Unavailable("this replica serves as many pods as it can")
        self._watches[watch.pod_id] = watch


def _evicted() -> frozenset[str]:
    return frozenset(Eviction.objects.values_list("certificate", flat=True))
