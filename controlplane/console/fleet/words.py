"""A pod's state in words and pills."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.safestring import SafeString

from controlplane.fleet.models import Pod, PodState
from controlplane.fleet.register.queries import SILENT_AFTER, with_evictions
from controlplane.pages.cells import BAD, GOOD, INFO, PLAIN, WARN, pill
from controlplane.pages.wording import age, count

ITEMS_SHOWN = 5
CLOCK_ALARM_MS = 5_000  # as pods raise it


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
    if pod.problem and pod.state == PodState.READY:
        return "Not ready", BAD
    if pod.not_understood_count and pod.state == PodState.READY:
        return "Too old", BAD
    return {
        PodState.READY: ("Ready", GOOD),
        PodState.STALE: ("Stale", BAD),
        PodState.DRAINING: ("Draining", INFO),
    }.get(PodState(pod.state), ("Starting", INFO))


def clock_words(pod: Pod) -> str:
    """How wrong its host's clock is; "" while that is no alarm."""
    if abs(pod.clock_ahead_ms) <= CLOCK_ALARM_MS:
        return ""
    direction = "fast" if pod.clock_ahead_ms > 0 else "slow"
    seconds = count(round(abs(pod.clock_ahead_ms) / 1000))
    return f"Its host's clock is {seconds} s {direction}. The pod goes by the fleet's; set the host's clock (NTP)."


def problems(pod: Pod, now: datetime, *, with_ids: bool) -> str:
    """Everything that somebody should look at, the worst first; "" for nothing."""
    if pod.nack_revision:
        return f"Refuses revision {pod.nack_revision}: {pod.nack_problem}"
    problem = f"{pod.problem[:1].upper()}{pod.problem[1:]}." if pod.problem else ""
    words = (problem, misunderstanding(pod, now, with_ids=with_ids), clock_words(pod))
    return " ".join(word for word in words if word)


def misunderstanding(pod: Pod, now: datetime, *, with_ids: bool) -> str:
    """Says what the pod does not understand, and since when; "" for nothing. Ids are for who runs the installation."""
    if pod.not_understood_count is None and pod.applied_at is not None:
        return "It does not say what it does not understand, and ignores that. Upgrade the pod."
    if not pod.not_understood_count:
        return ""
    items = [
        f"{item['kind']} {item['id'] if with_ids else ''}".strip() + f" ({item['problem']})"
        for item in pod.not_understood[:ITEMS_SHOWN]
    ]
    more = pod.not_understood_count - len(items)
    listed = ", ".join(items) + (f" and {more} more" if more > 0 else "")
    since = f" since {age(pod.not_understood_since, now)}" if pod.not_understood_since is not None else ""
    keys = f"{count(pod.refused_keys)} key{'' if pod.refused_keys == 1 else 's'}"
    return f"Too old for {listed}{since}: it refuses {keys}, and what would go there. Upgrade the pod."


def pod_pill(pod: Pod, now: datetime) -> SafeString:
    return pill(*state_of(pod, now))
