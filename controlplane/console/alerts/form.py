"""Forms of alert rules and channels. A secret goes in; no form ever holds the stored one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from controlplane.alerts.channels import CHANNELS
from controlplane.alerts.models import LARGEST_PERCENT, About, AlertRule, Channel, ChannelKind, RuleKind
from controlplane.budgets.models import Budget, Window
from controlplane.changes.actor import Actor
from controlplane.console.access import actor_of
from controlplane.console.budgets.form import DollarsField
from controlplane.console.choices import Offer, OfferField, rows_of
from controlplane.console.providers.form import CredentialField
from controlplane.keys.models import VirtualKey
from controlplane.tenancy.models import Principal, Project, Team
from controlplane.tenancy.permissions import Verb, organizations_of
from controlplane.tenancy.queries import for_actor

_SUBJECTS: tuple[tuple[str, type[Model], Verb], ...] = (
    ("Budgets", Budget, Verb.BUDGET_VIEW),
    ("Teams", Team, Verb.TEAM_VIEW),
    ("Projects", Project, Verb.PROJECT_VIEW),
    ("People and service accounts", Principal, Verb.PRINCIPAL_VIEW),
    ("Virtual keys", VirtualKey, Verb.KEY_VIEW),
)


BUDGETS, PACE = RuleKind.BUDGET_THRESHOLD, RuleKind.SPEND_VELOCITY


def only_for(*kinds: str) -> tuple[str, ...]:
    """Classes of a part of the form that only these kinds have."""
    return tuple(f"gw-for-{kind}" for kind in kinds)


RULE_PARTS: list[Any] = [
    (None, {"fields": ("organization", "name", "kind", "channels", "severity", "enabled")}),
    ("Which budgets", {"classes": only_for(BUDGETS), "fields": ("about", "window", "threshold")}),
    ("How fast is too fast", {"classes": only_for(PACE), "fields": ("factor", "floor_nano")}),
    (
        "Restrict it",
        {"classes": only_for(BUDGETS, PACE, RuleKind.UNPRICED_MODEL, RuleKind.ODD_FIGURES), "fields": ("scope_id",)},
    ),
]


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    address = forms.CharField(required=False, max_length=2000, widget=UnfoldAdminTextInputWidget)
    secret = CredentialField(required=False, label="New secret", help_text="Empty: the stored one stays.")

    class Meta:
        model = Channel
        fields = ("name", "enabled", "address")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.kind:
            slice_ = CHANNELS[self.instance.kind]
            self.fields["address"].label = slice_.address_label or "Address"
            self.fields["secret"].label = f"New {slice_.secret_label[:1].lower()}{slice_.secret_label[1:]}"


class ChannelAddForm(ChannelForm):
    kind = forms.ChoiceField(choices=ChannelKind.choices, widget=UnfoldAdminSelectWidget)
    secret = CredentialField(required=False, help_text="Sealed at once and never shown again.")

    class Meta:
        model = Channel
        fields = ("organization", "kind", "name", "address")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        slice_ = CHANNELS.get(cleaned.get("kind", ""))
        if slice_ is not None and slice_.secret_label and not cleaned.get("secret"):
            self.add_error("secret", f"{slice_.secret_label} is missing.")
        return cleaned


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """Everything on one page. `actor` and `subjects` are set on the class that a request uses."""

    actor: ClassVar[Actor]
    subjects: ClassVar[Sequence[Offer]]

    channels = forms.MultipleChoiceField(
        required=False,
        label="Tell",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None: alerts show here alone.",
    )
    about = forms.ChoiceField(
        required=False,
        label="Whose budgets",
        choices=About.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="A person's own: budgets on a person, and what a group's budget allows each member.",
    )
    window = forms.ChoiceField(
        required=False,
        label="Budgets per",
        choices=[("", "Any window"), *Window.choices],
        widget=UnfoldAdminSelectWidget,
    )
    threshold = forms.IntegerField(
        required=False,
        label="Reaches, in %",
        min_value=1,
        max_value=LARGEST_PERCENT,
        initial=80,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Per cent of the limit. Empty: each of the budget's own thresholds.",
    )
    floor_nano = DollarsField(
        label="At least, in dollars", required=False, help_text="An hour that costs less is never too fast."
    )
    scope_id = OfferField(
        required=False,
        label="Only",
        widget=UnfoldAdminSelectWidget,
        help_text="One budget, or what belongs to one team, project, person or key.",
    )

    class Meta:
        model = AlertRule
        fields = (
            "name", "severity", "enabled", "channels", "about", "window", "threshold", "factor", "floor_nano",
            "scope_id",
        )  # fmt: skip
        labels = {"factor": "Times the usual hour"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        organization_id = self.instance.organization_id or ""
        if "channels" in self.fields:
            receivers = cast("forms.MultipleChoiceField", self.fields["channels"])
            receivers.choices = list(channel_choices(self.actor, organization_id))
        if "scope_id" in self.fields:
            chosen = str(self.data.get("scope_id") or self.initial.get("scope_id") or "")
            only = cast(OfferField, self.fields["scope_id"])
            only.offer(AlertRule, "scope_id", self.subjects, chosen, "No restriction", of=organization_id)

    def clean_floor_nano(self) -> int:
        floor = self.cleaned_data.get("floor_nano")
        return int(AlertRule._meta.get_field("floor_nano").default if floor is None else floor)


class RuleAddForm(RuleForm):
    class Meta(RuleForm.Meta):
        fields = ("organization", "kind", *RuleForm.Meta.fields)  # type: ignore[assignment]
        labels = {"kind": "When", "factor": "Times the usual hour"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [kind for kind in RuleKind if kind is not RuleKind.LOST_USAGE or self.actor.operator]
        self.fields["kind"].widget = UnfoldAdminSelectWidget(choices=[(kind.value, kind.label) for kind in offered])
        _only_choice(self)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        organization = cleaned.get("organization")
        chosen = Channel.objects.filter(pk__in=cleaned.get("channels", ()))
        if organization is not None and chosen.exclude(organization=organization).exists():
            raise ValidationError({"channels": f"Only channels of {organization}."})
        return cleaned


def _only_choice(form: Any) -> None:
    """The organization, where there is but one."""
    field = form.fields["organization"]
    some = list(field.queryset[:2])
    if len(some) == 1:
        field.initial = some[0].pk


def channel_choices(actor: Actor, organization_id: str) -> Iterator[tuple[str, str]]:
    rows = for_actor(actor, Channel.objects.select_related("organization").order_by("name"), Verb.ALERT_VIEW)
    if organization_id:
        rows = rows.filter(organization_id=organization_id)
    several = not organization_id and organizations_of(actor).count() > 1
    for row in rows:
        owner = f", {row.organization}" if several else ""
        off = ", off" if not row.enabled else ""
        yield row.pk, f"{row.name} ({row.get_kind_display()}{owner}{off})"


def subjects(request: HttpRequest, site: AdminSite, organization_id: str) -> list[Offer]:
    """The offers that a rule may be restricted to, kind by kind; of one organization, or of all."""
    actor = actor_of(request)
    several = not organization_id and organizations_of(actor).count() > 1
    offers: list[Offer] = []
    for title, model, verb in _SUBJECTS:
        rows = for_actor(actor, model._default_manager.select_related("organization"), verb)
        if organization_id:
            rows = rows.filter(organization_id=organization_id)
        text = (lambda row: f"{row} ({row.organization})") if several else str
        offers.append(rows_of(request, site, rows, title=title, text=text))
    return offers
