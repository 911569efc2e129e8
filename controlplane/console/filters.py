"""Filters of list pages. A filter offers only what exists for the person: no name of another tenant's row is in one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import RelatedFieldListFilter, SimpleListFilter
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest

from controlplane.console.access import actor_of
from controlplane.console.choices import opening, search_attributes
from controlplane.keys.models import VirtualKey
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Group, Organization, Principal, Project, Team
from controlplane.tenancy.permissions import Verb, organizations_of
from controlplane.tenancy.queries import for_actor

VIEW_VERBS: dict[type[Model], Verb] = {
    Organization: Verb.ORGANIZATION_VIEW,
    Team: Verb.TEAM_VIEW,
    Project: Verb.PROJECT_VIEW,
    Principal: Verb.PRINCIPAL_VIEW,
    VirtualKey: Verb.KEY_VIEW,
    Provider: Verb.PROVIDER_VIEW,
    Group: Verb.GROUP_VIEW,
}


def visible(request: HttpRequest, model: type[Model]) -> QuerySet[Any]:
    """The rows of a model that exist for the person."""
    actor = actor_of(request)
    if model is Organization:
        return organizations_of(actor)
    return for_actor(actor, model._default_manager.all(), VIEW_VERBS[model])


class RelatedFilter(RelatedFieldListFilter):
    """Filters by a foreign key, over the rows that the person may see."""

    searched: bool

    def field_choices(self, field: Field[Any, Any], request: HttpRequest, model_admin: Any) -> list[Any]:
        chosen = [str(value) for value in self.lookup_val or ()]
        shown = opening(model_admin.offers(request, field.name, filtering=True), chosen)
        self.searched = shown.searched
        self.attributes = search_attributes(model_admin.model, field.name, filtering="1")
        if self.searched:
            self.template = "console/searched_filter.html"
        values = {value for value, _ in shown.choices}
        return [*shown.choices, *((value, value) for value in chosen if value not in values)]

    def has_output(self) -> bool:
        return self.searched or bool(super().has_output())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        emptied = list(self.lookup_val or ()) == [""]
        return queryset if emptied else super().queryset(request, queryset)

    def choices(self, changelist: Any) -> Iterator[Any]:
        if not self.searched:
            yield from super().choices(changelist)
            return
        kept = {
            name: values
            for name, values in changelist.filter_params.items()
            if name not in (self.lookup_kwarg, self.lookup_kwarg_isnull, PAGE_VAR)
        }
        chosen = [str(value) for value in self.lookup_val or ()]
        yield {"kept": kept, "chosen": [choice for choice in self.lookup_choices if choice[0] in chosen]}


class ColumnFilter(SimpleListFilter):
    """Filters by one column that holds an id or a text. The list's `offers` say what there is to choose."""

    parameter_name: str
    searched: bool

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = str(self.used_parameters.get(self.parameter_name) or "")
        shown = opening(model_admin.offers(request, self.parameter_name, filtering=True), [chosen])
        self.searched = shown.searched
        self.attributes = search_attributes(model_admin.model, self.parameter_name, filtering="1")
        choices = shown.choices
        if chosen and all(value != chosen for value, _ in choices):
            choices.append((chosen, chosen))  # gone, or from long ago: what is chosen stays chosen
        return choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(**{self.parameter_name: chosen}) if chosen else queryset

    def has_output(self) -> bool:
        return True


def by_column(name: str, title: str) -> type[ColumnFilter]:
    return type(f"By{title.title().replace(' ', '')}", (ColumnFilter,), {"title": title, "parameter_name": name})
