"""What a pod holds after updates: deltas equal a full one, halves are never served, a tombstone cannot be undone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.snapshot import KeyState, ModelAlias, VirtualKey
from dataplane.link.replica import Ignored, Rejected, Replica, Staged, Stopped
from dataplane.link.wire import Incoming, fingerprint
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
    # A kind 14 (field 15 of Resource) that this version does not know, with its id in field 1.
    unknown = b"\x08\x03" + bytes([15 << 3 | 2, 5]) + b"\x0a\x03b_1"
    update = pb.Update(epoch="epoch-1", from_revision=2, revision=3, last=True)
    update.digest = (replica.digest ^ fingerprint(unknown)).to_bytes(16, "big")
    body = update.SerializeToString() + bytes([8 << 3 | 2, len(unknown)]) + unknown
    result = replica.stage(Incoming.parse(bytes([2 << 3 | 2, len(body)]) + body))
    assert isinstance(result, Staged)
    replica.commit(result)
    gone = pb.Update(epoch="epoch-1", from_revision=3, revision=4, last=True)
    gone.digest = fleet.digest(database.rows.values())
    gone.removed.add(kind=14, id="b_1")
    assert isinstance(take(replica, [pb.FleetMessage(update=gone)])[0], Staged)


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
