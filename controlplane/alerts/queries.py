"""Reads of rules: whom they tell, whom they are about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from controlplane.alerts.models import AlertRule, Channel
from controlplane.budgets.models import Budget
from controlplane.keys.models import VirtualKey
from controlplane.tenancy.models import Principal, Project, Team

# Whose one budget, or part of the ledger, a rule may be about.
SUBJECTS: tuple[type[Model], ...] = (Budget, Team, Project, Principal, VirtualKey)


def channel_names(rules: Iterable[AlertRule]) -> dict[str, list[str]]:
    """By rule, in its order; a channel that is off says so."""
    rules = list(rules)
    channels = Channel.objects.in_bulk({pk for rule in rules for pk in rule.channels})
    names = {pk: row.name if row.enabled else f"{row.name} (off)" for pk, row in channels.items()}
    return {rule.pk: [names[pk] for pk in rule.channels if pk in names] for rule in rules}


def subject_names(rules: Iterable[AlertRule]) -> dict[str, str]:
    """Returns the names of the rules' `scope_id`s, without those that are gone."""
    wanted = {rule.scope_id: rule.organization_id for rule in rules if rule.scope_id}
    names: dict[str, str] = {}
    for model in SUBJECTS if wanted else ():
        rows: Iterable[Any] = model._default_manager.filter(pk__in=wanted)
        names |= {row.pk: str(row) for row in rows if row.organization_id == wanted[row.pk]}
    return names
