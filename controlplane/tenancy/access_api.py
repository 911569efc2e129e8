"""REST routes of who gets in: memberships of logins, and API tokens. A token's text is in the answer to its minting."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.rest.caller import actor_of
from controlplane.rest.resources import Nothing, Reference, Resource, StrictSerializer
from controlplane.tenancy import actions
from controlplane.tenancy.models import ApiToken, Membership, Organization, Role, Team
from controlplane.tenancy.permissions import OPERATORS_ONLY, Verb
from controlplane.tenancy.queries import logins_for

ROLES = Role.choices
VERBS = [(verb.value, verb.value) for verb in Verb if verb not in OPERATORS_ONLY]


@extend_schema_field(OpenApiTypes.STR)
class LoginField(serializers.Field[Any, str, str, Any]):
    """A user name in a body; becomes the login if the caller may name it."""

    default_error_messages = {
        "none": "There is no such login, or it is not yours to name.",
        "text": "A user name is text.",
    }

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("text")
        logins = logins_for(actor_of(self.context["request"]))
        login = logins.filter(username=data).first() if data.isprintable() else None
        if login is None:
            self.fail("none")
        return login

    def to_representation(self, value: User) -> str:
        return value.get_username()


class MembershipOut(serializers.ModelSerializer[Membership]):
    organization_id = serializers.CharField(read_only=True)
    team_id = serializers.CharField(read_only=True, allow_null=True)
    user_id = serializers.CharField(read_only=True)
    username = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "organization_id", "team_id", "user_id", "username", "role", "created_at", "updated_at")
        read_only_fields = fields


class MembershipChange(StrictSerializer):
    role = serializers.ChoiceField(ROLES)


class MembershipIn(MembershipChange):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    team_id = Reference(Team, Verb.TEAM_VIEW, source="team", required=False, allow_null=True)
    username = LoginField(source="user")


class Memberships(Resource):
    """Roles of logins. Making one at a place where the login has a role gives it the new one."""

    view_verb = Verb.MEMBERSHIP_VIEW
    queryset = Membership.objects.select_related("user")
    output = MembershipOut
    inputs = {"create": MembershipIn, "partial_update": MembershipChange}
    filters = ("organization_id", "team_id", "user_id", "role")

    def create(self, request: Request) -> Response:
        data = self.read(request)
        return self.show(actions.grant_role(by=self.actor, **{**data, "role": Role(data["role"])}), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        row: Membership = self.get_object()
        role = Role(self.read(request)["role"])
        return self.show(
            actions.grant_role(by=self.actor, user=row.user, organization=row.organization, team=row.team, role=role)
        )

    def destroy(self, request: Request, pk: str) -> Response:
        actions.end_membership(self.get_object(), by=self.actor)
        return Response(status=204)


class ApiTokenOut(serializers.ModelSerializer[ApiToken]):
    prefix = serializers.CharField(source="shown", read_only=True, help_text="What may be shown of the token.")
    organization_id = serializers.CharField(read_only=True)
    team_id = serializers.CharField(read_only=True, allow_null=True)
    verbs = serializers.ListField(
        child=serializers.ChoiceField(VERBS), read_only=True, help_text="Only these of its role's; empty: all of them."
    )

    class Meta:
        model = ApiToken
        fields = (
            "id", "name", "prefix", "organization_id", "team_id", "role", "verbs", "expires_at", "revoked_at",
            "last_used_at", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class ApiTokenWithToken(ApiTokenOut):
    """The only answer that holds a token's text."""

    token = serializers.CharField(allow_null=True, help_text="Shown once. Null in a replayed answer.")
    notice = serializers.CharField(required=False, help_text="Says so in a replayed answer.")

    class Meta(ApiTokenOut.Meta):
        fields = (*ApiTokenOut.Meta.fields, "token", "notice")  # type: ignore[assignment]


class ApiTokenIn(StrictSerializer):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    name = serializers.CharField(max_length=120)
    role = serializers.ChoiceField(ROLES, required=False)
    team_id = Reference(Team, Verb.TEAM_VIEW, source="team", required=False, allow_null=True)
    verbs = serializers.ListField(child=serializers.ChoiceField(VERBS), max_length=len(VERBS), required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class ApiTokens(Resource):
    """Credentials of programs that use this API. They are not changed: revoke one and mint another."""

    view_verb = Verb.TOKEN_VIEW
    queryset = ApiToken.objects.all()
    output = ApiTokenOut
    outputs = {"create": ApiTokenWithToken}
    inputs = {"create": ApiTokenIn, "revoke": Nothing}
    filters = ("organization_id", "team_id", "role", "name")
    secrets = frozenset({"token"})

    def create(self, request: Request) -> Response:
        data = self.read(request)
        if "role" in data:
            data["role"] = Role(data["role"])
        data["verbs"] = [Verb(verb) for verb in data.get("verbs", ())]
        row, token = actions.mint_token(by=self.actor, **data)
        shown = ApiTokenOut(row, context=self.get_serializer_context()).data
        return Response({**shown, "token": token.reveal().decode()}, status=201)

    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        self.read(request)
        return self.show(actions.revoke_token(row, by=self.actor))
