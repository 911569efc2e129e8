"""Reads of the ledger: browse by time, filter, sum by whom or what or day. Ids in, ids out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Count, Exists, Func, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import TruncDate, TruncHour

from controlplane.budgets.models import Charge
from controlplane.budgets.months import month_of, started_between
from controlplane.budgets.sums import SaturatedSum
from controlplane.changes.actor import Actor
from controlplane.tenancy.models import Principal
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import within
from controlplane.tenancy.scope import Scope
from controlplane.usage.models import UsageRecord
from dataplane.core.usage import Outcome

LARGEST_PAGE = 500


def visible_to(actor: Actor) -> QuerySet[UsageRecord]:
    """The records that exist for the actor: the organization's, the team's, or the person's own."""
    login = Principal.objects.filter(pk=OuterRef("principal_id")).values("user_id")[:1]
    rows = UsageRecord.objects.alias(login=Subquery(login))
    return within(actor, rows, Verb.USAGE_VIEW, Scope("organization_id", "team_id", "login"))


def charged_to(rows: QuerySet[UsageRecord], account_id: int) -> QuerySet[UsageRecord]:
    """Those that took money from an account of a budget: what its figure is made of."""
    charges = Charge.objects.filter(
        account=account_id, request_id=OuterRef("request_id"), month=OuterRef("month"), attempt=OuterRef("attempt")
    )
    return rows.filter(Exists(charges))


def tagged(rows: QuerySet[UsageRecord], tag: str) -> QuerySet[UsageRecord]:
    """Those that carry the tag, exactly."""
    if connection.features.supports_json_field_contains:
        return rows.filter(tags__contains=[tag])
    one_is = Func(
        "tags", Value(tag), arg_joiner=") AS one WHERE one.value = (", output_field=BooleanField(),
        template="EXISTS (SELECT 1 FROM json_each(%(expressions)s))",
    )  # fmt: skip
    return rows.filter(one_is)


