"""Background work on the ledger: thin, and each also a verb of `manage.py reconcile`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task

from controlplane.usage import asking, lost, reconcile

SCHEDULE: dict[str, dict[str, Any]] = {
    "usage: estimate attempts whose end never came": {
        "task": "usage.estimate_lost",
        "schedule": timedelta(seconds=30),
    },
    "usage: charge what was held for requests of silent pods": {
        "task": "usage.expire_silent",
        "schedule": timedelta(seconds=15),
    },
    "usage: ask providers for figures that nobody saw": {
        "task": "usage.ask_providers",
        "schedule": timedelta(minutes=1),
    },
    "usage: note when keys were used last": {"task": "usage.mark_used", "schedule": timedelta(seconds=30)},
    "usage: room for the coming months": {"task": "usage.make_months", "schedule": timedelta(hours=1)},
    "usage: forget records past their retention": {"task": "usage.forget_old", "schedule": timedelta(hours=1)},
}


@shared_task(name="usage.estimate_lost")
def estimate_lost() -> int:
    return lost.estimate_lost()


@shared_task(name="usage.expire_silent")
def expire_silent() -> int:
    return lost.expire_silent()


@shared_task(name="usage.ask_providers")
def ask_providers() -> int:
    return asking.ask_providers()


@shared_task(name="usage.mark_used")
def mark_used() -> int:
    return reconcile.mark_used()


@shared_task(name="usage.make_months")
def make_months() -> int:
    return reconcile.make_months()


@shared_task(name="usage.forget_old")
def forget_old() -> int:
    return reconcile.forget_old()
