"""Budgets that reach a part of their limit: told once per window and limit, over when the window is or the limit grows.

Two sources that complete each other: the books' crossings (which remember what has been mended meanwhile), and the
accounts as they stand (which know percentages that no budget watches itself, and those that are above already when a
rule is made).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, FloatField, Q, QuerySet
from django.db.models.functions import Cast

from controlplane.alerts.models import About, Alert, AlertRule, AlertState, RuleKind
from controlplane.alerts.raising import Occurrence, begin, end
from controlplane.alerts.words import money, percent_of
from controlplane.budgets.models import Account, Budget, Crossing, Override, ScopeKind, Window
from controlplane.budgets.sums import SaturatedSum
from controlplane.tenancy.models import Principal

LOOK_BACK = timedelta(days=7)  # longer than anybody lets the workers be away
ROWS_AT_A_TIME = 500

_KINDS: Mapping[str, tuple[ScopeKind, ...]] = {
    About.ANY: tuple(ScopeKind),
    About.ORGANIZATION: (ScopeKind.ORGANIZATION,),
    About.TEAM: (ScopeKind.TEAM,),
    About.PROJECT: (ScopeKind.PROJECT,),
    About.PERSON: (ScopeKind.PRINCIPAL, ScopeKind.GROUP),  # a group's budget is one allowance per member
    About.VIRTUAL_KEY: (ScopeKind.VIRTUAL_KEY,),
}

_ENDLESS = (Window.TOTAL, Window.MANUAL)


@dataclass(frozen=True, slots=True)
class ThresholdReached:
    """A threshold that an account has reached, whoever says so."""

    budget: Budget
    member_id: str
    window_key: str
    threshold: int
    settled_nano: int
    limit_nano: int
    at: datetime
    ends_at: datetime | None

    @property
    def subject(self) -> str:
        return f"{self.budget.pk}/{self.member_id}"


def look(now: datetime) -> int:
    """Evaluate every rule about budgets. How many alerts began."""
    rules = AlertRule.objects.filter(kind=RuleKind.BUDGET_THRESHOLD, enabled=True)
    return sum(_look_for(rule, now) for rule in rules.order_by("pk"))


def _look_for(rule: AlertRule, now: datetime) -> int:
    budgets = {budget.pk: budget for budget in covered(rule)}
    if not budgets:
        return 0
    since = max(rule.armed_at, now - LOOK_BACK)
    events = [*_crossed(rule, budgets, since), *_above(rule, budgets, since, now)]
    names = _names(events)
    begun = 0
    for event, key, open_alerts in _new(rule, events):
        begun += begin(rule, _occurrence(event, key, names)) is not None
        for alert in open_alerts:
            end(alert, f"Reached again, under a limit of {money(event.limit_nano)}.")
    return begun


def covered(rule: AlertRule) -> QuerySet[Budget]:
    """The budgets that a rule is about."""
    rows: QuerySet[Budget] = Budget.objects.filter(
        organization_id=rule.organization_id, enabled=True, scope_kind__in=_KINDS[rule.about]
    )
    if rule.window:
        rows = rows.filter(window=rule.window)
    if rule.scope_id:
        rows = rows.filter(Q(pk=rule.scope_id) | Q(scope_id=rule.scope_id) | Q(scope_kind=ScopeKind.GROUP))
    return rows


def _about_member(rule: AlertRule, budget: Budget, member_id: str) -> bool:
    """A group's budget is asked for by itself, by its group, or by one member."""
    return rule.scope_id in ("", budget.pk, budget.scope_id, member_id)


def _crossed(rule: AlertRule, budgets: Mapping[str, Budget], since: datetime) -> Iterator[ThresholdReached]:
    rows = Crossing.objects.filter(organization_id=rule.organization_id, at__gte=since, budget_id__in=budgets)
    if rule.threshold is not None:
        rows = rows.filter(threshold=rule.threshold)
    for row in rows.select_related("account").order_by("at", "pk").iterator(chunk_size=ROWS_AT_A_TIME):
        if _about_member(rule, budgets[row.budget_id], row.member_id):
            yield ThresholdReached(
                budgets[row.budget_id], row.member_id, row.window_key, row.threshold,
                row.settled_nano, row.limit_nano, row.at, row.account.ends_at,
            )  # fmt: skip


