"""The pages over rows, one module per app; importing this registers them."""

from __future__ import annotations

from controlplane.console.admin import (
    alerts,
    audit,
    budgets,
    fleet,
    groups,
    keys,
    logins,
    providers,
    tenancy,
    tokens,
    usage,
)

__all__ = ["alerts", "audit", "budgets", "fleet", "groups", "keys", "logins", "providers", "tenancy", "tokens", "usage"]
