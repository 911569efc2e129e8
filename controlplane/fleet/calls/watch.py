"""One open Watch: a receiver and a speaker around a `WatchSession`.

Nothing waits beside them: the speaker is a task only while there is something to say, and all times of all watches are
looked after by one sweep (`FleetServicer.sweep`), so that a revocation has left for every pod before anything else is
done for one of them.
"""

from __future__ import annotations

import asyncio
import logging
import time

import grpc

from controlplane.environment import environment
from controlplane.fleet.calls.peers import Context, Peer, first_of, parsed
from controlplane.fleet.calls.session import Malformed, WatchSession
from controlplane.fleet.register.metrics import Metrics
from controlplane.fleet.register.roster import Entry, Roster
from controlplane.fleet.state.replica import Replica, boottime
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

HEARTBEAT_MS = 5000
END_S = 0.5
WRITE_S = 60.0  # the watch of a pod that takes nothing for so long is ended


class Watch:
    """Made when its Hello is in; `run` until either side ends it."""

    def __init__(
        self, context: Context, replica: Replica, roster: Roster, metrics: Metrics, hello: wire.Hello, peer: Peer
    ) -> None:
        self.pod_id = hello.pod_id
        self.peer = peer
        # Set when the pod has a newer Watch.
        self.replaced = asyncio.Event()
        # What the roster keeps of it.
        self.entry: Entry = roster.hello(hello, peer.name, peer.certificate)
        self._context = context
        self._replica = replica
        self._roster = roster
        self._metrics = metrics
        self._opened_s = time.time()
        self._session = WatchSession(hello, replica.catalogue)
        # One write at a time, and Welcome is the first.
        self._speaking = True
        # Nothing new is said any more.
        self._ending = False
        # Says what is due; None: nothing was due yet.
        self._speaker: asyncio.Task[None] | None = None
        # Of `boottime()`; None: nothing is being written.
        self._writing_since: float | None = None
        # Gets the exception that the watch is to end with.
        self._problem: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, closing: asyncio.Event) -> None:
        welcome = wire.Welcome(
            epoch=self._replica.catalogue.epoch,
            server_time_ms=_now_ms(),
            heartbeat_ms=HEARTBEAT_MS,
            peppers=[
                wire.Pepper(version=version, value=pepper.reveal())
                for version, pepper in environment().pepper_keyring().items()
            ],
        )
        await self._write(wire.FleetMessage(welcome=welcome).SerializeToString())
        self._speaking = False
        self._replica.subscribe(self.look)
        try:
            self.look()
            await first_of(self._receive(), self._until_problem(), closing.wait(), self.replaced.wait())
        finally:
            self._replica.unsubscribe(self.look)
            writable = await self._stop_speaking()
        if not writable:
            return
        if closing.is_set():
            await self._say_goodbye("this fleet server is going away")
        elif self.replaced.is_set():
            await self._say_goodbye("the pod has a newer connection")

    def look(self) -> None:
        """There may be something to say: quick, and never waits."""
        if self._speaking or self._ending or self._problem.done() or not self._due():
            return
        self._speaking = True
        self._speaker = asyncio.get_running_loop().create_task(self._speak())
        self._speaker.add_done_callback(self._spoken)

    def sweep(self, now: float) -> None:
        """What time alone brings. `now`: of `boottime()`; called every second or so."""
        if self._session.is_overdue(now):
            self.end(Malformed("an update was neither acknowledged nor refused"))
        elif self._writing_since is not None and now - self._writing_since >= WRITE_S:
            self.end(Malformed("the pod does not read what it is sent"))
        else:
            self.look()

    def end(self, problem: BaseException) -> None:
        if not self._problem.done():
            self._problem.set_exception(problem)

    async def _until_problem(self) -> None:
        await asyncio.shield(self._problem)

    def _due(self) -> bool:
        session, catalogue = self._session, self._replica.catalogue
        return session.owes_an_answer or session.is_ahead_of(catalogue) or session.is_due(catalogue, boottime())

    async def _speak(self) -> None:
        """Everything that is due, until nothing is."""
        try:
            while self._due():
                for message in self._session.update(self._replica.catalogue, boottime()):
                    await self._write(message)
                    await self._answer_heartbeat()
                    if self._ending:
                        return
                await self._answer_heartbeat()
                if self._session.is_ahead_of(self._replica.catalogue):
                    await self._report_ahead()
                    break  # until the sweep looks again
        finally:
            self._speaking = False

    def _spoken(self, speaker: asyncio.Task[None]) -> None:
        if not speaker.cancelled() and (problem := speaker.exception()) is not None:
            self.end(problem)

    async def _stop_speaking(self) -> bool:
        """Returns whether a last message can be written: after a write that was broken off none can."""
        self._ending = True
        speaker, done = self._speaker, True
        if speaker is not None:
            done = bool((await asyncio.wait([speaker], timeout=END_S))[0])
            speaker.cancel()
        if self._problem.done():
            self._problem.exception()  # what waited for it has ended first
            return False
        self._problem.cancel()
        return done

    async def _report_ahead(self) -> None:
        head = self._replica.catalogue.revision
        self._roster.problem(self.entry, self._session.applied, f"ahead of the database, which is at {head}")
        await self._replica.renew_epoch()

    async def _answer_heartbeat(self) -> None:
        ack = self._session.heartbeat_ack(self._replica.catalogue, self._replica.fresh, _now_ms())
        if ack is not None:
            await self._write(ack.SerializeToString())

    async def _receive(self) -> None:
        while (raw := await self._context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            message = parsed(wire.PodMessage, raw)
            match message.WhichOneof("message"):
                case "heartbeat":
                    self._session.heartbeat(message.heartbeat)
                    self._roster.heartbeat(self.entry, message.heartbeat.status)
                case "ack":
                    if self._session.ack(message.ack):
                        self._roster.ack(self.entry, self._session.epoch, message.ack)
                        self._measure(message.ack.revision)
                case "nack":
                    self._session.nack(message.nack, boottime())
                    self._roster.nack(self.entry, message.nack)
                    self._metrics.nacks.inc()
                    log.warning("fleet_nack pod=%s revision=%s", self.pod_id, message.nack.revision)
                case "hello":
                    raise Malformed("Hello comes once")
            self.look()

    def _measure(self, revision: int) -> None:
        """How late a change was here; for a pod that came after it, it was not."""
        now, committed = time.time(), self._replica.catalogue.committed_at_ms / 1000
        if revision == self._replica.catalogue.revision and self._opened_s <= committed:
            self._metrics.apply_lag.observe(max(0.0, now - committed))
        self._metrics.revocations.applied(self.entry.stream_id, revision, now)

    async def _say_goodbye(self, reason: str) -> None:
        await self._write(wire.FleetMessage(goodbye=wire.Goodbye(reason=reason)).SerializeToString())

    async def _write(self, message: bytes) -> None:
        self._writing_since = boottime()
        await self._context.write(message)
        self._writing_since = None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
