"""Verbs on budgets: permission, validation, mutation and audit in one transaction.

Each takes `by`, the actor, and raises Forbidden, NoSuchObject or django's ValidationError (field → what is right).
A team's admin decides over budgets inside the team, never over those of the team itself.

What makes a budget stricter opens a lease epoch in the same transaction: from when it is live on a pod, which takes 60
seconds at most, that pod spends nothing of what it leased before but for the requests that run on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from controlplane.budgets import earlier, validation
from controlplane.budgets.models import Budget, OnBreach, OutageRule, Override, ScopeKind, Window
from controlplane.budgets.values import core_budget
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, may, require
from controlplane.tenancy.scope import Place
from dataplane.core.money.lease_epochs import stricter

CHANGEABLE = frozenset(
    {
        *("name", "provider", "model_pattern", "window", "timezone", "anchor", "limit_nano", "on_breach", "outage"),
        *("overdraft_nano", "thresholds", "contact", "count_earlier"),
    }
)
# What a window's figure goes by: where one changes, the window that runs may be counted anew, from its beginning.
_WINDOW = ("window", "timezone", "anchor")
_COUNTED = (*_WINDOW, "provider_id", "model_pattern", "count_earlier", "enabled")


def create_budget(
    *,
    by: Actor,
    organization: Organization,
    name: str,
    scope_kind: str,
    scope_id: str,
    limit_nano: int,
    window: str = Window.MONTH,
    timezone: str = "UTC",
    anchor: int = 0,
    provider: Provider | None = None,
    model_pattern: str = "",
    on_breach: str = OnBreach.BLOCK,
    outage: str = OutageRule.STANDARD,
    overdraft_nano: int | None = None,
    thresholds: Iterable[int] = (80, 100),
    contact: str = "",
    enabled: bool = True,
    count_earlier: bool = True,
) -> Budget:
    """It holds from the next request on. `count_earlier`: with what the ledger has of the window that runs."""
    scope = validation.scope_of(organization.pk, scope_kind, scope_id)
    team_id = validation.team_of(scope_kind, scope)
    require(by, Verb.BUDGET_CHANGE, _place(organization.pk, scope_kind, team_id))
    row = Budget(
        organization=organization,
        name=name,
        scope_kind=scope_kind,
        scope_id=scope_id,
        scope_name=str(scope)[:200],
        team_id=team_id,
        provider=provider,
        model_pattern=model_pattern,
        window=window,
        timezone=timezone,
        anchor=anchor,
        limit_nano=validation.money(limit_nano, "limit_nano"),
        on_breach=on_breach,
        outage=outage,
        overdraft_nano=_overdraft(overdraft_nano),
        thresholds=validation.thresholds(thresholds),
        contact=contact,
        enabled=enabled,
        count_earlier=count_earlier,
    )
    begins_with = earlier.look(row)
    with change_set(by) as change:
        validation.check(row)
        if begins_with is not None:
            row.counts_from = begins_with.counts_from
        row.save(force_insert=True)
        if begins_with is not None:
            earlier.take_over(row, begins_with)
        change.say("budget.created", row)
    return row


def update_budget(budget: Budget, *, by: Actor, **fields: Any) -> Budget:
    """Fields: see CHANGEABLE. Another window, time zone or anchor opens other accounts: they begin with what the ledger
    has of the window that runs, if the budget is to `count_earlier`, otherwise with nothing."""
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for name in unknown})
    _require(by, Verb.BUDGET_CHANGE, budget)
    if "limit_nano" in fields:
        validation.money(fields["limit_nano"], "limit_nano")
    if "overdraft_nano" in fields:
        _overdraft(fields["overdraft_nano"])
    if "thresholds" in fields:
        fields["thresholds"] = validation.thresholds(fields["thresholds"])
    before = _of(budget, _COUNTED)
    for name, value in fields.items():
        setattr(budget, name, value)
    begins_with = None if _of(budget, _COUNTED) == before else earlier.look(budget)
    with change_set(by) as change:
        validation.check(budget)
        if begins_with is not None:
            budget.counts_from = begins_with.counts_from
        elif _of(budget, _WINDOW) != before[: len(_WINDOW)]:
            budget.counts_from = timezone.now()
            earlier.leave(budget.pk)
        _open_epoch_if_stricter(budget, fields)
        budget.save(update_fields=[*fields, "counts_from", "lease_epoch", "updated_at"])
        if begins_with is not None:
            earlier.take_over(budget, begins_with)
        change.say("budget.updated", budget)
    return budget


def enable_budget(budget: Budget, *, by: Actor) -> Budget:
    return _switched(budget, by, enabled=True)


def disable_budget(budget: Budget, *, by: Actor) -> Budget:
    """Nothing draws on it any more; what runs is still booked. Enabled again, it knows what was spent on it, and what
    was spent meanwhile where it is to `count_earlier`."""
    return _switched(budget, by, enabled=False)


def delete_budget(budget: Budget, *, by: Actor) -> None:
    """Its accounts, charges and crossings stay as history."""
    _require(by, Verb.BUDGET_CHANGE, budget)
    with change_set(by) as change:
        Budget.objects.filter(pk=budget.pk).delete()
        change.say("budget.deleted", budget)


def reset_budget(budget: Budget, *, by: Actor, reason: str = "") -> Budget:
    """Count from nothing again, for every member: a new window, the old one stays as it was."""
    _require(by, Verb.BUDGET_CHANGE, budget)
    with change_set(by) as change:
        fresh: Budget = Budget.objects.select_for_update().get(pk=budget.pk)
        budget.resets, budget.counts_from = fresh.resets + 1, timezone.now()
        budget.save(update_fields=["resets", "counts_from", "updated_at"])
        earlier.leave(budget.pk)
        change.say("budget.reset", budget, reason=_words(reason))
    return budget


def override_budget(
    budget: Budget, *, by: Actor, extra_nano: int, until: datetime | None, reason: str, approved_by: str = ""
) -> Override:
    """More money until then (None: until it is withdrawn). `approved_by`: empty for whoever does it."""
    _require(by, Verb.BUDGET_OVERRIDE, budget)
    reason = _words(reason)
    if not reason:
        raise ValidationError({"reason": "say why; it is shown next to the amount"})
    row = Override(
        organization_id=budget.organization_id,
        budget=budget,
        extra_nano=validation.money(extra_nano, "extra_nano", least=1),
        until=validation.until(until),
        reason=reason,
        approved_by=_words(approved_by)[:200] or by.label[:200],
    )
    with change_set(by) as change:
        row.full_clean()
        row.save(force_insert=True)
        change.say("budget.overridden", budget, override=row.pk, reason=reason, approved_by=row.approved_by)
    return row


def withdraw_override(override: Override, *, by: Actor) -> Override:
    """The limit is the lower one again from the next request on."""
    budget = override.budget
    _require(by, Verb.BUDGET_OVERRIDE, budget)
    if override.withdrawn_at is not None:
        return override
    with change_set(by) as change:
        override.withdrawn_at = timezone.now()
        override.save(update_fields=["withdrawn_at", "updated_at"])
        stored = Budget.objects.select_for_update().get(pk=budget.pk)
        budget.lease_epoch = stored.lease_epoch + 1
        budget.save(update_fields=["lease_epoch", "updated_at"])
        change.say("budget.override_withdrawn", budget, override=override.pk)
    return override


def follow_renamed_scopes(*, by: Actor) -> int:
    """Refusals name what a budget is on; bring the names up to date. How many had another one."""
    stale = [(row, name) for row, name in _names() if row.scope_name != name]
    for row, name in stale:
        with change_set(by) as change:
            Budget.objects.filter(pk=row.pk).update(scope_name=name)
            change.say("budget.scope_renamed", row)
    return len(stale)


def _names() -> Iterator[tuple[Budget, str]]:
    for kind, model in validation.SCOPES.items():
        rows = list(Budget.objects.filter(scope_kind=kind))
        for start in range(0, len(rows), 500):
            some = rows[start : start + 500]
            scopes = model._default_manager.in_bulk({row.scope_id for row in some})
            yield from ((row, str(scopes[row.scope_id])[:200]) for row in some if row.scope_id in scopes)


def may_change(by: Actor, budget: Budget, verb: Verb = Verb.BUDGET_CHANGE) -> bool:
    """Whether to offer the verbs above."""
    return may(by, verb, _place(budget.organization_id, budget.scope_kind, budget.team_id))


def _of(budget: Budget, fields: Iterable[str]) -> tuple[Any, ...]:
    return tuple([getattr(budget, name) for name in fields])


def _switched(budget: Budget, by: Actor, *, enabled: bool) -> Budget:
    _require(by, Verb.BUDGET_CHANGE, budget)
    if budget.enabled == enabled:
        return budget
    budget.enabled = enabled
    begins_with = earlier.look(budget)
    with change_set(by) as change:
        if begins_with is not None:
            budget.counts_from = begins_with.counts_from
        _open_epoch_if_stricter(budget, ["enabled"])
        budget.save(update_fields=["enabled", "counts_from", "lease_epoch", "updated_at"])
        if begins_with is not None:
            earlier.take_over(budget, begins_with)
        change.say("budget.enabled" if enabled else "budget.disabled", budget)
    return budget


def _open_epoch_if_stricter(budget: Budget, fields: Iterable[str]) -> None:
    """Within its change set. `fields`: those of `budget` that will be saved; the others are as they are stored."""
    stored = Budget.objects.select_for_update().get(pk=budget.pk)
    try:
        before = core_budget(stored, ())
        for name in fields:
            setattr(stored, name, getattr(budget, name))
        opens = stricter(before, core_budget(stored, ()))
    except ValueError:  # nobody knows what the row said
        opens = True
    budget.lease_epoch = stored.lease_epoch + opens


def _require(by: Actor, verb: Verb, budget: Budget) -> None:
    require(by, Verb.BUDGET_VIEW, budget)
    require(by, verb, _place(budget.organization_id, budget.scope_kind, budget.team_id))


def _place(organization_id: str, scope_kind: str, team_id: str) -> Place:
    """What a team is allowed is not its own admin's to decide."""
    return Place(organization_id, "" if scope_kind == ScopeKind.TEAM else team_id)


def _overdraft(value: int | None) -> int | None:
    return None if value is None else validation.money(value, "overdraft_nano")


def _words(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()[:300]
