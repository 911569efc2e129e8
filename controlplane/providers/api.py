"""REST routes of providers (write-only credential, test) and price overrides."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.providers import actions, price_actions, waits
from controlplane.providers.models import PriceOverride, Provider
from controlplane.rest.resources import Nothing, Reference, Resource, StrictSerializer, cut_field
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind, Unpriced

KINDS = [(kind.value, kind.value) for kind in ProviderKind]
UNPRICED = [(choice.value, choice.value) for choice in Unpriced]


def names(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=200), max_length=500, **kwargs)


def pairs(**kwargs: Any) -> serializers.DictField:
    return serializers.DictField(child=serializers.CharField(max_length=200), **kwargs)


def seconds(field: str) -> serializers.IntegerField:
    words = str(getattr(Provider._meta.get_field(field), "help_text", ""))
    return serializers.IntegerField(
        min_value=waits.LEAST_S, max_value=waits.MOST_S, required=False, allow_null=True, help_text=words
    )


class ModelWait(StrictSerializer):
    """How long a provider may take with some of its models, in seconds; null: as with the others."""

    models = serializers.CharField(max_length=200, help_text="A name, with * where anything may stand.")
    first_byte_s = seconds("first_byte_s")
    idle_s = seconds("idle_s")


class ProviderOut(serializers.ModelSerializer[Provider]):
    organization_id = serializers.CharField(read_only=True)
    kind = serializers.ChoiceField(KINDS, read_only=True)
    models = names(read_only=True)
    deployments = pairs(read_only=True)
    account_headers = pairs(read_only=True)
    model_waits = ModelWait(many=True, read_only=True)

    class Meta:
        model = Provider
        fields = (
            "id", "organization_id", "name", "kind", "base_url", "enabled", "priority", "models", "api_version",
            "deployments", "account_headers", "unpriced", "price_provider", "first_byte_s", "idle_s", "model_waits",
            "no_stream_options", "credential_last4", "credential_fingerprint", "last_test_at", "last_test_ok",
            "last_test_message", "last_test_ms", "refused_since", "last_error", "last_error_at",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class ProviderFields(StrictSerializer):
    name = serializers.SlugField(max_length=63)
    base_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    enabled = serializers.BooleanField(required=False)
    priority = serializers.IntegerField(required=False, min_value=-(2**31), max_value=2**31 - 1)
    models = names(required=False)
    api_version = serializers.CharField(max_length=40, required=False, allow_blank=True)
    deployments = pairs(required=False)
    account_headers = pairs(
        required=False,
        help_text="Headers that choose an account of the provider's: openai-organization, openai-project, "
        "x-goog-user-project, anthropic-workspace-id, … by kind. A client's own never pass.",
    )
    unpriced = serializers.ChoiceField(UNPRICED, required=False)
    price_provider = serializers.CharField(max_length=63, required=False, allow_blank=True)
    first_byte_s = seconds("first_byte_s")
    idle_s = seconds("idle_s")
    model_waits = ModelWait(many=True, required=False)
    no_stream_options = serializers.BooleanField(required=False)
    credential = serializers.CharField(
        max_length=4096,
        write_only=True,
        help_text="Goes in and never comes back. Needed again when the address becomes another host or port.",
    )


class ProviderIn(ProviderFields):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    kind = serializers.ChoiceField(KINDS)


class ProviderChange(ProviderFields):
    cut = cut_field()


@extend_schema_serializer(component_name="Tested")
class ProviderTested(serializers.Serializer[Any]):
    """What came of a test."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
    elapsed_ms = serializers.IntegerField()


class Providers(Resource):
    """Upstream accounts."""

    view_verb = Verb.PROVIDER_VIEW
    queryset = Provider.objects.all()
    output = ProviderOut
    outputs = {"test": ProviderTested}
    inputs = {"create": ProviderIn, "partial_update": ProviderChange, "test": Nothing}
    filters = ("organization_id", "name", "kind", "enabled")
    apart = frozenset({"test"})

    def create(self, request: Request) -> Response:
        return self.show(actions.create_provider(by=self.actor, **_typed(self.read(request))), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        return self.show(actions.update_provider(row, by=self.actor, **_typed(self.read(request))))

    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        self.read(request)
        return self.show(actions.test_provider(row, by=self.actor))


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    typed = dict(data)
    for name, words in (("kind", ProviderKind), ("unpriced", Unpriced)):
        if name in typed:
            typed[name] = words(typed[name])
    if "credential" in typed:
        typed["credential"] = Secret(typed["credential"])
    return typed


class PriceOverrideOut(serializers.ModelSerializer[PriceOverride]):
    organization_id = serializers.CharField(read_only=True)
    match = names(read_only=True)
    rates = pairs(read_only=True)
    geo_percent = pairs(read_only=True)
    tier_percent = pairs(read_only=True)

    class Meta:
        model = PriceOverride
        fields = (
            "id", "organization_id", "provider", "model", "match", "rates", "discount_percent", "geo_percent",
            "tier_percent", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class PriceOverrideChange(StrictSerializer):
    match = names(required=False)
    rates = pairs(required=False, help_text="US dollars per million units, by usage class, as text.")
    discount_percent = serializers.DecimalField(
        max_digits=5, decimal_places=2, required=False, help_text="Instead of rates: off the list price."
    )
    geo_percent = pairs(
        required=False,
        help_text="Per cent of the price of tokens, by the place of an answer: the provider's word, or . and the "
        "end of its host.",
    )
    tier_percent = pairs(required=False, help_text="Per cent of the price of tokens, by the service tier of an answer.")


class PriceOverrideIn(PriceOverrideChange):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    provider = serializers.CharField(max_length=63)
    model = serializers.CharField(max_length=200)


class PriceOverrides(Resource):
    """An organization's own prices. Posting one that exists replaces it."""

    view_verb = Verb.PRICE_VIEW
    queryset = PriceOverride.objects.all()
    output = PriceOverrideOut
    inputs = {"create": PriceOverrideIn, "partial_update": PriceOverrideChange}
    filters = ("organization_id", "provider", "model")

    def create(self, request: Request) -> Response:
        return self.show(price_actions.put_override(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        names = ("match", "rates", "discount_percent", "geo_percent", "tier_percent")
        kept = {name: getattr(row, name) for name in names}
        changed = price_actions.put_override(
            by=self.actor,
            organization=row.organization,
            provider=row.provider,
            model=row.model,
            **{**kept, **self.read(request)},
        )
        return self.show(changed)

    def destroy(self, request: Request, pk: str) -> Response:
        price_actions.remove_override(self.get_object(), by=self.actor)
        return Response(status=204)
