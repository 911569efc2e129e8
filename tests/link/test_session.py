"""Watch, message by message: who speaks first, when a heartbeat is due, what is fresh, when to leave."""

from dataclasses import replace

import pytest

from dataplane.core.snapshot import KeyState
from dataplane.link.clock import FleetClock
from dataplane.link.replica import Replica
from dataplane.link.session import Introduction, Leave, LeaveReason, Send, Session, Stage, Status, Stop
from protos import fleet_pb2 as pb
from tests.link import fleet_model as fleet
from tests.link.fleet_model import Database, incoming


class Pod:
    """A session with a clock that stands still unless told, and everything that it said."""

    def __init__(self):
        self.replica = Replica()
        introduction = Introduction("pod_1", "ses_1", "0.1", "pod one", "127.0.0.1:5563", 1)
        self.session = Session(self.replica, introduction, lambda: Status("ready", spool_records=7), lambda: 0.5)
        self.now = 1_000_000
        self.said: list[pb.PodMessage] = []
        self.left: list[Leave] = []
        self.stopped: set[str] = set()

    def perform(self, actions):
        for action in actions:
            match action:
                case Send(message):
                    self.said.append(message)
                case Stage(message):
                    self.perform(self.session.staged(self.replica.stage(message), 3))
                case Leave():
                    self.left.append(action)
                case Stop(stopped):
                    self.stopped |= stopped.key_ids

    def open(self):
        self.perform(self.session.opened(self.now))
        return self

    def hear(self, *messages):
        for message in messages:
            self.perform(self.session.received(incoming(message), self.now))
        return self

    def wait(self, ms):
        self.now += ms
        self.perform(self.session.tick(self.now))

    def heard_kinds(self):
        return [message.WhichOneof("message") for message in self.said]

    @property
    def seq(self):
        return max(message.heartbeat.seq for message in self.said if message.HasField("heartbeat"))

    def fresh(self, bound_ms=0):
        return self.session.fresh(bound_ms, self.now)


@pytest.fixture
def database():
    database = Database()
    database.commit(fleet.key(1), fleet.key(2))
    return database


@pytest.fixture
def pod(database):
    """Connected, with the whole configuration, and just told that it is the newest."""
    pod = Pod().open().hear(fleet.welcome("epoch-1"), *fleet.full(database))
    pod.hear(answer(pod.seq, head=2))
    assert pod.fresh()
    return pod


def answer(seq, head, fresh=True, epoch="epoch-1"):
    return pb.FleetMessage(heartbeat_ack=pb.HeartbeatAck(seq=seq, head_revision=head, fresh=fresh, epoch=epoch))


def test_hello_goes_first_and_says_what_the_pod_holds(database):
    pod = Pod().open()
    hello = pod.said[0].hello
    assert (hello.pod_id, hello.session_id, hello.name, hello.address) == (
        "pod_1",
        "ses_1",
        "pod one",
        "127.0.0.1:5563",
    )
    assert (hello.epoch, hello.revision, hello.digest, hello.watch) == ("", 0, bytes(16), 1)
    pod.hear(fleet.welcome("epoch-1"), *fleet.full(database))
    pod.session.closed()
    hello = pod.open().said[-1].hello
    assert (hello.epoch, hello.revision, hello.digest) == ("epoch-1", 2, fleet.digest(database.rows.values()))
    assert hello.watch == 2


def test_an_update_is_acknowledged_and_welcome_is_followed_by_a_heartbeat_at_once(database):
    pod = Pod().open().hear(fleet.welcome("epoch-1"), *fleet.full(database))
    assert pod.heard_kinds() == ["hello", "heartbeat", "ack"]
    assert (pod.said[-1].ack.revision, pod.said[-1].ack.apply_ms) == (2, 3)
    status = pb.PodStatus(state="ready", spool_records=7, not_understood=pb.NotUnderstood())
    assert pod.said[1].heartbeat.status == status
    assert list(pod.session.peppers) == [1]


