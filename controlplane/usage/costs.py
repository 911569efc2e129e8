"""What a usage record costs the budgets that its attempt drew on."""

from __future__ import annotations

from controlplane.budgets.charges import Cost
from controlplane.usage.models import UsageRecord
from dataplane.core.money.messages import AccountRef


def cost_of(row: UsageRecord, *, correction: int = 0, estimated: bool = False) -> Cost:
    """What the row says was spent, on the accounts that it drew on."""
    return Cost(
        request_id=row.request_id,
        attempt=row.attempt,
        lease_session=row.hold_session,
        accounts=tuple(AccountRef(*names) for names in row.accounts),
        amount_nano=row.cost_nano,
        started_ms=int(row.started_at.timestamp() * 1000),
        correction=correction,
        estimated=estimated,
    )