def _above(
    rule: AlertRule, budgets: Mapping[str, Budget], since: datetime, now: datetime
) -> Iterator[ThresholdReached]:
    """Accounts whose window runs, that have been drawn on since, and stand at a threshold or above it."""
    least = min((level for budget in budgets.values() for level in _levels(rule, budget)), default=0)
    rows = Account.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=now),
        organization_id=rule.organization_id,
        drawn_at__gte=since,
        budget_id__in=budgets,
        settled_nano__gt=0,
    )
    # Roughly here, since the product may not fit an integer; exactly below.
    rows = rows.alias(
        spent=Cast("settled_nano", FloatField()), asked=Cast("limit_nano", FloatField()) * (least / 100)
    ).filter(spent__gte=F("asked") * 0.999)
    limits = limits_now(budgets.values(), now)
    for row in rows.order_by("pk").iterator(chunk_size=ROWS_AT_A_TIME):
        budget = budgets[row.budget_id]
        limit = limits[budget.pk]
        if not _about_member(rule, budget, row.member_id):
            continue
        for level in _levels(rule, budget):
            if row.settled_nano * 100 >= level * limit:
                yield ThresholdReached(
                    budget, row.member_id, row.window_key, level, row.settled_nano, limit, row.drawn_at, row.ends_at
                )


def _levels(rule: AlertRule, budget: Budget) -> Sequence[int]:
    return [rule.threshold] if rule.threshold is not None else budget.thresholds


def limits_now(budgets: Iterable[Budget], now: datetime) -> dict[str, int]:
    """Each budget's limit with the overrides that are live."""
    limits = {budget.pk: budget.limit_nano for budget in budgets}
    live = Override.objects.filter(Q(until=None) | Q(until__gt=now), budget_id__in=limits, withdrawn_at=None)
    for row in live.order_by().values("budget_id").annotate(extra=SaturatedSum("extra_nano")):
        limits[row["budget_id"]] += row["extra"]
    return limits


def _new(
    rule: AlertRule, events: Sequence[ThresholdReached]
) -> Iterator[tuple[ThresholdReached, str, Sequence[Alert]]]:
    """Yields what has no alert yet, with the key of its alert; again only if the limit grew and was reached anew, then
    with the alerts that are open under a smaller one."""
    alerts: dict[tuple[str, str, int], list[Alert]] = {}
    subjects = sorted({event.subject for event in events})
    for start in range(0, len(subjects), ROWS_AT_A_TIME):
        some = subjects[start : start + ROWS_AT_A_TIME]
        for alert in Alert.objects.filter(rule_id=rule.pk, subject__in=some):
            alerts.setdefault((alert.subject, str(alert.data.get("window")), alert.threshold), []).append(alert)
    highest: dict[tuple[str, str, int], int] = {}  # limit under which it was told already
    for event in sorted(events, key=lambda event: event.limit_nano):
        place = (event.subject, event.window_key, event.threshold)
        before = alerts.get(place, [])
        limits = [int(alert.data["limit_nano"]) for alert in before]
        limit = highest.get(place, max(limits, default=-1))
        if event.limit_nano <= limit:
            continue
        first = limit < 0
        highest[place] = event.limit_nano
        open_alerts = [alert for alert in before if alert.state == AlertState.OPEN]
        yield event, event.window_key if first else f"{event.window_key} limit {event.limit_nano}", open_alerts


def _names(events: Iterable[ThresholdReached]) -> dict[str, str]:
    ids = {event.member_id or event.budget.scope_id for event in events}
    return dict(Principal.objects.filter(pk__in=ids).values_list("pk", "display_name"))


