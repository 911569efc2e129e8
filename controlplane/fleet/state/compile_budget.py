"""A budget's row → its `Resource`."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet

from controlplane.budgets.models import Budget
from controlplane.budgets.values import core_budget
from protos import fleet_pb2 as wire


def budgets() -> QuerySet[Budget]:
    rows: QuerySet[Budget] = Budget.objects.annotate(provider_owner=F("provider__organization_id"))
    return rows.prefetch_related("overrides")


def budget(row: Any) -> wire.Resource:
    """Raises ValueError."""
    if row.provider_owner not in (None, row.organization_id):
        raise ValueError("its provider is another organization's")
    core = core_budget(row, row.overrides.all())
    resource = bare_budget(row)
    compiled = resource.budget
    compiled.provider_id = core.provider_id
    compiled.model_pattern = core.model_pattern
    compiled.window = core.window.value
    compiled.overrides.extend(
        wire.BudgetOverride(extra_nano=each.extra_nano, until_ms=each.until_ms) for each in core.overrides
    )
    compiled.on_breach = core.on_breach.value
    compiled.outage = core.outage.value
    compiled.overdraft_nano = core.overdraft_nano
    compiled.thresholds.extend(core.thresholds)
    compiled.enabled = core.enabled
    return resource


def budget_cover(row: Budget) -> wire.Cover:
    """Whom it binds, for pods that do not understand the budget."""
    scope = wire.Cover.Scope(kind=row.scope_kind, id=row.scope_id)
    return wire.Cover(organization_id=row.organization_id, scopes=[scope])


def bare_budget(row: Budget) -> wire.Resource:
    """Narrowed to nothing, never more than its limit: what cannot be understood refuses too much, not too little."""
    return wire.Resource(
        budget=wire.Budget(
            id=row.pk,
            organization_id=row.organization_id,
            name=row.name,
            scope_kind=row.scope_kind,
            scope_id=row.scope_id,
            scope_name=row.scope_name,
            window="total",
            timezone=row.timezone,
            anchor=row.anchor,
            resets=row.resets,
            limit_nano=row.limit_nano,
            on_breach="block",
            outage="strict",
            contact=row.contact,
            enabled=row.enabled,
        )
    )