def test_a_rejected_update_is_refused_with_the_problem_and_what_was_served_is_served_still(pod, database):
    database.commit(replace(fleet.key(3), project_id="proj_gone"))
    pod.hear(*fleet.delta(database, 2))
    assert pod.said[-1].nack == pb.Nack(revision=3, problem="vk_3 refers to proj_gone, which is not there")
    assert pod.replica.revision == 2
    assert pod.fresh()


def test_without_an_answer_a_configuration_is_not_fresh(database):
    pod = Pod().open().hear(fleet.welcome("epoch-1"), *fleet.full(database))
    assert not pod.fresh()


def test_fresh_means_known_to_be_the_newest_less_than_45_seconds_ago(pod):
    pod.now += 44_999
    assert pod.fresh()
    pod.now += 1
    assert not pod.fresh()


def test_an_organization_may_choose_a_longer_bound_but_not_more_than_an_hour(pod):
    pod.now += 600_000
    assert not pod.fresh(600_000)
    assert pod.fresh(600_001)
    pod.now += 3_000_000
    assert not pod.fresh(10**9)


def test_an_answer_counts_from_the_time_when_the_question_was_sent(pod):
    pod.wait(5_000)
    sent = pod.now
    pod.now += 44_000  # the answer took its time: the machine was suspended
    pod.hear(answer(pod.seq, head=2))
    assert pod.session.fresh_as_of == sent
    pod.now += 1_000
    assert not pod.fresh()


def test_an_answer_counts_only_once_what_it_names_is_applied(pod, database):
    before = pod.session.fresh_as_of
    database.commit(replace(database.key(1), state=KeyState.REVOKED))
    pod.wait(5_000)
    pod.hear(answer(pod.seq, head=3))
    assert pod.session.fresh_as_of == before
    pod.hear(*fleet.delta(database, 2))
    assert pod.session.fresh_as_of == before + 5_000


@pytest.mark.parametrize("wrong", [{"fresh": False}, {"epoch": "epoch-2"}])
def test_an_answer_of_a_replica_that_did_not_look_or_of_another_database_counts_for_nothing(pod, wrong):
    before = pod.session.fresh_as_of
    pod.wait(5_000)
    pod.hear(answer(pod.seq, head=2, **wrong))
    assert pod.session.fresh_as_of == before


def test_answers_to_questions_of_another_stream_and_second_answers_count_for_nothing(pod):
    pod.wait(5_000)
    old = pod.seq
    pod.session.closed()
    before = pod.session.fresh_as_of
    pod.open().hear(fleet.welcome("epoch-1"), answer(old, head=2), answer(999, head=2))
    assert pod.session.fresh_as_of == before


def test_another_database_makes_everything_unproven_until_it_says_what_is_newest(pod):
    other = Database(epoch="epoch-2")
    pod.session.closed()
    pod.open().hear(fleet.welcome("epoch-2"), *fleet.full(other))
    assert pod.replica.epoch == "epoch-2"
    assert not pod.fresh()
    pod.hear(answer(pod.seq, head=1, epoch="epoch-2"))
    assert pod.fresh()


def test_heartbeats_go_out_every_five_seconds_give_or_take_a_tenth(pod):
    for jitter in (0.0, 1.0):
        pod.session.jitter = lambda jitter=jitter: jitter
        pod.wait(5_500)
        sent = pod.now
        pod.hear(answer(pod.seq, head=2))
        assert pod.session.wake_at(pod.now) == sent + 4_500 + 1_000 * jitter


@pytest.mark.parametrize("revocation", ["first", "with a broken rest"])
def test_a_revocation_is_acted_upon_before_the_rest_of_its_update_is_looked_at(pod, database, revocation):
    database.commit(replace(database.key(1), state=KeyState.REVOKED))
    [message] = fleet.delta(database, 2)
    if revocation != "first":
        message.update.digest = b"broken"
    actions = pod.session.received(incoming(message), pod.now)
    assert isinstance(actions[0], Stop)
    assert actions[0].stopped.key_ids == {"vk_1"}
    assert actions[0].stopped.cut
    assert pod.replica.snapshot.keys["vk_1"].state is KeyState.REVOKED


