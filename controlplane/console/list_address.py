"""The address of a list: what the list does not understand of it is left out and named in words, never an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin.options import ModelAdmin
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, IGNORED_PARAMS, PAGE_VAR
from django.core.exceptions import FieldDoesNotExist
from django.db.models import BooleanField, CharField, Field, ForeignKey, IntegerField, TextField
from django.http import HttpRequest, HttpResponseRedirect

ALWAYS = frozenset({*IGNORED_PARAMS, ALL_VAR, PAGE_VAR, "_changelist_filters"})
_EXACT: tuple[list[str], ...] = ([], ["exact"], ["isnull"])
_COMPARED = (CharField, TextField, IntegerField, BooleanField, ForeignKey)


def known_address(admin: ModelAdmin[Any], request: HttpRequest) -> HttpResponseRedirect | None:
    """A redirection to the same list without the parameters that it does not know, and a message that names them; None
    where it knows all of them.
    """
    unknown = unknown_parameters(admin, request)
    if not unknown:
        return None
    query = request.GET.copy()
    for name in unknown:
        del query[name]
    named, there_is = ", ".join(f"“{name[:80]}”" for name in unknown[:5]), ", ".join(sorted(parameters(admin, request)))
    messages.warning(request, f"This list cannot be filtered by {named}: that was left out. It can by: {there_is}.")
    return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")


def whole_list_instead(request: HttpRequest, answer: Any) -> Any:
    """The answer of a list; where it could not look for what the address asks, the way to all of it."""
    if not isinstance(answer, HttpResponseRedirect) or answer.url != f"{request.path}?{ERROR_FLAG}=1":
        return answer
    messages.warning(
        request, "A filter or page in the address has a value that this list cannot look for: here is all of it."
    )
    return HttpResponseRedirect(request.path)


def unknown_parameters(admin: ModelAdmin[Any], request: HttpRequest) -> list[str]:
    own = set(parameters(admin, request))
    return [name for name in request.GET if name not in ALWAYS | own and not names_a_column(admin, name)]


def parameters(admin: ModelAdmin[Any], request: HttpRequest) -> Iterator[str]:
    """The names of the list's own filters in an address."""
    for item in admin.get_list_filter(request):
        chosen: Any = item[0] if isinstance(item, tuple) else item
        if isinstance(chosen, str):
            yield chosen
        else:
            yield from getattr(chosen, "parameter_names", (chosen.parameter_name,))


def names_a_column(admin: ModelAdmin[Any], name: str) -> bool:
    """A column of the rows themselves, compared as a whole: `state`, `state__exact`, `team__id__exact`."""
    column, *lookup = name.split("__")
    field = _column(admin, column)
    if not isinstance(field, _COMPARED):
        return False
    if field.is_relation and lookup[:1] == ["id"]:
        lookup = lookup[1:]
    return lookup in _EXACT


def _column(admin: ModelAdmin[Any], name: str) -> Field[Any, Any] | None:
    try:
        field = admin.opts.get_field(name)
    except FieldDoesNotExist:
        return next((field for field in admin.opts.concrete_fields if field.attname == name), None)
    return field if isinstance(field, Field) and field.concrete else None
