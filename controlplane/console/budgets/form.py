"""Forms of budgets and overrides: what a budget covers is chosen by name, money is typed in dollars."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse_lazy
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from controlplane.budgets.models import Budget, ScopeKind, default_thresholds
from controlplane.budgets.validation import SCOPES
from controlplane.changes.actor import Actor
from controlplane.console.access import actor_of
from controlplane.console.choices import Offer, OfferField, rows_of
from controlplane.console.fields import LinesField
from controlplane.console.filters import VIEW_VERBS
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, organizations_of
from controlplane.tenancy.queries import for_actor, within
from controlplane.tenancy.scope import Scope

PLACES = 9
NANO = 10**9

OTHER_WINDOW = (
    "Another window, time zone or beginning opens new books. “Count what was spent before” says what is in them."
)
STRICTER_BINDS = (
    "What makes a budget stricter binds on every pod within 60 seconds, mostly at once. From then on requests that run "
    "use up what is set aside for them, and everything else asks anew."
)
_TITLES = {
    ScopeKind.ORGANIZATION: "Organizations",
    ScopeKind.TEAM: "Teams",
    ScopeKind.PROJECT: "Projects",
    ScopeKind.PRINCIPAL: "People and service accounts",
    ScopeKind.GROUP: "Groups, an allowance for each member",
    ScopeKind.VIRTUAL_KEY: "Virtual keys",
}


def scope_value(kind: str, id: str) -> str:
    return f"{kind}:{id}"


class DollarsField(forms.DecimalField):
    """Typed in dollars, cleans to nano-dollars."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            min_value=Decimal(0), decimal_places=PLACES, max_digits=10 + PLACES, widget=UnfoldAdminDecimalFieldWidget,
            **kwargs,
        )  # fmt: skip

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        whole, fraction = divmod(value, NANO)
        digits = f"{fraction:09d}".rstrip("0")
        return f"{whole}.{digits.ljust(2, '0')}" if digits else str(whole)

    def clean(self, value: Any) -> Any:
        amount = super().clean(value)
        return None if amount is None else int(amount * NANO)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(initial != self.clean(data))
        except ValidationError:
            return True


class PercentsField(LinesField):
    """Whole per cents, separated by commas."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rows=1, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        words = [word.rstrip(" %") for word in super().clean(value)]
        if not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
            raise ValidationError("Whole numbers, such as 80, 100.")
        return [int(word) for word in words]


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a budget that is there: what can be changed later."""

    limit_nano = DollarsField(label="Limit in dollars")
    overdraft_nano = DollarsField(
        label="Overdraft in dollars",
        required=False,
        help_text="What running requests may take beyond the limit to finish. Empty: 2 % of it and at least $0.50; "
        "nothing when the outage rule is strict.",
    )
    thresholds = PercentsField(
        initial=default_thresholds,
        help_text="Per cent of the limit that raise an alert, once each per window and limit.",
    )

    class Meta:
        model = Budget
        fields = (
            "name", "limit_nano", "window", "timezone", "anchor", "on_breach", "provider", "model_pattern", "outage",
            "overdraft_nano", "thresholds", "contact", "count_earlier",
        )  # fmt: skip
        labels = {
            "count_earlier": "Count what was spent before",
            "on_breach": "When it is spent",
            "outage": "Without the control plane",
            "model_pattern": "Models",
        }
        help_texts = {"window": OTHER_WINDOW, "on_breach": STRICTER_BINDS}


class BudgetAddForm(BudgetForm):
    """The form of a new budget, with what it covers. `actor` and `scopes` are set on the class that a request uses."""

    actor: ClassVar[Actor]
    scopes: ClassVar[Sequence[Offer]]

    scope = OfferField(
        label="Covers",
        widget=UnfoldAdminSelectWidget(attrs={"data-covers": reverse_lazy("admin:budgets_budget_covers")}),
        help_text="Every request of it draws on this budget, and on all others above it.",
    )

    class Meta(BudgetForm.Meta):
        fields = (*BudgetForm.Meta.fields, "enabled")  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wanted = str(self.data.get("scope") or self.initial.get("scope") or "")
        cast(OfferField, self.fields["scope"]).offer(Budget, "scope", self.scopes, wanted, "Choose…")

    def clean_scope(self) -> tuple[Organization, str, str]:
        kind, _, id = self.cleaned_data["scope"].partition(":")
        return organization_of(self.actor, kind, id), kind, id


class OverrideForm(forms.Form):
    """+$50 until Friday, and why."""

    extra_nano = DollarsField(label="More, in dollars")
    until = forms.SplitDateTimeField(
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="UTC. Empty: until somebody withdraws it. It ends by itself.",
    )
    reason = forms.CharField(max_length=300, widget=UnfoldAdminTextInputWidget)
    approved_by = forms.CharField(
        max_length=200, required=False, widget=UnfoldAdminTextInputWidget, help_text="Empty: you."
    )


def scopes(request: HttpRequest, site: AdminSite) -> list[Offer]:
    """The scopes that the person may set a budget on, kind by kind."""
    actor = actor_of(request)
    several = organizations_of(actor).count() > 1
    return [
        rows_of(
            request, site, _changeable(actor, kind), title=title, prefix=scope_value(kind, ""),
            text=lambda row: _name(row, several=several),
        )
        for kind, title in _TITLES.items()
    ]  # fmt: skip


def organization_of(actor: Actor, kind: str, id: str) -> Organization:
    """The organization of a scope that the actor sees. Raises ValidationError."""
    row = _visible(actor, kind).filter(pk=id).first() if kind in SCOPES else None
    if row is None:
        raise ValidationError("There is nothing like that to cover.")
    return cast(Organization, row if kind == ScopeKind.ORGANIZATION else row.organization)


def _visible(actor: Actor, kind: str) -> Any:
    model = SCOPES[kind]
    if model is Organization:
        return organizations_of(actor)
    rows = for_actor(actor, model._default_manager.all(), VIEW_VERBS[model]).select_related("organization")
    return rows.exclude(state="revoked") if kind == ScopeKind.VIRTUAL_KEY else rows


def _changeable(actor: Actor, kind: str) -> Any:
    """The rows that the actor sees and may set a budget on: what a team may spend is not its own admin's to decide."""
    place = {
        ScopeKind.ORGANIZATION: Scope("pk"),
        ScopeKind.PROJECT: Scope("organization_id", "team_id"),
        ScopeKind.VIRTUAL_KEY: Scope("organization_id", "project__team_id"),
    }.get(ScopeKind(kind), Scope("organization_id"))
    return within(actor, _visible(actor, kind), Verb.BUDGET_CHANGE, place)


def _name(row: Any, *, several: bool) -> str:
    owner = getattr(row, "organization", None)
    return f"{row} ({owner})" if several and owner is not None else str(row)
