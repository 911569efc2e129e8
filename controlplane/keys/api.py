"""REST routes of virtual keys and model aliases. A key's text is in the answer to mint and rotate, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.keys import actions, alias_actions
from controlplane.keys.lifecycle import WrongState
from controlplane.keys.models import KeyEnvironment, ModelAlias, OwnerScope, VirtualKey
from controlplane.providers.models import Provider
from controlplane.rest.problems import Conflict
from controlplane.rest.resources import Nothing, Reference, Resource, StrictSerializer
from controlplane.tenancy.models import Organization, Principal, Project
from controlplane.tenancy.permissions import Verb

LONGEST_GRACE_S = int(actions.LONGEST_GRACE.total_seconds())
Done = TypeVar("Done")


def texts(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=200), max_length=500, **kwargs)


class VirtualKeyOut(serializers.ModelSerializer[VirtualKey]):
    prefix = serializers.CharField(source="shown", read_only=True, help_text="What may be shown of the key.")
    organization_id = serializers.CharField(read_only=True)
    team_id = serializers.CharField(read_only=True, allow_null=True)
    project_id = serializers.CharField(read_only=True)
    principal_id = serializers.CharField(read_only=True, allow_null=True)
    models_allowed = texts(read_only=True)
    providers_allowed = texts(read_only=True)
    tags = texts(read_only=True)
    metadata = serializers.DictField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = VirtualKey
        fields = (
            "id", "name", "description", "prefix", "environment", "state", "owner_scope", "organization_id", "team_id",
            "project_id", "principal_id", "expires_at", "models_allowed", "providers_allowed", "tags", "metadata",
            "external_id", "disabled_reason", "revoked_at", "last_used_at", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class VirtualKeyWithToken(VirtualKeyOut):
    """The only answers that hold a key's text."""

    token = serializers.CharField(allow_null=True, help_text="Shown once. Null in a replayed answer.")
    notice = serializers.CharField(required=False, help_text="Says so in a replayed answer.")

    class Meta(VirtualKeyOut.Meta):
        fields = (*VirtualKeyOut.Meta.fields, "token", "notice")  # type: ignore[assignment]


class VirtualKeyFields(StrictSerializer):
    name = serializers.CharField(max_length=120)
    description = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    project_id = Reference(Project, Verb.PROJECT_VIEW, source="project")
    principal_id = Reference(Principal, Verb.PRINCIPAL_VIEW, source="principal", required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    models_allowed = texts(required=False)
    providers_allowed = texts(required=False)
    tags = texts(required=False)
    metadata = serializers.DictField(child=serializers.CharField(max_length=500), required=False)
    external_id = serializers.CharField(max_length=200, required=False, allow_blank=True)


class VirtualKeyIn(VirtualKeyFields):
    owner_scope = serializers.ChoiceField(OwnerScope.choices, required=False)
    environment = serializers.ChoiceField(KeyEnvironment.choices, required=False)


class RotateIn(StrictSerializer):
    grace_s = serializers.IntegerField(
        required=False, min_value=0, max_value=LONGEST_GRACE_S, help_text="How long the old secret works. Seconds."
    )
    cut = serializers.BooleanField(
        required=False, help_text="End answers too that the old secret began; only with `grace_s` 0. Default: no."
    )


class DisableIn(StrictSerializer):
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True)
    cut = serializers.BooleanField(required=False, help_text="End running answers too, within a second. Default: no.")


class RevokeIn(StrictSerializer):
    cut = serializers.BooleanField(required=False, help_text="End running answers too, within a second. Default: yes.")


class VirtualKeys(Resource):
    """Credentials that CLIs carry."""

    view_verb = Verb.KEY_VIEW
    queryset = VirtualKey.objects.all()
    output = VirtualKeyOut
    outputs = {"create": VirtualKeyWithToken, "rotate": VirtualKeyWithToken}
    inputs = {
        "create": VirtualKeyIn,
        "partial_update": VirtualKeyFields,
        "rotate": RotateIn,
        "disable": DisableIn,
        "enable": Nothing,
        "revoke": RevokeIn,
    }
    filters = ("organization_id", "team_id", "project_id", "principal_id", "state", "external_id")
    secrets = frozenset({"token"})

    def create(self, request: Request) -> Response:
        data = self.read(request)
        for name, words in (("owner_scope", OwnerScope), ("environment", KeyEnvironment)):
            if name in data:
                data[name] = words(data[name])
        key, token = actions.mint(by=self.actor, **data)
        return self._shown_with(key, token.reveal().decode(), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        key, data = self.get_object(), self.read(request)

        def change() -> VirtualKey:
            if "expires_at" in data:
                actions.extend(key, by=self.actor, expires_at=data.pop("expires_at"))
            return actions.update(key, by=self.actor, **data) if data else key

        return self.show(_allowed(change))

    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        key, data = self.get_object(), self.read(request)
        grace = timedelta(seconds=data["grace_s"]) if "grace_s" in data else actions.GRACE
        token = _allowed(lambda: actions.rotate(key, by=self.actor, grace=grace, cut=data.get("cut", False)))
        return self._shown_with(key, token.reveal().decode(), 200)

    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        key, data = self.get_object(), self.read(request)
        return self.show(_allowed(lambda: actions.disable(key, by=self.actor, **data)))

    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        key = self.get_object()
        self.read(request)
        return self.show(_allowed(lambda: actions.enable(key, by=self.actor)))

    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        key, data = self.get_object(), self.read(request)
        return self.show(_allowed(lambda: actions.revoke(key, by=self.actor, **data)))

    def _shown_with(self, key: VirtualKey, token: str, status: int) -> Response:
        shown = VirtualKeyOut(key, context=self.get_serializer_context()).data
        return Response({**shown, "token": token}, status=status)


def _allowed(step: Callable[[], Done]) -> Done:
    try:
        return step()
    except WrongState as refused:
        raise Conflict(str(refused)) from refused


class ModelAliasOut(serializers.ModelSerializer[ModelAlias]):
    organization_id = serializers.CharField(read_only=True)
    project_id = serializers.CharField(read_only=True, allow_null=True)
    key_id = serializers.CharField(read_only=True, allow_null=True)
    provider_id = serializers.CharField(read_only=True, allow_null=True)

    class Meta:
        model = ModelAlias
        fields = (
            "id", "organization_id", "project_id", "key_id", "alias", "model", "provider_id", "created_at",
            "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class ModelAliasChange(StrictSerializer):
    alias = serializers.CharField(max_length=200)
    model = serializers.CharField(max_length=200)
    provider_id = Reference(Provider, Verb.PROVIDER_VIEW, source="provider", required=False, allow_null=True)


class ModelAliasIn(ModelAliasChange):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    project_id = Reference(Project, Verb.PROJECT_VIEW, source="project", required=False, allow_null=True)
    key_id = Reference(VirtualKey, Verb.KEY_VIEW, source="key", required=False, allow_null=True)


class ModelAliases(Resource):
    """Names that clients send for models that providers know."""

    view_verb = Verb.ALIAS_VIEW
    queryset = ModelAlias.objects.all()
    output = ModelAliasOut
    inputs = {"create": ModelAliasIn, "partial_update": ModelAliasChange}
    filters = ("organization_id", "project_id", "key_id", "provider_id", "alias")

    def create(self, request: Request) -> Response:
        return self.show(alias_actions.create_alias(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(alias_actions.update_alias(self.get_object(), by=self.actor, **self.read(request)))

    def destroy(self, request: Request, pk: str) -> Response:
        alias_actions.delete_alias(self.get_object(), by=self.actor)
        return Response(status=204)
