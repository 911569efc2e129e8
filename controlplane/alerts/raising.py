"""An alert begins, an alert ends: the row, and what is to be said about it, in one transaction; then the bell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.utils import timezone

from controlplane.alerts.channels import CHANNELS
from controlplane.alerts.deliveries import MOST_ATTEMPTS
from controlplane.alerts.models import Alert, AlertRule, AlertState, Channel, Delivery, DeliveryEvent
from controlplane.celery import wake
from controlplane.environment import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """The finding of a rule. One alert per subject, window and threshold, however often it is found."""

    subject_kind: str
    subject: str
    window_key: str
    title: str
    happened_at: datetime
    threshold: int = 0
    ends_at: datetime | None = None
    facts: Sequence[tuple[str, str]] = ()
    data: Mapping[str, object] = field(default_factory=dict)


def begin(rule: AlertRule, occurrence: Occurrence) -> Alert | None:
    """The new alert; None when it was there already."""
    with transaction.atomic():
        alert, is_new = Alert.objects.get_or_create(
            rule_id=rule.pk,
            subject=occurrence.subject,
            window_key=occurrence.window_key,
            threshold=occurrence.threshold,
            defaults={
                "organization_id": rule.organization_id,
                "rule_name": rule.name,
                "kind": rule.kind,
                "severity": rule.severity,
                "subject_kind": occurrence.subject_kind,
                "title": occurrence.title[:300],
                "facts": [list(fact) for fact in occurrence.facts],
                "data": dict(occurrence.data),
                "happened_at": occurrence.happened_at,
                "ends_at": occurrence.ends_at,
            },
        )
        if not is_new:
            return None
        channels = Channel.objects.filter(organization_id=rule.organization_id, pk__in=rule.channels, enabled=True)
        _announce(alert, channels, DeliveryEvent.TRIGGERED)
    return alert


def end(alert: Alert, why: str, at: datetime | None = None) -> bool:
    """Closes an open alert; False if it was closed before.

    Channels that keep incidents are told, if they were told of its beginning.
    """
    with transaction.atomic():
        closed = Alert.objects.filter(pk=alert.pk, state=AlertState.OPEN).update(
            state=AlertState.RESOLVED, resolved_at=at or timezone.now(), resolution=why[:200]
        )
        if not closed:
            return False
        receivers = alert.deliveries.filter(event=DeliveryEvent.TRIGGERED).values("channel_id")
        kinds = [kind for kind, channel in CHANNELS.items() if channel.says_resolved]
        channels = Channel.objects.filter(pk__in=receivers, kind__in=kinds, enabled=True)
        _announce(alert, channels, DeliveryEvent.RESOLVED)
    return True


def end_over(now: datetime) -> int:
    """Alerts whose window has ended, and those of rules that are gone or off. How many."""
    alive = AlertRule.objects.filter(enabled=True).values("pk")
    ended = Alert.objects.filter(state=AlertState.OPEN, ends_at__lte=now)
    orphans = Alert.objects.filter(state=AlertState.OPEN).exclude(rule_id__in=alive)
    return sum(end(alert, "Its window has ended.", alert.ends_at) for alert in ended[:500]) + sum(
        end(alert, "Its rule is off or gone.") for alert in orphans[:500]
    )


def _announce(alert: Alert, channels: Iterable[Channel], event: DeliveryEvent) -> None:
    deliveries = [
        Delivery(
            organization_id=alert.organization_id,
            alert=alert,
            channel_id=channel.pk,
            channel_name=channel.name,
            channel_kind=channel.kind,
            event=event,
            attempts_left=MOST_ATTEMPTS,
            # An end never overtakes its beginning.
            next_try_at=timezone.now() + (timedelta(seconds=1) if event is DeliveryEvent.RESOLVED else timedelta()),
        )
        for channel in channels
    ]
    Delivery.objects.bulk_create(deliveries)
    for delivery in deliveries:
        transaction.on_commit(partial(wake, "alerts.deliver", delivery.pk))


def forget_old(now: datetime) -> int:
    """Delete alerts, and with them their deliveries, as old as the oldest usage. How many rows."""
    before = now - timedelta(days=environment().usage_retention_days)
    old = Alert.objects.filter(created_at__lt=before, state=AlertState.RESOLVED)
    forgotten = 0
    while some := list(old.values_list("pk", flat=True)[:500]):
        forgotten += Alert.objects.filter(pk__in=some).delete()[0]
    return forgotten
