"""One pod's end of Watch as a state machine: messages and times in, actions out. No I/O, no clock, no randomness.

The promise that it keeps: nothing is admitted on a configuration that was not known to be the newest less than 45 s
ago. A heartbeat carries the time of its sending; its answer says which revision was the newest then (read at most 5 s
before); once the pod has applied that, its configuration is fresh as of that time. Lost, late, doubled and reordered
messages can only make it look older. 45 s and 5 s leave 9 s below the 60 s within which a revoked key stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from dataplane.core.keys import MINIMUM_PEPPER
from dataplane.core.rows import Ref
from dataplane.core.secret import Secret
from dataplane.link.clock import FleetClock
from dataplane.link.replica import Ignored, Rejected, Replica, Staged, Stopped
from dataplane.link.understanding import summary
from dataplane.wire.digest import digest_bytes
from dataplane.wire.updates import Incoming
from protos import fleet_pb2 as pb

FRESHNESS_BOUND_MS: Final = 45_000
LONGEST_BOUND_MS: Final = 3_600_000  # an organization may choose more than 45 s, but not more than this
HEARTBEAT_MS: Final = 5_000
SHORTEST_HEARTBEAT_MS: Final = 500
JITTER: Final = 0.1
ANSWER_MS: Final = 4_000  # for Welcome and for a heartbeat: below the 5 s cadence, so at most one is in doubt
REMEMBERED: Final = 16  # heartbeats and answers; more than 4 s can hold


class LeaveReason(StrEnum):
    """Why a stream is given up."""

    GOODBYE = "goodbye"  # the server is going away: another one at once
    SILENT = "silent"
    PROTOCOL = "protocol"
    LOST = "lost"  # said by the shell: the transport failed


@dataclass(frozen=True, slots=True)
class Send:
    message: pb.PodMessage


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell the exchanges of these keys."""

    stopped: Stopped


@dataclass(frozen=True, slots=True)
class CutRunning:
    """End the exchanges that run under these rows."""

    rows: frozenset[Ref]


@dataclass(frozen=True, slots=True)
class Stage:
    """Have `replica.stage(incoming)` done, after everything staged before it, and give the result to `staged`."""

    incoming: Incoming


@dataclass(frozen=True, slots=True)
class Leave:
    """End this stream."""

    reason: LeaveReason
    detail: str = ""


