"""Saying it: claim a delivery, send, write down what came of it, and when to try again.

Tries are claimed in the database, so two workers do not say it at once; a worker that dies while it sends leaves a
claim that runs out, and the next one says it again under the same id.
"""

from __future__ import annotations

import logging
import random
from datetime import datetime, timedelta

from django.db.models import F
from django.utils import timezone

from controlplane.alerts import sealed
from controlplane.alerts.channels import CHANNELS, DeliveryOutcome, Destination, Event
from controlplane.alerts.models import Alert, Channel, Delivery, DeliveryEvent, DeliveryState
from controlplane.environment import environment
from controlplane.providers.vault import CannotUnseal

FIRST_WAIT_S, LONGEST_WAIT_S = 10, 3600
MOST_ATTEMPTS = 20  # about twelve hours
JITTER = 0.2  # a receiver that comes back is not met by everything at once
CLAIM = timedelta(seconds=120)  # longer than any channel takes

log = logging.getLogger(__name__)


def deliver(delivery_id: str) -> bool:
    """Try once, if it is due and nobody else is at it. Whether it has been delivered by this try."""
    now = timezone.now()
    waiting = Delivery.objects.filter(pk=delivery_id, state=DeliveryState.WAITING, next_try_at__lte=now)
    row = waiting.select_related("alert", "alert__organization").first()
    if row is None or _comes_after_its_beginning(row, now):
        return False
    claimed = waiting.filter(attempts=row.attempts).update(
        next_try_at=now + CLAIM, last_try_at=now, attempts=F("attempts") + 1, attempts_left=F("attempts_left") - 1
    )
    if not claimed:
        return False
    row.refresh_from_db(fields=["attempts", "attempts_left"])
    outcome = _say(row)
    _write_down(row, outcome)
    return outcome.ok


def due(now: datetime, most: int) -> list[str]:
    """Ids of deliveries whose time has come, the longest waiting first."""
    rows = Delivery.objects.filter(state=DeliveryState.WAITING, next_try_at__lte=now).order_by("next_try_at")
    return list(rows.values_list("pk", flat=True)[:most])


def wait_after(attempts: int, asked_s: int = 0, chance: float | None = None) -> timedelta:
    """Returns the wait after the n-th try: doubled, bounded, jittered; at least what the receiver asked, in bounds."""
    doubled = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempts - 1, 20))
    part = random.uniform(1 - JITTER, 1 + JITTER) if chance is None else 1 - JITTER + 2 * JITTER * chance
    return timedelta(seconds=max(doubled * part, min(asked_s, LONGEST_WAIT_S)))


def event_of(delivery: Delivery) -> Event:
    alert = delivery.alert
    return Event(
        id=delivery.pk,
        what=delivery.event,
        dedup_key=alert.pk,
        organization=alert.organization.name,
        rule=alert.rule_name,
        kind=alert.kind,
        severity=alert.severity,
        subject=alert.subject,
        title=alert.title,
        happened_at=alert.happened_at,
        facts=tuple((str(name), str(value)) for name, value in alert.facts) + _ending(alert, delivery),
        data={"alert_id": alert.pk, "window_key": alert.window_key, "threshold": alert.threshold, **alert.data},
        link=f"{environment().public_admin_url.rstrip('/')}/admin/alerts/alert/{alert.pk}/change/",
    )


def _ending(alert: Alert, delivery: Delivery) -> tuple[tuple[str, str], ...]:
    return (("Over because", alert.resolution),) if delivery.event == DeliveryEvent.RESOLVED else ()


def _comes_after_its_beginning(row: Delivery, now: datetime) -> bool:
    """An end waits for its beginning to be said; where that was given up, there is nothing to end."""
    if row.event != DeliveryEvent.RESOLVED:
        return False
    beginning = Delivery.objects.filter(
        alert_id=row.alert_id, channel_id=row.channel_id, event=DeliveryEvent.TRIGGERED
    ).first()
    if beginning is None or beginning.state == DeliveryState.DELIVERED:
        return False
    mine = Delivery.objects.filter(pk=row.pk, state=DeliveryState.WAITING)
    if beginning.state == DeliveryState.DEAD:
        mine.update(state=DeliveryState.DEAD, attempts_left=0, message="Its beginning was never delivered.")
    else:
        mine.update(next_try_at=max(beginning.next_try_at, now) + timedelta(seconds=1))
    return True


def _say(row: Delivery) -> DeliveryOutcome:
    channel = Channel.objects.filter(pk=row.channel_id).first()
    if channel is None or not channel.enabled:
        return DeliveryOutcome(False, "The channel is off or gone.", again=False)
    try:
        destination = Destination(channel.address, sealed.secret_of(channel))
    except CannotUnseal:
        return DeliveryOutcome(False, "The stored secret cannot be read; enter it again.")
    try:
        return CHANNELS[channel.kind].deliver(event_of(row), destination)
    except Exception as defect:
        log.exception("alert_delivery_defect delivery=%s channel=%s", row.pk, row.channel_id)
        return DeliveryOutcome(False, f"A defect of ours: {type(defect).__name__}.")


def _write_down(row: Delivery, outcome: DeliveryOutcome) -> None:
    now = timezone.now()
    # Only of the try that was claimed: a later claim has its own outcome.
    mine = Delivery.objects.filter(pk=row.pk, state=DeliveryState.WAITING, attempts=row.attempts)
    report = {"status": outcome.status, "message": outcome.message[:500]}
    if outcome.ok:
        mine.update(state=DeliveryState.DELIVERED, delivered_at=now, **report)
    elif outcome.again and row.attempts_left > 0:
        mine.update(next_try_at=now + wait_after(row.attempts, outcome.wait_s), **report)
    else:
        mine.update(state=DeliveryState.DEAD, attempts_left=0, **report)
        log.error(
            "alert_delivery_dead delivery=%s channel=%s attempts=%d status=%d",
            row.pk,
            row.channel_id,
            row.attempts,
            outcome.status,
        )
