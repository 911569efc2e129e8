"""The outbox's past: superseded rows go, the newest of every resource stays, and pods notice nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import Max
from django.utils import timezone

from controlplane.changes import outbox
from controlplane.changes.models import ConfigChange
from controlplane.changes.tasks import forget_superseded
from controlplane.fleet.state.catalogue import Catalogue
from controlplane.fleet.state.reading import refreshed
from controlplane.keys import actions as keys
from controlplane.keys.alias_actions import create_alias, delete_alias
from controlplane.tenancy import actions as tenancy
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db(transaction=True)  # a catalogue is read in a transaction of its own


@pytest.fixture(autouse=True)
def few_are_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RECENT_REVISIONS", 2)
    monkeypatch.setattr(outbox, "ROWS_AT_A_TIME", 2)


def rows() -> set[tuple[int, str, str]]:
    return set(ConfigChange.objects.values_list("revision", "kind", "resource_id"))


def newest() -> dict[tuple[str, str], int]:
    found = ConfigChange.objects.values("kind", "resource_id").annotate(last=Max("revision"))
    return {(kind, resource_id): last for kind, resource_id, last in found.values_list("kind", "resource_id", "last")}


def whole() -> Catalogue:
    found = refreshed(Catalogue())
    assert isinstance(found, Catalogue)
    return found


def a_past() -> None:
    """Things that changed often, one that never did again, and one that is gone."""
    key = factories.key()
    for number in range(4):
        keys.update(key, by=SYSTEM, name=f"name {number}")
        tenancy.update_organization(key.organization, by=SYSTEM, contact=f"contact {number}")
    alias = create_alias(by=SYSTEM, organization=key.organization, alias="fast", model="m")
    delete_alias(alias, by=SYSTEM)
    factories.team(key.organization)
    keys.disable(key, by=SYSTEM)
    keys.enable(key, by=SYSTEM)


def aged(days: int) -> None:
    ConfigChange.objects.update(committed_at=timezone.now() - timedelta(days=days))


def test_the_newest_row_of_every_resource_stays_and_what_it_superseded_goes():
    a_past()
    aged(31)
    before, kept = newest(), rows()
    recent = max(revision for revision, _, _ in kept) - 2
    expected = {row for row in kept if row[0] > recent or before[row[1], row[2]] == row[0]}
    assert forget_superseded() == len(kept - expected) > 5
    assert rows() == expected
    assert newest() == before
    assert forget_superseded() == 0


def test_what_is_younger_stays():
    a_past()
    aged(29)
    assert forget_superseded() == 0


def test_replicas_that_start_later_hold_the_same_to_the_byte():
    a_past()
    aged(31)
    before = whole()
    assert forget_superseded() > 0
    after = whole()
    assert (after.digest, after.revision, len(after)) == (before.digest, before.revision, len(before))


def test_a_replica_that_was_away_still_catches_up():
    key = factories.key()
    away = whole()
    for number in range(3):
        keys.update(key, by=SYSTEM, tags=[f"t{number}"])
        tenancy.update_organization(key.organization, by=SYSTEM, contact=f"c{number}")
    aged(31)
    assert forget_superseded() > 0
    found = refreshed(away)
    if not isinstance(found, Catalogue):
        away.apply(found)
        found = away
    assert found.digest == whole().digest
