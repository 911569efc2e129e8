"""What a pod holds after updates: deltas equal a full one, halves are never served, a tombstone cannot be undone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.snapshot import KeyState, ModelAlias, VirtualKey
from dataplane.link.replica import Ignored, Rejected, Replica, Staged, Stopped
from protos import fleet_pb2 as pb
from tests.link import fleet_model as fleet
from tests.link.fleet_model import Database, incoming


def take(replica: Replica, messages: list[pb.FleetMessage]):
    """As a pod does it: revocations at once, then the parts. Gives the last result and everybody who was stopped."""
    stopped: list[Stopped] = []
    result: Staged | Rejected | Ignored = Ignored()
    for message in messages:
        stopped += replica.revoke(message.update)
        result = replica.stage(incoming(message))
        if isinstance(result, Staged):
            stopped += replica.commit(result)
    return result, stopped


def ids(stopped: list[Stopped], cut: bool) -> set[str]:
    return {id for some in stopped if some.cut is cut for id in some.key_ids}


@pytest.fixture
def database():
    database = Database()
    database.commit(*(fleet.key(number) for number in range(8)))
    return database


@pytest.fixture
def replica(database):
    replica = Replica()
    assert isinstance(take(replica, fleet.full(database))[0], Staged)
    return replica


CHANGES = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([*KeyState, "remove"]), st.booleans()), min_size=1, max_size=12
)


@given(CHANGES, st.data())
def test_deltas_over_any_revisions_equal_a_full_update(changes, data):
    database, replica = Database(), Replica()
    take(replica, fleet.full(database))
    for number, state, cut in changes:
        if state == "remove":
            database.commit(removed=[f"vk_{number}"] if f"vk_{number}" in database.rows else [])
        else:
            database.commit(fleet.key(number, KeyState(state), cut=cut))
        if data.draw(st.booleans(), "a delta now"):
            assert isinstance(
                take(replica, fleet.delta(database, replica.revision, part=data.draw(st.integers(1, 9))))[0], Staged
            )
    if replica.revision < database.revision:
        take(replica, fleet.delta(database, replica.revision))
    fresh = Replica()
    take(fresh, fleet.full(database))
    assert (replica.revision, replica.epoch, replica.digest) == (database.revision, "epoch-1", fresh.digest)
    assert (
        dict(replica.snapshot.keys)
        == dict(fresh.snapshot.keys)
        == {id: row for id, row in database.rows.items() if isinstance(row, VirtualKey)}
    )
    assert replica._held == fresh._held == fleet.held(database.rows.values())


def test_nothing_of_an_update_is_served_before_its_last_part_except_its_revocations(database, replica):
    database.commit(replace(database.key(0), state=KeyState.REVOKED))
    database.commit(*(fleet.key(number) for number in range(20, 30)))
    *parts, last = fleet.delta(database, replica.revision)
    assert len(parts) > 1
    result, stopped = take(replica, parts)
    assert isinstance(result, Ignored)
    assert ids(stopped, cut=True) == {"vk_0"}
    assert replica.snapshot.keys["vk_0"].state is KeyState.REVOKED
    assert "vk_20" not in replica.snapshot.keys
    assert replica.revision == 2
    take(replica, [last])
    assert "vk_29" in replica.snapshot.keys
    assert replica.revision == 4


def test_a_revocation_stands_when_the_rest_of_its_update_is_rejected(database, replica):
    database.commit(replace(database.key(0), state=KeyState.REVOKED))
    messages = fleet.delta(database, replica.revision, part=100)
    messages[-1].update.digest = b"x" * 16
    result, stopped = take(replica, messages)
    assert result == Rejected(3, "the digest differs", resync=True)
    assert ids(stopped, cut=True) == {"vk_0"}
    assert replica.revision == 2
    assert replica.snapshot.keys["vk_0"].state is KeyState.REVOKED


def test_a_lower_revision_cannot_undo_a_tombstone(database, replica):
    before = database.commit(fleet.key(99))
    database.commit(replace(database.key(0), state=KeyState.REVOKED))
    revoking = fleet.delta(database, replica.revision, part=100)
    revoking[-1].update.digest = b"x" * 16
    take(replica, revoking)
    # Another fleet replica has not seen the revocation yet: both kinds of update bring the key as active.
    for late in (fleet.delta(database, replica.revision, before), fleet.full(database, before)):
        result, _ = take(replica, late)
        assert isinstance(result, Staged)
        assert replica.snapshot.keys["vk_0"].state is KeyState.REVOKED
    take(replica, fleet.delta(database, replica.revision))
    assert replica.snapshot.keys["vk_0"] == database.rows["vk_0"]


def test_a_key_that_is_enabled_again_works_again(database, replica):
    database.commit(replace(database.key(0), state=KeyState.DISABLED))
    take(replica, fleet.delta(database, replica.revision))
    assert replica.snapshot.keys["vk_0"].state == "disabled"
    database.commit(replace(database.key(0), state=KeyState.ACTIVE))
    take(replica, fleet.delta(database, replica.revision))
    assert replica.snapshot.keys["vk_0"].state == "active"


def test_revoking_cuts_disabling_drains_and_revoking_a_disabled_key_cuts_after_all(database, replica):
    database.commit(replace(database.key(0), state=KeyState.DISABLED, cut=False))
    _, stopped = take(replica, fleet.delta(database, replica.revision))
    assert (ids(stopped, cut=False), ids(stopped, cut=True)) == ({"vk_0"}, set())
    database.commit(replace(database.key(0), state=KeyState.REVOKED, cut=True))
    _, stopped = take(replica, fleet.delta(database, replica.revision))
    assert ids(stopped, cut=True) == {"vk_0"}


def test_a_key_that_went_away_is_cut_whether_a_delta_or_a_full_update_says_so(database, replica):
    database.commit(removed=["vk_0"])
    _, stopped = take(replica, fleet.delta(database, replica.revision))
    assert ids(stopped, cut=True) == {"vk_0"}
    database.commit(removed=["vk_1"])
    _, stopped = take(replica, fleet.full(database))
    assert ids(stopped, cut=True) == {"vk_1"}


def test_a_full_update_after_a_partition_stops_what_was_revoked_meanwhile(database, replica):
    database.commit(replace(database.key(3), state=KeyState.REVOKED))
    _, stopped = take(replica, fleet.full(database))
    assert ids(stopped, cut=True) == {"vk_3"}


def test_a_gap_asks_for_everything_once(database, replica):
    first = database.commit(fleet.key(50))
    for number in range(51, 60):
        database.commit(fleet.key(number))
    gap = fleet.delta(database, first)
    assert len(gap) > 2
    results = [take(replica, [message])[0] for message in gap]
    assert isinstance(results[0], Rejected)
    assert results[0].resync
    assert all(isinstance(result, Ignored) for result in results[1:])
    assert isinstance(take(replica, fleet.full(database))[0], Staged)


def test_a_lost_part_asks_for_everything_once(database, replica):
    database.commit(*(fleet.key(number) for number in range(50, 65)))
    first, _, *rest = fleet.delta(database, replica.revision)
    results = [take(replica, [message])[0] for message in (first, *rest)]
    assert [isinstance(result, Rejected) for result in results] == [False, True] + [False] * (len(rest) - 1)
    assert replica.revision == 2


def test_a_duplicate_changes_nothing(database, replica):
    database.commit(fleet.key(50))
    messages = fleet.delta(database, replica.revision)
    take(replica, messages)
    served = replica.snapshot
    assert isinstance(take(replica, messages)[0], Ignored)
    assert replica.snapshot is served


def test_revisions_never_go_back_within_an_epoch(database, replica):
    result, _ = take(replica, fleet.full(database, revision=1))
    assert result == Rejected(1, "older than revision 2, which is served", resync=False)
    assert replica.revision == 2


def test_another_epoch_replaces_everything_whatever_its_revision(database, replica):
    other = Database(epoch="epoch-2")
    result, stopped = take(replica, fleet.full(other))
    assert isinstance(result, Staged)
    assert (replica.epoch, replica.revision, len(replica.snapshot.keys)) == ("epoch-2", 1, 0)
    assert ids(stopped, cut=True) == {f"vk_{number}" for number in range(8)}
    other.commit(fleet.key(1))
    foreign = fleet.delta(other, 1)
    foreign[0].update.epoch = "epoch-3"
    result, _ = take(replica, foreign)
    assert isinstance(result, Rejected)
    assert result.resync


def test_rows_that_lead_nowhere_are_refused_with_their_names_and_the_last_good_is_served(database, replica):
    database.commit(ModelAlias("alias_1", "org_1", "", "", "fast", "prov_gone", "claude", 0))
    result, _ = take(replica, fleet.delta(database, replica.revision))
    assert result == Rejected(3, "alias_1 refers to prov_gone, which is not there", resync=False)
    assert replica.revision == 2


def test_a_resource_of_a_newer_control_plane_is_held_counted_and_removed_without_being_understood(database, replica):
    for kind in (15, 14, 18, 300):  # of Resource the fields 16, 15, 19, 301
        database.commit(fleet.FromTheFuture("pol_1", kind, cover=fleet.cover(("virtual_key", "vk_1"))))
        assert isinstance(take(replica, fleet.delta(database, replica.revision))[0], Staged)
        assert replica.digest.to_bytes(16, "big") == fleet.digest(database.rows.values())
        [doubt] = replica.snapshot.not_understood.values()
        assert (doubt.kind, doubt.resource_id, doubt.revision) == (kind, "pol_1", database.revision)
        assert refused_keys(replica) == {"vk_1"}
        database.commit(removed=["pol_1"])
        assert isinstance(take(replica, fleet.delta(database, replica.revision))[0], Staged)
        assert replica.digest.to_bytes(16, "big") == fleet.digest(database.rows.values())
        assert (len(replica.snapshot.not_understood), refused_keys(replica)) == (0, set())


def refused_keys(replica: Replica) -> set[str]:
    snapshot = replica.snapshot
    found = {key.id for key in snapshot.keys.values() if snapshot.not_understood_over(key) is not None}
    assert snapshot.refused_keys() == len(found)
    return found


def test_a_key_that_this_version_misreads_is_stopped_without_being_cut_and_works_once_it_can_be_read(database, replica):
    database.commit(fleet.FromTheFuture("vk_1", known=database.key(1), words=(("state", 17),)))
    _, stopped = take(replica, fleet.delta(database, replica.revision))
    assert (ids(stopped, cut=False), ids(stopped, cut=True)) == ({"vk_1"}, set())
    assert refused_keys(replica) == {"vk_1"}
    database.commit(fleet.FromTheFuture("vk_1", known=fleet.key(1), needs=("key.networks",)))
    _, stopped = take(replica, fleet.delta(database, replica.revision))
    assert (stopped, refused_keys(replica)) == ([], {"vk_1"})
    database.commit(fleet.key(1))
    take(replica, fleet.delta(database, replica.revision))
    assert refused_keys(replica) == set()


FUTURE = st.one_of(
    st.builds(
        fleet.FromTheFuture,
        id=st.sampled_from(["pol_1", "pol_2"]),
        organization_id=st.sampled_from(["org_1", "", "org_gone"]),
        cover=st.one_of(
            st.none(),
            st.lists(
                st.tuples(
                    st.sampled_from(["virtual_key", "project", "galaxy"]), st.sampled_from(["vk_1", "vk_2", "proj_1"])
                ),
                max_size=2,
            ).map(lambda scopes: fleet.cover(*scopes)),
        ),
    ),
    st.builds(
        lambda number, words, needs: fleet.FromTheFuture(
            f"vk_{number}", 4, needs=needs, known=fleet.key(number), words=words
        ),
        st.integers(0, 3),
        st.sampled_from([(), (("state", 9),)]),
        st.sampled_from([(), ("key.networks",)]),
    ),
    st.builds(lambda number: fleet.key(number), st.integers(0, 3)),
)
GONE = st.lists(st.sampled_from(["pol_1", "pol_2", "vk_0", "vk_1", "vk_2", "vk_3"]), max_size=2)
STEPS = st.lists(st.tuples(st.lists(FUTURE, max_size=3), GONE), max_size=8)


@given(STEPS)
def test_what_is_not_understood_is_the_same_after_deltas_and_after_a_full_update(steps):
    database, replica = Database(), Replica()
    take(replica, fleet.full(database))
    for rows, removals in steps:
        last = {row.id: row for row in rows}
        gone = set(removals) & database.rows.keys() - last.keys()
        database.commit(*last.values(), removed=gone)
        assert isinstance(take(replica, fleet.delta(database, replica.revision))[0], Staged)
        fresh = Replica()
        assert isinstance(take(fresh, fleet.full(database))[0], Staged)
        assert (replica.digest, replica._held) == (fresh.digest, fresh._held)
        assert dict(replica.snapshot.not_understood) == dict(fresh.snapshot.not_understood)
        assert refused_keys(replica) == refused_keys(fresh)
        for key in replica.snapshot.keys.values():
            assert replica.snapshot.not_understood_over(key) == fresh.snapshot.not_understood_over(key)


def test_a_revocation_that_arrives_while_a_large_update_is_worked_on_is_not_lost(database, replica):
    database.commit(fleet.key(50))
    [message] = fleet.delta(database, replica.revision)
    staged = replica.stage(incoming(message))
    assert isinstance(staged, Staged)
    database.commit(replace(database.key(0), state=KeyState.REVOKED))
    replica.revoke(fleet.delta(database, database.revision - 1)[0].update)
    replica.commit(staged)
    assert replica.snapshot.keys["vk_0"].state is KeyState.REVOKED
    assert "vk_50" in replica.snapshot.keys


def test_what_was_cut_by_hand_is_named_once_whatever_else_came_with_it(database, replica):
    key = replace(database.key(1), cuts=2)
    database.commit(key)
    [message] = fleet.delta(database, replica.revision)
    staged = replica.stage(incoming(message))
    assert isinstance(staged, Staged)
    assert staged.cut == {(VirtualKey, "vk_1")}
    replica.commit(staged)
    database.commit(replace(key, tags=("other",)))
    [message] = fleet.delta(database, replica.revision)
    staged = replica.stage(incoming(message))
    assert isinstance(staged, Staged)
    assert staged.cut == frozenset()


def test_a_pod_that_was_away_hears_of_cuts_in_a_full_update_too(database, replica):
    database.commit(replace(database.key(1), cuts=1))
    database.commit(fleet.key(9))
    database.commit(replace(fleet.key(9), cuts=1))
    result = Ignored()
    for message in fleet.full(database):
        result = replica.stage(incoming(message))
    assert isinstance(result, Staged)
    assert result.cut == {(VirtualKey, "vk_1")}  # nothing can run under a key that the pod did not hold
