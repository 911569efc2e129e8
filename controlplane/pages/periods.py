"""Stretches of days that pages look back over: today is one of them, days are of UTC."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import since

PERIODS: Final = (("1", "Today"), ("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("all", "All time"))
DEFAULT: Final = "7"
ALL: Final = "all"


def beginning(days: int, now: datetime | None = None) -> datetime:
    """The beginning of the first of the last `days` days."""
    midnight = (now or timezone.now()).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days - 1)


def lately(rows: QuerySet[UsageRecord], days: int, now: datetime | None = None) -> QuerySet[UsageRecord]:
    """The rows of the last `days` days."""
    return since(rows, beginning(days, now))
