"""`Claims`: what the records of one batch say of whom they are, against what we know ourselves.

A pod serves every organization, so it may name any; but its records are of keys, people, providers and budgets of one
organization each, and were held on leases of its own. Which organization something belongs to never changes: it is
remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final

from django.db.models import Model

from controlplane.budgets import cache
from controlplane.budgets.models import Account, LeaseSession, ScopeKind
from controlplane.keys.models import VirtualKey
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Principal, Project, Team
from controlplane.usage.models import UsageRecord

_OWNED: Final[Mapping[str, type[Model]]] = {
    "key_id": VirtualKey,
    "provider_id": Provider,
    "project_id": Project,
    "team_id": Team,
    "principal_id": Principal,
}
# Which of a record's ids a budget's scope is compared with; a group's members are named in the account.
_SCOPES: Final[Mapping[str, str]] = {
    ScopeKind.ORGANIZATION.value: "organization_id",
    ScopeKind.TEAM.value: "team_id",
    ScopeKind.PROJECT.value: "project_id",
    ScopeKind.PRINCIPAL.value: "principal_id",
    ScopeKind.VIRTUAL_KEY.value: "key_id",
}
REMEMBERED: Final = 100_000
IDS_AT_A_TIME: Final = 500

_organizations: dict[tuple[str, str], str] = {}  # of what is named by a column and an id


class Claims:
    """Of rows that are not booked yet. `identities`: of the pod that reports them, and of the one that made them."""

    def __init__(self, rows: Sequence[UsageRecord], identities: Set[str]) -> None:
        self._identities = identities
        self._owners = {column: _owners(column, {getattr(row, column) for row in rows}) for column in _OWNED}
        sessions = {row.hold_session for row in rows} - {""}
        self._lessees = dict(_few(LeaseSession, sessions, "identity")) if sessions else {}
        budgets = {budget for row in rows for budget, _, _ in row.accounts}
        self._budgets = cache.budgets(budgets) if budgets else {}
        gone = budgets - self._budgets.keys()
        accounts = Account.objects.filter(budget_id__in=gone) if gone else Account.objects.none()
        self._of_gone = dict(accounts.order_by("pk").values_list("budget_id", "organization_id"))

    def problem(self, row: UsageRecord) -> str:
        """Why the record cannot be believed; "" when it can."""
        if row.hold_session in self._lessees and self._lessees[row.hold_session] not in self._identities:
            return "it was held on the leases of another pod"
        for column, owners in self._owners.items():
            if owners.get(getattr(row, column), row.organization_id) != row.organization_id:
                return f"{column} belongs to another organization"
        for budget, member, _ in row.accounts:
            if not self._draws_on(row, budget, member):
                return "it draws on a budget that is not above its key"
        return ""

    def _draws_on(self, row: UsageRecord, budget_id: str, member_id: str) -> bool:
        budget = self._budgets.get(budget_id)
        if budget is None:
            return self._of_gone.get(budget_id, row.organization_id) == row.organization_id
        if budget.organization_id != row.organization_id:
            return False
        column = _SCOPES.get(budget.scope_kind.value)
        return member_id == row.principal_id if column is None else bool(getattr(row, column) == budget.scope_id)


def _owners(column: str, ids: Set[str]) -> Mapping[str, str]:
    """The organizations of those that there are."""
    unknown = [id for id in ids if id and (column, id) not in _organizations]
    if unknown:
        if len(_organizations) > REMEMBERED:
            _organizations.clear()
        _organizations.update({(column, id): owner for id, owner in _few(_OWNED[column], unknown, "organization_id")})
    return {id: owner for id in ids if (owner := _organizations.get((column, id))) is not None}


def _few(model: type[Model], ids: Iterable[str], column: str) -> Iterable[tuple[str, Any]]:
    wanted = sorted(ids)
    for start in range(0, len(wanted), IDS_AT_A_TIME):
        yield from model._default_manager.filter(pk__in=wanted[start : start + IDS_AT_A_TIME]).values_list("pk", column)
