"""Background work on prices."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task

from controlplane.changes.actor import Actor
from controlplane.providers.prices import bring_up_to_date

SCHEDULE: dict[str, dict[str, Any]] = {
    "providers: price lists": {"task": "providers.compile_price_lists", "schedule": timedelta(minutes=1)},
}


@shared_task(name="providers.compile_price_lists")
def compile_price_lists() -> int:
    """Compile the price lists that are missing or stale. How many changed."""
    return bring_up_to_date(by=Actor.system("providers.compile_price_lists"))
