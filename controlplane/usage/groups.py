"""All groups of a sum, page by page: none is left out, and the pages add up to the whole.

A walk counts the records that had been received when it began. Ordered by `of`, each group comes exactly once whatever
is booked meanwhile; ordered by cost, a group whose running requests end meanwhile may change its place.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from django.db.models import F, Model, Q, QuerySet
from django.db.models.functions import TruncDate, TruncHour
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.keys.models import VirtualKey
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization, Principal, Project, Team
from controlplane.tenancy.permissions import Verb, organizations_of
from controlplane.tenancy.queries import for_actor
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import LARGEST_PAGE, SUMS, By, Total, sums_of, total

# Where the name of a group comes from.
NAMED: Mapping[By, tuple[type[Model], Verb, str]] = {
    By.ORGANIZATION: (Organization, Verb.ORGANIZATION_VIEW, "name"),
    By.TEAM: (Team, Verb.TEAM_VIEW, "name"),
    By.PROJECT: (Project, Verb.PROJECT_VIEW, "name"),
    By.PERSON: (Principal, Verb.PRINCIPAL_VIEW, "display_name"),
    By.KEY: (VirtualKey, Verb.KEY_VIEW, "name"),
    By.PROVIDER: (Provider, Verb.PROVIDER_VIEW, "name"),
}
IN_TIME = frozenset({By.DAY, By.HOUR})


class Order(StrEnum):
    COST = "cost"  # the dearest first
    OF = "of"


@dataclass(frozen=True, slots=True)
class Mark:
    """The last group of a page, and until when records count; opaque text outside."""

    by: By
    order: Order
    received_until: datetime
    cost: int
    attempts: int
    of: str

    def __str__(self) -> str:
        text = json.dumps({**asdict(self), "received_until": self.received_until.isoformat()}).encode()
        return base64.urlsafe_b64encode(text).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, by: By, order: Order) -> Mark:
        """Raises ValueError, for a mark of another walk too."""
        try:
            fields = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            until, of = datetime.fromisoformat(fields["received_until"]), str(fields["of"])
            mark = cls(
                By(fields["by"]), Order(fields["order"]), until, int(fields["cost"]), int(fields["attempts"]), of
            )
        except (binascii.Error, ValueError, TypeError, KeyError) as problem:
            raise ValueError("not a mark") from problem
        if until.tzinfo is None or (mark.by, mark.order) != (by, order) or "\0" in of:
            raise ValueError("not a mark of this walk")
        if max(abs(mark.cost), abs(mark.attempts)) >= 2**63:
            raise ValueError("not a mark")
        _value(by, of)
        return mark


@dataclass(frozen=True, slots=True)
class GroupPage:
    """`next` is None on the last page."""

    total: Total
    groups: tuple[Total, ...]
    next: Mark | None


def page(
    rows: QuerySet[UsageRecord], by: By, *, order: Order = Order.COST, after: Mark | None = None, size: int
) -> GroupPage:
    """Days and hours come in their own order always."""
    until = after.received_until if after is not None else timezone.now()
    rows = rows.filter(received_at__lte=until).order_by()
    size = max(1, min(size, LARGEST_PAGE))
    rows_of_page = list(_walked(rows, by, order, after)[: size + 1])
    groups = tuple(sums_of(_text(group["of"]), group) for group in rows_of_page[:size])
    last = groups[-1] if len(rows_of_page) > size else None
    mark = None if last is None else Mark(by, order, until, last.cost_nano, last.attempts, last.of)
    return GroupPage(total(rows), groups, mark)


def _walked(rows: QuerySet[Any, Any], by: By, order: Order, after: Mark | None) -> QuerySet[Any, Any]:
    named: QuerySet[Any, Any] = rows.annotate(of=_of(by))
    in_order = order is Order.OF or by in IN_TIME
    if after is not None and in_order:
        named = named.filter(of__gt=_value(by, after.of))
    groups: QuerySet[Any, Any] = named.values("of").annotate(**SUMS)
    if in_order:
        groups = groups.order_by("of")
    else:
        if after is not None:
            groups = groups.filter(_behind(after))
        groups = groups.order_by("-cost", "-attempts", "of")
    return groups


def _behind(mark: Mark) -> Q:
    same = Q(cost=mark.cost)
    fewer = same & Q(attempts__lt=mark.attempts)
    return Q(cost__lt=mark.cost) | fewer | same & Q(attempts=mark.attempts, of__gt=mark.of)


def _of(by: By) -> Any:
    match by:
        case By.DAY:
            return TruncDate("started_at", tzinfo=UTC)
        case By.HOUR:
            return TruncHour("started_at", tzinfo=UTC)
    return F(by.value)


def _value(by: By, of: str) -> object:
    """Raises ValueError."""
    match by:
        case By.DAY:
            return date.fromisoformat(of)
        case By.HOUR:
            return datetime.fromisoformat(of)
    return of


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def names(actor: Actor, by: By, ids: Iterable[str]) -> dict[str, str]:
    """What the groups are called, as far as the actor may see them; what is no id is its own name."""
    wanted = list(ids)
    if by not in NAMED:
        return {of: of for of in wanted}
    model, verb, column = NAMED[by]
    if model is Organization:
        rows: QuerySet[Any] = organizations_of(actor)
    else:
        rows = for_actor(actor, model._default_manager.all(), verb)
    return dict(rows.filter(pk__in=[of for of in wanted if of]).values_list("pk", column))
