"""A budget's row → the row that pods hold."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import F, QuerySet

from controlplane.budgets.models import Budget
from controlplane.budgets.values import core_budget
from dataplane.core import rows as core
from dataplane.core.money.windows import WindowKind
from protos import fleet_pb2 as wire


def budgets() -> QuerySet[Budget]:
    rows: QuerySet[Budget] = Budget.objects.annotate(provider_owner=F("provider__organization_id"))
    return rows.prefetch_related("overrides")


def budget(row: Any) -> core.Budget:
    """Raises ValueError."""
    if row.provider_owner not in (None, row.organization_id):
        raise ValueError("its provider is another organization's")
    return core_budget(row, row.overrides.all())


def budget_cover(row: Budget) -> wire.Cover:
    """Whom it binds, for pods that do not understand the budget."""
    scope = wire.Cover.Scope(kind=row.scope_kind, id=row.scope_id)
    return wire.Cover(organization_id=row.organization_id, scopes=[scope])


def bare_budget(row: Budget) -> core.Budget:
    """Narrowed to nothing, never more than its limit: what cannot be understood refuses too much, not too little."""
    return core.Budget(
        id=row.pk,
        organization_id=row.organization_id,
        name=row.name,
        scope_kind=cast(core.ScopeKind, row.scope_kind),
        scope_id=row.scope_id,
        scope_name=row.scope_name,
        provider_id="",
        model_pattern="",
        window=WindowKind.TOTAL,
        timezone=row.timezone,
        anchor=row.anchor,
        resets=row.resets,
        limit_nano=row.limit_nano,
        overrides=(),
        on_breach=core.OnBreach.BLOCK,
        outage=core.OutageRule.STRICT,
        overdraft_nano=0,
        thresholds=(),
        contact=row.contact,
        enabled=row.enabled,
        revision=0,
        lease_epoch=row.lease_epoch,
    )
