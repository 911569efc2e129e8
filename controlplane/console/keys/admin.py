"""Virtual keys: mint and rotate (shown once), disable, enable, revoke; model aliases."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html

from controlplane.console.access import actor_of
from controlplane.console.addresses import link, page_of, requests_page
from controlplane.console.base import ConsoleAdmin
from controlplane.console.decorators import button, display
from controlplane.console.form_token import Spent, refuse_spent, spend
from controlplane.console.keys import pages as key_pages
from controlplane.console.keys.form import ModelAliasForm, VirtualKeyAddForm, VirtualKeyForm
from controlplane.console.keys.words import state_pill
from controlplane.console.minting import MintingAdmin
from controlplane.console.questions import breadcrumbs
from controlplane.console.site import site
from controlplane.keys import actions, alias_actions
from controlplane.keys.lifecycle import VERB_OF, Step, WrongState, possible
from controlplane.keys.models import KeyEnvironment, KeyState, ModelAlias, OwnerScope, VirtualKey
from controlplane.pages.cells import ago, mono
from controlplane.pages.figures import SPEND_DAYS, spend_by_key
from controlplane.pages.once import take_over
from controlplane.pages.recipes import PLACEHOLDER
from controlplane.pages.setups import setups, target_of
from controlplane.pages.wording import dollars
from controlplane.tenancy.permissions import Verb, may, require
from dataplane.core.secret import Secret

LIMITS = {
    "fields": ("models_allowed", "providers_allowed", "expires_at"),
    "description": "Leave empty for no limit.",
}
NOTES = {"classes": ("collapse",), "fields": ("description", "tags", "metadata", "external_id")}


class VirtualKeyAdmin(MintingAdmin):
    view_verb = Verb.KEY_VIEW
    add_verb = Verb.KEY_MINT
    change_verb = Verb.KEY_CHANGE
    choice_verbs = {"project": Verb.PROJECT_VIEW, "principal": Verb.PRINCIPAL_VIEW}
    list_display = (
        "name", "shown_key", "shown_state", "shown_principal", "shown_project", "shown_used", "shown_spend",
    )  # fmt: skip
    list_filter = ("state", "organization", "team", "project", "environment")
    list_select_related = ("project", "principal", "organization")
    search_fields = (
        "name", "public_id", "secrets__public_id", "id", "principal__display_name", "principal__email", "external_id",
        "tags_text",
    )  # fmt: skip
    search_help_text = "Name, key or its first characters, old secret, id, person, e-mail, tag"
    ordering = ("-created_at",)
    add_fieldsets = (
        (None, {"fields": ("name", "project", "principal", "owner_scope", "key_environment")}),
        ("Limits", LIMITS),
        ("Notes", NOTES),
    )
    fieldsets = (
        (None, {"fields": ("name", "shown_key", "shown_state", "project", "principal", "shown_owner")}),
        ("Limits", LIMITS),
        ("Notes", NOTES),
    )
    readonly_fields = ("shown_key", "shown_state", "shown_owner")
    actions_detail = ("setup", "rotate", "disable", "enable", "revoke")

    # ---- list ----

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        rows = queryset.alias(tags_text=Cast("tags", TextField()))
        return super().get_search_results(request, rows, search_term)

    def look_ahead(self, request: HttpRequest, rows: list[Any]) -> None:
        spend = spend_by_key(row.pk for row in rows)
        for row in rows:
            row.spend_nano = spend.get(row.pk, 0)

    @display(description="Key")
    def shown_key(self, row: VirtualKey) -> str:
        return mono(f"{row.shown}…")

    @display(description="State", ordering="state")
    def shown_state(self, row: VirtualKey) -> str:
        return state_pill(row)

    @display(description="Person", ordering="principal__display_name")
    def shown_principal(self, row: VirtualKey) -> str:
        return link(row.principal)

    @display(description="Project", ordering="project__name")
    def shown_project(self, row: VirtualKey) -> str:
        return link(row.project)

    @display(description="Owned by")
    def shown_owner(self, row: VirtualKey) -> str:
        return OwnerScope(row.owner_scope).label

    @display(description="Last used", ordering="last_used_at")
    def shown_used(self, row: VirtualKey) -> str:
        return ago(row.last_used_at)

    @display(description=f"Spend, {SPEND_DAYS} days")
    def shown_spend(self, row: Any) -> str:
        address = requests_page(key_id=row.pk, days=SPEND_DAYS)
        return format_html('<a class="gw-link" href="{}">{}</a>', address, dollars(getattr(row, "spend_nano", 0)))

    # ---- form ----

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = VirtualKeyForm if obj is not None else VirtualKeyAddForm
        return super().get_form(
            request, obj, change, **kwargs, form=type(form.__name__, (form,), {"actor": actor_of(request)})
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, VirtualKey) and Step.UPDATE not in possible(KeyState(obj.state)):
            return False
        return super().has_change_permission(request, obj)

    def mint(self, request: HttpRequest, data: dict[str, Any]) -> tuple[VirtualKey, Secret]:
        return actions.mint(
            by=actor_of(request),
            owner_scope=OwnerScope(data.pop("owner_scope")),
            environment=KeyEnvironment(data.pop("key_environment")),
            **data,
        )

    def change(self, request: HttpRequest, row: VirtualKey, data: dict[str, Any]) -> VirtualKey:
        if "expires_at" in data:
            actions.extend(row, by=actor_of(request), expires_at=data.pop("expires_at"))
        return actions.update(row, by=actor_of(request), **data) if data else row

    def response_add(self, request: HttpRequest, obj: VirtualKey, post_url_continue: str | None = None) -> HttpResponse:
        return key_pages.minted(request, self.admin_site, obj, take_over(request))

    # ---- buttons ----

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """The buttons for the steps that the key's state allows and the person may take."""
        row = self.find(request, object_id)
        if row is None:
            return []
        shown = {"setup"} if row.state != KeyState.REVOKED else set()
        actor = actor_of(request)
        shown |= {step.value for step in possible(KeyState(row.state)) if may(actor, VERB_OF[step], row)}
        return [item for item in super().get_actions_detail(request, object_id) if item.path in shown]

    @button(description="Set up a CLI", icon="terminal", url_path="setup")
    def setup(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": "Set up a CLI",
            **breadcrumbs(row),
            "setups": setups(target_of(row)),
            "setup_hint": f"put the key in place of {PLACEHOLDER}; it is not shown again",
            "done_url": page_of(row),
        }
        return TemplateResponse(request, "console/setup.html", context)

    @button(description="Rotate…", icon="autorenew", url_path="rotate")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row, errors = self.row_at(request, object_id), []
        require(actor_of(request), VERB_OF[Step.ROTATE], row)
        if request.method == "POST":
            try:
                refuse_spent(request)
                grace, cut = key_pages.chosen_grace(request)
                _, token = spend(
                    request, lambda: (row, actions.rotate(row, by=actor_of(request), grace=grace, cut=cut))
                )
                return key_pages.rotated(request, self.admin_site, row, token)
            except Spent as earlier:
                return self.answered_before(request, earlier)
            except (WrongState, ValidationError) as refused:
                errors = [str(refused)] if isinstance(refused, WrongState) else refused.messages
        return key_pages.ask_rotate(request, self.admin_site, row, errors)

    @button(description="Disable", icon="pause_circle", url_path="disable")
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        if request.method != "POST":
            return key_pages.ask_disable(request, self.admin_site, row)
        return self._take(request, row, Step.DISABLE)

    @button(description="Enable", icon="play_circle", url_path="enable")
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        if request.method != "POST":
            return key_pages.ask_enable(request, self.admin_site, row)
        return self._take(request, row, Step.ENABLE)

    @button(description="Revoke…", icon="block", url_path="revoke", danger=True)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        if request.method != "POST":
            return key_pages.ask_revoke(request, self.admin_site, row)
        return self._take(request, row, Step.REVOKE)

    def _take(self, request: HttpRequest, row: VirtualKey, step: Step) -> HttpResponse:
        actor = actor_of(request)
        try:
            match step:
                case Step.DISABLE:
                    cut = request.POST.get("streams", "drain") == "cut"
                    actions.disable(row, by=actor, reason=request.POST.get("reason", ""), cut=cut)
                case Step.ENABLE:
                    actions.enable(row, by=actor)
                case _:
                    actions.revoke(row, by=actor, cut=request.POST.get("streams", "cut") == "cut")
        except WrongState as refused:
            messages.error(request, str(refused))
            return HttpResponseRedirect(page_of(row))
        return HttpResponseRedirect(page_of(row, "live"))

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (
            ("<path:object_id>/live/", "keys_virtualkey_live", self.live),
            ("<path:object_id>/live.json", "keys_virtualkey_live_json", self.live_json),
        )

    def live(self, request: HttpRequest, object_id: str, **_: Any) -> HttpResponse:
        return key_pages.live(request, self.admin_site, self.row_at(request, object_id))

    def live_json(self, request: HttpRequest, object_id: str, **_: Any) -> HttpResponse:
        return key_pages.live_json(self.row_at(request, object_id))


