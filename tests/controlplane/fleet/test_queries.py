"""How far a change has got, and what becomes of pods that have not got it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.changes import queries as changes
from controlplane.changes.models import ConfigChange, Revision
from controlplane.fleet import tasks
from controlplane.fleet.models import Pod, PodAck, PodState
from controlplane.fleet.register.queries import Convergence, ReachState, convergence
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Organization
from tests.controlplane import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def revision() -> int:
    factories.organization()
    return Revision.objects.get().value


def committed(seconds_ago: float) -> datetime:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    ConfigChange.objects.update(committed_at=at)
    return at


def pod(name: str, *, silent_s: float = 1, **fields: Any) -> None:
    at = timezone.now() - timedelta(seconds=silent_s)
    given = {
        "session_id": name, "stream_id": name, "name": name, "version": "1", "connected": True, "state": "ready",
        "epoch": changes.head().epoch, "first_seen_at": at - timedelta(hours=1), "last_heartbeat_at": at,
    }  # fmt: skip
    Pod.objects.create(pod_id=name, **(given | fields))


def reaches(found: Convergence) -> dict[str, ReachState]:
    return {pod.pod.name: pod.reach for pod in found.pods}


def test_a_change_is_live_where_it_was_applied_and_says_how_long_it_took(revision: int) -> None:
    at = committed(10)
    for number, seconds in enumerate((0.05, 0.2, 0.1)):
        pod(f"pod-{number}", applied_revision=revision)
        PodAck.objects.create(pod_id=f"pod-{number}", revision=revision, at=at + timedelta(seconds=seconds))
        PodAck.objects.create(pod_id=f"pod-{number}", revision=revision + 1, at=at + timedelta(seconds=9))
    found = convergence(revision)
    assert str(found) == "live on 3 of 3 pods, slowest 0.2 s"
    assert found.settled


def test_a_pod_that_came_later_is_live_and_has_no_time(revision: int) -> None:
    at = committed(100)
    pod("late", applied_revision=revision, first_seen_at=at + timedelta(seconds=50))
    PodAck.objects.create(pod_id="late", revision=revision, at=at + timedelta(seconds=51))
    assert str(convergence(revision)) == "live on 1 of 1 pod"


def test_how_long_a_change_took_is_told_while_the_acknowledgements_of_its_hour_are_kept(revision: int) -> None:
    at = committed(3601)
    pod("here", applied_revision=revision)
    PodAck.objects.create(pod_id="here", revision=revision + 9, at=at + timedelta(seconds=3000))  # the first ones went
    assert str(convergence(revision)) == "live on 1 of 1 pod"


def test_pods_that_lag_are_told_apart(revision: int) -> None:
    at = committed(10)
    pod("waiting")
    pod("refusing", nack_revision=revision, nack_problem="dangling reference")
    pod("cut-off", connected=False)
    pod("silent", silent_s=20)
    found = convergence(revision)
    assert reaches(found) == {
        "waiting": ReachState.WAITING,
        "refusing": ReachState.REFUSED,
        "cut-off": ReachState.UNREACHABLE,
        "silent": ReachState.UNREACHABLE,
    }
    assert not found.settled
    closes = {pod.pod.name: pod.fails_closed_at for pod in found.pods}
    # A pod that goes on talking without applying is not fresh any more, whatever it says.
    assert closes["waiting"] == at + timedelta(seconds=5 + 45)
    silent = Pod.objects.get(name="silent")
    assert closes["silent"] == silent.last_heartbeat_at + timedelta(seconds=45)


def test_a_pod_without_the_change_has_failed_closed_after_the_bound(revision: int) -> None:
    committed(51)
    pod("talking", silent_s=1)
    pod("silent", silent_s=60)
    found = convergence(revision)
    assert set(reaches(found).values()) == {ReachState.FAILED_CLOSED}
    assert found.settled
    tenancy.update_organization(Organization.objects.get(), by=factories.SYSTEM, freshness_bound_s=900)
    assert not convergence(revision).settled


def test_pods_that_could_not_have_served_since_do_not_count(revision: int) -> None:
    committed(10)
    pod("long dead", silent_s=300)
    pod("gone", state=PodState.GONE, connected=False)
    found = convergence(revision)
    assert (found.pods, str(found)) == ((), "no pod is connected")


def test_an_acknowledgement_in_another_epoch_is_none(revision: int) -> None:
    at = committed(10)
    pod("restored", applied_revision=revision + 50, epoch="another")
    PodAck.objects.create(pod_id="restored", revision=revision + 50, at=at - timedelta(days=1))
    assert reaches(convergence(revision)) == {"restored": ReachState.WAITING}


def test_the_past_is_pruned() -> None:
    now = timezone.now()
    pod("here")
    pod("away", silent_s=25 * 3600, connected=False)
    pod("lost with its replica", silent_s=49 * 3600)
    PodAck.objects.create(pod_id="here", revision=1, at=now - timedelta(minutes=61))
    PodAck.objects.create(pod_id="here", revision=2, at=now - timedelta(minutes=59))
    assert tasks.prune() == 3
    assert [row.name for row in Pod.objects.all()] == ["here"]
    assert [ack.revision for ack in PodAck.objects.all()] == [2]


def test_pods_that_ended_or_were_started_again_are_forgotten_after_an_hour() -> None:
    """Each restart leaves a row, and nobody looks for them all."""
    for silent_s in (59 * 60, 61 * 60):
        pod(f"gone-{silent_s}", silent_s=silent_s, state=PodState.GONE, connected=False)
        pod(f"old-{silent_s}", silent_s=silent_s, connected=False)
        pod(f"alone-{silent_s}", silent_s=silent_s, connected=False)
    for silent_s in (59 * 60, 61 * 60):
        old = Pod.objects.get(pod_id=f"old-{silent_s}")
        pod(f"again-{silent_s}", first_seen_at=old.first_seen_at + timedelta(seconds=1))
        Pod.objects.filter(pk=f"again-{silent_s}").update(name=old.name)
    assert tasks.prune() == 2
    there = set(Pod.objects.values_list("pod_id", flat=True))
    assert {"gone-3660", "old-3660"}.isdisjoint(there)
    assert {"gone-3540", "old-3540", "alone-3540", "alone-3660", "again-3540", "again-3660"} == there


def item(kind: str, id: str) -> dict[str, str]:
    return {"kind": kind, "id": id, "problem": "scope 'galaxy' is unknown"}


def test_a_pod_that_does_not_understand_a_change_is_not_counted_as_having_it_live() -> None:
    budget = factories.budget()
    revision = Revision.objects.get().value
    committed(10)
    pod("new", applied_revision=revision, not_understood_count=0)
    pod("old", applied_revision=revision, not_understood_count=1, not_understood=[item("budget", budget.pk)])
    pod("other", applied_revision=revision, not_understood_count=1, not_understood=[item("budget", "bud_else")])
    found = convergence(revision)
    assert reaches(found) == {"new": ReachState.LIVE, "old": ReachState.NOT_UNDERSTOOD, "other": ReachState.LIVE}
    assert str(found) == "live on 2 of 3 pods; old does not understand it and refuses what it covers"
    assert {row.pod.name: row.problem for row in found.pods}["old"] == "budget: scope 'galaxy' is unknown"
    assert found.settled


def test_a_pod_that_names_only_a_part_of_what_it_does_not_understand_is_not_believed_about_the_rest() -> None:
    factories.budget()
    revision = Revision.objects.get().value
    committed(10)
    many = [item("budget", f"bud_{number}") for number in range(20)]
    for name in ("a", "b", "c", "d"):
        pod(name, applied_revision=revision, not_understood_count=21, not_understood=many)
    found = convergence(revision)
    assert set(reaches(found).values()) == {ReachState.NOT_UNDERSTOOD}
    assert str(found) == "live on 0 of 4 pods; a, b, c and 1 more do not understand it and refuse what it covers"


def test_a_pod_from_before_this_agreement_has_the_kinds_of_its_time_live_and_no_others() -> None:
    factories.budget()
    revision = Revision.objects.get().value
    committed(10)
    pod("ancient", applied_revision=revision)
    pod("present", applied_revision=revision, not_understood_count=0)
    assert set(reaches(convergence(revision)).values()) == {ReachState.LIVE}
    ConfigChange.objects.filter(revision=revision).update(kind="policy")
    found = convergence(revision)
    assert reaches(found) == {"ancient": ReachState.TOO_OLD, "present": ReachState.LIVE}
    assert not found.settled
