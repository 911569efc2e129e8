"""The catalogue as a pure thing: deltas lead to the same as everything at once, whatever happened in between."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.state import catalogue as module
from controlplane.fleet.state.catalogue import Catalogue, Loaded, Ref
from dataplane.wire.digest import fingerprint
from protos import fleet_pb2 as wire

KEY, ORGANIZATION = wire.RESOURCE_KIND_VIRTUAL_KEY, wire.RESOURCE_KIND_ORGANIZATION


def key(id: str, revision: int, state: int = wire.KEY_STATE_ACTIVE, *, cut: bool = False, filler: int = 0) -> bytes:
    made = wire.VirtualKey(id=id, public_id=f"pub{id}", state=state, cut=cut, tags=["x" * filler])  # type: ignore[arg-type]
    return wire.Resource(revision=revision, virtual_key=made).SerializeToString(deterministic=True)


def organization(id: str, revision: int) -> bytes:
    made = wire.Organization(id=id, active=True)
    return wire.Resource(revision=revision, organization=made).SerializeToString(deterministic=True)


def started(resources: dict[Ref, bytes] | None = None, revision: int = 0, epoch: str = "e") -> Catalogue:
    catalogue = Catalogue()
    catalogue.apply(Loaded(epoch, revision, 1, True, resources=resources or {}))
    return catalogue


def change(catalogue: Catalogue, *changes: tuple[Ref, bytes | None]) -> None:
    """One revision."""
    revision = catalogue.revision + 1
    held = {ref: resource for ref, resource in changes if resource is not None}
    touched = ((revision, tuple(ref for ref, _ in changes)),)
    catalogue.apply(Loaded(catalogue.epoch, revision, revision, False, touched, held))


def updates(messages: Iterable[bytes]) -> list[wire.Update]:
    return [wire.FleetMessage.FromString(message).update for message in messages]


def applied(held: dict[Ref, bytes], messages: Iterable[bytes]) -> dict[Ref, bytes]:
    parts = updates(messages)
    held = {} if parts[0].full else dict(held)
    for part in parts:
        for gone in part.removed:
            held.pop(Ref(gone.kind, gone.id), None)
        for resource in part.upserts:
            name = str(resource.WhichOneof("resource"))
            kind = wire.ResourceKind.Value(f"RESOURCE_KIND_{name.upper()}")
            held[Ref(kind, getattr(resource, name).id)] = resource.SerializeToString(deterministic=True)
    digest = 0
    for content in held.values():
        digest ^= fingerprint(content)
    assert parts[-1].last
    assert parts[-1].digest == digest.to_bytes(16, "big")
    assert [part.part for part in parts] == list(range(len(parts)))
    return held


STEPS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["active", "disabled", "revoked", "deleted"])), min_size=1),
    min_size=1,
    max_size=12,
)
STATES = {
    "active": wire.KEY_STATE_ACTIVE,
    "disabled": wire.KEY_STATE_DISABLED,
    "revoked": wire.KEY_STATE_REVOKED,
}


@given(STEPS, st.lists(st.booleans(), min_size=12, max_size=12))
def test_any_deltas_lead_to_what_everything_at_once_leads_to(
    steps: list[list[tuple[int, str]]], looks: list[bool]
) -> None:
    catalogue = started()
    held, at = applied({}, catalogue.full()), 0
    for step, look in zip(steps, looks, strict=False):
        revision = catalogue.revision + 1
        latest = dict(step)
        change(
            catalogue,
            *(
                (Ref(KEY, str(id)), None if word == "deleted" else key(str(id), revision, STATES[word]))
                for id, word in latest.items()
            ),
        )
        if look:
            held, at = applied(held, catalogue.delta(at)), catalogue.revision
    held = applied(held, catalogue.delta(at))
    assert held == applied({}, catalogue.full())
    for ref in held:
        public_id = f"pub{ref.id}"
        assert catalogue.key_id(public_id) == ref.id


@given(STEPS)
def test_a_catalogue_that_started_now_holds_what_one_that_followed_along_holds(
    steps: list[list[tuple[int, str]]],
) -> None:
    followed = started()
    content: dict[Ref, bytes] = {}
    for step in steps:
        revision = followed.revision + 1
        changes = {
            Ref(KEY, str(id)): None if word == "deleted" else key(str(id), revision, STATES[word])
            for id, word in dict(step).items()
        }
        content = {ref: found for ref, found in (content | changes).items() if found is not None}
        change(followed, *changes.items())
    fresh = started(content, followed.revision)
    assert fresh.digest == followed.digest
    assert len(fresh) == len(followed)


def test_revocations_come_first_and_only_for_keys_that_stop() -> None:
    catalogue = started({Ref(KEY, "a"): key("a", 1), Ref(KEY, "b"): key("b", 1)}, 1)
    change(
        catalogue,
        (Ref(KEY, "a"), key("a", 2)),
        (Ref(KEY, "b"), key("b", 2, wire.KEY_STATE_REVOKED, cut=True)),
        (Ref(ORGANIZATION, "o"), organization("o", 2)),
    )
    [update] = updates(catalogue.delta(1))
    assert [(gone.key_id, gone.public_id, gone.revision, gone.cut) for gone in update.revocations] == [
        ("b", "pubb", 2, True)
    ]
    # On the wire, too: the first field after the header.
    raw = catalogue.delta(1)[0]
    assert raw.index(b"pubb") < raw.index(b"puba")


def test_a_deleted_key_is_revoked_even_when_it_was_changed_and_deleted_between_two_readings() -> None:
    catalogue = started({Ref(KEY, "a"): key("a", 1)}, 1)
    ref = Ref(KEY, "a")
    catalogue.apply(Loaded("e", 3, 3, False, ((2, (ref,)), (3, (ref,))), {}))
    [update] = updates(catalogue.delta(1))
    assert [(gone.key_id, gone.public_id, gone.revision, gone.cut) for gone in update.revocations] == [
        ("a", "puba", 3, True)
    ]
    assert [gone.id for gone in update.removed] == ["a"]
    assert catalogue.key_id("puba") is None


def test_a_key_that_works_again_is_not_revoked_any_more() -> None:
    catalogue = started({Ref(KEY, "a"): key("a", 1)}, 1)
    change(catalogue, (Ref(KEY, "a"), key("a", 2, wire.KEY_STATE_DISABLED)))
    change(catalogue, (Ref(KEY, "a"), key("a", 3)))
    [update] = updates(catalogue.delta(1))
    assert not update.revocations
    [update] = updates(catalogue.full())
    assert not update.revocations


def test_large_updates_come_in_parts_with_revocations_in_the_first() -> None:
    keys = {Ref(KEY, f"{number:04}"): key(f"{number:04}", 1, filler=2000) for number in range(1500)}
    stopped = Ref(KEY, "9999")
    catalogue = started(keys | {stopped: key("9999", 1, wire.KEY_STATE_REVOKED)}, 1)
    messages = list(catalogue.full())
    assert len(messages) == 3
    assert all(len(message) <= module.PART_BYTES + 4096 for message in messages)
    parts = updates(messages)
    assert [bool(part.revocations) for part in parts] == [True, False, False]
    assert [part.last for part in parts] == [False, False, True]
    assert len(applied({}, messages)) == 1501


def test_many_removals_come_in_parts_too() -> None:
    keys = {Ref(KEY, f"{number:040}"): key(f"{number:040}", 1) for number in range(30_000)}
    catalogue = started(keys, 1)
    change(catalogue, *((ref, None) for ref in keys))
    messages = catalogue.delta(1)
    assert len(messages) > 1
    assert all(len(message) <= module.PART_BYTES + 4096 for message in messages)
    assert applied(keys, messages) == {}


def test_the_past_is_forgotten_at_a_bound_and_pods_from_before_get_everything() -> None:
    catalogue = started({Ref(KEY, "gone"): key("gone", 0)})
    change(catalogue, (Ref(KEY, "gone"), None))
    for _ in range(module.RING_REVISIONS):
        change(catalogue, (Ref(ORGANIZATION, "o"), organization("o", catalogue.revision + 1)))
    assert not catalogue.can_continue("e", 0)
    assert catalogue.can_continue("e", 1)
    assert not catalogue.can_continue("another", 1)
    assert not catalogue.can_continue("e", catalogue.revision + 1)
    [update] = updates(catalogue.full())
    assert not update.revocations
