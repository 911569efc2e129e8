"""Budgets: the tree of an organization, limits on any scope, more money for a while, resets, the books behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse

from controlplane.budgets import actions, queries
from controlplane.budgets.models import Budget, OnBreach, Override, ScopeKind
from controlplane.budgets.values import overdraft_of
from controlplane.console.access import actor_of
from controlplane.console.addresses import page_of
from controlplane.console.base import ConsoleAdmin
from controlplane.console.budgets import pages as budget_pages
from controlplane.console.budgets.form import STRICTER_BINDS, BudgetAddForm, BudgetForm, organization_of, scopes
from controlplane.console.budgets.words import branches, limit_words, line_of
from controlplane.console.choices import Offer
from controlplane.console.decorators import button, display
from controlplane.console.site import site
from controlplane.pages.cells import NOTHING, pill, two_lines
from controlplane.pages.wording import counted, dollars
from controlplane.tenancy.permissions import Forbidden, Verb, organizations_of

BEGINS = frozenset({"window", "timezone", "anchor", "provider", "model_pattern", "count_earlier"})
TREES = 20  # of organizations, on one page

MONEY = {"fields": ("limit_nano", "window", "count_earlier", "on_breach")}
NARROWED = {
    "classes": ("collapse",),
    "description": "Leave empty for every request of what it covers.",
    "fields": ("provider", "model_pattern"),
}
TIME = {"classes": ("collapse",), "fields": ("timezone", "anchor")}
EDGE = {"classes": ("collapse",), "fields": ("outage", "overdraft_nano", "thresholds", "contact")}


class BudgetAdmin(ConsoleAdmin):
    view_verb = Verb.BUDGET_VIEW
    add_verb = Verb.BUDGET_CHANGE
    change_verb = Verb.BUDGET_CHANGE
    delete_verb = Verb.BUDGET_CHANGE
    choice_verbs = {"provider": Verb.PROVIDER_VIEW}
    list_display = ("name", "shown_scope", "shown_limit", "shown_state", "shown_spent", "shown_ends")
    list_filter = ("organization", "scope_kind", "window", "on_breach", "enabled")
    list_select_related = ("organization", "provider")
    search_fields = ("name", "scope_name", "scope_id", "id")
    ordering = ("organization", "scope_kind", "name")
    list_before_template = "console/budget_tree.html"
    change_form_outer_before_template = "console/budget_standing.html"
    change_form_outer_after_template = "console/budget_books.html"
    add_fieldsets = (
        (None, {"fields": ("scope", "name")}),
        ("Money", MONEY),
        ("Narrowed to", NARROWED),
        ("Windows", TIME),
        ("At the edge", {**EDGE, "fields": (*EDGE["fields"], "enabled")}),
    )
    fieldsets = (
        (None, {"fields": ("name", "shown_scope")}),
        ("Money", MONEY),
        ("Narrowed to", NARROWED),
        ("Windows", TIME),
        ("At the edge", EDGE),
    )
    looked_at_fieldsets = (
        (None, {"fields": ("name", "shown_scope")}),
        ("Money", {"fields": ("shown_limit", "window", "count_earlier", "on_breach")}),
        ("Narrowed to", {"fields": ("provider", "model_pattern")}),
        ("Windows", {"fields": ("timezone", "anchor")}),
        ("At the edge", {"fields": ("outage", "shown_overdraft", "shown_thresholds", "contact")}),
    )
    readonly_fields = ("shown_scope", "shown_limit", "shown_overdraft", "shown_thresholds")
    actions_detail = ("override", "reset", "disable", "enable")

    # ---- list ----

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        actor = actor_of(request)
        trees = [queries.tree(actor, row) for row in organizations_of(actor).order_by("name")[:TREES]]
        shown = [list(branches(tree)) for tree in trees if tree.standings or tree.children]
        return super().changelist_view(request, {**(extra_context or {}), "trees": shown})

    def look_ahead(self, request: HttpRequest, rows: list[Any]) -> None:
        by_budget = queries.standings_of(rows)
        for row in rows:
            standings = by_budget[row.pk]
            row.line = line_of(standings[0]) if standings else None

    @display(description="Covers")
    def shown_scope(self, row: Budget) -> str:
        return two_lines(row.scope_name or row.scope_id, ScopeKind(row.scope_kind).label)

    @display(description="Limit", ordering="limit_nano")
    def shown_limit(self, row: Budget) -> str:
        return limit_words(row)

    @display(description="State")
    def shown_state(self, row: Any) -> str:
        return pill(row.line.state, row.line.tone)

    @display(description="Spent")
    def shown_spent(self, row: Any) -> str:
        return str(row.line.figures)

    @display(description="Window ends")
    def shown_ends(self, row: Any) -> str:
        return str(row.line.ends)

    @display(description="Overdraft")
    def shown_overdraft(self, row: Budget) -> str:
        return dollars(overdraft_of(row))

    @display(description="Thresholds")
    def shown_thresholds(self, row: Budget) -> str:
        return ", ".join(f"{percent} %" for percent in row.thresholds) or NOTHING

    # ---- form ----

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return self.looked_at_fieldsets
        return super().get_fieldsets(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs, form=BudgetForm)
        attributes = {"actor": actor_of(request), "scopes": scopes(request, self.admin_site)}
        return super().get_form(
            request, obj, change, **kwargs, form=type("BudgetAddForm", (BudgetAddForm,), attributes)
        )

    def offers(self, request: HttpRequest, name: str, *, filtering: bool = False) -> Sequence[Offer]:
        if name == "scope" and not filtering:
            return scopes(request, self.admin_site)
        return super().offers(request, name, filtering=filtering)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, Budget):
            return actions.may_change(actor_of(request), obj)
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        row = self.find(request, object_id)
        words = budget_pages.books(request, row) if row is not None else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **words})

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Budget:
        organization, kind, id = data.pop("scope")
        row = actions.create_budget(
            by=actor_of(request), organization=organization, scope_kind=kind, scope_id=id, **data
        )
        _say_what_it_begins_with(request, row)
        return row

    def change(self, request: HttpRequest, row: Budget, data: dict[str, Any]) -> Budget:
        before = row.lease_epoch
        after = actions.update_budget(row, by=actor_of(request), **data)
        if after.lease_epoch > before:
            messages.info(request, STRICTER_BINDS)
        if BEGINS.intersection(data):
            _say_what_it_begins_with(request, after)
        return after

    def remove(self, request: HttpRequest, row: Budget) -> None:
        actions.delete_budget(row, by=actor_of(request))

    # ---- buttons ----

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """The buttons for what the person may do to this one."""
        row = self.find(request, object_id)
        if row is None:
            return []
        shown = {"override"} if actions.may_change(actor_of(request), row, Verb.BUDGET_OVERRIDE) else set()
        if self.has_change_permission(request, row):
            shown |= {"reset", "disable" if row.enabled else "enable"}
        return [item for item in super().get_actions_detail(request, object_id) if item.path in shown]

    @button(description="More money…", icon="add_card", url_path="override")
    def override(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return budget_pages.override(request, self.admin_site, self.row_at(request, object_id))

    @button(description="Reset…", icon="restart_alt", url_path="reset")
    def reset(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        if request.method != "POST":
            return budget_pages.ask_reset(request, self.admin_site, row)
        actions.reset_budget(row, by=actor_of(request), reason=request.POST.get("reason", ""))
        return HttpResponseRedirect(page_of(row))

    @button(description="Switch off…", icon="pause_circle", url_path="disable")
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        if request.method != "POST":
            return budget_pages.ask_disable(request, self.admin_site, row)
        actions.disable_budget(row, by=actor_of(request))
        return HttpResponseRedirect(page_of(row))

    @button(description="Switch on", icon="play_circle", url_path="enable")
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        if request.method != "POST":
            return budget_pages.ask_enable(request, self.admin_site, row)
        _say_what_it_begins_with(request, actions.enable_budget(row, by=actor_of(request)))
        return HttpResponseRedirect(page_of(row))

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (
            ("covers.json", "budgets_budget_covers", self.covers),
            ("<path:object_id>/withdraw/", "budgets_budget_withdraw", self.withdraw),
        )

    def covers(self, request: HttpRequest, **_: Any) -> JsonResponse:
        """Answers the form: whom the chosen scope covers."""
        kind, _separator, id = request.GET.get("scope", "").partition(":")
        actor = actor_of(request)
        try:
            cover = queries.preview(actor, organization_of(actor, kind, id), kind, id)
        except (ValidationError, Forbidden):
            return JsonResponse({"words": "", "sample": []})
        people, keys = counted(cover.principals, "person", "people"), counted(cover.keys, "key")
        words = f"Covers {keys} of {people} now, and later ones."
        if kind == ScopeKind.GROUP:
            words = f"An allowance for each of {people}, with {keys} now."
        return JsonResponse({"words": words, "sample": list(cover.sample)})

    def withdraw(self, request: HttpRequest, object_id: str, **_: Any) -> HttpResponse:
        row = self.row_at(request, object_id)
        chosen = Override.objects.filter(budget=row, pk=request.GET.get("override", "")).first()
        if chosen is None:
            return HttpResponseRedirect(page_of(row))
        if request.method != "POST":
            return budget_pages.ask_withdraw(request, self.admin_site, row, chosen)
        actions.withdraw_override(chosen, by=actor_of(request))
        return HttpResponseRedirect(page_of(row))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("organization", "provider")


def _say_what_it_begins_with(request: HttpRequest, row: Budget) -> None:
    """Where that is something: whoever made it would not look for why it refuses at once."""
    begun = [one for one in queries.member_standings(row) if one.earlier_nano or one.adding_up]
    spent = [one for one in begun if one.exhausted]
    for line in map(line_of, begun if row.scope_kind != ScopeKind.GROUP else ()):
        messages.info(request, f"{line.earlier[:1].upper()}{line.earlier[1:]}.")
    if spent and row.enabled and row.on_breach == OnBreach.BLOCK:
        whom = counted(len(spent), "member is", "members are") if row.scope_kind == ScopeKind.GROUP else "It is"
        messages.warning(request, f"{whom} over the limit with that: requests are refused until the window ends.")


site.register(Budget, BudgetAdmin)