class ModelAliasAdmin(ConsoleAdmin):
    form = ModelAliasForm
    view_verb = Verb.ALIAS_VIEW
    add_verb = Verb.ALIAS_CHANGE
    change_verb = Verb.ALIAS_CHANGE
    delete_verb = Verb.ALIAS_CHANGE
    choice_verbs = {
        "organization": Verb.ORGANIZATION_VIEW,
        "project": Verb.PROJECT_VIEW,
        "key": Verb.KEY_VIEW,
        "provider": Verb.PROVIDER_VIEW,
    }
    fixed_fields = ("organization", "project", "key")
    list_display = ("alias", "shown_target", "shown_level", "shown_organization")
    list_filter = ("organization", "provider")
    list_select_related = ("organization", "project", "key", "provider")
    search_fields = ("alias", "model")
    ordering = ("alias",)
    fieldsets = (
        (None, {"fields": ("organization", "alias", "model", "provider")}),
        (
            "Only for",
            {
                "description": "A key's alias wins over a project's, and a project's over the organization's. "
                "Leave both empty for the whole organization.",
                "fields": ("project", "key"),
            },
        ),
    )

    @display(description="Becomes")
    def shown_target(self, row: ModelAlias) -> str:
        return mono(f"{row.provider.name}/{row.model}" if row.provider is not None else row.model)

    @display(description="For")
    def shown_level(self, row: ModelAlias) -> str:
        return link(row.key or row.project) if row.key or row.project else "whole organization"

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: ModelAlias) -> str:
        return link(row.organization)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> ModelAlias:
        return alias_actions.create_alias(by=actor_of(request), **data)

    def change(self, request: HttpRequest, row: ModelAlias, data: dict[str, Any]) -> ModelAlias:
        return alias_actions.update_alias(row, by=actor_of(request), **data)

    def remove(self, request: HttpRequest, row: ModelAlias) -> None:
        alias_actions.delete_alias(row, by=actor_of(request))


site.register(VirtualKey, VirtualKeyAdmin)
site.register(ModelAlias, ModelAliasAdmin)
