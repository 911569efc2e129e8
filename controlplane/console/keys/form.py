"""Forms of keys and aliases: lists are typed line by line, providers are ticked by name."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from controlplane.changes.actor import Actor
from controlplane.console.fields import LinesField, PairsField
from controlplane.keys.models import KeyEnvironment, ModelAlias, VirtualKey
from controlplane.providers.models import Provider
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import for_actor


class ProvidersField(forms.MultipleChoiceField):
    """Providers by name; cleans to their ids."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            widget=UnfoldAdminCheckboxSelectMultipleWidget,
            label="Providers allowed",
            help_text="None ticked: every provider of the organization, later ones too.",
        )

    def offer(self, actor: Actor, organization_id: str) -> None:
        rows = for_actor(actor, Provider.objects.select_related("organization"), Verb.PROVIDER_VIEW)
        if organization_id:
            rows = rows.filter(organization_id=organization_id)
        several = rows.values("organization_id").distinct().count() > 1
        self.choices = [
            (row.pk, f"{row.name} ({row.organization})" if several else row.name) for row in rows.order_by("name")
        ]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != list(data or [])


class VirtualKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """`actor` is set on the class that a request uses."""

    actor: ClassVar[Actor]

    models_allowed = LinesField(
        label="Models allowed",
        placeholder="claude-*\ngpt-5.5",
        help_text="One pattern per line, * stands for anything: a model, or provider/model. Compared after aliases.",
    )
    providers_allowed = ProvidersField()
    tags = LinesField(rows=2, help_text="One per line; they go with every request into usage and traces.")
    metadata = PairsField(rows=2, placeholder="cost_centre = 4711", help_text="One name = value per line.")

    class Meta:
        model = VirtualKey
        fields = (
            "name", "project", "principal", "expires_at", "models_allowed", "providers_allowed",
            "description", "tags", "metadata", "external_id",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        providers = self.fields.get("providers_allowed")
        if isinstance(providers, ProvidersField):
            providers.offer(self.actor, self.instance.organization_id or "")


class VirtualKeyAddForm(VirtualKeyForm):
    """The form of a new key: the same, and what cannot be changed afterwards."""

    key_environment = forms.ChoiceField(
        label="Environment",
        choices=KeyEnvironment.choices,
        initial=KeyEnvironment.LIVE,
        widget=UnfoldAdminSelectWidget,
        help_text="Part of the key's text: lw_vk_live_… or lw_vk_test_…",
    )

    class Meta(VirtualKeyForm.Meta):
        fields = (*VirtualKeyForm.Meta.fields, "owner_scope")  # type: ignore[assignment]
        labels = {"owner_scope": "Owned by"}
        help_texts = {"owner_scope": "The level that the key belongs to. What it may reach, its minter must reach."}


class ModelAliasForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = ModelAlias
        fields = ("organization", "alias", "model", "provider", "project", "key")
        help_texts = {"model": "The name that the provider knows."}
