"""A fleet server in this process, and pods that speak the raw protocol to it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from controlplane.fleet.calls.booking import BookBatch, Booking, NoteGrown
from controlplane.fleet.calls.server import Identity, Running, running
from controlplane.fleet.database import in_database
from protos import fleet_pb2 as wire
from protos import fleet_pb2_grpc

PATIENCE_S = 60


def no_ledger(batch: wire.UsageBatch, identity: str) -> wire.UsageAck:
    return wire.UsageAck(session_id=batch.session_id, through_seq=batch.first_seq + len(batch.records) - 1)


@asynccontextmanager
async def fleet(
    listen: str = "127.0.0.1:0",
    identity: Identity | None = None,
    ledger: BookBatch = no_ledger,
    grown: NoteGrown = lambda session, holds: (),
) -> AsyncIterator[Running]:
    async with running(listen, identity, Booking(ledger, grown)) as server:
        yield server


async def do(action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """An action on the database, away from the loop."""
    return await in_database(lambda: action(*args, **kwargs))


class RawPod:
    """Keeps what it was sent the way a pod must: by id, whole updates only, digest checked."""

    def __init__(self, port: int, pod_id: str = "pod-1", **hello: Any) -> None:
        self.channel: Any = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.stub: Any = fleet_pb2_grpc.FleetStub(self.channel)
        self.pod_id = pod_id
        self.hello: dict[str, Any] = {"name": pod_id, "version": "1", "session_id": f"session-{pod_id}"} | hello
        self.epoch, self.revision = "", 0
        self.held: dict[tuple[str, str], bytes] = {}
        self.revisions: list[int] = []
        self.updates: list[wire.Update] = []
        self.parts: list[wire.Update] = []
        self.welcome = wire.Welcome()
        self.goodbye = ""
        self.call: Any = None
        self.acks: dict[int, wire.HeartbeatAck] = {}
        self.answer = True  # acknowledge updates by itself

    async def connect(self, **hello: Any) -> None:
        self.call = self.stub.Watch()
        fields: dict[str, Any] = (
            {"epoch": self.epoch, "revision": self.revision, "digest": self.digest} | self.hello | hello
        )
        await self.send(hello=wire.Hello(pod_id=self.pod_id, **fields))
        self.welcome = (await self.read()).welcome

    async def close(self) -> None:
        if self.call is not None:
            self.call.cancel()
        await self.channel.close()

    async def send(self, **message: Any) -> None:
        await self.call.write(wire.PodMessage(**message))

    async def read(self) -> wire.FleetMessage:
        async with asyncio.timeout(PATIENCE_S):
            message: Any = await self.call.read()
        assert isinstance(message, wire.FleetMessage), "the stream ended"
        return message

    async def step(self) -> str:
        """Take one message."""
        message = await self.read()
        kind = message.WhichOneof("message")
        if kind == "update":
            self.parts.append(message.update)
            if message.update.last:
                await self._apply()
        elif kind == "heartbeat_ack":
            self.acks[message.heartbeat_ack.seq] = message.heartbeat_ack
        elif kind == "goodbye":
            self.goodbye = message.goodbye.reason
        return str(kind)

    async def until(self, revision: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.revision < revision:
                await self.step()

    async def beat(self, seq: int, **status: Any) -> wire.HeartbeatAck:
        await self.send(
            heartbeat=wire.Heartbeat(seq=seq, revision=self.revision, status=wire.PodStatus(state="ready", **status))
        )
        async with asyncio.timeout(PATIENCE_S):
            while seq not in self.acks:
                await self.step()
        return self.acks[seq]

    @property
    def digest(self) -> bytes:
        total = 0
        for resource in self.held.values():
            total ^= int.from_bytes(hashlib.sha256(resource).digest()[:16], "big")
        return total.to_bytes(16, "big")

    async def _apply(self) -> None:
        parts, self.parts = self.parts, []
        last = parts[-1]
        assert [part.part for part in parts] == list(range(len(parts)))
        assert len({(part.epoch, part.revision, part.full, part.from_revision) for part in parts}) == 1
        assert all(part.ByteSize() < 4 << 20 for part in parts)
        if last.full:
            self.held = {}
        else:
            assert (last.epoch, last.from_revision) == (self.epoch, self.revision)
        if last.epoch == self.epoch:
            assert last.revision >= self.revision, "went back"
        for part in parts:
            for resource in part.upserts:
                kind = str(resource.WhichOneof("resource"))
                serialised = resource.SerializeToString(deterministic=True)
                self.held[kind, getattr(resource, kind).id] = serialised
            for gone in part.removed:
                kind = wire.ResourceKind.Name(gone.kind).removeprefix("RESOURCE_KIND_").lower()
                self.held.pop((kind, gone.id), None)
        assert self.digest == last.digest
        self.epoch, self.revision = last.epoch, last.revision
        self.revisions.append(last.revision)
        self.updates.extend(parts)
        if self.answer:
            await self.send(ack=wire.Ack(revision=last.revision, apply_ms=1))

    def get(self, kind: str, id: str) -> Any:
        return getattr(wire.Resource.FromString(self.held[kind, id]), kind)


@asynccontextmanager
async def pod(port: int, pod_id: str = "pod-1", **hello: Any) -> AsyncIterator[RawPod]:
    made = RawPod(port, pod_id, **hello)
    try:
        yield made
    finally:
        await made.close()
