"""A budget's row as the core's value: what pods are sent, and what the lessor decides with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from controlplane.budgets.models import Budget, Override
from dataplane.core import rows
from dataplane.core.money.windows import WindowKind

OVERDRAFT_PERCENT: Final = 2
LEAST_OVERDRAFT_NANO: Final = 500_000_000


def core_budget(row: Budget, overrides: Iterable[Override]) -> rows.Budget:
    """`overrides`: all of the budget's. Raises ValueError for a row that says what there is not.

    Overrides that had ended when somebody last decided are left out: every replica has to say the same, whenever it
    reads. Each of them has opened a lease epoch, as those will that end later (`dataplane.core.money.lease_epochs`).
    """
    every = set(overrides)
    decided = max([row.updated_at, *(override.created_at for override in every)])
    standing = {override for override in every if override.withdrawn_at is None}
    ended = {override for override in standing if override.until is not None and override.until <= decided}
    return rows.Budget(
        id=row.pk,
        organization_id=row.organization_id,
        name=row.name,
        scope_kind=rows.ScopeKind(row.scope_kind),
        scope_id=row.scope_id,
        scope_name=row.scope_name,
        provider_id=row.provider_id or "",
        model_pattern=row.model_pattern,
        window=WindowKind(row.window),
        timezone=row.timezone,
        anchor=row.anchor,
        resets=row.resets,
        limit_nano=row.limit_nano,
        overrides=tuple(
            rows.Override(override.extra_nano, ms(override.until))
            for override in sorted(standing - ended, key=lambda each: each.pk)
        ),
        on_breach=rows.OnBreach(row.on_breach),
        outage=rows.OutageRule(row.outage),
        overdraft_nano=overdraft_of(row),
        thresholds=tuple(row.thresholds),
        contact=row.contact,
        enabled=row.enabled,
        revision=0,
        lease_epoch=row.lease_epoch + len(ended),
    )


def overdraft_of(row: Budget) -> int:
    """What running requests may take beyond the limit to finish."""
    if row.overdraft_nano is not None:
        return int(row.overdraft_nano)
    if row.outage == rows.OutageRule.STRICT:
        return 0
    return max(row.limit_nano * OVERDRAFT_PERCENT // 100, LEAST_OVERDRAFT_NANO)


def ms(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)


def moment(at_ms: int) -> datetime | None:
    return datetime.fromtimestamp(at_ms / 1000, UTC) if at_ms else None
