"""Filters of list pages. A filter offers only what exists for the person: no name of another tenant's row is in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.contrib.admin import RelatedFieldListFilter, SimpleListFilter
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from controlplane.console.access import actor_of
from controlplane.keys.models import VirtualKey
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Group, Organization, Principal, Project, Team
from controlplane.tenancy.permissions import Verb, organizations_of
from controlplane.tenancy.queries import for_actor
from controlplane.usage.queries import charged_to

VIEW_VERBS: dict[type[Model], Verb] = {
    Organization: Verb.ORGANIZATION_VIEW,
    Team: Verb.TEAM_VIEW,
    Project: Verb.PROJECT_VIEW,
    Principal: Verb.PRINCIPAL_VIEW,
    VirtualKey: Verb.KEY_VIEW,
    Provider: Verb.PROVIDER_VIEW,
    Group: Verb.GROUP_VIEW,
}
MOST_CHOICES = 300


def visible(request: HttpRequest, model: type[Model]) -> QuerySet[Any]:
    """The rows of a model that exist for the person."""
    actor = actor_of(request)
    if model is Organization:
        return organizations_of(actor)
    return for_actor(actor, model._default_manager.all(), VIEW_VERBS[model])


class RelatedFilter(RelatedFieldListFilter):
    """By a foreign key, over the rows that the person may see."""

    def field_choices(self, field: Field[Any, Any], request: HttpRequest, model_admin: Any) -> list[Any]:
        rows = visible(request, field.related_model)  # type: ignore[arg-type]
        return sorted(((row.pk, str(row)) for row in rows[:MOST_CHOICES]), key=lambda choice: choice[1].lower())


class UsageFilter(SimpleListFilter):
    """By one column of the ledger. Subclasses are made by `by_owner` and `by_value`."""

    column: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(**{self.column: chosen}) if chosen else queryset

    def has_output(self) -> bool:
        return True


def by_owner(column_name: str, title_text: str, model: type[Model], name: str) -> type[UsageFilter]:
    """By an id in the ledger; offers the rows behind the ids."""

    def offer(self: UsageFilter, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        rows = visible(request, model).order_by(name).values_list("pk", name)[:MOST_CHOICES]
        return [(str(pk), str(text)) for pk, text in rows]

    return _made(column_name, title_text, offer)


def by_value(column_name: str, title_text: str, days: int = 30) -> type[UsageFilter]:
    """By a text in the ledger; offers what occurred lately."""

    def offer(self: UsageFilter, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        rows = model_admin.get_queryset(request).filter(started_at__gte=timezone.now() - timedelta(days=days))
        found = rows.order_by().exclude(**{column_name: ""}).values_list(column_name, flat=True).distinct()
        return [(text, text) for text in sorted(found[:MOST_CHOICES])]

    return _made(column_name, title_text, offer)


def _made(column_name: str, title_text: str, offer: Callable[..., Iterable[tuple[str, str]]]) -> type[UsageFilter]:
    body = {"title": title_text, "parameter_name": column_name, "column": column_name, "lookups": offer}
    return type(f"By{title_text.title().replace(' ', '')}", (UsageFilter,), body)


class BudgetFilter(SimpleListFilter):
    """By one window of a budget, when the link from its books says so; it is not offered otherwise."""

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
    """By time: the last so many days, today being one; seven unless said otherwise."""

    title = "period"
    parameter_name = "days"
    default = "7"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Today"), ("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("all", "All time")]

    def value(self) -> str:
        chosen = super().value()
        return chosen if chosen in {value for value, _ in self.lookup_choices} else self.default

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == "all":
            return queryset
        midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return queryset.filter(started_at__gte=midnight - timedelta(days=int(chosen) - 1))
