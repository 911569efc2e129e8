"""Rows that only grow in number are kept by month: which month is said by the id of their request, and nothing else.

A pod mints an id from its clock (`dataplane/core/request_ids.py`), so every row about a request is in the same month,
whenever it comes, and (request, month) is as unique as the request alone: what PostgreSQL demands of a partitioned
table costs nothing. Ids that carry no time are strays, all in one month before any other.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.db import models

STRAYS: Final = date(1970, 1, 1)
MINTED: Final = re.compile(r"req_([0-9a-f]{12})[0-9a-f]{18}")
_EARLIEST_MS, _LATEST_MS = 1_577_836_800_000, 4_102_444_800_000  # 2020, 2100: outside, a clock is broken


def month_of(request_id: str) -> date:
    """The first day, in UTC, of the month in which the id was minted."""
    minted = MINTED.fullmatch(request_id)
    if minted is None or not _EARLIEST_MS <= (ms := int(minted[1], 16)) < _LATEST_MS:
        return STRAYS
    return first_day(datetime.fromtimestamp(ms / 1000, UTC))


def first_day(at: datetime | date) -> date:
    return date(at.year, at.month, 1)


def later(month: date, by: int = 1) -> date:
    number = month.year * 12 + month.month - 1 + by
    return date(number // 12, number % 12 + 1, 1)


def started_between(since: datetime | None, until: datetime | None) -> models.Q:
    """Where rows can be that say they started in [since, until): a month of doubt on both sides for a pod's clock that
    was set while a request ran. Strays may say anything."""
    q = models.Q()
    if since is not None:
        q &= models.Q(month__gte=later(first_day(since.astimezone(UTC)), -1))
    if until is not None:
        q &= models.Q(month__lte=later(first_day((until - timedelta(microseconds=1)).astimezone(UTC))))
    return q | models.Q(month=STRAYS) if q else q


class MonthField(models.DateField):  # type: ignore[type-arg]
    """The month of the row's `request_id`: found when the row is inserted, never given."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("default", STRAYS)
        super().__init__(editable=False, **{name: value for name, value in options.items() if name != "editable"})

    def pre_save(self, model_instance: models.Model, add: bool) -> date:
        month = month_of(model_instance.request_id)  # type: ignore[attr-defined]
        setattr(model_instance, self.attname, month)
        return month
