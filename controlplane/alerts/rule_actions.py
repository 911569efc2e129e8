"""Verbs on rules: permission, validation, change and audit in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from controlplane.alerts.models import About, AlertRule, Channel, RuleKind
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, require
from controlplane.tenancy.scope import Place

CHANGEABLE = frozenset(
    {
        "name", "severity", "enabled", "channels", "about", "window", "scope_id", "threshold", "factor", "floor_nano",
    }
)  # fmt: skip
# What a rule sees begins anew when one of these changes.
ARMING = frozenset({"enabled", "about", "window", "scope_id", "threshold"})
WINDOWS = ("minute", "hour", "day", "week", "month", "total", "manual")
MOST_CHANNELS = 20
_OF_BUDGETS = {"about": About.ANY.value, "window": "", "threshold": None}


def create_rule(
    *, by: Actor, organization: Organization, name: str, kind: RuleKind = RuleKind.BUDGET_THRESHOLD, **fields: Any
) -> AlertRule:
    """Fields: see CHANGEABLE. It sees what happens from now on."""
    require(by, Verb.ALERT_CHANGE, Place(organization.pk))
    _demand_changeable(fields)
    row = AlertRule(organization=organization, kind=RuleKind(kind).value)
    if row.kind == RuleKind.LOST_USAGE and not by.operator:
        raise PermissionDenied("what the installation loses is watched by whoever runs it: the operator")
    _fill(row, {"name": name, **fields})
    with change_set(by) as change:
        row.full_clean()
        row.save(force_insert=True)
        change.say("alert_rule.created", row)
    return row


def update_rule(rule: AlertRule, *, by: Actor, **fields: Any) -> AlertRule:
    """Fields: see CHANGEABLE. The kind stays: make another rule."""
    _demand_changeable(fields)
    require(by, Verb.ALERT_CHANGE, rule)
    with change_set(by) as change:
        rule.refresh_from_db()
        before = {name: getattr(rule, name) for name in ARMING}
        _fill(rule, fields)
        if before != {name: getattr(rule, name) for name in ARMING}:
            rule.armed_at = timezone.now()
        rule.full_clean()
        rule.save()
        change.say("alert_rule.updated", rule)
    return rule


def delete_rule(rule: AlertRule, *, by: Actor) -> None:
    """Its alerts stay; those that are open end with the next sweep."""
    require(by, Verb.ALERT_CHANGE, rule)
    with change_set(by) as change:
        AlertRule.objects.filter(pk=rule.pk).delete()
        change.say("alert_rule.deleted", rule)


def _demand_changeable(fields: Mapping[str, Any]) -> None:
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for name in unknown})


def _fill(row: AlertRule, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        setattr(row, name, value.strip() if isinstance(value, str) else value)
    row.channels = _channels(row.organization_id, row.channels)
    if row.window and row.window not in WINDOWS:
        raise ValidationError({"window": f"is one of: {', '.join(WINDOWS)}; or empty for any"})
    if row.kind == RuleKind.PROVIDER_REFUSED and row.scope_id:
        raise ValidationError({"scope_id": "is empty here: the rule watches every provider of the organization"})
    if row.kind != RuleKind.BUDGET_THRESHOLD:
        for name, nothing in _OF_BUDGETS.items():
            setattr(row, name, nothing)


def _channels(organization_id: str, channel_ids: Iterable[str]) -> list[str]:
    ids = list(dict.fromkeys(channel_ids))
    existing = set(Channel.objects.filter(organization_id=organization_id, pk__in=ids).values_list("pk", flat=True))
    if len(ids) > MOST_CHANNELS or set(ids) != existing:
        raise ValidationError({"channels": f"at most {MOST_CHANNELS} channels of the same organization"})
    return ids
