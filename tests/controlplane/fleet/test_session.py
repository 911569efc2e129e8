"""One Watch as a state machine, without a wire."""

from __future__ import annotations

import pytest

from controlplane.fleet.calls.session import ACK_S, LONGEST_RESYNC_PAUSE_S, Malformed, WatchSession
from controlplane.fleet.state.catalogue import Ref
from protos import fleet_pb2 as wire
from tests.controlplane.fleet.test_catalogue import KEY, change, key, started, updates

NOW_MS = 1_767_225_600_000


def session(catalogue: object, **hello: object) -> WatchSession:
    return WatchSession(wire.Hello(pod_id="p", session_id="s", **hello), catalogue)  # type: ignore[arg-type]


def test_nothing_more_is_sent_until_the_pod_has_answered() -> None:
    catalogue = started()
    one = session(catalogue)
    [update] = updates(one.update(catalogue, 0))
    assert update.full
    for number in range(3):
        change(catalogue, (Ref(KEY, str(number)), key(str(number), number + 1)))
        assert not list(one.update(catalogue, 0))
    assert one.ack(wire.Ack(revision=0))
    [update] = updates(one.update(catalogue, 0))
    assert (update.full, update.from_revision, update.revision, len(update.upserts)) == (False, 0, 3, 3)


def test_a_pod_that_answers_nothing_is_overdue_after_a_while() -> None:
    catalogue = started()
    one = session(catalogue)
    assert not one.is_overdue(10**9)
    list(one.update(catalogue, 5.0))
    assert not one.is_overdue(5.0 + ACK_S - 1)
    assert one.is_overdue(5.0 + ACK_S)


def test_a_refusal_without_resync_waits_for_a_newer_revision() -> None:
    catalogue = started()
    one = session(catalogue, epoch="e", revision=0, digest=catalogue.digest)
    assert not list(one.update(catalogue, 0))
    change(catalogue, (Ref(KEY, "a"), key("a", 1)))
    list(one.update(catalogue, 0))
    one.nack(wire.Nack(revision=1, problem="no"), 0)
    assert not list(one.update(catalogue, 100))
    change(catalogue, (Ref(KEY, "a"), key("a", 2)))
    [update] = updates(one.update(catalogue, 100))
    assert (update.from_revision, update.revision) == (0, 2)


def test_resyncs_that_lead_nowhere_slow_down() -> None:
    catalogue = started()
    one = session(catalogue)
    now, pauses = 0.0, []
    for _ in range(8):
        assert updates(one.update(catalogue, now))[0].full
        one.nack(wire.Nack(revision=0, resync=True), now)
        due = next(now + pause for pause in range(100) if one.is_due(catalogue, now + pause))
        pauses.append(due - now)
        assert due == now or not list(one.update(catalogue, due - 0.01))
        now = due
    assert pauses == [0, 1, 3, 7, 15, LONGEST_RESYNC_PAUSE_S, LONGEST_RESYNC_PAUSE_S, LONGEST_RESYNC_PAUSE_S]
    list(one.update(catalogue, now))
    one.ack(wire.Ack(revision=0))
    assert not one.is_due(catalogue, now)


def test_answers_to_what_was_not_sent_break_the_protocol() -> None:
    catalogue = started(revision=5)
    one = session(catalogue, epoch="e", revision=5, digest=catalogue.digest)
    assert not one.ack(wire.Ack(revision=5))
    with pytest.raises(Malformed):
        one.ack(wire.Ack(revision=6))
    with pytest.raises(Malformed):
        one.nack(wire.Nack(revision=5), 0)


def test_a_pod_ahead_is_sent_nothing_and_told_nothing_fresh() -> None:
    catalogue = started(revision=5)
    one = session(catalogue, epoch="e", revision=6)
    assert one.is_ahead_of(catalogue)
    assert not list(one.update(catalogue, 0))
    one.heartbeat(wire.Heartbeat(seq=1, revision=6))
    answer = one.heartbeat_ack(catalogue, fresh=True, now_ms=NOW_MS)
    assert answer is not None
    assert not answer.heartbeat_ack.fresh


def test_only_the_newest_heartbeat_is_answered_and_only_once() -> None:
    catalogue = started(revision=5)
    one = session(catalogue, epoch="e", revision=5, digest=catalogue.digest)
    one.heartbeat(wire.Heartbeat(seq=1))
    one.heartbeat(wire.Heartbeat(seq=2))
    answer = one.heartbeat_ack(catalogue, fresh=True, now_ms=NOW_MS)
    assert answer is not None
    assert answer.heartbeat_ack.server_time_ms == NOW_MS
    assert (answer.heartbeat_ack.seq, answer.heartbeat_ack.head_revision, answer.heartbeat_ack.fresh) == (2, 5, True)
    assert one.heartbeat_ack(catalogue, fresh=True, now_ms=NOW_MS) is None
    one.heartbeat(wire.Heartbeat(seq=3))
    stale = one.heartbeat_ack(catalogue, fresh=False, now_ms=NOW_MS)
    assert stale is not None
    assert not stale.heartbeat_ack.fresh
