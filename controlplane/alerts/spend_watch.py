"""Watches for people who spend much faster than usual.

The last hour is compared with the median of the same hour of the last fourteen days.
A floor in dollars keeps quiet about people whose usual hour is nothing. An alert is an episode: it ends when the pace
does, and while it lasts there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median_low
from typing import Any

from django.db.models import Q, QuerySet

from controlplane.alerts.models import Alert, AlertRule, AlertState, RuleKind
from controlplane.alerts.raising import Occurrence, begin, end
from controlplane.alerts.words import Times, money
from controlplane.budgets.sums import SaturatedSum
from controlplane.tenancy.models import Principal
from controlplane.usage.models import UsageRecord

DAYS = 14
HOUR = timedelta(hours=1)
CALM = Decimal("0.8")  # an episode ends below this part of what began it, so that it does not flicker
ROWS_AT_A_TIME = 200


@dataclass(frozen=True, slots=True)
class SpendPace:
    """One principal's last hour, and the hour that is usual at this time of day. Nano-dollars."""

    principal_id: str
    now_nano: int
    usual_nano: int

    def limit(self, rule: AlertRule) -> Decimal:
        """Returns what the hour may cost before the rule speaks."""
        return max(Decimal(self.usual_nano) * rule.factor, Decimal(rule.floor_nano))


def look(now: datetime) -> int:
    """Evaluate every rule about pace, and end what has calmed down. How many alerts began."""
    return sum(_look_for(rule, now) for rule in AlertRule.objects.filter(kind=RuleKind.SPEND_VELOCITY, enabled=True))


def _look_for(rule: AlertRule, now: datetime) -> int:
    rows = rows_of(rule)
    open_alerts = {
        alert.subject: alert for alert in Alert.objects.filter(rule_id=rule.pk, state=AlertState.OPEN).order_by("pk")
    }
    fast = {pace.principal_id: pace for pace in paces(rows, now, rule.floor_nano)}
    for subject, alert in open_alerts.items():
        pace = fast.get(subject)
        if pace is None or pace.now_nano < int(alert.data["asked_nano"]) * CALM:
            end(alert, "The last hour was calm again.")
    names = dict(Principal.objects.filter(pk__in=fast).values_list("pk", "display_name"))
    began = 0
    for pace in fast.values():
        if pace.principal_id not in open_alerts and pace.now_nano > pace.limit(rule):
            began += begin(rule, _occurrence(rule, pace, names, now)) is not None
    return began


def rows_of(rule: AlertRule) -> QuerySet[UsageRecord]:
    """The part of the ledger that a rule looks at."""
    rows = UsageRecord.objects.filter(organization_id=rule.organization_id)
    if rule.scope_id:
        columns = ("team_id", "project_id", "principal_id", "key_id")
        only = Q(pk__in=[])
        for column in columns:
            only |= Q(**{column: rule.scope_id})
        rows = rows.filter(only)
    return rows


def paces(rows: QuerySet[UsageRecord], now: datetime, floor_nano: int) -> Iterator[SpendPace]:
    """Everybody whose last hour cost something and at least four fifths of the floor."""
    last = rows.filter(_hour(now)).exclude(principal_id="").order_by().values("principal_id")
    least = max(1, int(floor_nano * CALM))
    spent = dict(
        last.annotate(cost=SaturatedSum("cost_nano")).filter(cost__gte=least).values_list("principal_id", "cost")
    )
    people = sorted(spent)
    for start in range(0, len(people), ROWS_AT_A_TIME):
        some = people[start : start + ROWS_AT_A_TIME]
        usual = _usual(rows.filter(principal_id__in=some), now)
        yield from (SpendPace(person, spent[person], usual.get(person, 0)) for person in some)


def _usual(rows: QuerySet[UsageRecord], now: datetime) -> dict[str, int]:
    """The median over the days, those without spending included."""
    hours = {f"day{day}": _hour(now - timedelta(days=day)) for day in range(1, DAYS + 1)}
    any_of_them = Q(pk__in=[])
    for hour in hours.values():
        any_of_them |= hour
    sums = {name: SaturatedSum("cost_nano", filter=hour) for name, hour in hours.items()}
    groups: Iterable[Mapping[str, Any]] = rows.filter(any_of_them).order_by().values("principal_id").annotate(**sums)
    return {group["principal_id"]: median_low(sorted(int(group[name]) for name in hours)) for group in groups}


def _hour(until: datetime) -> Q:
    return Q(started_at__gte=until - HOUR, started_at__lt=until)


def _occurrence(rule: AlertRule, pace: SpendPace, names: Mapping[str, str], now: datetime) -> Occurrence:
    name = names.get(pace.principal_id, pace.principal_id)
    return Occurrence(
        subject_kind="principal",
        subject=pace.principal_id,
        window_key=f"hour:{now:%Y-%m-%dT%H}",
        title=f"{name} spent {money(pace.now_nano)} in the last hour, {Times(pace.now_nano, pace.usual_nano)}",
        happened_at=now,
        facts=(
            ("Person", name),
            ("Last hour", money(pace.now_nano)),
            ("Usual at this hour", f"{money(pace.usual_nano)} (median of {DAYS} days)"),
            ("Told above", f"{rule.factor.normalize():f} × usual, at least {money(rule.floor_nano)}"),
        ),
        data={
            "principal_id": pace.principal_id,
            "spent_nano": pace.now_nano,
            "usual_nano": pace.usual_nano,
            "asked_nano": int(pace.limit(rule)),
        },
    )
