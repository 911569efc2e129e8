"""REST routes of the tenancy tree: organizations, teams, projects, principals."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.rest.resources import Reference, Resource, StrictSerializer, cut_field
from controlplane.tenancy import actions
from controlplane.tenancy.models import LONGEST_FRESHNESS_BOUND_S, Organization, Principal, PrincipalKind, Project, Team
from controlplane.tenancy.permissions import Verb


class OrganizationOut(serializers.ModelSerializer[Organization]):
    class Meta:
        model = Organization
        fields = (
            "id", "name", "slug", "contact", "active", "freshness_bound_s", "cut_on_stale", "cut_on_expiry",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class OrganizationIn(StrictSerializer):
    name = serializers.CharField(max_length=120)
    slug = serializers.SlugField(max_length=63)
    contact = serializers.CharField(max_length=200, required=False, allow_blank=True)
    freshness_bound_s = serializers.IntegerField(required=False, min_value=0, max_value=LONGEST_FRESHNESS_BOUND_S)
    cut_on_stale = serializers.BooleanField(required=False)
    cut_on_expiry = serializers.BooleanField(required=False)


class OrganizationChange(OrganizationIn):
    active = serializers.BooleanField()
    cut = cut_field()


class Organizations(Resource):
    """Tenants. Only an operator makes one."""

    view_verb = Verb.ORGANIZATION_VIEW
    queryset = Organization.objects.all()
    output = OrganizationOut
    inputs = {"create": OrganizationIn, "partial_update": OrganizationChange}
    filters = ("slug", "active")

    def create(self, request: Request) -> Response:
        return self.show(actions.create_organization(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(actions.update_organization(self.get_object(), by=self.actor, **self.read(request)))


class TeamOut(serializers.ModelSerializer[Team]):
    organization_id = serializers.CharField(read_only=True)

    class Meta:
        model = Team
        fields = ("id", "organization_id", "name", "slug", "external_id", "created_at", "updated_at")
        read_only_fields = fields


class TeamChange(StrictSerializer):
    name = serializers.CharField(max_length=120)
    slug = serializers.SlugField(max_length=63)
    external_id = serializers.CharField(max_length=200, required=False, allow_blank=True)


class TeamIn(TeamChange):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")


class Teams(Resource):
    """Parts of an organization."""

    view_verb = Verb.TEAM_VIEW
    queryset = Team.objects.all()
    output = TeamOut
    inputs = {"create": TeamIn, "partial_update": TeamChange}
    filters = ("organization_id", "slug", "external_id")

    def create(self, request: Request) -> Response:
        return self.show(actions.create_team(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(actions.update_team(self.get_object(), by=self.actor, **self.read(request)))


class ProjectOut(serializers.ModelSerializer[Project]):
    organization_id = serializers.CharField(read_only=True)
    team_id = serializers.CharField(read_only=True)

    class Meta:
        model = Project
        fields = ("id", "organization_id", "team_id", "name", "slug", "active", "created_at", "updated_at")
        read_only_fields = fields


class ProjectIn(StrictSerializer):
    team_id = Reference(Team, Verb.TEAM_VIEW, source="team")
    name = serializers.CharField(max_length=120)
    slug = serializers.SlugField(max_length=63)


class ProjectChange(StrictSerializer):
    name = serializers.CharField(max_length=120)
    slug = serializers.SlugField(max_length=63)
    active = serializers.BooleanField()
    cut = cut_field()


class Projects(Resource):
    """Where usage is booked."""

    view_verb = Verb.PROJECT_VIEW
    queryset = Project.objects.all()
    output = ProjectOut
    inputs = {"create": ProjectIn, "partial_update": ProjectChange}
    filters = ("organization_id", "team_id", "slug", "active")

    def create(self, request: Request) -> Response:
        return self.show(actions.create_project(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(actions.update_project(self.get_object(), by=self.actor, **self.read(request)))


class PrincipalOut(serializers.ModelSerializer[Principal]):
    organization_id = serializers.CharField(read_only=True)

    class Meta:
        model = Principal
        fields = (
            "id", "organization_id", "kind", "display_name", "email", "external_id", "active", "created_at",
            "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class PrincipalFields(StrictSerializer):
    display_name = serializers.CharField(max_length=120)
    kind = serializers.ChoiceField(PrincipalKind.choices, required=False)
    email = serializers.EmailField(required=False, allow_blank=True)
    external_id = serializers.CharField(max_length=200, required=False, allow_blank=True)


class PrincipalIn(PrincipalFields):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")


class PrincipalChange(PrincipalFields):
    active = serializers.BooleanField()
    cut = cut_field()


class Principals(Resource):
    """People and service accounts that requests are attributed to."""

    view_verb = Verb.PRINCIPAL_VIEW
    queryset = Principal.objects.all()
    output = PrincipalOut
    inputs = {"create": PrincipalIn, "partial_update": PrincipalChange}
    filters = ("organization_id", "kind", "email", "external_id", "active")

    def create(self, request: Request) -> Response:
        return self.show(actions.create_principal(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(actions.update_principal(self.get_object(), by=self.actor, **self.read(request)))
