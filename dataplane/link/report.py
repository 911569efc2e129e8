"""Usage records on their way: batches of the spool over a Report stream, until they are acknowledged.

At least once from here, exactly once in the ledger (its key is request, attempt, status). After a reconnect everything
that is not acknowledged goes out again, from the first on. What dead sessions left behind on the same volume goes out
under their names, beside our own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
import grpc.aio

from dataplane.link.channel import Backoff, Fleet
from dataplane.link.segments import SegmentStore, leftovers
from dataplane.link.spool import Spool
from dataplane.telemetry import logs
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn
from dataplane.wire.protobuf import Heads
from protos import fleet_pb2 as pb

BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
# One batch serves all records of the time: on either side a batch of one takes as long as a batch of a hundred. Only a
# full one is followed at once by the next.
GATHER_S: Final = 0.05
# Of one session: one that is being booked, one that waits at the door. What comes meanwhile travels together; with more
# of them under way, batches stay as small as they began, and a slow ledger falls behind for ever.
BATCHES_UNDER_WAY: Final = 2
LOOK_AROUND_S: Final = 60.0  # for sessions of pods that died beside us
NOT_TAKEN_S: Final = 10.0  # until a spool is offered again that was not taken, since its pod was heard of lately

_RECORDS: Final = Heads(pb.UsageBatch.RECORDS_FIELD_NUMBER)


class Source(Protocol):
    """Numbered records of one session."""

    @property
    def session_id(self) -> str: ...

    @property
    def last(self) -> int:
        """The number of the newest record."""

    def read(self, seq: int, limit: int, limit_bytes: int) -> tuple[int, list[bytes]]: ...

    def acknowledge(self, through: int) -> None: ...


@dataclass(frozen=True, slots=True)
class SharedDirectory:
    """Where sessions spool. `owner`: whose leftovers there are taken over at once."""

    path: Path
    owner: str = ""


class Leftover:
    """What a dead session left; its directory goes with its last acknowledged record."""

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self.session_id = store.session_id
        self.last = store.end - 1
        self.done = False

    def read(self, seq: int, limit: int, limit_bytes: int) -> tuple[int, list[bytes]]:
        return (seq, []) if self.done else self._store.read(seq, limit, limit_bytes)

    def acknowledge(self, through: int) -> None:
        if through >= self.last and not self.done:
            self.done = True
            self._store.remove()

    def close(self) -> None:
        if not self.done:
            self.done = True
            self._store.close()


@dataclass(slots=True)
class _Progress:
    """How far one session has come on this stream."""

    source: Source
    acknowledged: int = 0
    sent: int = 0
    under_way: deque[int] = field(default_factory=deque)  # the last numbers of batches that are not acknowledged
    not_before: float = 0.0  # of the loop's clock: the control plane would not take it

    @property
    def may_send(self) -> bool:
        if self.not_before and asyncio.get_running_loop().time() < self.not_before:
            return False
        return len(self.under_way) < BATCHES_UNDER_WAY

    def again_later(self) -> None:
        """All that is not acknowledged, in a while."""
        self.sent = self.acknowledged
        self.under_way.clear()
        self.not_before = asyncio.get_running_loop().time() + NOT_TAKEN_S


class Reporter:
    """One per process. `run(fleet)` for as long as a connection lasts; `flush` before the process ends."""

    def __init__(
        self, pod_id: str, spool: Spool, directory: SharedDirectory | None, metrics: Metrics, backoff: Backoff
    ) -> None:
        """`directory`: None for the spool in memory."""
        self._pod_id = pod_id
        self._spool = spool
        self._directory = directory
        self._metrics = metrics
        self._backoff = backoff
        self._own = _Progress(spool)
        self._others: dict[str, _Progress] = {}
        self._acknowledged = asyncio.Event()  # there may be room for more
        self._delivered = asyncio.Event()  # for `flush`
        self._hurry = False
        self._look_at = 0.0  # of the loop's clock

    async def run(self, fleet: Fleet) -> None:
        """Streams on this connection, one after another, until cancelled."""
        while True:
            try:
                await self._one_stream(fleet)
                problem = "the server ended the stream"
            except grpc.aio.AioRpcError as error:
                problem = f"{error.code().name}: {error.details()}"
            except OSError as error:  # the spool cannot be read
                problem = str(error)
            except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
                problem = str(error)
            logs.warning("report_interrupted", problem=problem, pending=self._spool.pending)
            await asyncio.sleep(self._backoff.pause())

    async def flush(self, timeout_s: float) -> bool:
        """Whether everything of this session is acknowledged in time."""
        self._hurry = True
        self._spool.appended.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._spool.pending:
                    self._delivered.clear()
                    await self._delivered.wait()
        if self._spool.pending:
            logs.warning("usage_not_delivered", records=self._spool.pending, kept=self._directory is not None)
        return not self._spool.pending

    def close(self) -> None:
        """Leave what others left to others."""
        for progress in self._others.values():
            if isinstance(progress.source, Leftover):
                progress.source.close()

    async def _one_stream(self, fleet: Fleet) -> None:
        call = fleet.report()
        await self._look_around()
        for progress in self._sessions():
            progress.sent = progress.acknowledged  # what is not acknowledged goes out again
            progress.under_way.clear()
        reading = spawn(self._read(call), "report-read")
        try:
            while not reading.done():
                if not (await self._send_what_is_there(call) and self._crowded()):
                    await self._news(reading)
            await reading
        finally:
            reading.cancel()
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await reading

    def _sessions(self) -> Iterable[_Progress]:
        return [self._own, *self._others.values()]

    async def _look_around(self) -> None:
        """Take over what dead sessions left."""
        self._look_at = asyncio.get_running_loop().time() + LOOK_AROUND_S
        if self._directory is None:
            return
        for store in await asyncio.to_thread(list, leftovers(self._directory.path, self._directory.owner)):
            if store.damaged:
                logs.error("spool_damaged", session=store.session_id, files=store.damaged)
            if not store.count:
                store.remove()
                continue
            logs.info("spool_recovered", session=store.session_id, records=store.count)
            self._others[store.session_id] = _Progress(Leftover(store))

    async def _send_what_is_there(self, call: Any) -> bool:
        """One batch of every session that may send; False when none had anything."""
        self._spool.appended.clear()
        any_sent = False
        for progress in self._sessions():
            if not progress.may_send:
                continue
            first, records = progress.source.read(progress.sent + 1, BATCH_RECORDS, BATCH_BYTES)
            if not records:
                continue
            if progress.sent == progress.acknowledged:
                progress.acknowledged = first - 1  # numbers of damaged records will never come
            progress.sent = first + len(records) - 1
            progress.under_way.append(progress.sent)
            await call.write(self._batch(progress.source.session_id, first, records))
            any_sent = True
        return any_sent

    def _crowded(self) -> bool:
        """Could a full batch go now?"""
        return any(each.may_send and each.source.last - each.sent >= BATCH_RECORDS for each in self._sessions())

    def _batch(self, session_id: str, first: int, records: list[bytes]) -> bytes:
        """A serialised UsageBatch. Records are in the spool as the wire wants them: they are only strung together."""
        head = pb.UsageBatch(pod_id=self._pod_id, session_id=session_id, first_seq=first).SerializeToString()
        parts = [head]
        for record in records:
            parts += (_RECORDS[len(record)], record)
        return b"".join(parts)

    async def _news(self, reading: asyncio.Task[None]) -> None:
        """Wait for records, an acknowledgement, the end of the stream, or the time to look around again."""
        loop = asyncio.get_running_loop()
        waiting = [spawn(self._spool.appended.wait(), "report-wait"), spawn(self._acknowledged.wait(), "report-wait")]
        timeout = max(0.0, self._look_at - loop.time())
        await asyncio.wait([*waiting, reading], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if loop.time() >= self._look_at:
            await self._look_around()
        self._acknowledged.clear()
        if not (self._hurry or self._crowded()):
            await asyncio.sleep(GATHER_S)

    async def _read(self, call: Any) -> None:
        async for ack in call:
            self._backoff.succeeded()
            for request_id in ack.dead_lettered:
                self._metrics.count("dead_letters_total")
                logs.error("usage_dead_lettered", request_id=request_id)
            self._acknowledge(ack.session_id, ack.through_seq)
            self._acknowledged.set()
            self._delivered.set()

    def _acknowledge(self, session_id: str, through: int) -> None:
        progress = self._own if session_id == self._spool.session_id else self._others.get(session_id)
        if progress is not None and through == 0:
            logs.error("spool_not_taken", session=session_id, problem="the control plane takes its pod for alive")
            progress.again_later()
            return
        if progress is None or not progress.acknowledged < through <= progress.sent:
            return
        progress.acknowledged = through
        while progress.under_way and progress.under_way[0] <= through:
            progress.under_way.popleft()
        progress.source.acknowledge(through)
        if isinstance(progress.source, Leftover) and progress.source.done:
            logs.info("spool_delivered", session=session_id)
            del self._others[session_id]
