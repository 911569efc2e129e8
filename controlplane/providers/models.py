"""Providers and prices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import Q

from controlplane.changes.config import ConfigModel
from controlplane.changes.cuttable import Cuttable
from controlplane.changes.ids import new_id
from controlplane.changes.models import ResourceKind
from controlplane.changes.row import Touch
from controlplane.tenancy.models import Organization
from controlplane.tenancy.scope import Scope
from dataplane.core.snapshot import ProviderKind, Unpriced

LONGEST_ERROR = 320  # characters: a status, and as much of the words as pods keep


def provider_id() -> str:
    return new_id("prov")


def override_id() -> str:
    return new_id("over")


def price_list_id() -> str:
    return new_id("price")


class Provider(Cuttable):
    """An upstream account: kind, endpoint, sealed credential."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")
    observed = frozenset(
        {
            *("last_test_at", "last_test_ok", "last_test_message", "last_test_ms"),
            *("refused_since", "last_error", "last_error_at", "mended_at"),
        }
    )

    id = models.CharField(primary_key=True, max_length=40, default=provider_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="providers")
    name = models.SlugField(max_length=63, help_text="Names it in `provider/model`.")
    kind = models.CharField(max_length=24, choices=[(kind.value, kind.value) for kind in ProviderKind])
    base_url = models.CharField(max_length=500)
    enabled = models.BooleanField(default=True)
    priority = models.IntegerField(default=100, help_text="Among providers that serve a model, the lowest is used.")
    api_version = models.CharField(max_length=40, blank=True, help_text="Azure OpenAI only.")
    deployments = models.JSONField(default=dict, blank=True, help_text="Azure OpenAI only: model → deployment.")
    account_headers = models.JSONField(
        default=dict,
        blank=True,
        help_text="Headers that choose an account of the provider's: name → value. Its kind says which there are.",
    )
    unpriced = models.CharField(
        max_length=20,
        choices=[(choice.value, choice.value) for choice in Unpriced],
        default=Unpriced.DEAREST_IN_FAMILY.value,
        help_text="What happens to a model that the price list does not know.",
    )
    price_provider = models.CharField(
        max_length=63, blank=True, help_text="Whose prices apply, as the price list names it; empty: its kind's."
    )
    first_byte_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How long it may take until its answer begins, in seconds. Empty: as the pods' settings say (600).",
    )
    idle_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How long it may be silent within an answer, in seconds. Empty: as the pods' settings say (600).",
    )
    model_waits = models.JSONField(
        default=list,
        blank=True,
        help_text="The same for single models: the first entry that matches and says it holds.",
    )
    no_stream_options = models.BooleanField(
        default=False,
        db_default=False,
        help_text="It refuses `stream_options`: chat streams are not asked for their usage unless the client does. A "
        "provider that refuses them is found out by itself, once an hour.",
    )
    credential_sealed = models.BinaryField(editable=False)
    credential_root_version = models.PositiveIntegerField(editable=False)
    credential_version = models.PositiveIntegerField(default=0, editable=False)
    credential_last4 = models.CharField(max_length=4, blank=True, editable=False)
    credential_fingerprint = models.CharField(max_length=16, blank=True, editable=False)
    last_test_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_test_ok = models.BooleanField(null=True, blank=True, editable=False)
    last_test_message = models.CharField(max_length=500, blank=True, editable=False)
    last_test_ms = models.PositiveIntegerField(null=True, blank=True, editable=False)
    refused_since = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When it began to refuse the organization's credential or account; null: it does not.",
    )
    last_error = models.CharField(
        max_length=LONGEST_ERROR, blank=True, editable=False, help_text="In the provider's words, without secrets."
    )
    last_error_at = models.DateTimeField(null=True, blank=True, editable=False)
    mended_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="What was refused before then says nothing any more."
    )
    # Last, since it hides Django's module of the same name from here on.
    models = models.JSONField(
        default=list, blank=True, help_text="Patterns of the models it serves; empty: its kind's own names."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="one_provider_per_name")]

    def __str__(self) -> str:
        return self.name

    def mended(self, at: datetime) -> tuple[str, ...]:
        """It serves again, or is asked with another credential. The columns to save."""
        self.refused_since, self.last_error, self.last_error_at, self.mended_at = None, "", None, at
        return ("refused_since", "last_error", "last_error_at", "mended_at")

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.PROVIDER, self.pk, self.organization_id),)


class PriceOverride(ConfigModel):
    """An organization's own price of some models: a negotiated discount, a self-hosted model."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")

    id = models.CharField(primary_key=True, max_length=40, default=override_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="price_overrides")
    provider = models.CharField(
        max_length=63, help_text="A price family (anthropic, openai, google, azure, …), or @ and one provider's name."
    )
    model = models.CharField(max_length=200, help_text="Canonical name, or a name of your own.")
    match = models.JSONField(
        default=list, blank=True, help_text="Patterns of the names that requests use; empty: the model's name alone."
    )
    rates = models.JSONField(
        default=dict,
        blank=True,
        help_text='US dollars per million units, by usage class, as text: {"input": "3", "output": "15"}.',
    )
    discount_percent = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        default=0,
        help_text="Instead of rates: off the list price of models that match.",
    )
    geo_percent = models.JSONField(
        default=dict,
        blank=True,
        help_text="Per cent of the price of tokens, by the place of an answer: the provider's word, or . and the "
        'end of its host: {"us": "110"}.',
    )
    tier_percent = models.JSONField(
        default=dict,
        blank=True,
        help_text='Per cent of the price of tokens, by the service tier of an answer: {"priority": "180"}.',
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "provider", "model"], name="one_override_per_model")
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class PriceList(ConfigModel):
    """A compiled price list. Without an organization: the installation's, which applies where there is no own one."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")
    unaudited = frozenset({"prices", "source"})

    id = models.CharField(primary_key=True, max_length=40, default=price_list_id, editable=False)
    organization = models.OneToOneField(
        Organization, on_delete=models.PROTECT, null=True, blank=True, related_name="price_list"
    )
    version = models.CharField(max_length=80)
    prices = models.JSONField(default=list, help_text="Entries as pods get them: ModelPrice of protos/fleet.proto.")
    source = models.CharField(max_length=64, blank=True, help_text="Names what it was compiled from.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                models.Value(1), condition=Q(organization=None), name="one_price_list_for_the_installation"
            )
        ]

    def __str__(self) -> str:
        return self.version

    def touches(self) -> Iterable[Touch]:
        yield Touch(ResourceKind.PRICE_LIST, self.pk, self.organization_id or "")

    @classmethod
    def consequences(cls, before: PriceList | None, after: PriceList | None) -> Iterable[Touch]:
        """Which list applies to an organization is said in the organization's own resource."""
        yield from super().consequences(before, after)
        owners = [row.organization_id for row in (before, after) if row is not None]
        if len(owners) == 2 and owners[0] == owners[1]:
            return
        for owner in owners:
            concerned = [owner] if owner else Organization.objects.values_list("pk", flat=True)
            for organization in concerned:
                yield Touch(ResourceKind.ORGANIZATION, organization, organization)
