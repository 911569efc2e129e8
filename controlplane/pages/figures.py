"""Figures for pages: sums of the ledger by who and what and when, worded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from controlplane.keys.models import VirtualKey
from controlplane.pages.periods import lately
from controlplane.pages.wording import CLIENTS, count, dollars
from controlplane.tenancy.models import Principal, Project, Team
from controlplane.usage import queries
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import By

SPEND_DAYS = 30
BOARD_ROWS = 8


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a table of totals. `percent` of the largest spend, for the bar."""

    name: str
    url: str
    requests: str
    tokens: str
    spend: str
    percent: int


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something that usage is summed by: the ledger's column, its title, and where names come from."""

    by: By
    title: str
    rows: Any = None
    name: str = "name"
    empty: str = "unattributed"


DIMENSIONS = (
    Dimension(By.PERSON, "People", Principal.objects, "display_name"),
    Dimension(By.KEY, "Keys", VirtualKey.objects),
    Dimension(By.PROJECT, "Projects", Project.objects),
    Dimension(By.TEAM, "Teams", Team.objects),
    Dimension(By.MODEL, "Models", empty="no model"),
    Dimension(By.CLIENT, "Clients", empty="unknown"),
)


def shares(
    rows: QuerySet[UsageRecord],
    dimension: Dimension,
    requests_of: Callable[[dict[str, str]], str],
    most: int = BOARD_ROWS,
) -> list[Share]:
    """The dearest values of a dimension. `requests_of`: where the requests behind a figure are listed, given what
    narrows `rows` down to them.
    """
    totals = queries.totals(rows, dimension.by, most=most)
    names = names_of(dimension, [total.of for total in totals])
    dearest = max((total.cost_nano for total in totals), default=0)
    return [
        Share(
            names.get(total.of, total.of) or dimension.empty,
            requests_of({dimension.by.value: total.of}) if total.of else "",
            count(total.attempts),
            count(total.input_tokens + total.output_tokens),
            dollars(total.cost_nano),
            round(100 * total.cost_nano / dearest) if dearest else 0,
        )
        for total in totals
    ]


def names_of(dimension: Dimension, values: Iterable[str]) -> Mapping[str, str]:
    if dimension.by is By.CLIENT:
        return CLIENTS
    if dimension.rows is None:
        return {}
    return dict(dimension.rows.filter(pk__in=list(filter(None, values))).values_list("pk", dimension.name))


def spend_by_key(key_ids: Iterable[str]) -> Mapping[str, int]:
    """Nano-dollars of the last SPEND_DAYS."""
    rows = lately(UsageRecord.objects.filter(key_id__in=list(key_ids)), SPEND_DAYS)
    return {total.of: total.cost_nano for total in queries.totals(rows, By.KEY)}


@dataclass(frozen=True, slots=True)
class Moment:
    """One hour's or day's sums."""

    label: str
    requests: int
    cost_nano: int


def series(rows: QuerySet[UsageRecord], since: datetime, now: datetime, *, hourly: bool) -> list[Moment]:
    """Sums per hour or day of UTC from `since`, which begins one, to `now`; the empty ones included."""
    by_moment = {total.of: total for total in queries.totals(rows, By.HOUR if hourly else By.DAY)}
    line, at = [], since
    while at <= now:
        total = by_moment.get(at.isoformat() if hourly else at.date().isoformat())
        label = f"{at:%H:%M}" if hourly else f"{at:%d %b}"
        line.append(Moment(label, total.attempts if total else 0, total.cost_nano if total else 0))
        at += timedelta(hours=1) if hourly else timedelta(days=1)
    return line
