"""Organizations, teams, projects, principals and memberships."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import Count, QuerySet
from django.http import HttpRequest

from controlplane.console.access import actor_of
from controlplane.console.addresses import link
from controlplane.console.base import ConsoleAdmin
from controlplane.console.decorators import display
from controlplane.console.fields import CutForm
from controlplane.console.site import site
from controlplane.pages.cells import mono, on_off, pill
from controlplane.tenancy import actions
from controlplane.tenancy.models import Membership, Organization, Principal, PrincipalKind, Project, Role, Team
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import logins_for


class CuttableAdmin(ConsoleAdmin):
    """The change of a row also ends, if its admin wants that, what runs under it."""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs["form"] = CutForm
        return super().get_form(request, obj, change, **kwargs)


class OrganizationAdmin(CuttableAdmin):
    view_verb = Verb.ORGANIZATION_VIEW
    add_verb = Verb.ORGANIZATION_CREATE
    change_verb = Verb.ORGANIZATION_CHANGE
    list_display = ("name", "shown_id", "shown_state", "team_count", "key_count", "contact")
    search_fields = ("name", "slug", "id")
    ordering = ("name",)
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = (
        (None, {"fields": ("name", "slug", "contact", "active", "cut")}),
        (
            "Revocation",
            {
                "description": "How long a pod may serve this organization without news from here. The promise that a "
                "revoked key stops everywhere within 60 s holds for bounds up to 45 s.",
                "fields": ("freshness_bound_s", "cut_on_stale", "cut_on_expiry"),
            },
        ),
    )
    add_fieldsets = (
        (None, {"fields": ("name", "slug", "contact")}),
        ("Revocation", {"classes": ("collapse",), "fields": ("freshness_bound_s", "cut_on_stale", "cut_on_expiry")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        rows = rows.annotate(teams_=Count("teams", distinct=True), keys_=Count("virtual_keys", distinct=True))
        return cast("QuerySet[Any]", rows)

    @display(description="Id")
    def shown_id(self, row: Organization) -> str:
        return mono(row.pk)

    @display(description="State", ordering="active")
    def shown_state(self, row: Organization) -> str:
        return on_off(row.active)

    @display(description="Teams")
    def team_count(self, row: Any) -> int:
        return int(row.teams_)

    @display(description="Keys")
    def key_count(self, row: Any) -> int:
        return int(row.keys_)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Organization:
        return actions.create_organization(by=actor_of(request), **data)

    def change(self, request: HttpRequest, row: Organization, data: dict[str, Any]) -> Organization:
        return actions.update_organization(row, by=actor_of(request), **data)


class TeamAdmin(ConsoleAdmin):
    view_verb = Verb.TEAM_VIEW
    add_verb = Verb.TEAM_CREATE
    change_verb = Verb.TEAM_CHANGE
    choice_verbs = {"organization": Verb.ORGANIZATION_VIEW}
    fixed_fields = ("organization",)
    list_display = ("name", "shown_organization", "project_count", "external_id")
    list_filter = ("organization",)
    list_select_related = ("organization",)
    search_fields = ("name", "slug", "id")
    ordering = ("name",)
    prepopulated_fields = {"slug": ("name",)}
    fields = ("organization", "name", "slug", "external_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return cast("QuerySet[Any]", rows.annotate(projects_=Count("projects", distinct=True)))

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Team) -> str:
        return link(row.organization)

    @display(description="Projects")
    def project_count(self, row: Any) -> int:
        return int(row.projects_)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Team:
        return actions.create_team(by=actor_of(request), **data)

    def change(self, request: HttpRequest, row: Team, data: dict[str, Any]) -> Team:
        return actions.update_team(row, by=actor_of(request), **data)


class ProjectAdmin(CuttableAdmin):
    view_verb = Verb.PROJECT_VIEW
    add_verb = Verb.PROJECT_CHANGE
    change_verb = Verb.PROJECT_CHANGE
    choice_verbs = {"team": Verb.TEAM_VIEW}
    fixed_fields = ("team",)
    list_display = ("name", "shown_team", "shown_organization", "shown_state", "key_count")
    list_filter = ("organization", "team", "active")
    list_select_related = ("team", "organization")
    search_fields = ("name", "slug", "id")
    ordering = ("name",)
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = ((None, {"fields": ("team", "name", "slug", "active", "cut")}),)
    add_fieldsets = ((None, {"fields": ("team", "name", "slug")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return cast("QuerySet[Any]", rows.annotate(keys_=Count("virtual_keys", distinct=True)))

    @display(description="Team", ordering="team__name")
    def shown_team(self, row: Project) -> str:
        return link(row.team)

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Project) -> str:
        return link(row.organization)

    @display(description="State", ordering="active")
    def shown_state(self, row: Project) -> str:
        return on_off(row.active)

    @display(description="Keys")
    def key_count(self, row: Any) -> int:
        return int(row.keys_)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Project:
        return actions.create_project(by=actor_of(request), **data)

    def change(self, request: HttpRequest, row: Project, data: dict[str, Any]) -> Project:
        return actions.update_project(row, by=actor_of(request), **data)


class LoginChoice:
    """A form names logins that its user may name."""

    def choices_for(self, request: HttpRequest, name: str) -> QuerySet[Any] | None:
        if name == "user":
            return logins_for(actor_of(request))
        rows: QuerySet[Any] | None = super().choices_for(request, name)  # type: ignore[misc]
        return rows


class PrincipalAdmin(LoginChoice, CuttableAdmin):
    view_verb = Verb.PRINCIPAL_VIEW
    add_verb = Verb.PRINCIPAL_CHANGE
    change_verb = Verb.PRINCIPAL_CHANGE
    choice_verbs = {"organization": Verb.ORGANIZATION_VIEW}
    fixed_fields = ("organization",)
    list_display = ("display_name", "shown_kind", "email", "shown_organization", "shown_state", "key_count")
    list_filter = ("organization", "kind", "active")
    list_select_related = ("organization",)
    search_fields = ("display_name", "email", "external_id", "id")
    ordering = ("display_name",)
    fieldsets = (
        (None, {"fields": ("organization", "kind", "display_name", "email", "active", "cut")}),
        ("Identity", {"fields": ("user", "external_id")}),
    )
    add_fieldsets = (
        (None, {"fields": ("organization", "kind", "display_name", "email")}),
        ("Identity", {"fields": ("user", "external_id")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return cast("QuerySet[Any]", rows.annotate(keys_=Count("virtual_keys", distinct=True)))

    @display(description="Kind", ordering="kind")
    def shown_kind(self, row: Principal) -> str:
        return pill("Service", "info") if row.kind == PrincipalKind.SERVICE else pill("Person", "plain")

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Principal) -> str:
        return link(row.organization)

    @display(description="State", ordering="active")
    def shown_state(self, row: Principal) -> str:
        return on_off(row.active)

    @display(description="Keys")
    def key_count(self, row: Any) -> int:
        return int(row.keys_)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Principal:
        return actions.create_principal(by=actor_of(request), **data)

    def change(self, request: HttpRequest, row: Principal, data: dict[str, Any]) -> Principal:
        return actions.update_principal(row, by=actor_of(request), **data)


class MembershipAdmin(LoginChoice, ConsoleAdmin):
    view_verb = Verb.MEMBERSHIP_VIEW
    add_verb = Verb.MEMBERSHIP_CHANGE
    change_verb = Verb.MEMBERSHIP_CHANGE
    delete_verb = Verb.MEMBERSHIP_CHANGE
    choice_verbs = {"organization": Verb.ORGANIZATION_VIEW, "team": Verb.TEAM_VIEW}
    fixed_fields = ("user", "organization", "team")
    list_display = ("user", "shown_role", "shown_organization", "shown_team")
    list_filter = ("organization", "role")
    list_select_related = ("user", "organization", "team")
    search_fields = ("user__username", "user__email")
    ordering = ("organization", "user__username")
    fields = ("user", "organization", "role", "team")

    @display(description="Role", ordering="role")
    def shown_role(self, row: Membership) -> str:
        strong = row.role in (Role.OWNER, Role.ADMIN)
        return pill(Role(row.role).label, "info" if strong else "plain")

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Membership) -> str:
        return link(row.organization)

    @display(description="Team", ordering="team__name")
    def shown_team(self, row: Membership) -> str:
        return link(row.team)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Membership:
        return actions.grant_role(by=actor_of(request), **{**data, "role": Role(data["role"])})

    def change(self, request: HttpRequest, row: Membership, data: dict[str, Any]) -> Membership:
        return actions.grant_role(
            by=actor_of(request), user=row.user, organization=row.organization, team=row.team, role=Role(data["role"])
        )

    def remove(self, request: HttpRequest, row: Membership) -> None:
        actions.end_membership(row, by=actor_of(request))


site.register(Organization, OrganizationAdmin)
site.register(Team, TeamAdmin)
site.register(Project, ProjectAdmin)
site.register(Principal, PrincipalAdmin)
site.register(Membership, MembershipAdmin)