def test_a_server_that_does_not_answer_in_four_seconds_is_left(pod):
    silent = Pod().open()
    silent.wait(3_999)
    assert not silent.left
    silent.wait(1)
    assert silent.left == [Leave(LeaveReason.SILENT, "no Welcome")]
    pod.wait(5_000)
    pod.wait(3_999)
    assert not pod.left
    pod.wait(1)
    assert pod.left[0].reason is LeaveReason.SILENT


def test_one_answer_answers_all_earlier_heartbeats(pod):
    pod.wait(5_000)
    pod.session._next_heartbeat = pod.now + 1
    pod.wait(1)
    pod.hear(answer(pod.seq, head=2))
    pod.wait(4_100)
    assert not pod.left


@pytest.mark.parametrize(
    "messages",
    [
        [answer(1, 1)],
        [pb.FleetMessage(update=pb.Update(revision=1, full=True, last=True))],
        [fleet.welcome("epoch-1"), fleet.welcome("epoch-1")],
        [fleet.welcome("")],
        [pb.FleetMessage(welcome=pb.Welcome(epoch="e", peppers=[pb.Pepper(version=1, value=b"short")]))],
    ],
)
def test_a_server_that_breaks_the_protocol_is_left(messages):
    pod = Pod().open().hear(*messages)
    assert [leave.reason for leave in pod.left] == [LeaveReason.PROTOCOL]


def test_goodbye_is_a_reason_to_go_and_unknown_messages_are_not(pod):
    pod.hear(pb.FleetMessage())
    assert not pod.left
    pod.hear(pb.FleetMessage(goodbye=pb.Goodbye(reason="rolling")))
    assert pod.left == [Leave(LeaveReason.GOODBYE, "rolling")]


def test_what_is_not_understood_is_told_with_the_acknowledgement_and_with_every_heartbeat(pod, database):
    database.commit(fleet.FromTheFuture("pol_1", cover=fleet.cover(("virtual_key", "vk_1"))))
    pod.hear(*fleet.delta(database, 2))
    item = pb.NotUnderstood.Item(kind=15, id="pol_1", problem="this kind of resource is unknown")  # type: ignore[arg-type]
    assert pod.said[-1].ack.not_understood == pb.NotUnderstood(items=[item], count=1)
    pod.wait(6_000)
    assert pod.said[-1].heartbeat.status.not_understood == pb.NotUnderstood(items=[item], count=1, keys=1)
    database.commit(removed=["pol_1"])
    pod.hear(*fleet.delta(database, 3))
    assert pod.said[-1].ack.not_understood == pb.NotUnderstood()


def test_however_much_is_not_understood_the_message_stays_small(pod, database):
    database.commit(*(fleet.FromTheFuture(f"pol_{number:03}") for number in range(100)))
    pod.hear(*fleet.delta(database, 2))
    told = pod.said[-1].ack.not_understood
    assert [item.id for item in told.items] == [f"pol_{number:03}" for number in range(20)]
    assert told.count == 100


def test_the_pods_clock_follows_what_welcome_and_heartbeats_say_and_heartbeats_say_how_far_its_own_is_off(database):
    pod = Pod()
    wall = 1_800_000_000_000
    pod.session.clock = FleetClock(lambda: wall + 6_000, lambda: pod.now)
    pod.open()
    welcome = fleet.welcome(database.epoch)
    welcome.welcome.server_time_ms = wall
    pod.hear(welcome)
    assert pod.session.clock.at_ms() == wall
    assert pod.said[-1].heartbeat.status.clock_ahead_ms == 6_000
    for _ in range(2):
        pod.wait(5_000)
        ack = pb.HeartbeatAck(seq=pod.seq, epoch=database.epoch, server_time_ms=wall + pod.now)
        pod.hear(pb.FleetMessage(heartbeat_ack=ack))
    assert pod.session.clock.at_ms() == wall + pod.now


def test_heartbeats_say_what_the_pod_cannot_serve(database):
    pod = Pod()
    pod.session.status = lambda: Status("ready", problem="no request under a budget per minute is served")
    pod.open().hear(fleet.welcome(database.epoch))
    assert pod.said[-1].heartbeat.status.problem == "no request under a budget per minute is served"
