"""The search in the ledger: an exact id of any age, or a key by what pages show of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from controlplane.budgets.months import MINTED, month_of
from controlplane.console.search_words import searchable
from controlplane.keys.queries import ids_shown_as
from controlplane.usage.models import UsageRecord

_SEARCH: Final = "_console_ledger_search"


@dataclass(frozen=True, slots=True)
class LedgerSearch:
    """`key_ids`: of the keys that the term shows, whose requests are meant."""

    term: str
    key_ids: tuple[str, ...]

    @property
    def ageless(self) -> bool:
        """An exact id is looked for in all of the ledger."""
        return bool(self.term) and not self.key_ids

    def among(self, rows: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        if not self.term:
            return rows
        if self.key_ids:
            return rows.filter(key_id__in=self.key_ids)
        request = Q(request_id=self.term, month=month_of(self.term))
        if MINTED.fullmatch(self.term):
            return rows.filter(request)  # it says its month: one part of the ledger is read
        return rows.filter(request | Q(trace_id=self.term) | Q(session=self.term) | Q(provider_request_id=self.term))


def search_of(request: HttpRequest) -> LedgerSearch:
    """The search that a request asks for, read once: the period goes by it too."""
    search = getattr(request, _SEARCH, None)
    if search is None:
        term = searchable(request.GET.get("q", ""))
        search = LedgerSearch(term, tuple(ids_shown_as(term)) if term else ())
        setattr(request, _SEARCH, search)
    return cast(LedgerSearch, search)


def emptiness(request: HttpRequest) -> str:
    """Why the list is empty, in words; empty for a list that nothing was searched in."""
    search = search_of(request)
    if not search.term:
        return ""
    others = [name for name, value in request.GET.items() if value and name not in ("q", "days", "p")]
    also = " with the filters above" if others else ""
    if search.key_ids:
        return f"The key {search.term} has no request in this period{also}."
    if search.term != request.GET.get("q", "").strip():
        return f"No key is shown as {search.term}: not as its own, nor as an old secret."
    return (
        f"No request{also} has the id “{search.term}”, nor has a trace, a session or a provider's request: not at any "
        "age, as far as you may see. It has to be the whole id."
    )
