"""Spools of pods as they are reported: how far each has come, and whose it is.

A pod that finds a dead one's spool on its volume reports it under its name. Nobody writes into a spool whose pod lives:
its numbers would have holes that are none, and none where there are.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from datetime import datetime, timedelta

from django.db.models import Max

from controlplane.fleet.models import Pod, PodState
from controlplane.usage.models import ReportSession
from controlplane.usage.sequence import Received
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

# Without a word for so long a pod spends nothing by itself any more, and its spool may be another's.
DEAD_AFTER = timedelta(seconds=60)


class SpoolOfAnother(Exception):
    """The batch is for the spool of a pod that lives, and comes from another one."""


def receive(batch: wire.UsageBatch, through: int, identity: str, now: datetime) -> Set[str]:
    """Note that this much of the batch has come. Locks its report session, so that batches of one spool follow each
    other.

    Returns whose leases its records may have been held on: the reporting pod's, and those of the pod that began it.
    Raises SpoolOfAnother.
    """
    session, is_new = ReportSession.objects.get_or_create(
        session_id=batch.session_id,
        defaults={
            "pod_id": batch.pod_id, "identity": identity, "opened_by": identity, "first_at": now, "last_at": now,
        },
    )  # fmt: skip
    session = ReportSession.objects.select_for_update().get(pk=session.pk)
    if is_new:
        _demand_not_announced_by_another(batch.session_id, identity, now)
    elif session.identity != identity and _lives(session, now):
        raise SpoolOfAnother
    before = Received(session.through_seq, tuple((start, end) for start, end in session.gaps), session.missing)
    after = before.plus(batch.first_seq, through)
    if after.missing > before.missing:
        log.error("usage_gap session=%s pod=%s missing=%s", batch.session_id, session.pod_id, after.missing)
    session.through_seq, session.missing = after.through, after.missing
    session.gaps = [list(gap) for gap in after.gaps]
    session.pod_id, session.identity, session.last_at = batch.pod_id, identity, now
    session.save(update_fields=["pod_id", "identity", "through_seq", "gaps", "missing", "last_at"])
    return {identity, session.opened_by}


def _demand_not_announced_by_another(session_id: str, identity: str, now: datetime) -> None:
    """A pod names its spool when it says hello, before anything of it comes."""
    first = Pod.objects.filter(session_id=session_id).order_by("first_seen_at", "pk").first()
    if first is not None and first.identity != identity and _is_heard_of(first, now):
        raise SpoolOfAnother


def _lives(session: ReportSession, now: datetime) -> bool:
    pods = list(Pod.objects.filter(session_id=session.pk, identity=session.identity))
    if not pods:  # it reports, and never said hello
        return session.last_at > now - DEAD_AFTER
    return any(_is_heard_of(pod, now) for pod in pods)


def _is_heard_of(pod: Pod, now: datetime) -> bool:
    """Silence counts against what others have said since: with the fleet itself away, all are silent and none dead."""
    newest = Pod.objects.aggregate(at=Max("last_heartbeat_at"))["at"] or now
    return pod.state != PodState.GONE and pod.last_heartbeat_at > newest - DEAD_AFTER
