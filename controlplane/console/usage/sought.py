"""What the ledger's search box is asked for: an exact id of any age, or a key by what pages show of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from controlplane.budgets.months import MINTED, month_of
from controlplane.console.pasted import searchable
from controlplane.keys.queries import ids_shown_as
from controlplane.usage.models import UsageRecord

_SOUGHT: Final = "_console_sought"


@dataclass(frozen=True, slots=True)
class Sought:
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


def sought(request: HttpRequest) -> Sought:
    """Read once a request: the period and the search go by it."""
    known = getattr(request, _SOUGHT, None)
    if known is None:
        term = searchable(request.GET.get("q", ""))
        known = Sought(term, tuple(ids_shown_as(term)) if term else ())
        setattr(request, _SOUGHT, known)
    return cast(Sought, known)


def nothing(request: HttpRequest) -> str:
    """Why the list is empty, in words; empty for a list that nothing was searched in."""
    asked = sought(request)
    if not asked.term:
        return ""
    others = [name for name, value in request.GET.items() if value and name not in ("q", "days", "p")]
    also = " with the filters above" if others else ""
    if asked.key_ids:
        return f"The key {asked.term} has no request in this period{also}."
    if asked.term != request.GET.get("q", "").strip():
        return f"No key is shown as {asked.term}: not as its own, nor as an old secret."
    return (
        f"No request{also} has the id “{asked.term}”, nor has a trace, a session or a provider's request: not at any "
        "age, as far as you may see. It has to be the whole id."
    )
