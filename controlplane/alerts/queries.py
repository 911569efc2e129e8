"""Reads of rules: whom they tell, whom they are about."""

from __future__ import annotations

from django.db.models import Model

from controlplane.alerts.models import AlertRule, Channel
from controlplane.budgets.models import Budget
from controlplane.keys.models import VirtualKey
from controlplane.tenancy.models import Principal, Project, Team

# Whose one budget, or part of the ledger, a rule may be about.
SUBJECTS: tuple[type[Model], ...] = (Budget, Team, Project, Principal, VirtualKey)


def channel_names(rule: AlertRule) -> list[str]:
    """In the order of the rule; a channel that is off says so."""
    found = {row.pk: row for row in Channel.objects.filter(pk__in=rule.channels)}
    rows = (found[pk] for pk in rule.channels if pk in found)
    return [row.name if row.enabled else f"{row.name} (off)" for row in rows]


def subject_name(scope_id: str, organization_id: str) -> str:
    """What a rule's `scope_id` names; empty: nothing any more."""
    for model in SUBJECTS:
        row = model._default_manager.filter(pk=scope_id, organization_id=organization_id).first()
        if row is not None:
            return str(row)
    return ""
