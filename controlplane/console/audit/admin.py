"""The audit: who did what to which object, to read and to search."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from controlplane.changes.models import AuditEvent
from controlplane.console.access import actor_of
from controlplane.console.base import ReadOnlyAdmin
from controlplane.console.decorators import display
from controlplane.console.search_words import searchable
from controlplane.console.site import site
from controlplane.keys.queries import ids_shown_as
from controlplane.pages.cells import NOTHING, ago, mono
from controlplane.tenancy.models import ApiToken, Organization
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import within
from controlplane.tenancy.scope import Scope

AUDIT_SCOPE = Scope(organization="organization_id")


class AuditEventAdmin(ReadOnlyAdmin):
    view_verb = Verb.AUDIT_VIEW
    list_display = ("shown_at", "shown_actor", "shown_action", "shown_target", "shown_what", "shown_organization")
    list_filter = ("action", "actor_kind")
    search_fields = ("actor_label", "target_label", "target_id", "action")
    ordering = ("-at", "-id")
    fields = (
        "shown_at", "actor_label", "actor_kind", "address", "action", "target_kind", "target_label", "target_id",
        "shown_changes", "shown_details", "revision", "seq", "shown_hash",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        name = Organization.objects.filter(pk=OuterRef("organization_id")).values("name")
        rows = AuditEvent.objects.annotate(organization_name=Subquery(name[:1])).order_by("-at", "-pk")
        return within(actor_of(request), rows, self.view_verb, AUDIT_SCOPE)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A key or token, by what pages show of it, finds what was done to it and by it."""
        term = searchable(search_term)
        ids = [*ids_shown_as(term), *ApiToken.objects.filter(public_id=term.upper()).values_list("pk", flat=True)]
        if term and ids:
            return queryset.filter(Q(target_id__in=ids) | Q(actor_id__in=ids)), False
        return super().get_search_results(request, queryset, search_term)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in ("target_id", "target_kind") or super().lookup_allowed(lookup, value, request)

    @display(description="When", ordering="at")
    def shown_at(self, row: AuditEvent) -> str:
        return ago(row.at)

    @display(description="Who", ordering="actor_label")
    def shown_actor(self, row: AuditEvent) -> str:
        return row.actor_label

    @display(description="Action", ordering="action")
    def shown_action(self, row: AuditEvent) -> str:
        return mono(row.action)

    @display(description="Object")
    def shown_target(self, row: AuditEvent) -> str:
        return row.target_label or row.target_id

    @display(description="Changed")
    def shown_what(self, row: AuditEvent) -> str:
        if not row.before or not row.after:
            return NOTHING  # made or deleted: all of them
        names = sorted(row.after)
        return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or NOTHING

    @display(description="Organization")
    def shown_organization(self, row: Any) -> str:
        return row.organization_name or row.organization_id or "Installation"

    @display(description="Changes")
    def shown_changes(self, row: AuditEvent) -> SafeString | str:
        names = sorted(set(row.before) | set(row.after))
        if not names:
            return NOTHING
        cells = ((name, _value(row.before, name), _value(row.after, name)) for name in names)
        body = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>', cells)
        head = '<th scope="col">Field</th><th scope="col">Before</th><th scope="col">After</th>'
        return format_html(
            '<table class="gw-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', SafeString(head), body
        )

    @display(description="Details")
    def shown_details(self, row: AuditEvent) -> str:
        return ", ".join(f"{name}: {json.dumps(value)}" for name, value in row.details.items()) or NOTHING

    @display(description="Hash")
    def shown_hash(self, row: AuditEvent) -> str:
        return mono(row.hash)


def _value(values: dict[str, Any], name: str) -> str:
    return json.dumps(values[name], ensure_ascii=False) if name in values else NOTHING


site.register(AuditEvent, AuditEventAdmin)
