"""What the console says about a pod's state."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.safestring import SafeString

from controlplane.console.cells import BAD, GOOD, INFO, PLAIN, WARN, pill
from controlplane.fleet.models import Pod, PodState
from controlplane.fleet.queries import SILENT_AFTER, with_evictions


def with_successors(rows: QuerySet[Pod]) -> QuerySet[Any]:
    """Rows that know whether a newer process bears their name: the old one was restarted, however it ended."""
    newer = Pod.objects.filter(name=OuterRef("name"), first_seen_at__gt=OuterRef("first_seen_at"), connected=True)
    return with_evictions(rows.annotate(replaced=Exists(newer)))


def state_of(pod: Pod, now: datetime) -> tuple[str, str]:
    """(word, tone): what the pod said last, unless it has fallen silent or cannot apply what it was sent."""
    if pod.state == PodState.GONE:
        return "Gone", PLAIN
    if getattr(pod, "evicted", False):
        return "Evicted", BAD
    if not pod.connected and getattr(pod, "replaced", False):
        return "Replaced", PLAIN
    if pod.nack_revision:
        return "Refuses configuration", BAD
    if not pod.connected or now - pod.last_heartbeat_at > SILENT_AFTER:
        return "Unreachable", WARN
    return {
        PodState.READY: ("Ready", GOOD),
        PodState.STALE: ("Stale", BAD),
        PodState.DRAINING: ("Draining", INFO),
    }.get(PodState(pod.state), ("Starting", INFO))


def pod_pill(pod: Pod, now: datetime) -> SafeString:
    return pill(*state_of(pod, now))
