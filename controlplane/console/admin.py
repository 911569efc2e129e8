"""The pages over rows, one folder per noun; importing this registers them."""

from __future__ import annotations

from controlplane.console.alerts import admin as alerts
from controlplane.console.alerts import log_admin as alert_log
from controlplane.console.audit import admin as audit
from controlplane.console.budgets import admin as budgets
from controlplane.console.fleet import admin as fleet
from controlplane.console.groups import admin as groups
from controlplane.console.keys import admin as keys
from controlplane.console.logins import admin as logins
from controlplane.console.providers import admin as providers
from controlplane.console.tenancy import admin as tenancy
from controlplane.console.tokens import admin as tokens
from controlplane.console.usage import admin as usage

__all__ = [
    "alert_log",
    "alerts",
    "audit",
    "budgets",
    "fleet",
    "groups",
    "keys",
    "logins",
    "providers",
    "tenancy",
    "tokens",
    "usage",
]
