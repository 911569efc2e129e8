"""Usage records until the control plane has them: every one gets a number, without holes, in the order of writing.

`admit` refuses when there is no room for a record *and* for the end of every attempt that was admitted before; so
`settle` always has its place. Room is a number of bytes, in memory also of records. In memory nothing survives the
process: what is lost with it is what was not acknowledged, normally the last 0.1 s, at most `limit_records`. In a
directory nothing is lost that `admit` or `settle` returned for, whenever the process is killed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome, UsageRecord
from dataplane.link.records import RECORD_BYTES, begun, encode, ended
from dataplane.link.segments import Segment, SegmentStore
from dataplane.telemetry import logs
from dataplane.telemetry.metrics import Metrics

MEMORY_BYTES: Final = 64 * 1024 * 1024
RETRY_AFTER_S: Final = 5
SYNC_S: Final = 0.1


class Store(Protocol):
    """Where numbered records stay until they are released. `append` raises OSError."""

    @property
    def size(self) -> int: ...

    def append(self, seq: int, payload: bytes) -> None: ...

    def read(self, seq: int, limit: int, limit_bytes: int) -> tuple[int, list[bytes]]: ...

    def release(self, through: int) -> None: ...


class MemoryStore:
    """A ring."""

    def __init__(self) -> None:
        self._payloads: deque[bytes] = deque()
        self._first = 1
        self.size = 0

    def append(self, seq: int, payload: bytes) -> None:
        if not self._payloads:
            self._first = seq
        self._payloads.append(payload)
        self.size += len(payload)

    def read(self, seq: int, limit: int, limit_bytes: int) -> tuple[int, list[bytes]]:
        first = max(seq, self._first)
        payloads: list[bytes] = []
        for index in range(first - self._first, min(first - self._first + limit, len(self._payloads))):
            payload = self._payloads[index]
            if payloads and limit_bytes < len(payload):
                break
            payloads.append(payload)
            limit_bytes -= len(payload)
        return first, payloads

    def release(self, through: int) -> None:
        while self._payloads and self._first <= through:
            self.size -= len(self._payloads.popleft())
            self._first += 1


class Spool:
    """The proxy's Journal. One per process; the reporter reads from it and acknowledges."""

    def __init__(
        self, store: Store, session_id: str, metrics: Metrics, *, limit_bytes: int, limit_records: int
    ) -> None:
        self.session_id = session_id
        self.appended = asyncio.Event()  # something new is there to report
        self._store = store
        self._metrics = metrics
        self._limit_bytes = limit_bytes
        self._limit_records = limit_records
        self._next = 1
        self._acknowledged = 0
        self._open: dict[tuple[str, int], bytes] = {}  # admitted, not settled: what their ends will say again
        self._unwritten: deque[tuple[int, bytes]] = deque()  # records that the disk refused, until it takes them
        metrics.gauge_from("spool_records", lambda: self.pending)
        metrics.gauge_from("spool_bytes", lambda: self._store.size)

    @property
    def last(self) -> int:
        """The number of the newest record; 0 before the first."""
        return self._next - 1

    @property
    def pending(self) -> int:
        """Records that are not acknowledged."""
        return self.last - self._acknowledged

    def admit(self, record: UsageRecord) -> None:
        """Written when it returns. Raises Refusal(SPOOL_FULL)."""
        payload = begun(record)
        if not self._room_for(len(payload)) or (self._unwritten and not self._write_waiting()):
            raise _full()
        try:
            self._store.append(self._next, payload)
        except OSError as error:
            self._complain(error)
            raise _full() from None
        self._open[record.request_id, record.attempt] = payload
        self._appended()

    def settle(self, record: UsageRecord) -> None:
        """Written when it returns; never raises. A refused request that was never admitted has no claim to room."""
        beginning = self._open.pop((record.request_id, record.attempt), None)
        payload = encode(record) if beginning is None else ended(record, beginning)
        if beginning is None and record.outcome is Outcome.REFUSED and not self._room_for(len(payload)):
            self._metrics.count("spool_unrecorded_total")
            return
        try:
            if self._unwritten:
                raise OSError("earlier records are still waiting for the disk")
            self._store.append(self._next, payload)
        except OSError as error:
            self._complain(error)
            self._unwritten.append((self._next, payload))
        self._appended()

    def _room_for(self, size: int) -> bool:
        promised = len(self._open) + 1
        return (
            self._store.size + size + promised * RECORD_BYTES <= self._limit_bytes
            and self._next - self._acknowledged + promised <= self._limit_records
        )

    def _write_waiting(self) -> bool:
        """Whether the disk has taken everything that it refused before."""
        try:
            while self._unwritten:
                self._store.append(*self._unwritten[0])
                self._unwritten.popleft()
        except OSError as error:
            self._complain(error)
            return False
        return True

    def _complain(self, error: OSError) -> None:
        self._metrics.count("spool_errors_total")
        if not self._unwritten:
            logs.error("spool_write_failed", error=error)

    def _appended(self) -> None:
        self._next += 1
        if not self.appended.is_set():
            self.appended.set()

    def read(self, seq: int, limit: int, limit_bytes: int) -> tuple[int, list[bytes]]:
        """Records from `seq` on, in order; none when there are none."""
        first, payloads = self._store.read(seq, limit, limit_bytes)
        if not payloads and self._unwritten:
            waiting = [(number, payload) for number, payload in self._unwritten if number >= seq][:limit]
            return (waiting[0][0], [payload for _, payload in waiting]) if waiting else (seq, [])
        return first, payloads

    def acknowledge(self, through: int) -> None:
        """The control plane has everything up to and including `through`."""
        if through <= self._acknowledged:
            return
        self._acknowledged = min(through, self._next - 1)
        while self._unwritten and self._unwritten[0][0] <= self._acknowledged:
            self._unwritten.popleft()
        self._store.release(self._acknowledged)


def _full() -> Refusal:
    return Refusal(
        Code.SPOOL_FULL,
        "this pod cannot record usage at the moment; try again in a few seconds",
        retry_after=RETRY_AFTER_S,
    )


async def keep_synced(store: SegmentStore, metrics: Metrics) -> None:
    """fdatasync in groups, in a thread, for as long as the pod lives."""
    while True:
        await asyncio.sleep(SYNC_S)
        for segment in store.dirty():
            try:
                await asyncio.to_thread(segment.sync)
            except OSError as error:
                metrics.count("spool_errors_total")
                logs.error("spool_sync_failed", file=segment.path.name, error=error)
                _renew(store, segment, metrics)


def _renew(store: SegmentStore, segment: Segment, metrics: Metrics) -> None:
    try:
        store.renew(segment)
    except OSError as error:
        metrics.count("spool_errors_total")
        logs.error("spool_renewal_failed", file=segment.path.name, error=error)