def _occurrence(event: ThresholdReached, key: str, names: Mapping[str, str]) -> Occurrence:
    budget = event.budget
    person = names.get(event.member_id or budget.scope_id, "")
    spent, limit = money(event.settled_nano), money(event.limit_nano)
    percent = percent_of(event.settled_nano, event.limit_nano)
    per = "" if budget.window in _ENDLESS else f" per {budget.window}"
    return Occurrence(
        subject_kind="budget",
        subject=event.subject,
        window_key=key,
        threshold=event.threshold,
        title=f"{person or budget.scope_name or budget.name} is at {percent} of {limit}{per}",
        happened_at=event.at,
        ends_at=event.ends_at,
        facts=(
            ("Budget", budget.name),
            *((("Person", person),) if person else ()),
            ("Spent", f"{spent} of {limit}"),
            ("Threshold", f"{event.threshold} %{_remark(event)}"),
            ("Window ends", f"{event.ends_at:%Y-%m-%d %H:%M} UTC" if event.ends_at else "not by itself"),
            ("At the limit", "requests are refused" if budget.on_breach == "block" else "a warning, nothing else"),
            *((("Can raise it", budget.contact),) if budget.contact else ()),
        ),
        data={
            "budget_id": budget.pk,
            "scope_kind": budget.scope_kind,
            "scope_id": budget.scope_id,
            "member_id": event.member_id,
            "window": event.window_key,
            "spent_nano": event.settled_nano,
            "limit_nano": event.limit_nano,
        },
    )


def _remark(event: ThresholdReached) -> str:
    short = event.settled_nano * 100 < event.threshold * event.limit_nano
    return ": what is left fits no request" if short else ""


def end_fallen(now: datetime) -> int:
    """Open alerts whose account stands below their threshold again: a raised limit, a reset, a correction. How many."""
    ended = 0
    alerts = Alert.objects.filter(kind=RuleKind.BUDGET_THRESHOLD, state=AlertState.OPEN).order_by("pk")
    some = list(alerts[:ROWS_AT_A_TIME])
    while some:
        ended += sum(end(alert, why) for alert, why in _fallen(some, now))
        some = list(alerts.filter(pk__gt=some[-1].pk)[:ROWS_AT_A_TIME])
    return ended


def _fallen(alerts: Sequence[Alert], now: datetime) -> Iterator[tuple[Alert, str]]:
    budgets = {row.pk: row for row in Budget.objects.filter(pk__in={alert.data["budget_id"] for alert in alerts})}
    limits = limits_now(budgets.values(), now)
    accounts = {
        (row.budget_id, row.member_id, row.window_key): row
        for row in Account.objects.filter(budget_id__in=budgets).filter(
            window_key__in={alert.data["window"] for alert in alerts}
        )
    }
    for alert in alerts:
        budget = budgets.get(alert.data["budget_id"])
        account = accounts.get((alert.data["budget_id"], alert.data["member_id"], alert.data["window"]))
        if budget is None or not budget.enabled:
            yield alert, "The budget is gone or off."
        elif account is not None and _has_fallen(alert, account.settled_nano, limits[budget.pk]):
            spent, limit = money(account.settled_nano), money(limits[budget.pk])
            yield alert, f"Below {alert.threshold} % again: {spent} of {limit}."
        elif _resets_in(str(alert.data["window"])) != budget.resets:
            yield alert, "The budget was reset."


def _has_fallen(alert: Alert, settled_nano: int, limit_nano: int) -> bool:
    """Below its threshold, and not just as it was when it began: what fits no request counts as spent."""
    moved = limit_nano > int(alert.data["limit_nano"]) or settled_nano < int(alert.data["spent_nano"])
    return moved and settled_nano * 100 < alert.threshold * limit_nano


def _resets_in(window_key: str) -> int:
    """Returns the number of resets before the window, which its key tells."""
    return int(window_key.partition("#")[2] or 0)
