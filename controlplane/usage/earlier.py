"""`earlier_spend`: what the ledger has of a budget's window that the budget was not charged for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final

from django.db.models import BooleanField, Case, F, Min, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Cast, Concat, StrIndex

from controlplane.budgets.earlier import EarlierSpend, MemberSpend, Question
from controlplane.budgets.months import started_between
from controlplane.budgets.sums import SaturatedSum
from controlplane.providers.models import Provider
from controlplane.tenancy.models import GroupMember
from controlplane.usage.models import UsageRecord
from dataplane.core.money.accounts import covers
from dataplane.core.rows import ScopeKind

# Of time, looked at in one statement: as much more as one takes little time, as much less as it takes long.
FIRST_STEP: Final = timedelta(hours=1)
LONGEST_STEP: Final = timedelta(days=400)
QUICK_S, SLOW_S = 0.05, 0.5
_COLUMNS: Final = {
    ScopeKind.ORGANIZATION: "organization_id",
    ScopeKind.TEAM: "team_id",
    ScopeKind.PROJECT: "project_id",
    ScopeKind.PRINCIPAL: "principal_id",
    ScopeKind.VIRTUAL_KEY: "key_id",
}


def earlier_spend(question: Question, deadline: float) -> EarlierSpend:
    """By member, what the requests cost that the budget covers by its rules of now and that do not name its account,
    less what those cost that name it and are not covered."""
    rows = _of_scope(question)
    names = dict(Provider.objects.filter(organization=question.budget.organization_id).values_list("pk", "name"))
    first = question.since or rows.filter(started_at__lt=question.until).aggregate(at=Min("started_at"))["at"]
    before: dict[str, int] = {}
    since: dict[str, int] = {}
    grouped = question.budget.scope_kind is ScopeKind.GROUP
    for sums in _in_steps(question, rows, first, deadline):
        if sums is None:
            return EarlierSpend(_by_member(before, since), whole=False)
        for entry in sums:
            covered = covers(question.budget, entry["provider_id"], names.get(entry["provider_id"], ""), entry["model"])
            member = entry["principal_id"] if grouped else ""
            there = since if entry["late"] else before
            there[member] = there.get(member, 0) + entry["nano"] * (covered - entry["named"])
    return EarlierSpend(_by_member(before, since))


def _by_member(before: dict[str, int], since: dict[str, int]) -> dict[str, MemberSpend]:
    return {member: MemberSpend(before.get(member, 0), since.get(member, 0)) for member in before.keys() | since.keys()}


def _in_steps(
    question: Question, rows: QuerySet[Any], first: datetime | None, deadline: float
) -> Iterator[list[dict[str, Any]] | None]:
    """The newest first. None: the time is over."""
    ends, step = question.until, FIRST_STEP
    while first is not None and first < ends:
        began = monotonic()
        if began > deadline:
            yield None
            return
        begins = max(first, ends - step)
        yield _sums(question, rows.filter(started_between(begins, ends), started_at__gte=begins, started_at__lt=ends))
        ends, took = begins, monotonic() - began
        if took < QUICK_S:
            step = min(step * 2, LONGEST_STEP)
        elif took > SLOW_S:
            step = max(step / 2, timedelta(seconds=1))


def _of_scope(question: Question) -> QuerySet[Any]:
    budget = question.budget
    rows = UsageRecord.objects.filter(organization_id=budget.organization_id)
    if budget.scope_kind is ScopeKind.GROUP:
        members = GroupMember.objects.filter(group=budget.scope_id).values("principal_id")
        return rows.filter(principal_id__in=members)
    return rows.filter(**{_COLUMNS[budget.scope_kind]: budget.scope_id})


def _sums(question: Question, rows: QuerySet[Any]) -> list[dict[str, Any]]:
    """By provider, model, member; whether they name the account, and came after the change. Whatever cost nothing is
    left out."""
    grouped = question.budget.scope_kind is ScopeKind.GROUP
    member = F("principal_id") if grouped else Value("")
    # As JSON has it in either database.
    name = Concat(
        Value(f'["{question.budget.id}", "'), member, Value(f'", "{question.window_key}"]'), output_field=TextField()
    )
    at = StrIndex(Cast("accounts", TextField()), name)
    keys = ["provider_id", "model", "named", "late", *(["principal_id"] if grouped else [])]
    return list(
        rows.exclude(cost_nano=0)
        .annotate(at=at)
        .annotate(named=_whether(Q(at__gt=0)), late=_whether(Q(received_at__gt=question.changed_at)))
        .order_by()
        .values(*keys)
        .annotate(nano=SaturatedSum("cost_nano"))
    )


def _whether(condition: Q) -> Case:
    return Case(When(condition, then=Value(value=True)), default=Value(value=False), output_field=BooleanField())
