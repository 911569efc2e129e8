"""Background work on the fleet's operational rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from controlplane.fleet.models import Pod, PodAck, PodState
from controlplane.fleet.register.queries import ACKS_KEPT

PODS_KEPT = timedelta(hours=24)  # long enough to be asked about, short enough for autoscaled fleets
ENDED_KEPT = timedelta(hours=1)  # those that said so, and those whose name a newer process bears: nobody looks for them

SCHEDULE: dict[str, dict[str, Any]] = {
    "fleet: forget pods and acknowledgements of the past": {"task": "fleet.prune", "schedule": timedelta(minutes=10)},
}


@shared_task(name="fleet.prune")
def prune() -> int:
    """How many rows were forgotten."""
    now = timezone.now()
    acks, _ = PodAck.objects.filter(at__lt=now - ACKS_KEPT).delete()
    pods, _ = Pod.objects.filter(last_heartbeat_at__lt=now - PODS_KEPT, connected=False).delete()
    ended, _ = _ended().filter(last_heartbeat_at__lt=now - ENDED_KEPT, connected=False).delete()
    # A replica that was killed leaves its pods marked as connected.
    lost, _ = Pod.objects.filter(last_heartbeat_at__lt=now - 2 * PODS_KEPT).delete()
    return int(acks + pods + ended + lost)


def _ended() -> QuerySet[Pod]:
    newer = Pod.objects.filter(name=OuterRef("name"), first_seen_at__gt=OuterRef("first_seen_at"), connected=True)
    return Pod.objects.filter(Q(state=PodState.GONE) | Exists(newer))
