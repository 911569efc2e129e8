"""Background work on alerts. The sweep finds whatever a bell that was not heard should have done."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from controlplane.alerts import (
    budget_watch,
    deliveries,
    figure_watch,
    provider_watch,
    raising,
    spend_watch,
    usage_watch,
)
from controlplane.celery import wake

SCHEDULE: dict[str, dict[str, Any]] = {
    "alerts: budgets, providers, and what is due": {"task": "alerts.sweep", "schedule": timedelta(seconds=10)},
    "alerts: spend velocity": {"task": "alerts.watch_spend", "schedule": timedelta(minutes=5)},
    "alerts: unpriced models and lost usage": {"task": "alerts.watch_usage", "schedule": timedelta(minutes=1)},
    "alerts: forget what is past its retention": {"task": "alerts.forget_old", "schedule": timedelta(hours=6)},
}
DUE_AT_A_TIME = 500
BY_HAND_S = 60.0  # how long a sweep delivers by itself when no worker hears the bell


@shared_task(name="alerts.sweep")
def sweep() -> int:
    """Evaluate budgets and providers, end what is over, see to it that everything due is delivered. How many were."""
    now = timezone.now()
    budget_watch.look(now)
    budget_watch.end_fallen(now)
    provider_watch.look(now)
    provider_watch.end_mended()
    raising.end_over(now)
    waiting = deliveries.due(timezone.now(), DUE_AT_A_TIME)
    deadline = time.monotonic() + BY_HAND_S
    broker_answers = True
    for delivery_id in waiting:
        broker_answers = broker_answers and wake("alerts.deliver", delivery_id)
        if not broker_answers and time.monotonic() < deadline:
            deliver(delivery_id)
    return len(waiting)


@shared_task(name="alerts.deliver")
def deliver(delivery_id: str) -> bool:
    return deliveries.deliver(delivery_id)


@shared_task(name="alerts.watch_spend")
def watch_spend() -> int:
    return spend_watch.look(timezone.now())


@shared_task(name="alerts.watch_usage")
def watch_usage() -> int:
    now = timezone.now()
    return usage_watch.look(now) + figure_watch.look(now)


@shared_task(name="alerts.forget_old")
def forget_old() -> int:
    return raising.forget_old(timezone.now())
