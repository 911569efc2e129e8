"""`Watch`: the configuration as the proxy sees it, kept up to date over one connection after another.

The shell around `Session`: it opens streams, carries messages and times to the session and does what it says. On every
connection runs a Report too (`report.py`), and Resolve asks over the same one (`lookup.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from dataplane.core.secret import Secret
from dataplane.core.snapshot import Ref, Snapshot
from dataplane.link.channel import Backoff, Connector, Fleet
from dataplane.link.clock import boottime_ms
from dataplane.link.lookup import Lookup, NoContact
from dataplane.link.replica import Ignored, Rejected, Staged
from dataplane.link.session import Action, CutRunning, Leave, LeaveReason, Send, Session, Stage, Stop
from dataplane.link.understanding import summary
from dataplane.telemetry import logs
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn
from dataplane.wire.updates import Incoming
from protos import fleet_pb2 as pb

# An update of so many resources costs about 10 ms; a larger one is worked on in a thread, beside the requests.
INLINE_RESOURCES: Final = 500
WAITING_UPDATES: Final = 8  # parts of at most 4 MiB; then the stream is left unread
OUTGOING: Final = 64
LAST_WORDS_S: Final = 1.0
SHORT_LIVED_S: Final = 1.0  # a Goodbye on a younger stream is no reason to hurry back

Revoked = Callable[[frozenset[str], bool], None]
CutByHand = Callable[[frozenset[Ref]], None]
Report = Callable[[Fleet], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class _Waiter:
    epoch: str
    revision: int
    reached: asyncio.Future[None]


class Watch:
    """Implements the proxy's Configuration. `run` until cancelled."""

    def __init__(self, session: Session, connector: Connector, report: Report, metrics: Metrics) -> None:
        self._session = session
        self._connector = connector
        self._report = report
        self._metrics = metrics
        self._backoff = Backoff(session.jitter)
        self._lookup = Lookup(self._resolve, self, time.monotonic, metrics)
        self._callbacks: list[Revoked] = []
        self._on_cut: list[CutByHand] = []
        self._followers: list[Callable[[], None]] = []
        self._waiters: list[_Waiter] = []
        self._fleet: Fleet | None = None
        self._stream: _Stream | None = None
        self._staging: asyncio.Future[Staged | Rejected | Ignored] | None = None
        self._worth_a_thread = False  # the update under way has had a large part: its last one does the work for all
        self._not_understood: Mapping[str, str] = {}  # as it was logged last
        self.configured = asyncio.Event()  # there is a configuration
        metrics.gauge_from("configuration_revision", lambda: self.snapshot.revision)
        metrics.gauge_from("configuration_age_seconds", self._age_s)
        metrics.gauge_from("configuration_not_understood", lambda: len(self.snapshot.not_understood))
        metrics.gauge_from("clock_ahead_seconds", lambda: self._session.clock.ahead_ms() / 1000)
        metrics.gauge_from("link_connected", lambda: self._session.welcomed)

    # What the proxy asks.

    @property
    def snapshot(self) -> Snapshot:
        return self._session.replica.snapshot

    @property
    def peppers(self) -> Mapping[int, Secret]:
        return self._session.peppers

    def fresh(self, bound_ms: int) -> bool:
        return self._session.fresh(bound_ms, boottime_ms())

    async def learn(self, public_id: str) -> bool:
        return await self._lookup.learn(public_id)

    def on_revoked(self, callback: Revoked) -> None:
        self._callbacks.append(callback)

    def on_cut(self, callback: CutByHand) -> None:
        self._on_cut.append(callback)

    def on_applied(self, callback: Callable[[], None]) -> None:
        """After each revision."""
        self._followers.append(callback)

    # What the lookup asks.

    def has_key(self, public_id: str) -> bool:
        return self.snapshot.key_by_public_id(public_id) is not None

    async def reached(self, epoch: str, revision: int) -> None:
        waiter = _Waiter(epoch, revision, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            self._release_waiters()
            await waiter.reached
        finally:
            self._waiters.remove(waiter)

    def _release_waiters(self) -> None:
        for waiter in self._waiters:
            if (
                waiter.epoch == self.snapshot.epoch
                and waiter.revision <= self.snapshot.revision
                and not waiter.reached.done()
            ):
                waiter.reached.set_result(None)

    async def _resolve(self, public_id: str) -> pb.ResolveResponse:
        if self._fleet is None or not self._session.welcomed:
            raise NoContact
        request = pb.ResolveRequest(pod_id=self._session.introduction.pod_id, public_id=public_id)
        try:
            return await self._fleet.resolve(request)
        except grpc.aio.AioRpcError as error:
            logs.warning("lookup_failed", status=error.code().name)
            raise NoContact from None

    def _age_s(self) -> float:
        as_of = self._session.fresh_as_of
        return -1.0 if as_of is None else (boottime_ms() - as_of) / 1000

    # One connection after another.

    async def run(self) -> None:
        before: Leave | None = None
        while True:
            opened = time.monotonic()
            try:
                left = await self._one_connection()
            except OSError as error:  # a certificate that cannot be read
                left = Leave(LeaveReason.LOST, str(error))
            self._metrics.count("link_reconnects_total", left.reason)
            hurry = left.reason is LeaveReason.GOODBYE and time.monotonic() - opened > SHORT_LIVED_S
            pause = 0.0 if hurry else self._backoff.pause()
            say = logs.debug if left == before else logs.warning  # an outage is one piece of news
            say("link_down", reason=left.reason, detail=left.detail, retry_in_s=round(pause, 3))
            before = left
            await asyncio.sleep(pause)

    async def take_leave(self) -> None:
        """Return when the control plane knows in which state this pod ends, or does not answer in time."""
        if self._stream is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._stream.last_words()

    async def _one_connection(self) -> Leave:
        target, fleet = self._connector.connect()
        self._fleet = fleet
        self._stream = _Stream(self, fleet, target)
        try:
            return await self._stream.run()
        finally:
            self._fleet = self._stream = None
            self._session.closed()
            if self._staging is not None:  # a thread cannot be stopped, and the next stream stages too
                await asyncio.wait([self._staging])
            await fleet.close()

    async def stage(self, incoming: Incoming) -> Staged | Rejected | Ignored:
        """A large part in a thread, so that requests go on meanwhile."""
        replica = self._session.replica
        if len(incoming.message.update.upserts) <= INLINE_RESOURCES and not self._worth_a_thread:
            return replica.stage(incoming)
        self._worth_a_thread = not incoming.message.update.last
        self._staging = asyncio.ensure_future(asyncio.to_thread(_without_collections, replica.stage, incoming))
        try:
            return await asyncio.shield(self._staging)
        finally:
            if self._staging.done():
                self._staging = None

    def stopped(self, action: Stop) -> None:
        for callback in self._callbacks:
            callback(action.stopped.key_ids, action.stopped.cut)

    def cut(self, action: CutRunning) -> None:
        for callback in self._on_cut:
            callback(action.rows)

    def applied(self, result: Staged | Rejected | Ignored, seconds: float) -> None:
        """Say what became of an update."""
        match result:
            case Staged():
                self._metrics.count("configuration_updates_total", "applied")
                self._metrics.observe("configuration_apply_seconds", seconds)
                logs.debug("configuration_applied", revision=self.snapshot.revision, full=result.full)
                self._tell_what_is_not_understood()
                self.configured.set()
                self._release_waiters()
                for callback in self._followers:
                    callback()
                if result.full:
                    gc.freeze()  # a collection over 100,000 keys stops the loop for half a second
            case Rejected(revision, problem, resync):
                self._metrics.count("configuration_updates_total", "rejected")
                logs.error("configuration_rejected", revision=revision, problem=problem, resync=resync)
            case Ignored():
                self._metrics.count("configuration_updates_total", "ignored")

    def _tell_what_is_not_understood(self) -> None:
        """Once, when it changes."""
        rows = self.snapshot.not_understood
        before, self._not_understood = self._not_understood, {id: row.problem for id, row in rows.items()}
        if self._not_understood == before:
            return
        if not rows:
            logs.info("configuration_understood", revision=self.snapshot.revision)
            return
        items = [f"{item.id}: {item.problem}" for item in summary(self.snapshot).items]
        logs.error("configuration_not_understood", revision=self.snapshot.revision, count=len(rows), resources=items)

    def welcomed(self, target: str) -> None:
        self._backoff.succeeded()
        logs.info("link_up", fleet=target, epoch=self.snapshot.epoch, revision=self.snapshot.revision)

    @property
    def session(self) -> Session:
        return self._session

    def reporting(self, fleet: Fleet) -> Coroutine[Any, Any, None]:
        return self._report(fleet)


def _without_collections(
    stage: Callable[[Incoming], Staged | Rejected | Ignored], incoming: Incoming
) -> Staged | Rejected | Ignored:
    """Much is made and nothing is garbage: the collector would only look at it again and again."""
    gc.disable()
    try:
        return stage(incoming)
    finally:
        gc.freeze()  # nor between this part and the next one
        gc.enable()


def _release(pieces: list[object]) -> None:
    """A piece at a time: 100,000 keys freed at once hold the interpreter, and every request, for 0.1 s."""
    while pieces:
        pieces.pop()


class _Stream:
    """One Watch stream, from Hello until either side has had enough."""

    def __init__(self, watch: Watch, fleet: Fleet, target: str) -> None:
        self._watch = watch
        self._session = watch.session
        self._fleet = fleet
        self._target = target
        self._call: Any = None
        self._updates: asyncio.Queue[tuple[Incoming, float]] = asyncio.Queue(WAITING_UPDATES)
        self._outgoing: asyncio.Queue[pb.PodMessage] = asyncio.Queue(OUTGOING)
        self._left: asyncio.Future[Leave] = asyncio.get_running_loop().create_future()
        self._wake = asyncio.Event()
        self._heard = asyncio.Event()
        self._unread = False  # the server's messages wait for us, so its silence means nothing

    async def run(self) -> Leave:
        self._call = self._fleet.watch()
        self._perform(self._session.opened(boottime_ms()))
        parts = {"read": self._read(), "apply": self._apply(), "write": self._write()}
        tasks = [spawn(self._guarded(work), f"watch-{name}") for name, work in parts.items()]
        reporting = False
        try:
            while not self._left.done():
                if self._session.welcomed and not reporting:
                    reporting = True
                    tasks.append(spawn(self._guarded(self._watch.reporting(self._fleet)), "report"))
                await self._something_due()
                if not self._unread:
                    self._perform(self._session.tick(boottime_ms()))
            return self._left.result()
        finally:
            for task in tasks:
                task.cancel()
            self._call.cancel()
            await asyncio.wait(tasks)

    async def last_words(self) -> None:
        self._perform(self._session.last_words(boottime_ms()))
        while self._session.in_doubt and not self._left.done():
            self._heard.clear()
            await self._heard.wait()

    async def _something_due(self) -> None:
        now = boottime_ms()
        due_s = max(0.01, (self._session.wake_at(now) - now) / 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._wake.wait()
        self._wake.clear()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that ends takes the stream with it."""
        try:
            await work
        except grpc.aio.AioRpcError as error:
            self._leave(Leave(LeaveReason.LOST, f"{error.code().name}: {error.details()}"))
        except DecodeError:
            self._leave(Leave(LeaveReason.PROTOCOL, "a message cannot be parsed"))
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            self._leave(Leave(LeaveReason.LOST, str(error)))  # written to a call that has ended
        finally:
            self._leave(Leave(LeaveReason.LOST, "the stream ended"))

    def _leave(self, leave: Leave) -> None:
        if not self._left.done():
            self._left.set_result(leave)
            self._wake.set()
            self._heard.set()

    async def _read(self) -> None:
        async for incoming in self._call:
            was_welcomed = self._session.welcomed
            actions = self._session.received(incoming, boottime_ms())
            self._heard.set()
            if self._session.welcomed and not was_welcomed:
                self._watch.welcomed(self._target)
                self._wake.set()
            self._perform(action for action in actions if not isinstance(action, Stage))
            for action in actions:
                if isinstance(action, Stage):
                    self._unread = True
                    await self._updates.put((action.incoming, time.monotonic()))
                    self._unread = False

    async def _apply(self) -> None:
        while True:
            incoming, received = await self._updates.get()
            result = await self._watch.stage(incoming)
            before = self._watch.snapshot.pieces() if isinstance(result, Staged) and result.full else []
            seconds = time.monotonic() - received
            self._perform(self._session.staged(result, round(seconds * 1000)))
            self._watch.applied(result, seconds)
            del incoming, result
            if before:
                await asyncio.to_thread(_release, before)

    async def _write(self) -> None:
        while True:
            await self._call.write(await self._outgoing.get())

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Send(message):
                    with contextlib.suppress(asyncio.QueueFull):  # the server does not read: it will be found silent
                        self._outgoing.put_nowait(message)
                case Stop():
                    self._watch.stopped(action)
                case CutRunning():
                    self._watch.cut(action)
                case Leave():
                    self._leave(action)
                case Stage():
                    raise AssertionError("updates wait in their queue")
