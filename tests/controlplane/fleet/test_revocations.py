"""When the last pod has a revocation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.register.revocations import MOST_AT_ONCE, RevocationTimer


def test_the_last_pod_that_was_there_decides_whether_it_answers_or_leaves() -> None:
    seconds: list[float] = []
    one = RevocationTimer(seconds.append)
    one.revoked(7, 100.0, ["a", "b", "c"])
    one.applied("a", 6, 100.1)  # not yet this one
    one.applied("b", 9, 100.2)  # a later one holds it too
    one.applied("late", 9, 100.3)
    one.left("c", 100.5)
    assert seconds == []
    one.applied("a", 7, 101.0)
    assert seconds == [1.0]
    one.applied("a", 8, 102.0)
    assert seconds == [1.0]


def test_without_pods_there_is_nothing_to_wait_for() -> None:
    one = RevocationTimer(lambda _: None)
    one.revoked(1, 0.0, [])
    assert not one._waiting


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.integers(1, 5))
def test_every_revocation_is_measured_once_when_all_have_answered(streams: list[str], revisions: int) -> None:
    seconds: list[float] = []
    one = RevocationTimer(seconds.append)
    for revision in range(revisions):
        one.revoked(revision, 0.0, streams)
    for stream in streams:
        one.applied(stream, revisions, 1.0)
    assert seconds == [1.0] * revisions


def test_what_is_waited_for_is_bounded() -> None:
    one = RevocationTimer(lambda _: None)
    for revision in range(1000):
        one.revoked(revision, 0.0, ["mute"])
    assert len(one._waiting) == MOST_AT_ONCE
