"""A fleet server that does what a test says: real gRPC, real TLS, no database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from dataplane.link.channel import Backoff, Certificates, Connector
from dataplane.link.replica import Replica
from dataplane.link.report import Reporter, SharedDirectory
from dataplane.link.session import Introduction, Session, Status
from dataplane.link.spool import MemoryStore, Spool
from dataplane.link.watch import Watch
from dataplane.telemetry.metrics import Metrics
from dataplane.wire.records import record_from
from protos import fleet_pb2 as pb
from protos import fleet_pb2_grpc
from tests.link import fleet_model as fleet


class Conversation:
    """One Watch: what the pod said, and a way to answer."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._heard: asyncio.Queue[pb.PodMessage] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def hears(self, kind: str) -> Any:
        """The next message of this kind; heartbeats and whatever else comes in between are skipped."""
        while True:
            message = await self._heard.get()
            if message.WhichOneof("message") == kind:
                return getattr(message, kind)

    async def says(self, *messages: pb.FleetMessage) -> None:
        for message in messages:
            await self._context.write(message)

    async def introduces(self, database: fleet.Database) -> Any:
        """The usual beginning: Hello, Welcome, everything, Ack."""
        hello = await self.hears("hello")
        await self.says(fleet.welcome(database.epoch), *fleet.full(database))
        await self.hears("ack")
        return hello

    async def confirms(self, database: fleet.Database) -> None:
        """Answers the next heartbeat: this is the newest."""
        heartbeat = await self.hears("heartbeat")
        ack = pb.HeartbeatAck(seq=heartbeat.seq, head_revision=database.revision, fresh=True, epoch=database.epoch)
        await self.says(pb.FleetMessage(heartbeat_ack=ack))


@dataclass
class ScriptedFleet(fleet_pb2_grpc.FleetServicer):
    """Watch hands conversations to the test; Resolve and Report follow what is set here."""

    conversations: asyncio.Queue[Conversation] = field(default_factory=asyncio.Queue)
    resolve: Callable[[str], Any] = lambda public_id: pb.ResolveResponse(known=False)
    asked: list[str] = field(default_factory=list)
    acknowledge: Callable[[pb.UsageBatch], pb.UsageAck | None] = lambda batch: pb.UsageAck(
        session_id=batch.session_id, through_seq=batch.first_seq + len(batch.records) - 1
    )
    batches: asyncio.Queue[pb.UsageBatch] = field(default_factory=asyncio.Queue)
    ledger: dict[tuple[str, int], str] = field(default_factory=dict)  # (session, number) → request id

    async def Watch(self, request_iterator, context):  # type: ignore[override]  # grpc.aio takes coroutines
        conversation = Conversation(context)
        self.conversations.put_nowait(conversation)
        try:
            async for message in request_iterator:
                conversation._heard.put_nowait(message)
        finally:
            conversation.ended.set()

    async def Resolve(self, request, context):
        self.asked.append(request.public_id)
        answer = self.resolve(request.public_id)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def Report(self, request_iterator, context):  # type: ignore[override]
        async for batch in request_iterator:
            for number, record in enumerate(batch.records, batch.first_seq):
                self.ledger[batch.session_id, number] = record_from(record).request_id
            self.batches.put_nowait(batch)
            ack = self.acknowledge(batch)
            if ack is not None:
                await context.write(ack)

    async def Hold(self, request_iterator, context):  # type: ignore[override]
        """Nobody speaks of money here; `Bank` does."""
        async for _ in request_iterator:
            pass

    async def next(self) -> Conversation:
        return await self.conversations.get()


@contextlib.asynccontextmanager
async def serving(
    servicer: ScriptedFleet, certificates: Certificates | None = None, port: int = 0
) -> AsyncIterator[int]:
    """The port. Ends every call when left."""
    server = grpc.aio.server()
    fleet_pb2_grpc.add_FleetServicer_to_server(servicer, server)
    if certificates is None:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        credentials = grpc.ssl_server_credentials(
            [(certificates.key.read_bytes(), certificates.cert.read_bytes())],
            root_certificates=certificates.ca.read_bytes(),
            require_client_auth=True,
        )
        bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


@dataclass
class Linked:
    """A pod's link without the pod."""

    watch: Watch
    spool: Spool
    reporter: Reporter
    metrics: Metrics
    session: Session
    stopped: asyncio.Queue[tuple[frozenset[str], bool]]

    @classmethod
    def make(cls, *ports: int, certificates: Certificates | None = None, spool: Spool | None = None, parent=None):
        metrics = Metrics("test")
        spool = spool or Spool(MemoryStore(), "ses_own", metrics, limit_bytes=10**8, limit_records=10**5)
        introduction = Introduction("pod_1", spool.session_id, "0.1", "pod one", "127.0.0.1:5563", 1)
        session = Session(Replica(), introduction, lambda: Status("ready"), lambda: 0.5)
        shared = SharedDirectory(parent) if parent is not None else None
        reporter = Reporter("pod_1", spool, shared, metrics, Backoff(lambda: 0.0))
        connector = Connector([f"127.0.0.1:{port}" for port in ports], certificates, "")
        watch = Watch(session, connector, reporter.run, metrics)
        linked = cls(watch, spool, reporter, metrics, session, asyncio.Queue())
        watch.on_revoked(lambda ids, cut: linked.stopped.put_nowait((ids, cut)))
        return linked

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Linked]:
        task = asyncio.ensure_future(self.watch.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]
            self.reporter.close()

    def counted(self, metric: str) -> float:
        """The value of a line of the exposition."""
        for line in self.metrics.exposition().decode().splitlines():
            if line.startswith(f"aigateway_{metric} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0
