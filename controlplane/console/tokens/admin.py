"""API tokens: minted, shown once, revoked."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from controlplane.console.access import actor_of
from controlplane.console.addresses import link, page_of
from controlplane.console.decorators import button, display
from controlplane.console.minting import MintingAdmin, show_once
from controlplane.console.questions import ask, breadcrumbs
from controlplane.console.site import site
from controlplane.console.tokens.form import ApiTokenForm
from controlplane.pages.cells import ago, mono, pill
from controlplane.pages.once import take_over
from controlplane.tenancy import actions
from controlplane.tenancy.models import ApiToken, Role
from controlplane.tenancy.permissions import Verb, may
from dataplane.core.secret import Secret


class ApiTokenAdmin(MintingAdmin):
    """A token cannot be changed: revoke it and mint another."""

    form = ApiTokenForm
    view_verb = Verb.TOKEN_VIEW
    add_verb = Verb.TOKEN_CHANGE
    choice_verbs = {"organization": Verb.ORGANIZATION_VIEW, "team": Verb.TEAM_VIEW}
    list_display = ("name", "shown_public_id", "shown_state", "role", "shown_organization", "shown_used", "expires_at")
    list_filter = ("organization", "role")
    list_select_related = ("organization",)
    search_fields = ("name", "public_id", "id")
    ordering = ("-created_at",)
    fieldsets = (
        (None, {"fields": ("organization", "name", "role", "team", "expires_at")}),
        ("Only these verbs", {"classes": ("collapse",), "fields": ("verbs",)}),
    )
    actions_detail = ("revoke",)

    @display(description="Token")
    def shown_public_id(self, row: ApiToken) -> str:
        return mono(f"{row.shown}…")

    @display(description="State")
    def shown_state(self, row: ApiToken) -> str:
        if row.revoked_at is not None:
            return pill("Revoked", "bad")
        if row.expires_at is not None and row.expires_at <= timezone.now():
            return pill("Expired", "warn")
        return pill("Active", "good")

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: ApiToken) -> str:
        return link(row.organization)

    @display(description="Last used", ordering="last_used_at")
    def shown_used(self, row: ApiToken) -> str:
        return ago(row.last_used_at)

    def mint(self, request: HttpRequest, data: dict[str, Any]) -> tuple[ApiToken, Secret]:
        verbs = [Verb(verb) for verb in data["verbs"]]
        return actions.mint_token(by=actor_of(request), **{**data, "role": Role(data["role"]), "verbs": verbs})

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        return show_once(
            request,
            self.admin_site,
            token=take_over(request),
            context={
                "title": "API token",
                **breadcrumbs(obj),
                "heading": f"“{obj.name}” is minted",
                "secret_name": "API token",
                "done_url": reverse("admin:tenancy_apitoken_changelist"),
                "example": example(request),
            },
        )

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        row = self.find(request, object_id)
        return row is not None and row.revoked_at is None and may(actor_of(request), Verb.TOKEN_CHANGE, row)

    @button(description="Revoke…", icon="block", url_path="revoke", permissions=["revoke"], danger=True)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        back = page_of(row)
        if request.method == "POST":
            actions.revoke_token(row, by=actor_of(request))
            return HttpResponseRedirect(back)
        return ask(
            request,
            self.admin_site,
            title="Revoke API token",
            about=row,
            question=f"Revoke “{row.name}” for good?",
            lead="The next request with this token is refused with 401. This cannot be taken back.",
            submit="Revoke",
            danger=True,
            back_url=back,
        )


def example(request: HttpRequest) -> str:
    address = request.build_absolute_uri("/api/v1/virtual-keys")
    return f'curl "{address}" -H "Authorization: Bearer $AIGATEWAY_API_TOKEN"'


site.register(ApiToken, ApiTokenAdmin)
