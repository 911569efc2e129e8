"""What pods say about themselves, on its way to the database: gathered in memory, written in batches.

Bounded: one entry per pod, and the newest acknowledgements. A row is written by the pod's newest Watch only, whichever
replica serves it; what one loses by dying, the pods say again within a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from django.db import Error as DatabaseProblem
from django.utils import timezone

from controlplane.fleet.database import in_database
from controlplane.fleet.models import Pod, PodState
from controlplane.fleet.register.roster_rows import AckRow, RosterRow, write
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

ACKS_KEPT = 20_000
PODS_KEPT = 20_000
ITEMS_KEPT = 20  # of what a pod does not understand
PROMPT_S = 0.05  # how soon an acknowledgement is to be seen
BURST_S = 0.5  # while they go on coming, for so long at most they are gathered for one write
LEISURE_S = 1.0
LARGEST = 2**63 - 1
STATES = frozenset(PodState.values)


@dataclass
class Entry:
    """What one Watch has said that is not written yet."""

    pod_id: str
    serial: int
    stream_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    hello: Pod | None = None
    state: str = ""
    changes: dict[str, Any] = field(default_factory=dict)


class Roster:
    """`run()` writes; the rest only notes, and never waits."""

    def __init__(self) -> None:
        self._dirty: dict[str, Entry] = {}  # by pod id
        self._acks: deque[AckRow] = deque(maxlen=ACKS_KEPT)
        self._serials = count(1)
        self._writing = asyncio.Lock()
        self._something = asyncio.Event()
        self._prompt = asyncio.Event()

    def hello(self, hello: wire.Hello, identity: str, certificate: str = "") -> Entry:
        now = timezone.now()
        entry = Entry(hello.pod_id, next(self._serials))
        entry.hello = Pod(
            pod_id=hello.pod_id,
            identity=identity,
            certificate=certificate,
            session_id=hello.session_id,
            stream_id=entry.stream_id,
            watch=hello.watch,
            name=hello.name,
            version=hello.version,
            address=hello.address,
            started_at=_moment(hello.started_at_ms),
            first_seen_at=now,
            last_heartbeat_at=now,
            connected=True,
            epoch=hello.epoch,
            applied_revision=_bounded(hello.revision),
        )
        self._note(entry, prompt=True)
        return entry

    def heartbeat(self, entry: Entry, status: wire.PodStatus) -> None:
        entry.changes.update(
            last_heartbeat_at=timezone.now(),
            clock_ahead_ms=max(-LARGEST, min(status.clock_ahead_ms, LARGEST)),
            problem=printable(status.problem)[:500],
            open_exchanges=_bounded(status.open_exchanges),
            spool_records=_bounded(status.spool_records),
            requests_total=_bounded(status.requests_total),
            refusals_total=_bounded(status.refusals_total),
        )
        if status.HasField("not_understood"):
            entry.changes.update(
                _not_understood(status.not_understood), refused_keys=_bounded(status.not_understood.keys)
            )
        if status.state in STATES:
            entry.changes["state"] = entry.state = status.state
        self._note(entry, prompt=False)

    def ack(self, entry: Entry, epoch: str, ack: wire.Ack) -> None:
        now = timezone.now()
        entry.changes.update(
            last_heartbeat_at=now, epoch=epoch, applied_revision=ack.revision, applied_at=now,
            nack_revision=0, nack_problem="",
        )  # fmt: skip
        if ack.HasField("not_understood"):
            entry.changes.update(_not_understood(ack.not_understood))
        self._acks.append((entry.pod_id, ack.revision, now, _bounded(ack.apply_ms)))
        self._note(entry, prompt=True)

    def nack(self, entry: Entry, nack: wire.Nack) -> None:
        self.problem(entry, nack.revision, nack.problem)

    def problem(self, entry: Entry, revision: int, problem: str) -> None:
        text = printable(problem)[:500] or "the pod gave no reason"
        entry.changes.update(last_heartbeat_at=timezone.now(), nack_revision=revision, nack_problem=text)
        self._note(entry, prompt=True)

    def left(self, entry: Entry) -> None:
        """Its Watch ended. One that was draining has gone for good; any other may be cut off and still serve."""
        entry.changes["connected"] = False
        if entry.state == PodState.DRAINING:
            entry.changes["state"] = PodState.GONE
        self._note(entry, prompt=True)

    async def run(self) -> None:
        """Write what was noted until cancelled; what cannot be written now is kept and tried again."""
        while True:
            await self._something.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(LEISURE_S):
                    await self._prompt.wait()
                    await self._lull()
            try:
                await self.flush()
            except DatabaseProblem as problem:
                log.warning("fleet_roster_not_written %s: %s", type(problem).__name__, problem)
                await asyncio.sleep(LEISURE_S)

    async def _lull(self) -> None:
        """While a change goes round, the pods' turn comes before the database's."""
        for _ in range(round(BURST_S / PROMPT_S)):
            self._prompt.clear()
            await asyncio.sleep(PROMPT_S)
            if not self._prompt.is_set():
                return

    async def flush(self) -> None:
        """Return when everything noted so far is written. Raises database errors, having lost nothing."""
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        self._something.clear()
        self._prompt.clear()
        dirty, self._dirty = self._dirty, {}
        acks = list(self._acks)
        self._acks.clear()
        taken = [(entry, entry.hello, entry.changes) for entry in dirty.values()]
        for entry in dirty.values():
            entry.hello, entry.changes = None, {}
        rows = [RosterRow(entry.pod_id, entry.stream_id, hello, changes) for entry, hello, changes in taken]
        writing = asyncio.ensure_future(in_database(write, rows, acks))
        try:
            await asyncio.shield(writing)
        finally:
            await asyncio.wait([writing])  # a cancelled task leaves its thread writing, and the next write is newer
            if writing.exception() is not None:
                for entry, hello, changes in taken:
                    entry.hello, entry.changes = entry.hello or hello, changes | entry.changes
                self._dirty = dirty | self._dirty
                self._acks.extendleft(reversed(acks[: ACKS_KEPT - len(self._acks)]))
                self._something.set()

    def _note(self, entry: Entry, *, prompt: bool) -> None:
        earlier = self._dirty.get(entry.pod_id)
        if earlier is None and len(self._dirty) >= PODS_KEPT:
            return
        if earlier is None or earlier.serial <= entry.serial:
            self._dirty[entry.pod_id] = entry
        self._something.set()
        if prompt:
            self._prompt.set()


def _not_understood(report: wire.NotUnderstood) -> dict[str, Any]:
    """What the pod does not understand; it goes on not understanding since when it began to (`roster_rows`)."""
    items = [
        {"kind": _kind(item.kind), "id": printable(item.id)[:64], "problem": printable(item.problem)[:200]}
        for item in report.items[:ITEMS_KEPT]
    ]
    return {
        "not_understood": items,
        "not_understood_count": _bounded(report.count),
        "not_understood_since": timezone.now(),
    }


def _kind(number: int) -> str:
    kind = wire.ResourceKind.DESCRIPTOR.values_by_number.get(number)
    return kind.name.removeprefix("RESOURCE_KIND_").lower() if kind is not None else f"kind {number}"


def printable(text: str) -> str:
    """Without control characters: a pod's words end in logs, pages and PostgreSQL, which takes no NUL."""
    return "".join(character if character.isprintable() else " " for character in text)


def _bounded(value: int) -> int:
    return max(0, min(value, LARGEST))


def _moment(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if 0 < ms < 4_102_444_800_000 else None
