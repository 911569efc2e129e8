"""Change sets: numbering, the outbox, joining, taking back, and many writers at once."""

from __future__ import annotations

import random

import pytest

from controlplane.changes import queries
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import OutsideChangeSet, change_set, current
from controlplane.changes.models import AuditEvent, ConfigChange, ResourceKind
from controlplane.changes.row import Touch
from controlplane.tenancy.models import Organization, Team
from tests.controlplane import factories

SYSTEM = Actor.system("tests")


class Regret(Exception):
    """Something went wrong after rows were written."""


def _change_and_regret(slug: str) -> None:
    with change_set(SYSTEM) as change:
        row = Organization.objects.create(name="Lost", slug=slug)
        change.say("organization.created", row)
        raise Regret


def outbox(since: int = 0) -> list[tuple[int, str, str]]:
    rows = ConfigChange.objects.filter(revision__gt=since).order_by("revision", "kind", "resource_id")
    return list(rows.values_list("revision", "kind", "resource_id"))


def test_a_change_set_gives_all_that_it_touched_the_next_number(db):
    before = queries.head().revision
    with change_set(SYSTEM) as change:
        first = Organization.objects.create(name="One", slug="one")
        second = Organization.objects.create(name="Two", slug="two")
    assert change.revision == before + 1 == queries.head().revision
    assert outbox(before) == sorted((before + 1, "organization", row.pk) for row in (first, second))


def test_what_pods_do_not_hold_leaves_the_revision_alone_but_not_the_audit(db):
    organization = factories.organization()
    head = queries.head()
    with change_set(SYSTEM):
        Team.objects.create(organization=organization, name="Team", slug="team")
    assert queries.head() == head
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.revision) == ("team.created", 0)


def test_an_exception_takes_everything_back_and_the_number_is_used_again(db):
    head = queries.head()
    with pytest.raises(Regret):
        _change_and_regret("one")
    assert queries.head() == head
    assert not Organization.objects.filter(slug="one").exists()
    assert current() is None
    with pytest.raises(OutsideChangeSet):
        Organization.objects.create(name="One", slug="one")


def test_a_change_set_inside_another_joins_it(db):
    before = queries.head().revision
    with change_set(SYSTEM) as outer:
        Organization.objects.create(name="One", slug="one")
        with change_set(Actor.system("somebody else")) as inner:
            Organization.objects.create(name="Two", slug="two")
        assert inner is outer
    assert queries.head().revision == before + 1
    assert set(AuditEvent.objects.values_list("actor_id", flat=True)) == {"tests"}


def test_an_inner_change_set_that_fails_leaves_no_trace_in_the_outer_one(db):
    with change_set(SYSTEM):
        kept = Organization.objects.create(name="One", slug="one")
        with pytest.raises(Regret):
            _change_and_regret("two")
    assert {resource for _, _, resource in outbox()} == {kept.pk}
    assert set(AuditEvent.objects.values_list("target_id", flat=True)) == {kept.pk}


def test_a_resource_is_named_once_per_revision_however_often_it_is_touched(db):
    organization = factories.organization()
    before = queries.head().revision
    with change_set(SYSTEM) as change:
        for name in ("a", "b", "c"):
            organization.name = name
            organization.save()
        change.touch(Touch(ResourceKind.ORGANIZATION, organization.pk))
    assert outbox(before) == [(before + 1, "organization", organization.pk)]
    assert ConfigChange.objects.get(revision=before + 1).organization_id == organization.pk


def test_revision_of_is_the_last_change_that_touched_a_resource(db):
    one, two = factories.organization(), factories.organization()
    assert queries.revision_of(ResourceKind.ORGANIZATION, two.pk) == queries.head().revision
    assert queries.revision_of(ResourceKind.ORGANIZATION, one.pk) == queries.head().revision - 1
    assert queries.revision_of(ResourceKind.ORGANIZATION, "org_unknown") == 0


def test_the_epoch_stays_while_the_database_does(db):
    first = queries.head()
    factories.organization()
    assert queries.head().epoch == first.epoch
    assert len(first.epoch) == 16


def test_revisions_commit_in_order_without_holes_under_many_writers(in_threads):
    """A reader that remembers the head misses no row: the numbers below a head are all there."""
    writers, each = 6, 12
    seen: list[list[int]] = []

    def write(seed: int) -> None:
        dice = random.Random(seed)
        for number in range(each):
            try:
                with change_set(Actor.system(f"writer {seed}")):
                    Organization.objects.create(name="O", slug=f"o-{seed}-{number}")
                    if dice.random() < 0.2:
                        raise RuntimeError("rolled back")
            except RuntimeError:
                continue

    def tail(_: int) -> None:
        mine: list[int] = []
        for _ in range(80):
            head = queries.head().revision
            mine = list(
                ConfigChange.objects.filter(revision__lte=head).order_by("revision").values_list("revision", flat=True)
            )
            assert mine == list(range(1, head + 1))
        seen.append(mine)

    in_threads(lambda job: job[0](job[1]), [(write, seed) for seed in range(writers)] + [(tail, 0), (tail, 1)])
    revisions = list(ConfigChange.objects.order_by("revision").values_list("revision", flat=True))
    assert revisions == list(range(1, queries.head().revision + 1))
    assert Organization.objects.count() == len(revisions) > 0
    by_time = list(ConfigChange.objects.order_by("committed_at", "revision").values_list("revision", flat=True))
    assert by_time == revisions


def test_two_writers_of_the_same_row_both_count(in_threads):
    organization = factories.organization(freshness_bound_s=0)

    def add(_: int) -> None:
        for _ in range(5):
            with change_set(SYSTEM):
                row = Organization.objects.get(pk=organization.pk)
                row.freshness_bound_s += 1
                row.save()

    in_threads(add, [0, 1, 2, 3])
    organization.refresh_from_db()
    assert organization.freshness_bound_s == 20


def test_postgresql_wakes_listeners_when_and_only_when_a_change_commits(transactional_db):
    from django.db import connection

    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no NOTIFY; readers poll")
    import psycopg

    from controlplane.changes.change_set import CHANNEL

    parameters = connection.get_connection_params() | {"autocommit": True}
    for ours in ("pool", "cursor_factory", "context", "prepare_threshold"):
        parameters.pop(ours, None)
    with psycopg.connect(**parameters) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        with pytest.raises(Regret):
            _change_and_regret("lost")
        factories.organization()
        notices = list(listener.notifies(timeout=60, stop_after=1))
    assert [notice.payload for notice in notices] == [str(queries.head().revision)]
