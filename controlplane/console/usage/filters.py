"""Filters of the ledger that no other list has: by tag, by a window of a budget, by time."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from controlplane.console.usage.search import search_of
from controlplane.pages.periods import ALL, DEFAULT, PERIODS, lately
from controlplane.usage.queries import charged_to, tagged
from controlplane.usage.reading import UNCONFIRMED


class TagFilter(SimpleListFilter):
    """Filters by one tag, exactly; it is typed, because there may be any number."""

    title = "tag"
    parameter_name = "tag"
    parameter_names = ("tag", "tags")
    typed = True

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        also = params.pop("tags", None)
        if also and "tag" not in params:
            params["tag"] = also
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        tag = (self.value() or "").strip()
        return tagged(queryset, tag) if tag else queryset


class FiguresFilter(SimpleListFilter):
    """Filters by whose the figures are."""

    title = "figures"
    parameter_name = "figures"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("provider", "the provider's own"),
            ("unconfirmed", "not the provider's"),
            *((source, f"not the provider's: {source}") for source in sorted(UNCONFIRMED)),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == "unconfirmed":
            return queryset.filter(unconfirmed=True)
        if chosen in UNCONFIRMED:
            return queryset.filter(unconfirmed=True, source=chosen)
        return queryset.filter(unconfirmed=False) if chosen == "provider" else queryset


class BudgetFilter(SimpleListFilter):
    """Filters by one window of a budget, when the link from its books says so; it is not offered otherwise."""

    title = "budget"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(self._chosen, "one window of a budget")] if self._chosen else []

    @property
    def _chosen(self) -> str:
        text = str(self.used_parameters.get(self.parameter_name, ""))
        return text if text.isascii() and text.isdigit() and len(text) < 19 else ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return charged_to(queryset, int(self._chosen)) if self._chosen else queryset


class PeriodFilter(SimpleListFilter):
    """Filters by time: the last days, today being one; seven if none is chosen. An exact id has no age."""

    title = "period"
    parameter_name = "days"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        self.ageless = search_of(request).ageless
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(PERIODS)

    def value(self) -> str:
        if self.ageless:
            return ALL
        chosen = super().value()
        return chosen if chosen in dict(PERIODS) else DEFAULT

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset if chosen == ALL else lately(queryset, int(chosen))