Action = Send | Stop | CutRunning | Stage | Leave


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a fresh HeartbeatAck said."""

    sent_at: int
    epoch: str
    head: int


@dataclass(frozen=True, slots=True)
class Introduction:
    """What Hello says of this process."""

    pod_id: str
    session_id: str
    version: str
    name: str
    address: str
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class Status:
    """What a heartbeat says of the pod. `state` is starting, ready, stale or draining; `problem`: why it cannot serve
    everybody, or nothing."""

    state: str
    open_exchanges: int = 0
    spool_records: int = 0
    requests_total: int = 0
    refusals_total: int = 0
    problem: str = ""


@dataclass(slots=True)
class Session:
    """Times are milliseconds of CLOCK_BOOTTIME, which counts suspend. `jitter` gives 0 … 1; `clock` hears of the
    control plane's time."""

    replica: Replica
    introduction: Introduction
    status: Callable[[], Status]
    jitter: Callable[[], float]
    clock: FleetClock = field(default_factory=FleetClock)
    peppers: Mapping[int, Secret] = field(default_factory=lambda: MappingProxyType({}))
    welcomed: bool = False
    fresh_as_of: int | None = None
    _opened_at: int | None = None
    _heartbeat_ms: int = HEARTBEAT_MS
    _next_heartbeat: int = 0
    _seq: int = 0
    _watches: int = 0  # opened so far
    _sent: dict[int, int] = field(default_factory=dict)  # seq → time of sending, of this stream
    _answers: list[_Answer] = field(default_factory=list)  # whose head is not applied yet

    def fresh(self, bound_ms: int, now: int) -> bool:
        """Whether the configuration was known to be the newest less than `bound_ms` ago; 0: the default of 45 s."""
        if self.fresh_as_of is None:
            return False
        bound = min(bound_ms, LONGEST_BOUND_MS) if bound_ms > 0 else FRESHNESS_BOUND_MS
        return now - self.fresh_as_of < bound

    def opened(self, now: int) -> list[Action]:
        """A stream is open: Hello goes first."""
        self._opened_at = now
        self.welcomed = False
        self._sent.clear()
        self._watches += 1
        facts = self.introduction
        hello = pb.Hello(
            pod_id=facts.pod_id,
            session_id=facts.session_id,
            version=facts.version,
            name=facts.name,
            address=facts.address,
            started_at_ms=facts.started_at_ms,
            epoch=self.replica.epoch,
            revision=self.replica.revision,
            digest=digest_bytes(self.replica.digest),
            watch=self._watches,
        )
        return [Send(pb.PodMessage(hello=hello))]

    def closed(self) -> None:
        """The stream is gone, whoever ended it."""
        self._opened_at = None
        self.welcomed = False
        self._sent.clear()

    def received(self, incoming: Incoming, now: int) -> list[Action]:
        message = incoming.message
        match message.WhichOneof("message"):
            case "goodbye":
                return [Leave(LeaveReason.GOODBYE, message.goodbye.reason)]
            case "welcome":
                return self._welcome(message.welcome, now)
            case None:
                return []  # a message of a newer control plane
            case _ if not self.welcomed:
                return [Leave(LeaveReason.PROTOCOL, "the first message was not Welcome")]
            case "update":
                stops: list[Action] = [Stop(stopped) for stopped in self.replica.revoke(message.update)]
                return [*stops, Stage(incoming)]
            case "heartbeat_ack":
                self._heartbeat_ack(message.heartbeat_ack, now)
        return []

    def _welcome(self, welcome: pb.Welcome, now: int) -> list[Action]:
        if self.welcomed:
            return [Leave(LeaveReason.PROTOCOL, "Welcome came twice")]
        if not welcome.epoch or any(len(pepper.value) < MINIMUM_PEPPER for pepper in welcome.peppers):
            return [Leave(LeaveReason.PROTOCOL, "Welcome without an epoch, or with a short pepper")]
        self.welcomed = True
        if self._opened_at is not None:
            self.clock.heard(welcome.server_time_ms, self._opened_at, now)
        self.peppers = MappingProxyType({pepper.version: Secret(pepper.value) for pepper in welcome.peppers})
        if welcome.heartbeat_ms > 0:
            self._heartbeat_ms = max(SHORTEST_HEARTBEAT_MS, min(welcome.heartbeat_ms, HEARTBEAT_MS))
        return [self._heartbeat(now)]

    def tick(self, now: int) -> list[Action]:
        """To be called at `wake_at` or earlier."""
        if self._opened_at is None:
            return []
        if not self.welcomed:
            silent = now - self._opened_at >= ANSWER_MS
            return [Leave(LeaveReason.SILENT, "no Welcome")] if silent else []
        if self._sent and now - min(self._sent.values()) >= ANSWER_MS:
            return [Leave(LeaveReason.SILENT, "no answer to a heartbeat")]
        return [self._heartbeat(now)] if now >= self._next_heartbeat else []

    def last_words(self, now: int) -> list[Action]:
        """A heartbeat out of turn: the pod ends by its own will, and was not cut off so that it may still serve."""
        return [self._heartbeat(now)] if self.welcomed else []

    @property
    def in_doubt(self) -> bool:
        """A heartbeat is not answered yet."""
        return bool(self._sent)

    def wake_at(self, now: int) -> int:
        """When `tick` has something to do if nothing else happens."""
        if self._opened_at is None:
            return now + self._heartbeat_ms
        if not self.welcomed:
            return self._opened_at + ANSWER_MS
        return min([self._next_heartbeat, *(sent + ANSWER_MS for sent in self._sent.values())])

    def _heartbeat(self, now: int) -> Send:
        self._seq += 1
        self._next_heartbeat = now + round(self._heartbeat_ms * (1 - JITTER + 2 * JITTER * self.jitter()))
        self._sent[self._seq] = now
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]
        status = self.status()
        heartbeat = pb.Heartbeat(
            seq=self._seq,
            revision=self.replica.revision,
            status=pb.PodStatus(
                state=status.state,
                open_exchanges=status.open_exchanges,
                spool_records=status.spool_records,
                requests_total=status.requests_total,
                refusals_total=status.refusals_total,
                not_understood=summary(self.replica.snapshot, with_keys=True),
                clock_ahead_ms=self.clock.ahead_ms(),
                problem=status.problem,
            ),
        )
        return Send(pb.PodMessage(heartbeat=heartbeat))

    def _heartbeat_ack(self, ack: pb.HeartbeatAck, now: int) -> None:
        sent_at = self._sent.get(ack.seq)
        if sent_at is None:
            return  # not of this stream, or answered before
        for seq in [seq for seq in self._sent if seq <= ack.seq]:
            del self._sent[seq]
        self.clock.heard(ack.server_time_ms, sent_at, now)
        if ack.fresh:
            self._answers.append(_Answer(sent_at, ack.epoch, ack.head_revision))
            del self._answers[:-REMEMBERED]
            self._judge_freshness()

    def _judge_freshness(self) -> None:
        """An answer counts once what it named is applied, at the time when its question was sent."""
        waiting = []
        for answer in self._answers:
            if answer.epoch != self.replica.epoch or answer.head > self.replica.revision:
                waiting.append(answer)
            elif self.fresh_as_of is None or answer.sent_at > self.fresh_as_of:
                self.fresh_as_of = answer.sent_at
        self._answers = waiting

    def staged(self, result: Staged | Rejected | Ignored, apply_ms: int) -> list[Action]:
        """What became of a Stage: swap and acknowledge, or say why not."""
        match result:
            case Ignored():
                return []
            case Rejected(revision, problem, resync):
                return [Send(pb.PodMessage(nack=pb.Nack(revision=revision, problem=problem, resync=resync)))]
            case Staged():
                if result.snapshot.epoch != self.replica.epoch:
                    self.fresh_as_of = None  # what was known of another database says nothing about this one
                stopped = self.replica.commit(result)
                self._judge_freshness()
                ack = pb.Ack(
                    revision=self.replica.revision,
                    apply_ms=apply_ms,
                    not_understood=summary(self.replica.snapshot),
                )
                cut = [CutRunning(result.cut)] if result.cut else []
                return [*map(Stop, stopped), *cut, Send(pb.PodMessage(ack=ack))]
