"""The verb on deliveries: once more."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from controlplane.alerts.deliveries import MOST_ATTEMPTS
from controlplane.alerts.models import Delivery, DeliveryState
from controlplane.celery import wake
from controlplane.changes.actor import Actor
from controlplane.changes.audit import Draft
from controlplane.changes.change_set import change_set
from controlplane.changes.row import AuditTarget
from controlplane.tenancy.permissions import Verb, require


def redeliver(delivery: Delivery, *, by: Actor) -> Delivery:
    """Send it again, with the same id, whatever became of it: a receiver that has seen it can tell."""
    require(by, Verb.ALERT_TEST, delivery)
    with change_set(by) as change:
        row = Delivery.objects.select_for_update().get(pk=delivery.pk)
        if row.state == DeliveryState.WAITING and row.next_try_at > timezone.now() and not row.message:
            raise ValidationError("It is being sent at this moment.")
        row.state, row.attempts_left, row.next_try_at = DeliveryState.WAITING, MOST_ATTEMPTS, timezone.now()
        row.save(update_fields=["state", "attempts_left", "next_try_at"])
        target = AuditTarget("alert_delivery", row.pk, str(row))
        change.note(Draft("alert_delivery.sent_again", target, row.organization_id, {}, {}))
    transaction.on_commit(lambda: wake("alerts.deliver", row.pk))
    return row
