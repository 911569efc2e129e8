"""No admission later than 60 s after a revocation was committed, whatever the network and the clock do.

A session against a model of the control plane: several fleet replicas that read the database now and then, streams
whose messages are lost, doubled and reordered, suspended machines, a database that is replaced. Time is a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataplane.core.snapshot import KeyState
from dataplane.link.replica import Replica
from dataplane.link.session import Action, Introduction, Leave, Send, Session, Stage, Status
from protos import fleet_pb2 as pb
from tests.link import fleet_model as fleet
from tests.link.fleet_model import Database, incoming

KEYS = range(4)
PROMISE_MS = 60_000
HEAD_AGE_MS = 5_000
FLEET_REPLICAS = 2


@dataclass
class FleetReplica:
    """Sees the database only when it reads."""

    database: Database
    revision: int = 0
    read_at: int = -(10**9)

    def read(self, now: int) -> None:
        self.revision, self.read_at = self.database.revision, now


@dataclass
class Stream:
    """One Watch: the server's side of it, and what is under way in both directions."""

    server: FleetReplica
    up: list[pb.PodMessage] = field(default_factory=list)
    down: list[pb.FleetMessage] = field(default_factory=list)
    epoch: str = ""
    applied: int = 0
    offered: int = -1

    def handle(self, message: pb.PodMessage, now: int) -> None:
        match message.WhichOneof("message"):
            case "hello":
                self.epoch, self.applied = message.hello.epoch, message.hello.revision
                self.down.append(fleet.welcome(self.server.database.epoch))
                self.offer()
            case "ack":
                self.epoch, self.applied = self.server.database.epoch, max(self.applied, message.ack.revision)
                self.offer()
            case "nack" if message.nack.resync:
                self.down += fleet.full(self.server.database, self.server.revision)
            case "heartbeat":
                fresh = now - self.server.read_at <= HEAD_AGE_MS
                ack = pb.HeartbeatAck(
                    seq=message.heartbeat.seq,
                    head_revision=self.server.revision,
                    fresh=fresh,
                    epoch=self.server.database.epoch,
                )
                self.down.append(pb.FleetMessage(heartbeat_ack=ack))
                self.offer()

    def offer(self) -> None:
        """Careless: to a pod that is ahead of this replica it offers what the replica sees, which is older."""
        database, revision = self.server.database, self.server.revision
        if self.offered == revision or (self.epoch == database.epoch and self.applied == revision):
            return
        self.offered = revision
        if self.epoch == database.epoch and 0 < self.applied < revision:
            self.down += fleet.delta(database, self.applied, revision)
        else:
            self.down += fleet.full(database, revision)


