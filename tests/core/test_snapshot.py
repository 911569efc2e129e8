"""What a pod knows, and how the next revision is made of the last."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.core.money.prices import PriceList
from dataplane.core.sharded import SHARDS, ShardedMap
from dataplane.core.snapshot import (
    Budget,
    KeyState,
    ModelAlias,
    NotUnderstood,
    Organization,
    Principal,
    Project,
    Provider,
    Row,
    ScopeKind,
    Snapshot,
    VirtualKey,
)
from dataplane.core.understanding import NOBODY
from tests.core import build
from tests.core.money.budget_world import budget

MAPS = (
    "organizations",
    "projects",
    "principals",
    "keys",
    "providers",
    "aliases",
    "prices",
    "budgets",
    "not_understood",
)


def content(snapshot: Snapshot):
    views = {
        id: (
            *(view.providers, dict(view.aliases), view.prices, view.contact, dict(view.budgets)),
            *(view.strange, dict(view.doubtful), dict(view.by_id), dict(view.by_name)),
        )
        for id in snapshot.organizations
        for view in [snapshot.view(id)]
    }
    over = {id: snapshot.not_understood_over(key) for id, key in snapshot.keys.items()}
    assert snapshot.refused_keys() == sum(doubt is not None for doubt in over.values())
    return [dict(getattr(snapshot, name)) for name in MAPS] + [snapshot.revision, snapshot.problems(), views, over]


# ---- the law: deltas one by one = everything at once ----------------------------------------------------------

orgs = st.sampled_from(["org_1", "org_2"])
revisionless = st.one_of(
    st.builds(
        build.organization, orgs, contact=st.sampled_from(["", "ada"]), price_list_id=st.sampled_from(["", "price_1"])
    ),
    st.builds(build.project, st.sampled_from(["proj_1", "proj_2"]), organization_id=orgs),
    st.builds(
        build.principal,
        st.sampled_from(["prin_1", "prin_2"]),
        organization_id=orgs,
        group_ids=st.sampled_from([(), ("grp_1",)]),
    ),
    st.builds(
        build.key,
        st.sampled_from(["vk_1", "vk_2", "vk_3"]),
        organization_id=orgs,
        state=st.sampled_from(list(KeyState)),
        project_id=st.sampled_from(["", "proj_1"]),
        principal_id=st.sampled_from(["", "prin_1"]),
        secrets=st.lists(st.sampled_from("ABC").map(lambda c: build.secret(c * 10)), max_size=2).map(tuple),
        public_id=st.sampled_from(["A" * 10, "B" * 10, "C" * 10]),
    ),
    st.builds(
        build.provider,
        st.sampled_from(["prov_1", "prov_2"]),
        organization_id=orgs,
        enabled=st.booleans(),
        priority=st.integers(0, 1),
        name=st.sampled_from(["a", "b"]),
    ),
    st.builds(
        build.alias,
        st.sampled_from(["alias_1", "alias_2"]),
        organization_id=orgs,
        project_id=st.sampled_from(["", "proj_1"]),
        key_id=st.sampled_from(["", "vk_1"]),
        provider_id=st.sampled_from(["", "prov_1"]),
    ),
    st.builds(
        budget,
        st.sampled_from(["bud_1", "bud_2"]),
        organization_id=orgs,
        scope_id=st.sampled_from(["org_1", "team_1"]),
        enabled=st.booleans(),
    ),
    st.builds(PriceList, st.just("price_1"), st.sampled_from(["v1", "v2"]), st.just(())),
    st.builds(
        build.not_understood,
        st.sampled_from(["prov_1", "alias_1", "pol_1", "pol_2"]),
        organization_id=st.sampled_from(["org_1", "org_2", "org_gone", ""]),
        covers=st.lists(
            st.sampled_from(
                [
                    (ScopeKind.ORGANIZATION, "org_1"),
                    (ScopeKind.PROJECT, "proj_1"),
                    (ScopeKind.PRINCIPAL, "prin_1"),
                    (ScopeKind.GROUP, "grp_1"),
                    (ScopeKind.VIRTUAL_KEY, "vk_2"),
                ]
            ),
            max_size=2,
        ).map(tuple),
        everybody=st.sampled_from([False, False, False, True]),
    ),
)
removals = st.sampled_from(
    [
        (Organization, "org_2"),
        (Project, "proj_1"),
        (Principal, "prin_1"),
        (VirtualKey, "vk_1"),
        (VirtualKey, "vk_2"),
        (Provider, "prov_1"),
        (ModelAlias, "alias_1"),
        (PriceList, "price_1"),
        (Budget, "bud_1"),
        (NotUnderstood, "9/pol_1"),
        (NotUnderstood, "9/prov_1"),
    ]
)
deltas = st.lists(st.tuples(st.lists(revisionless, max_size=5), st.lists(removals, max_size=3)), max_size=8)


@settings(max_examples=150)
@given(deltas)
def test_deltas_one_by_one_are_the_same_as_everything_at_once(changes):
    state: dict = {}
    snapshot = Snapshot.EMPTY
    for revision, (rows, removed) in enumerate(changes, start=1):
        upserts = [replace(row, revision=revision) for row in rows]
        for ref in removed:
            state.pop(ref, None)
        state.update({(type(row), row.id): row for row in upserts})
        if revision % 2:
            content(snapshot)  # views are made in between, and must not outlive what they are made of
        snapshot = snapshot.apply(revision, upserts, removed)
    full = Snapshot.EMPTY.apply(len(changes), state.values(), full=True)
    assert content(snapshot) == content(full)
    for public_id in ("A" * 10, "B" * 10, "C" * 10):
        found = snapshot.key_by_public_id(public_id)
        assert found == full.key_by_public_id(public_id)
        carriers = [k for k in snapshot.keys.values() if public_id in {k.public_id, *(s.public_id for s in k.secrets)}]
        assert found in carriers if carriers else found is None


@settings(max_examples=150)
@given(deltas)
def test_problems_are_those_that_a_look_at_every_row_finds(changes):
    snapshot = Snapshot.EMPTY
    for revision, (rows, removed) in enumerate(changes, start=1):
        snapshot = snapshot.apply(revision, [replace(row, revision=revision) for row in rows], removed)
        every = [row for name in MAPS for row in getattr(snapshot, name).values()]
        assert snapshot.problems() == sorted(found for row in every for found in snapshot._row_problems(row))


def test_letting_go_of_the_pieces_one_by_one_lets_go_of_every_row():
    snapshot = Snapshot.EMPTY.apply(1, [build.organization(), build.key(project_id="", principal_id="")])
    pieces, key = snapshot.pieces(), snapshot.keys["vk_1"]
    del snapshot
    held = sys.getrefcount(key)
    while pieces:
        pieces.pop()
    assert sys.getrefcount(key) == held - 1


@given(deltas)
def test_a_full_update_forgets_what_was_there(changes):
    before = Snapshot.EMPTY
    for revision, (rows, _) in enumerate(changes, start=1):
        before = before.apply(revision, rows)
    rows = [build.organization(), build.key(project_id="", principal_id="")]
    assert content(before.apply(9, rows, full=True)) == content(Snapshot.EMPTY.apply(9, rows))


def test_the_last_snapshot_is_untouched_by_the_next():
    before = build.snapshot(build.key())
    kept = content(before)
    after = before.apply(2, [replace(build.key(), state=KeyState.REVOKED, revision=2)], [(Project, "proj_9")])
    assert content(before) == kept
    assert before.keys["vk_1"].state is KeyState.ACTIVE
    assert after.keys["vk_1"].state is KeyState.REVOKED


# ---- order and time -------------------------------------------------------------------------------------------


def test_a_late_upsert_does_not_undo_a_revocation():
    revoked = build.key(state=KeyState.REVOKED, revision=7)
    snapshot = build.snapshot(revoked).apply(8, [build.key(state=KeyState.ACTIVE, revision=6)])
    assert snapshot.keys["vk_1"] is revoked


def test_within_one_update_the_newest_row_wins():
    snapshot = build.snapshot(build.key(revision=3, tags=("new",)), build.key(revision=2, tags=("old",)))
    assert snapshot.keys["vk_1"].tags == ("new",)


def test_a_snapshot_knows_its_revision_and_its_epoch():
    first = Snapshot.EMPTY.apply(4, [], epoch="blue")
    second = first.apply(5, [])
    assert (first.revision, first.epoch, second.revision, second.epoch) == (4, "blue", 5, "blue")
    assert (Snapshot.EMPTY.revision, Snapshot.EMPTY.epoch) == (0, "")


# ---- keys by public id ----------------------------------------------------------------------------------------


def test_a_key_is_found_by_every_public_id_of_its_secrets_and_no_longer_by_a_dropped_one():
    rotated = build.key(public_id="B" * 10, secrets=(build.secret("B" * 10), build.secret("A" * 10, not_after_ms=5)))
    snapshot = build.snapshot(rotated)
    assert snapshot.key_by_public_id("A" * 10) == snapshot.key_by_public_id("B" * 10) == rotated
    assert snapshot.key_by_public_id("C" * 10) is None

    after = snapshot.apply(2, [replace(rotated, secrets=rotated.secrets[:1], revision=2)])
    assert after.key_by_public_id("A" * 10) is None
    assert after.apply(3, [], [(VirtualKey, "vk_1")]).key_by_public_id("B" * 10) is None


def test_a_revoked_key_without_secrets_is_still_known():
    assert build.snapshot(build.key(state=KeyState.REVOKED, secrets=())).key_by_public_id(build.PUBLIC) is not None


def test_a_public_id_may_move_to_another_key_within_one_update():
    before = build.snapshot(build.key("vk_1"))
    moved = build.key("vk_2", revision=2)
    after = before.apply(2, [build.key("vk_1", public_id="B" * 10, revision=2), moved])
    assert after.key_by_public_id(build.PUBLIC) == moved
    assert after.problems() == []


# ---- problems -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (build.organization("org_2", price_list_id="price_9"), "org_2 refers to price_9, which is not there"),
        (build.project("proj_2", organization_id="org_9"), "proj_2 refers to org_9, which is not there"),
        (build.principal("prin_2", organization_id="org_9"), "prin_2 refers to org_9, which is not there"),
        (build.provider(organization_id="org_9"), "prov_1 refers to org_9, which is not there"),
        (build.key(project_id="proj_9"), "vk_1 refers to proj_9, which is not there"),
        (build.key(principal_id="prin_9"), "vk_1 refers to prin_9, which is not there"),
        (build.alias(provider_id="prov_9"), "alias_1 refers to prov_9, which is not there"),
        (build.alias(key_id="vk_9"), "alias_1 refers to vk_9, which is not there"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_problem_until_it_leads_somewhere(row, problem):
    broken = Snapshot.EMPTY.apply(1, [build.organization(), build.project(), build.principal(), row])
    assert broken.problems() == [problem]
    assert broken.apply(2, []).problems() == [problem]

    missing = problem.split()[3].removesuffix(",")
    makers: dict = {
        "price": lambda id: PriceList(id, "v", ()),
        "org": build.organization,
        "proj": build.project,
        "prin": build.principal,
        "prov": build.provider,
        "vk": lambda id: build.key(id, public_id="Z" * 10),
    }
    row = makers[missing.split("_")[0]](missing)
    assert broken.apply(2, [row]).problems() == []


def test_what_is_taken_away_is_missed_by_those_who_refer_to_it():
    whole = build.snapshot(build.key(), build.provider(), build.alias(provider_id="prov_1", project_id="proj_1"))
    assert whole.apply(2, [], [(Project, "proj_1")]).problems() == [
        "alias_1 refers to proj_1, which is not there",
        "vk_1 refers to proj_1, which is not there",
    ]
    assert whole.apply(2, [], [(Provider, "prov_1")]).problems() == ["alias_1 refers to prov_1, which is not there"]


def test_a_reference_into_another_organization_is_a_problem():
    rows: list[Row] = [build.organization(), build.organization("org_2"), build.project(organization_id="org_2")]
    snapshot = Snapshot.EMPTY.apply(1, [*rows, build.key(principal_id="")])
    assert snapshot.problems() == ["vk_1 refers to proj_1, which belongs to another organization"]


def test_a_project_that_moves_to_another_organization_is_noticed_by_its_keys():
    before = build.snapshot(build.key(), build.organization("org_2"))
    after = before.apply(2, [build.project(organization_id="org_2", revision=2)])
    assert after.problems() == ["vk_1 refers to proj_1, which belongs to another organization"]


def test_two_keys_with_one_public_id_are_a_problem_of_both():
    both = build.snapshot(build.key("vk_1")).apply(2, [build.key("vk_2", revision=2)])
    assert [problem.split()[0] for problem in both.problems()] == ["vk_1", "vk_2"]
    assert both.apply(3, [], [(VirtualKey, "vk_1")]).problems() == []


def test_a_revoked_key_may_outlive_its_project():
    key = build.key(state=KeyState.REVOKED, project_id="proj_9")
    assert Snapshot.EMPTY.apply(1, [build.organization(), key]).problems() == []


# ---- an organization's view -----------------------------------------------------------------------------------


def test_a_view_has_the_enabled_providers_of_its_organization_by_priority_then_id():
    view = build.snapshot(
        build.organization("org_2"),
        build.provider("prov_3", name="c", priority=1),
        build.provider("prov_2", name="b", priority=1),
        build.provider("prov_1", name="a", priority=2),
        build.provider("prov_4", name="d", enabled=False),
        build.provider("prov_5", name="e", organization_id="org_2"),
    ).view("org_1")
    assert [provider.id for provider in view.providers] == ["prov_2", "prov_3", "prov_1"]
    assert set(view.by_name) == {"a", "b", "c"}


def test_a_view_is_kept_until_something_in_it_changes():
    first = build.snapshot(build.provider(), build.key())
    view = first.view("org_1")
    assert first.apply(2, [build.key(revision=2)]).view("org_1") is view
    changes: list[Row] = [
        build.provider("prov_2", name="b"),
        build.alias(),
        build.organization(contact="ada", revision=2),
        PriceList("price_1", "v", ()),
    ]
    for change in changes:
        assert first.apply(2, [change]).view("org_1") is not view


def test_an_organization_that_is_not_there_has_an_empty_view():
    view = Snapshot.EMPTY.view("org_9")
    assert view.providers == ()
    assert view.prices is None


# ---- size -----------------------------------------------------------------------------------------------------


def test_one_change_among_100_000_keys_copies_a_handful_of_them():
    like = build.key(secrets=())
    rest = [getattr(like, name) for name in VirtualKey.__slots__[2:]]
    keys = [VirtualKey(f"vk_{n}", f"{n:010}", *rest) for n in range(100_000)]
    before = build.snapshot(*keys)
    after = before.apply(2, [replace(keys[5], tags=("changed",), revision=2)])
    old, new = before.keys._shards, after.keys._shards  # type: ignore[attr-defined]
    fresh = [shard for shard, was in zip(new, old, strict=True) if shard is not was]
    assert len(fresh) == 1
    assert len(fresh[0]) < 100_000 / SHARDS * 2
    assert after.key_by_public_id("0000000005").tags == ("changed",)  # type: ignore[union-attr]
    assert len(after.keys) == 100_000


@given(
    st.dictionaries(st.text(max_size=3), st.integers()),
    st.lists(st.tuples(st.dictionaries(st.text(max_size=3), st.integers()), st.lists(st.text(max_size=3)))),
)
def test_a_sharded_map_behaves_as_a_dict(start, changes):
    model = dict(start)
    made = ShardedMap(start)
    for upserts, removed in changes:
        kept = dict(made)
        before, made = made, made.changed(upserts, removed)
        assert dict(before) == kept
        for key in removed:
            model.pop(key, None)
        model.update(upserts)
    assert dict(made) == model
    assert len(made) == len(model)
    assert made == model
    assert all(key in made for key in model)


# ---- what is not understood -----------------------------------------------------------------------------------

MANY: list[Row] = [
    build.organization("org_2"),
    build.project("proj_2", organization_id="org_2"),
    build.key("vk_1", principal_id="prin_1"),
    build.key("vk_2", public_id="B" * 10, team_id="team_2", project_id="", principal_id=""),
    build.key("vk_3", public_id="C" * 10, organization_id="org_2", project_id="proj_2", principal_id=""),
]


def refused(snapshot: Snapshot) -> set[str]:
    return {id for id, key in snapshot.keys.items() if snapshot.not_understood_over(key)}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ((ScopeKind.ORGANIZATION, "org_1"), {"vk_1", "vk_2"}),
        ((ScopeKind.ORGANIZATION, "org_2"), set()),  # somebody else's
        ((ScopeKind.VIRTUAL_KEY, "vk_3"), set()),
        ((ScopeKind.TEAM, "team_1"), {"vk_1"}),
        ((ScopeKind.PROJECT, "proj_1"), {"vk_1"}),
        ((ScopeKind.PRINCIPAL, "prin_1"), {"vk_1"}),
        ((ScopeKind.GROUP, "grp_1"), {"vk_1"}),
        ((ScopeKind.VIRTUAL_KEY, "vk_2"), {"vk_2"}),
        ((ScopeKind.TEAM, ""), set()),
        ((ScopeKind.PROJECT, ""), set()),
    ],
)
def test_what_is_not_understood_refuses_the_keys_in_its_scope_and_no_others(scope, expected):
    snapshot = build.snapshot(build.principal(group_ids=("grp_1",)), *MANY)
    assert refused(snapshot) == set()
    doubting = snapshot.apply(2, [build.not_understood(covers=(scope,))])
    assert refused(doubting) == expected
    assert doubting.refused_keys() == len(expected)
    assert refused(doubting.apply(3, [], [(NotUnderstood, "9/pol_1")])) == set()


def test_what_is_not_understood_and_is_nobodys_refuses_everybody():
    for doubt in (build.not_understood(everybody=True), build.not_understood(organization_id="org_gone")):
        assert refused(build.snapshot(*MANY, doubt)) == {"vk_1", "vk_2", "vk_3"}
    assert refused(build.snapshot(*MANY, build.not_understood(covers=()))) == set()


def test_a_key_that_comes_or_moves_later_is_refused_too():
    doubting = build.snapshot(*MANY, build.not_understood(covers=((ScopeKind.TEAM, "team_1"),)))
    assert doubting.refused_keys() == 1
    moved = doubting.apply(2, [replace(doubting.keys["vk_2"], team_id="team_1", revision=2)])
    assert (refused(moved), moved.refused_keys()) == ({"vk_1", "vk_2"}, 2)


def test_members_of_a_group_are_refused_as_they_come_and_go():
    doubting = build.snapshot(*MANY, build.not_understood(covers=((ScopeKind.GROUP, "grp_1"),)))
    assert doubting.refused_keys() == 0
    joined = doubting.apply(2, [build.principal(group_ids=("grp_1",), revision=2)])
    assert (refused(joined), joined.refused_keys()) == ({"vk_1"}, 1)


def test_a_snapshot_that_is_understood_whole_asks_nothing_of_its_scopes():
    snapshot = build.snapshot(*MANY)
    assert snapshot._covered is NOBODY
    assert snapshot.apply(2, [build.key(revision=2), build.organization(revision=2)])._covered is NOBODY
