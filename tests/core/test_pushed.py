"""A kind of row is registered in one place: all that a snapshot does with it follows from there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.pushed import OWNER, PUSHED, Kinds, PushedKind
from dataplane.core.rows import Organization, Project, Row
from dataplane.core.snapshot import Snapshot
from tests.core import build


@dataclass(frozen=True, slots=True)
class Toy:
    id: str
    organization_id: str
    project_id: str
    colour: str
    revision: int


TOY = PushedKind(Toy, "toys", references={OWNER: Organization, "project_id": Project}, in_view=True)
KINDS = Kinds((*PUSHED.values(), TOY))


def toy(id: str = "toy_1", **fields: str) -> Toy:
    return replace(Toy(id, "org_1", "proj_1", "red", 1), **fields)  # type: ignore[arg-type]


def snapshot(*rows: Row) -> Snapshot:
    defaults: list[Row] = [build.organization(), build.organization("org_2"), build.project()]
    return Snapshot(KINDS).apply(1, [*defaults, *rows])


def toys(held: Snapshot) -> dict[str, Toy]:
    return dict(held.toys)  # type: ignore[attr-defined]


def test_a_new_kind_reaches_the_snapshot_under_its_name_and_leaves_it():
    held = snapshot(toy())
    assert toys(held) == {"toy_1": toy()}
    assert toys(held.apply(2, [], [(Toy, "toy_1")])) == {}
    assert toys(held.apply(2, [build.organization()], full=True)) == {}
    assert toys(held) == {"toy_1": toy()}


def test_an_older_row_of_a_new_kind_undoes_nothing():
    newer = replace(toy(colour="blue"), revision=5)
    assert toys(snapshot(newer).apply(6, [toy()])) == {"toy_1": newer}


def test_the_references_of_a_new_kind_are_checked_when_it_comes_and_when_what_it_refers_to_goes():
    assert snapshot(toy()).problems() == []
    assert snapshot(toy(project_id="")).problems() == []
    assert snapshot(toy(project_id="proj_9")).problems() == ["toy_1 refers to proj_9, which is not there"]
    assert snapshot(toy(organization_id="org_9", project_id="")).problems() == [
        "toy_1 refers to org_9, which is not there"
    ]
    assert snapshot(toy(organization_id="org_2")).problems() == [
        "toy_1 refers to proj_1, which belongs to another organization"
    ]
    gone = snapshot(toy()).apply(2, [], [(Project, "proj_1")])
    assert gone.problems() == ["toy_1 refers to proj_1, which is not there"]
    assert gone.apply(3, [build.project(revision=3)]).problems() == []


def test_an_organizations_view_is_fresh_after_each_change_of_a_new_kind_in_it():
    held = snapshot(toy("toy_2"), toy("toy_1"))
    view, other = held.view("org_1"), held.view("org_2")
    assert view.rows(Toy) == (toy("toy_1"), toy("toy_2"))
    changed = held.apply(2, [replace(toy("toy_1", colour="blue"), revision=2)])
    assert [each.colour for each in changed.view("org_1").rows(Toy)] == ["blue", "red"]
    assert changed.view("org_2") is other
    removed = held.apply(2, [], [(Toy, "toy_1")])
    assert removed.view("org_1").rows(Toy) == (toy("toy_2"),)
    moved = held.apply(2, [replace(toy(organization_id="org_2", project_id=""), revision=2)])
    assert [each.id for each in moved.view("org_1").rows(Toy)] == ["toy_2"]
    assert [each.id for each in moved.view("org_2").rows(Toy)] == ["toy_1"]
    assert held.view("org_1") is view


def test_a_kind_that_is_nobodys_is_in_every_view():
    kinds = Kinds((*PUSHED.values(), PushedKind(Toy, "toys", owner="", in_view=True)))
    held = Snapshot(kinds).apply(1, [build.organization()])
    view = held.view("org_1")
    assert held.apply(2, [build.key(project_id="", principal_id="")]).view("org_1") is view
    assert held.apply(2, [toy()]).view("org_1") is not view


def test_a_kind_that_is_not_in_views_leaves_them_as_they_are():
    kinds = Kinds((*PUSHED.values(), replace(TOY, in_view=False)))
    held = Snapshot(kinds).apply(1, [build.organization(), build.project()])
    view = held.view("org_1")
    assert held.apply(2, [toy()]).view("org_1") is view


colours = st.lists(st.tuples(st.sampled_from(["toy_1", "toy_2"]), st.sampled_from(["red", "blue", ""])), max_size=6)


@given(colours)
def test_views_of_a_new_kind_follow_its_rows_whatever_the_order(changes):
    held = snapshot()
    for revision, (id, colour) in enumerate(changes, start=2):
        held.view("org_1")
        if colour:
            held = held.apply(revision, [replace(toy(id, colour=colour), revision=revision)])
        else:
            held = held.apply(revision, [], [(Toy, id)])
        assert {each.id: each for each in held.view("org_1").rows(Toy)} == toys(held)


def test_every_registered_kind_is_declared_as_an_attribute_of_snapshots():
    declared = {name for name in get_type_hints(Snapshot) if not name.isupper()}
    assert declared == {kind.attribute for kind in PUSHED.values()}


@pytest.mark.parametrize("kind", PUSHED.values(), ids=lambda kind: kind.attribute)
def test_what_a_registration_names_is_there(kind: PushedKind):
    attributes = set(kind.row.__dataclass_fields__)
    assert {*kind.references, *([kind.owner] if kind.owner else [])} <= attributes
    assert set(kind.references.values()) <= set(PUSHED)
