"""The command palette (Ctrl+K): pages by their titles, rows by what their lists are searched for.

Everything goes through the pages' own permissions and rows, for every search anew: nobody finds what their roles do not
reach, and a role that was taken away takes its rows along at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from controlplane.alerts.models import Delivery
from controlplane.budgets.months import month_of
from controlplane.changes.models import AuditEvent
from controlplane.console.addresses import page_of
from controlplane.console.base import ConsoleAdmin
from controlplane.console.search_words import without_secrets
from controlplane.usage.models import UsageRecord

SHORTEST, LONGEST = 2, 200  # characters worth searching for
MOST_OF_A_KIND = 5
LOGS = (AuditEvent, Delivery)  # long lists of what happened, which have searches of their own
REQUEST, TRACE = re.compile(r"req_[0-9a-f]{30}"), re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class PaletteEntry:
    """One line of the palette."""

    title: str
    description: str
    link: str
    icon: str


def find(request: HttpRequest, site: AdminSite, words: str) -> list[PaletteEntry]:
    term = without_secrets(words.replace("\x00", "").strip())[:LONGEST]
    if len(term) < SHORTEST:
        return []
    lists = dict(_lists(request, site))
    pages = [entry for entry in lists.values() if term.lower() in entry.title.lower()]
    rows: list[PaletteEntry] = []
    for model, admin in site._registry.items():
        if isinstance(admin, ConsoleAdmin) and model not in LOGS and admin.has_module_permission(request):
            listed = lists.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
            kind = listed.title if listed is not None else str(model._meta.verbose_name_plural)
            icon = listed.icon if listed is not None else "data_object"
            rows += [PaletteEntry(str(row), kind, page_of(row), icon) for row in _rows(request, admin, term)]
    return [*pages, *rows]


def _lists(request: HttpRequest, site: AdminSite) -> Iterator[tuple[str, PaletteEntry]]:
    """The sidebar as far as it is the person's, by address."""
    for section in site.each_context(request)["sidebar_navigation"]:
        for item in section["items"]:
            if item["has_permission"]:
                link = str(item["link"])
                yield link, PaletteEntry(str(item["title"]), str(section["title"]), link, item["icon"])


def _rows(request: HttpRequest, admin: ConsoleAdmin, term: str) -> list[Model]:
    rows: QuerySet[Any] = admin.get_queryset(request)
    if admin.model is UsageRecord:
        rows = _records(rows, term)
    elif admin.get_search_fields(request):
        rows, several = admin.get_search_results(request, rows, term)
        rows = rows.distinct() if several else rows
    else:
        return []
    return list(rows[:MOST_OF_A_KIND])


def _records(rows: QuerySet[Any], term: str) -> QuerySet[Any]:
    """The ledger is long: a whole id whose rows lie together, or nothing."""
    if REQUEST.fullmatch(term):
        return rows.filter(request_id=term, month=month_of(term))
    return rows.filter(trace_id=term) if TRACE.fullmatch(term) else rows.none()
