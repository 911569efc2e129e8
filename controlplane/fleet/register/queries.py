"""Reads of the fleet: who is there, and how far a change has got."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Exists, Min, OuterRef, QuerySet
from django.utils import timezone

from controlplane.changes import queries as changes
from controlplane.changes.models import ConfigChange
from controlplane.fleet.models import Eviction, Pod, PodAck, PodState
from controlplane.fleet.state.replica import FRESH_S
from controlplane.tenancy.models import Organization

DEFAULT_BOUND_S = 45  # after how long without news a pod refuses, unless the organization chose a longer one

SILENT_AFTER = timedelta(seconds=15)  # three heartbeats
NAMED = 3  # pods, in one sentence
# What pods hold that do not say what they do not understand; they ignore other kinds.
KNOWN_TO_ALL = frozenset(
    {"organization", "project", "principal", "virtual_key", "provider", "model_alias", "price_list", "budget"}
)

ACKS_KEPT = timedelta(hours=1)  # pods times changes: for longer than anybody watches a change go live


class ReachState(StrEnum):
    """How a pod stands to one revision."""

    LIVE = "live"
    WAITING = "waiting"  # connected, and has not answered yet
    REFUSED = "refused"  # it cannot apply it, and says why
    NOT_UNDERSTOOD = "not_understood"  # it has it, does not understand it, and refuses what it covers
    TOO_OLD = "too_old"  # it is from before pods did that: it ignores a kind that it does not know
    UNREACHABLE = "unreachable"  # it may still serve what it knew, until it fails closed
    FAILED_CLOSED = "failed_closed"  # cut off for so long that it refuses everything


@dataclass(frozen=True, slots=True)
class PodReach:
    """One pod. `after_s`: from commit to its acknowledgement, for pods that were there at
    the commit, of the last hour."""

    pod: Pod
    reach: ReachState
    after_s: float | None
    fails_closed_at: datetime | None

    @property
    def problem(self) -> str:
        """What the pod said about it."""
        if self.reach is not ReachState.NOT_UNDERSTOOD:
            return self.pod.nack_problem
        return "; ".join(dict.fromkeys(f"{item['kind']}: {item['problem']}" for item in self.pod.not_understood))


_SETTLED = frozenset({ReachState.LIVE, ReachState.FAILED_CLOSED, ReachState.NOT_UNDERSTOOD})


@dataclass(frozen=True, slots=True)
class Convergence:
    """`settled`: no pod serves anything older than the revision any more."""

    revision: int
    committed_at: datetime | None
    pods: tuple[PodReach, ...]

    @property
    def live(self) -> int:
        return sum(pod.reach is ReachState.LIVE for pod in self.pods)

    @property
    def slowest_s(self) -> float | None:
        return max((pod.after_s for pod in self.pods if pod.after_s is not None), default=None)

    @property
    def settled(self) -> bool:
        return all(pod.reach in _SETTLED for pod in self.pods)

    def __str__(self) -> str:
        if not self.pods:
            return "no pod is connected"
        text = f"live on {self.live} of {len(self.pods)} pod{'s' if len(self.pods) != 1 else ''}"
        if self.slowest_s is not None:
            text += f", slowest {self.slowest_s:.1f} s"
        return text + self._without_understanding()

    def _without_understanding(self) -> str:
        names = [str(pod.pod) for pod in self.pods if pod.reach is ReachState.NOT_UNDERSTOOD]
        if not names:
            return ""
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        do, refuse = ("do", "refuse") if len(names) > 1 else ("does", "refuses")
        return f"; {', '.join(names[:NAMED])}{more} {do} not understand it and {refuse} what it covers"


def with_evictions(pods: QuerySet[Pod]) -> QuerySet[Any]:
    """Rows that know whether their certificate is refused (`evicted`)."""
    return pods.annotate(evicted=Exists(Eviction.objects.filter(certificate=OuterRef("certificate"))))


def serving() -> list[Pod]:
    """The pods that answer requests now, by what they said last."""
    recent = Pod.objects.filter(connected=True, last_heartbeat_at__gt=timezone.now() - SILENT_AFTER)
    ready = with_evictions(recent.filter(state=PodState.READY, nack_revision=0, problem="")).filter(evicted=False)
    return list(ready.order_by("name", "pod_id"))


def convergence(revision: int) -> Convergence:
    """Of a committed revision, over every pod that could have served since."""
    now, bound = timezone.now(), timedelta(seconds=_bound_s(revision))
    committed_at = ConfigChange.objects.filter(revision=revision).values_list("committed_at", flat=True).first()
    touched = set(ConfigChange.objects.filter(revision=revision).values_list("kind", "resource_id"))
    acked = _first_acks(revision, committed_at or now)
    epoch = changes.head().epoch
    present = Pod.objects.exclude(state=PodState.GONE).filter(last_heartbeat_at__gte=(committed_at or now) - bound)
    pods = []
    for pod in present.order_by("name", "pod_id"):
        if pod.epoch == epoch and pod.applied_revision >= revision:
            measured = committed_at is not None and committed_at > now - ACKS_KEPT and pod.first_seen_at <= committed_at
            reach = _with_it(pod, touched)
            timed = measured and pod.pod_id in acked and reach is ReachState.LIVE
            after = (acked[pod.pod_id] - committed_at).total_seconds() if timed and committed_at else None
            pods.append(PodReach(pod, reach, after, None))
        else:
            pods.append(_behind(pod, committed_at or now, now, bound))
    return Convergence(revision, committed_at, tuple(pods))


def _with_it(pod: Pod, touched: Collection[tuple[str, str]]) -> ReachState:
    """How a pod stands to a revision that it has applied."""
    if pod.not_understood_count is None:
        return ReachState.LIVE if all(kind in KNOWN_TO_ALL for kind, _ in touched) else ReachState.TOO_OLD
    named = {(item["kind"], item["id"]) for item in pod.not_understood}
    unknown = pod.not_understood_count > len(named) or not named.isdisjoint(touched)
    return ReachState.NOT_UNDERSTOOD if unknown else ReachState.LIVE


def _bound_s(revision: int) -> int:
    """After how long without news a pod refuses: the longest that an organization concerned has chosen."""
    concerned = ConfigChange.objects.filter(revision=revision).values_list("organization_id", flat=True)
    chosen = Organization.objects.filter(pk__in=concerned.distinct()).values_list("freshness_bound_s", flat=True)
    return max((bound or DEFAULT_BOUND_S for bound in chosen), default=DEFAULT_BOUND_S)


def _behind(pod: Pod, committed_at: datetime, now: datetime, bound: timedelta) -> PodReach:
    # It counts from when it sent the last heartbeat that was answered with "fresh": before that came in, and before any
    # answer that knew of the revision.
    closes = min(pod.last_heartbeat_at, committed_at + timedelta(seconds=FRESH_S)) + bound
    if closes <= now:
        return PodReach(pod, ReachState.FAILED_CLOSED, None, closes)
    if pod.nack_revision:
        return PodReach(pod, ReachState.REFUSED, None, closes)
    present = pod.connected and now - pod.last_heartbeat_at <= SILENT_AFTER
    return PodReach(pod, ReachState.WAITING if present else ReachState.UNREACHABLE, None, closes)


def _first_acks(revision: int, since: datetime) -> dict[str, datetime]:
    """When each pod first acknowledged the revision, or a later one that contains it."""
    acks = PodAck.objects.filter(revision__gte=revision, at__gte=since).values("pod_id").annotate(first=Min("at"))
    return dict(acks.values_list("pod_id", "first"))
