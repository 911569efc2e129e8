"""What people do to the fleet: evict a pod, whose certificate is then refused."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.changes.audit import Draft
from controlplane.changes.change_set import change_set
from controlplane.changes.row import AuditTarget
from controlplane.fleet.models import Eviction, Pod
from controlplane.tenancy.permissions import Verb, require_operator


def evict(pod: Pod, *, by: Actor, reason: str = "") -> Eviction:
    """Every replica ends what the certificate has open within 5 s, and refuses it from then on. Evicting twice is once.

    The pod goes on with what it knows until it fails closed. Raises Forbidden, ValidationError.
    """
    require_operator(by, Verb.FLEET_CHANGE)
    if not pod.certificate:
        raise ValidationError("The pod showed no certificate, so there is none to refuse.")
    with change_set(by) as change:
        eviction, new = Eviction.objects.get_or_create(
            certificate=pod.certificate,
            defaults={"identity": pod.identity, "pod_id": pod.pod_id, "reason": reason[:200], "at": timezone.now()},
        )
        if new:
            after = {"identity": pod.identity, "certificate": pod.certificate}
            target = AuditTarget("pod", pod.pod_id, pod.name)
            change.note(Draft("pod.evicted", target, "", {}, after, {"reason": reason[:200]}))
    return eviction