def since(rows: QuerySet[UsageRecord], moment: datetime) -> QuerySet[UsageRecord]:
    """Those that started at the moment or later; reads only the months in which they can be."""
    return rows.filter(started_between(moment, None), started_at__gte=moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Empty: not asked for. Times are of the attempt's start, `until` exclusive."""

    since: datetime | None = None
    until: datetime | None = None
    organization_id: str = ""
    team_id: str = ""
    project_id: str = ""
    principal_id: str = ""
    key_id: str = ""
    provider_id: str = ""
    model: str = ""
    client: str = ""
    session: str = ""
    outcome: str = ""
    state: str = ""
    source: str = ""
    why: str = ""
    unconfirmed: bool | None = None
    request_id: str = ""
    trace_id: str = ""

    def apply(self, rows: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        exact = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("since", "until")
        }
        rows = rows.filter(
            started_between(self.since, self.until),
            **{name: value for name, value in exact.items() if value not in ("", None)},
        )
        if self.request_id:
            rows = rows.filter(month=month_of(self.request_id))
        if self.since is not None:
            rows = rows.filter(started_at__gte=self.since)
        if self.until is not None:
            rows = rows.filter(started_at__lt=self.until)
        return rows


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page; opaque text outside."""

    started_at: datetime
    id: str

    def __str__(self) -> str:
        text = json.dumps([self.started_at.isoformat(), self.id]).encode()
        return base64.urlsafe_b64encode(text).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises ValueError."""
        try:
            started_at, id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(datetime.fromisoformat(started_at), str(id))
        except (binascii.Error, ValueError, TypeError, UnicodeError) as problem:
            raise ValueError("not a cursor") from problem
        if cursor.started_at.tzinfo is None:
            raise ValueError("not a cursor")
        return cursor


@dataclass(frozen=True, slots=True)
class RecordPage:
    """`next` is None on the last page."""

    rows: tuple[UsageRecord, ...]
    next: Cursor | None


def page(rows: QuerySet[UsageRecord], *, after: Cursor | None = None, size: int = 50) -> RecordPage:
    """Newest first. Rows that arrive meanwhile move nothing that was not read yet."""
    size = max(1, min(size, LARGEST_PAGE))
    if after is not None:
        earlier = Q(started_at__lt=after.started_at) | Q(started_at=after.started_at, id__lt=after.id)
        rows = rows.filter(earlier, started_at__lte=after.started_at)  # the index knows where that begins
    records = list(rows.order_by("-started_at", "-id")[: size + 1])
    more = len(records) > size
    last = records[size - 1] if more else None
    return RecordPage(tuple(records[:size]), None if last is None else Cursor(last.started_at, last.id))


def in_pages(rows: QuerySet[UsageRecord], size: int) -> Iterator[tuple[UsageRecord, ...]]:
    """All of them, newest first, never more than a page in memory; no page, if there is none."""
    after: Cursor | None = None
    while True:
        present = page(rows, after=after, size=size)
        if present.rows:
            yield present.rows
        if present.next is None:
            return
        after = present.next


class By(StrEnum):
    """What is summed by."""

    ORGANIZATION = "organization_id"
    TEAM = "team_id"
    PROJECT = "project_id"
    PERSON = "principal_id"
    KEY = "key_id"
    PROVIDER = "provider_id"
    MODEL = "model"
    CLIENT = "client"
    DAY = "day"  # of UTC
    HOUR = "hour"


@dataclass(frozen=True, slots=True)
class Total:
    """Sums of one group. `attempts` counts each once, `refused` those that we refused; money in nano-dollars."""

    of: str
    attempts: int
    refused: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_nano: int
    unconfirmed: int  # attempts of which the provider did not say what they cost
    unconfirmed_cost_nano: int


SUMS = {
    "attempts": Count("pk", filter=Q(correction=False)),
    "refused": Count("pk", filter=Q(correction=False, outcome=Outcome.REFUSED.value)),
    "input": SaturatedSum("input_tokens"),
    "cached": SaturatedSum("cached_tokens"),
    "output": SaturatedSum("output_tokens"),
    "cost": SaturatedSum("cost_nano"),
    "unsure": Count("pk", filter=Q(correction=False, unconfirmed=True)),
    "unsure_cost": SaturatedSum("cost_nano", filter=Q(unconfirmed=True)),
}


def totals(rows: QuerySet[UsageRecord], by: By, *, most: int = LARGEST_PAGE) -> list[Total]:
    """The groups with the greatest cost first; days and hours in order, those without any record left out."""
    if by in (By.DAY, By.HOUR):
        trunc = TruncDate if by is By.DAY else TruncHour
        groups = rows.order_by().annotate(of=trunc("started_at", tzinfo=UTC)).values("of").annotate(**SUMS)
        return _totals(groups.order_by("of")[:most])
    groups = rows.order_by().values(by.value).annotate(**SUMS)
    return _totals(groups.order_by("-cost", "-attempts", by.value)[:most], by.value)


def total(rows: QuerySet[UsageRecord]) -> Total:
    """Of all of them."""
    return sums_of("", rows.order_by().aggregate(**SUMS))


def people(rows: QuerySet[UsageRecord]) -> int:
    """How many have at least one record."""
    return rows.order_by().exclude(principal_id="").values("principal_id").distinct().count()


def _totals(groups: Iterable[Any], column: str = "of") -> list[Total]:
    return [sums_of(_text(group[column]), group) for group in groups]


def sums_of(of: str, sums: dict[str, object]) -> Total:
    numbers = {name: int(str(sums[name] or 0)) for name in SUMS}
    return Total(
        of,
        numbers["attempts"],
        numbers["refused"],
        numbers["input"],
        numbers["cached"],
        numbers["output"],
        numbers["cost"],
        numbers["unsure"],
        numbers["unsure_cost"],
    )


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
