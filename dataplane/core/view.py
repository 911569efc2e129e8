"""`OrganizationView`: what the requests of one organization are decided with, put in order once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from dataplane.core.money.prices import PriceList
from dataplane.core.rows import (
    Budget,
    ModelAlias,
    NotUnderstood,
    Organization,
    Provider,
    Row,
    ScopeKind,
    VirtualKey,
)

R = TypeVar("R", bound=Row)


class OrganizationView:
    """Made of the rows of every kind that is registered as seen there; of a kind without its own place below, `rows`.

    `providers`: enabled ones, lowest priority number first, then by id. `aliases`: by (scope id, client's name), the
    scope being a key, a project or "" for the whole organization. `budgets`: enabled ones, by (scope kind, scope id).
    `doubtful`: what of it is not understood, by id; `strange`: the providers among it, in the same order. They are
    found by id and by name too, where no other has the name, and nothing may be sent to them.
    """

    __slots__ = (
        *("_rows", "aliases", "budgets", "by_id", "by_name", "contact", "doubtful", "drawn", "prices", "providers"),
        *("remembered", "scopes", "strange"),
    )

    def __init__(self, rows: Iterable[Row], prices: Mapping[str, PriceList]) -> None:
        """`rows`: its own; `prices`: every list, by id."""
        self._rows: dict[type[Row], list[Row]] = {}
        for row in sorted(rows, key=lambda row: row.id):
            self._rows.setdefault(type(row), []).append(row)
        self.doubtful: Mapping[str, NotUnderstood] = {doubt.resource_id: doubt for doubt in self.rows(NotUnderstood)}
        ordered = sorted(self.rows(Provider), key=lambda provider: (provider.priority, provider.id))
        self.strange = tuple(provider for provider in ordered if provider.id in self.doubtful)
        self.providers = tuple(each for each in ordered if each.enabled and each.id not in self.doubtful)
        reachable = (*self.providers, *self.strange)
        self.by_id: Mapping[str, Provider] = {provider.id: provider for provider in reachable}
        self.by_name: Mapping[str, Provider] = {provider.name: provider for provider in reversed(reachable)}
        self.aliases: Mapping[tuple[str, str], ModelAlias] = {
            (alias.key_id or alias.project_id, alias.alias): alias for alias in reversed(self.rows(ModelAlias))
        }
        self.scopes = frozenset(scope for scope, _ in self.aliases)
        organizations = self.rows(Organization)  # one, or none that is there
        self.contact = organizations[0].contact if organizations else ""
        self.prices = prices.get(organizations[0].price_list_id) if organizations else None
        self.budgets: Mapping[tuple[ScopeKind, str], tuple[Budget, ...]] = _by_scope(self.rows(Budget))
        self.remembered: dict[object, object] = {}  # answers to questions that come again and take long
        self.drawn: dict[object, Any] = {}  # the same, of `dataplane.core.money.accounts`

    def rows(self, kind: type[R]) -> tuple[R, ...]:
        """All of one kind, by id."""
        return cast("tuple[R, ...]", tuple(self._rows.get(kind, ())))

    def alias(self, key: VirtualKey, model: str) -> ModelAlias | None:
        """The key's own, else its project's, else the organization's."""
        for scope in (key.id, key.project_id, ""):
            alias = self.aliases.get((scope, model))
            if alias is not None:
                return alias
        return None


def _by_scope(budgets: Iterable[Budget]) -> dict[tuple[ScopeKind, str], tuple[Budget, ...]]:
    scopes: dict[tuple[ScopeKind, str], tuple[Budget, ...]] = {}
    for budget in budgets:
        if budget.enabled:
            scope = (budget.scope_kind, budget.scope_id)
            scopes[scope] = (*scopes.get(scope, ()), budget)
    return scopes