class Promise(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000
        self.database = Database()
        self.revoked_at: dict[int, int] = {}
        introduction = Introduction("pod_1", "ses_1", "1", "pod", "127.0.0.1:1", 0)
        self.replica = Replica()
        self.session = Session(self.replica, introduction, lambda: Status("ready"), lambda: 0.5)
        self.stream: Stream | None = None
        self.highest: dict[str, int] = {}

    @initialize()
    def begin(self) -> None:
        self.database.commit(*(fleet.key(number) for number in KEYS))
        self.servers = [FleetReplica(self.database) for _ in range(FLEET_REPLICAS)]

    # ---- the pod ----

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(message):
                    if self.stream is not None:
                        self.stream.up.append(pb.PodMessage.FromString(message.SerializeToString()))
                case Stage(message):
                    self.perform(self.session.staged(self.replica.stage(message), 0))
                case Leave():
                    self.hang_up()

    def hang_up(self) -> None:
        self.session.closed()
        self.stream = None

    def connect(self, server: int) -> None:
        self.stream = Stream(self.servers[server])
        self.perform(self.session.opened(self.now))

    # ---- what happens ----

    @rule(number=st.sampled_from(KEYS), state=st.sampled_from([KeyState.REVOKED, KeyState.DISABLED]))
    def stop(self, number: int, state: KeyState) -> None:
        if self.database.key(number).state is not KeyState.REVOKED:
            self.database.commit(replace(self.database.key(number), state=state))
            self.revoked_at.setdefault(number, self.now)

    @rule(number=st.sampled_from(KEYS))
    def enable(self, number: int) -> None:
        if self.database.key(number).state is KeyState.DISABLED:
            self.database.commit(replace(self.database.key(number), state=KeyState.ACTIVE))
            self.revoked_at.pop(number, None)

    @rule(server=st.integers(0, FLEET_REPLICAS - 1))
    def a_fleet_replica_reads(self, server: int) -> None:
        self.servers[server].read(self.now)

    @rule(server=st.integers(0, FLEET_REPLICAS - 1))
    def the_pod_connects_anew(self, server: int) -> None:
        self.hang_up()
        self.connect(server)

    @precondition(lambda self: self.stream is not None)
    @rule(data=st.data(), up=st.booleans(), fate=st.sampled_from(["deliver", "deliver", "lose", "double"]))
    def the_network_does_as_it_likes(self, data, up: bool, fate: str) -> None:
        assert self.stream is not None
        queue = self.stream.up if up else self.stream.down
        if not queue:
            return
        at = data.draw(st.integers(0, len(queue) - 1), "which")
        message = queue[at] if fate == "double" else queue.pop(at)
        if fate != "lose":
            self.deliver(message)

    def deliver(self, message: pb.PodMessage | pb.FleetMessage) -> None:
        assert self.stream is not None
        if isinstance(message, pb.PodMessage):
            self.stream.handle(message, self.now)
        else:
            self.perform(self.session.received(incoming(message), self.now))

    @rule(ms=st.sampled_from([1, 4_500, 44_000, 60_000]))
    def time_passes_unnoticed(self, ms: int) -> None:
        """Suspended, stopped, or just scheduled late: nothing runs, then everything is delivered late."""
        self.now += ms

    @rule()
    def the_pod_gets_a_turn(self) -> None:
        self.perform(self.session.tick(self.now))

    @rule(
        seconds=st.sampled_from([6, 70]),
        reading=st.sampled_from([True, True, True, False]),
        server=st.sampled_from([0, 0, 1]),
        lost=st.sampled_from(["nothing", "update", "heartbeat_ack"]),
    )
    def all_goes_well_for_a_while(self, seconds: int, reading: bool, server: int, lost: str = "nothing") -> None:
        """Or all but one kind of message."""
        for _ in range(seconds):
            self.now += 1_000
            if reading:
                self.servers[server].read(self.now)
            if self.stream is None:
                self.connect(server)
            self.perform(self.session.tick(self.now))
            self.settle(lost)

    def settle(self, lost: str) -> None:
        while self.stream is not None and (self.stream.up or self.stream.down):
            message = self.stream.up.pop(0) if self.stream.up else self.stream.down.pop(0)
            if message.WhichOneof("message") != lost:
                self.deliver(message)

    @precondition(lambda self: self.stream is not None)
    @rule(ms=st.sampled_from([5_500, 30_000]))
    def a_heartbeat_is_answered_but_the_answer_stays_on_its_way(self, ms: int) -> None:
        assert self.stream is not None
        self.settle("nothing")
        self.now += ms
        self.perform(self.session.tick(self.now))
        while self.stream is not None and self.stream.up:
            self.deliver(self.stream.up.pop(0))

    @rule()
    def the_database_is_replaced_by_an_older_copy(self) -> None:
        """Its revisions start again, its keys are active again except those that stay revoked in the copy."""
        replaced = Database(epoch=f"epoch-{self.now}-{self.database.epoch[-3:]}")
        replaced.commit(*(fleet.key(number) for number in KEYS))
        self.database = replaced
        self.revoked_at.clear()
        self.hang_up()
        self.servers = [FleetReplica(self.database) for _ in range(FLEET_REPLICAS)]

    # ---- the promises ----

    def admitted(self, number: int) -> bool:
        held = self.replica.snapshot.key_by_public_id(f"{number:010d}")
        return held is not None and held.state is KeyState.ACTIVE and self.session.fresh(0, self.now)

    @invariant()
    def a_stopped_key_is_not_admitted_after_sixty_seconds(self) -> None:
        for number, since in self.revoked_at.items():
            if self.now - since >= PROMISE_MS:
                assert not self.admitted(number)

    @invariant()
    def what_is_served_is_one_revision_of_the_database_or_stricter(self) -> None:
        if self.replica.epoch != self.database.epoch:
            return
        rows = self.database.at(self.replica.revision)
        assert self.replica.revision >= self.highest.get(self.replica.epoch, 0), "revisions went back"
        self.highest[self.replica.epoch] = self.replica.revision
        for id, held in self.replica.snapshot.keys.items():
            assert held == rows[id] or held.state is KeyState.REVOKED
        assert len(self.replica.snapshot.keys) == sum(1 for id in rows if id.startswith("vk_"))

    def teardown(self) -> None:
        """Once the world behaves, the pod is up to date, fresh and admits exactly the keys that may pass."""
        if not hasattr(self, "servers"):
            return
        for _ in range(3):
            self.the_pod_connects_anew(0)
            self.all_goes_well_for_a_while(12, reading=True, server=0)
        assert self.replica.revision == self.database.revision
        for number in KEYS:
            assert self.admitted(number) is (self.database.key(number).state is KeyState.ACTIVE)


Promise.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_no_admission_later_than_sixty_seconds_after_a_revocation = Promise.TestCase


def going(machine: Promise, seconds: int, lost: str = "nothing") -> None:
    machine.all_goes_well_for_a_while(seconds=seconds, reading=True, server=0, lost=lost)


def an_update_is_lost_while_heartbeats_are_answered(machine: Promise) -> None:
    going(machine, 10)
    machine.stop(0, KeyState.REVOKED)
    going(machine, 70, lost="update")


def an_answer_arrives_after_the_machine_has_slept(machine: Promise) -> None:
    going(machine, 10)
    machine.a_heartbeat_is_answered_but_the_answer_stays_on_its_way(5_500)
    machine.stop(0, KeyState.REVOKED)
    machine.time_passes_unnoticed(60_000)
    machine.settle("update")


def the_pod_is_cut_off_just_before_the_revocation(machine: Promise) -> None:
    going(machine, 10)
    machine.stop(0, KeyState.REVOKED)
    for _ in range(4):
        machine.time_passes_unnoticed(15_000)
        machine.a_stopped_key_is_not_admitted_after_sixty_seconds()


def the_database_is_replaced_and_its_updates_are_lost(machine: Promise) -> None:
    going(machine, 10)
    machine.stop(1, KeyState.DISABLED)
    machine.enable(1)
    going(machine, 10)
    machine.the_database_is_replaced_by_an_older_copy()
    machine.stop(0, KeyState.REVOKED)
    going(machine, 70, lost="update")


def a_fleet_replica_that_never_looks_answers_all_heartbeats(machine: Promise) -> None:
    going(machine, 10)
    machine.stop(0, KeyState.REVOKED)
    machine.the_pod_connects_anew(0)
    machine.all_goes_well_for_a_while(seconds=70, reading=False, server=0)


STORIES = [
    an_update_is_lost_while_heartbeats_are_answered,
    an_answer_arrives_after_the_machine_has_slept,
    the_pod_is_cut_off_just_before_the_revocation,
    the_database_is_replaced_and_its_updates_are_lost,
    a_fleet_replica_that_never_looks_answers_all_heartbeats,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_stories_in_which_the_promise_would_break_if_it_could(story):
    machine = Promise()
    machine.begin()
    going(machine, 10)
    assert machine.admitted(0)
    story(machine)
    assert machine.revoked_at
    machine.a_stopped_key_is_not_admitted_after_sixty_seconds()
    machine.what_is_served_is_one_revision_of_the_database_or_stricter()
    machine.teardown()
