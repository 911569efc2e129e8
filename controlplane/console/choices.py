"""Boxes of choices hold all there is where that is little, else what is chosen and a search.

An offer is one kind of choice, already narrowed to what exists for the person. Pages ask `opening`, the theme's search
boxes ask `search_choices`: both read a bounded number of rows, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from django import forms
from django.contrib.admin import AdminSite
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from django.urls import reverse

FEW: Final = 100  # choices that a page may hold; a longer list is searched, not scrolled
PAGE: Final = 20  # of each kind, in one answer to a search
LAST_PAGE: Final = 500
LONGEST_TERM: Final = 200

Choice = tuple[str, str]  # value, text


class Offer(Protocol):
    """One kind of choice."""

    @property
    def title(self) -> str: ...

    def some(self, term: str, start: int, stop: int) -> list[Choice]:
        """The choices that a search finds, in order."""

    def named(self, values: Iterable[str]) -> list[Choice]:
        """The choices for those of the values that are on offer."""


@dataclass(frozen=True, slots=True)
class RowOffer:
    """Rows by name, found as their own list finds them."""

    rows: QuerySet[Any]
    find: Callable[[QuerySet[Any], str], tuple[QuerySet[Any], bool]]
    title: str = ""
    prefix: str = ""  # of the value, before the row's id
    text: Callable[[Any], str] = str

    def some(self, term: str, start: int, stop: int) -> list[Choice]:
        rows, repeats = self.find(self.rows, term) if term else (self.rows, False)
        if repeats:
            rows = rows.distinct()
        return [self._choice(row) for row in rows.order_by(name_of(rows.model), "pk")[start:stop]]

    def named(self, values: Iterable[str]) -> list[Choice]:
        ids = [value.removeprefix(self.prefix) for value in values if value.startswith(self.prefix)]
        return [self._choice(row) for row in self.rows.filter(pk__in=ids)] if ids else []

    def _choice(self, row: Any) -> Choice:
        return f"{self.prefix}{row.pk}", self.text(row)


@dataclass(frozen=True, slots=True)
class ValueOffer:
    """The different texts of a column of some rows."""

    rows: QuerySet[Any]
    column: str
    texts: Mapping[str, str] = field(default_factory=dict)
    title: str = ""

    def some(self, term: str, start: int, stop: int) -> list[Choice]:
        rows = self.rows.filter(**{f"{self.column}__icontains": term}) if term else self.rows
        values = rows.order_by(self.column).exclude(**{self.column: ""}).values_list(self.column, flat=True).distinct()
        return self.named(values[start:stop])

    def named(self, values: Iterable[str]) -> list[Choice]:
        return [(value, self.texts.get(value, value)) for value in values]


def rows_of(request: HttpRequest, site: AdminSite, rows: QuerySet[Any], **more: Any) -> RowOffer:
    """The offer of some rows of a model that has a list in the console."""
    admin = site.get_model_admin(rows.model)
    return RowOffer(rows, lambda queryset, term: admin.get_search_results(request, queryset, term), **more)


def name_of(model: type[Model]) -> str:
    """The column by which people look for rows."""
    names = {column.name for column in model._meta.concrete_fields}
    return next((name for name in ("display_name", "name", "username") if name in names), "pk")


@dataclass(frozen=True, slots=True)
class Opening:
    """The choices in a page. `groups`: (title, choices); `searched`: that is not all, the rest is searched for."""

    groups: Sequence[tuple[str, list[Choice]]]
    searched: bool

    @property
    def choices(self) -> list[Choice]:
        return [choice for _, choices in self.groups for choice in choices]


def opening(offers: Iterable[Offer], chosen: Iterable[str] = ()) -> Opening:
    """All that is on offer, or where that is more than a few, what is chosen."""
    offers, room, groups = list(offers), FEW, []
    for offer in offers:
        choices = offer.some("", 0, room + 1)
        room -= len(choices)
        if room < 0:
            wanted = [value for value in chosen if value]
            return Opening([(one.title, named) for one in offers if (named := one.named(wanted))], searched=True)
        if choices:
            groups.append((offer.title, choices))
    return Opening(groups, searched=False)


def search_choices(offers: Iterable[Offer], term: str, page: int) -> dict[str, Any]:
    """An answer for the theme's search box."""
    start = (page - 1) * PAGE
    results: list[dict[str, Any]] = []
    more = False
    for offer in offers:
        matches = offer.some(term, start, start + PAGE + 1)
        more = more or len(matches) > PAGE
        items = [{"id": value, "text": text} for value, text in matches[:PAGE]]
        if items and offer.title:
            results.append({"text": offer.title, "children": items})
        else:
            results += items
    return {"results": results, "pagination": {"more": more and page < LAST_PAGE}}


def term_and_page(request: HttpRequest) -> tuple[str, int]:
    """The term and the page that a search box asks for."""
    page = request.GET.get("page", "1")
    if not (page.isascii() and page.isdigit() and 0 < len(page) < 4 and 0 < int(page) <= LAST_PAGE):
        raise Http404("no such page")
    return request.GET.get("term", "")[:LONGEST_TERM], int(page)


def search_attributes(model: type[Model], name: str, **narrower: str) -> dict[str, str]:
    """Attributes that make a select a search box for the choices of `name` on the pages of `model`. `narrower`: what
    else the page's `offers` are to know.
    """
    return {
        "class": "admin-autocomplete",
        "data-theme": "admin-autocomplete",
        "data-ajax--url": f"{reverse('admin:autocomplete')}?{urlencode(narrower)}",
        "data-ajax--delay": "250",
        "data-ajax--type": "GET",
        "data-app-label": model._meta.app_label,
        "data-model-name": str(model._meta.model_name),
        "data-field-name": name,
        "data-allow-clear": "true",
        "data-placeholder": "Type to search",
    }


class OfferField(forms.ChoiceField):
    """A choice among offers of several kinds."""

    offers: Sequence[Offer] = ()

    def offer(
        self, model: type[Model], name: str, offers: Sequence[Offer], chosen: str, empty: str, **narrower: str
    ) -> None:
        """`empty`: what it says while nothing is chosen."""
        self.offers = offers
        shown = opening(offers, [chosen])
        self.choices = [("", empty), *shown.groups]
        if shown.searched:
            self.widget.attrs.update(search_attributes(model, name, **narrower))

    def valid_value(self, value: Any) -> bool:
        return any(offer.named([str(value)]) for offer in self.offers)
