"""Whom a budget would cover, for whoever may make it."""

from __future__ import annotations

from controlplane.budgets import actions, validation
from controlplane.budgets.models import Budget
from controlplane.budgets.queries import Coverage, covered
from controlplane.changes.actor import Actor
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Forbidden, Verb


def preview(by: Actor, organization: Organization, scope_kind: str, scope_id: str) -> Coverage:
    """Raises Forbidden, and ValidationError for a scope that there is not."""
    scope = validation.scope_of(organization.pk, scope_kind, scope_id)
    team_id = validation.team_of(scope_kind, scope)
    planned = Budget(organization=organization, scope_kind=scope_kind, scope_id=scope_id, team_id=team_id)
    if not actions.may_change(by, planned):
        raise Forbidden(Verb.BUDGET_CHANGE)
    return covered(organization.pk, scope_kind, scope_id)
