"""What a pod holds and does not understand: whom that covers, and the words in which they are refused.

A rule is obeyed or its keys are refused, never ignored: the control plane may be newer than the pod. What covers
nobody (a provider, an alias, a price) refuses the requests that would go to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from dataplane.core.errors import Code, Refusal
from dataplane.core.rows import NotUnderstood, Organization, Principal, Row, ScopeKind, VirtualKey

RETRY_AFTER_S: Final = 5  # for another pod to be met
_NAME: Final = 80  # characters of a name that a terminal has room for

# What `Covered` is made of, and what else decides how many keys `over` refuses: a change of other rows changes neither.
COVERED_IS_READ_FROM: Final[frozenset[type[Row]]] = frozenset({NotUnderstood, Organization})
REFUSED_IS_READ_FROM: Final[frozenset[type[Row]]] = COVERED_IS_READ_FROM | {Principal, VirtualKey}

Principals = Mapping[str, Principal]


def _groups(key: VirtualKey, principals: Principals) -> tuple[str, ...]:
    principal = principals.get(key.principal_id)
    return principal.group_ids if principal is not None else ()


# Which scopes of a kind a key is in, the broadest kind first.
_SCOPES_OF: Final[Mapping[ScopeKind, Callable[[VirtualKey, Principals], tuple[str, ...]]]] = {
    ScopeKind.ORGANIZATION: lambda key, principals: (key.organization_id,),
    ScopeKind.TEAM: lambda key, principals: (key.team_id,),
    ScopeKind.PROJECT: lambda key, principals: (key.project_id,),
    ScopeKind.GROUP: _groups,
    ScopeKind.PRINCIPAL: lambda key, principals: (key.principal_id,),
    ScopeKind.VIRTUAL_KEY: lambda key, principals: (key.id,),
}


class Covered:
    """Who is refused because of what is not understood: everybody, or by organization, kind of scope and id."""

    __slots__ = ("_everybody", "_scopes")

    def __init__(self, rows: Iterable[NotUnderstood], organizations: Collection[str]) -> None:
        """An organization that is not among `organizations` says nothing about whose the row is: everybody's."""
        self._everybody: NotUnderstood | None = None
        scopes: dict[str, dict[ScopeKind, dict[str, NotUnderstood]]] = {}
        for row in sorted(rows, key=lambda row: row.id, reverse=True):
            if row.everybody or (row.organization_id and row.organization_id not in organizations):
                self._everybody = row
            for kind, id in row.covers:
                if id:
                    scopes.setdefault(row.organization_id, {}).setdefault(kind, {})[id] = row
        self._scopes = {
            organization_id: [(_SCOPES_OF[kind], kinds[kind]) for kind in _SCOPES_OF if kind in kinds]
            for organization_id, kinds in scopes.items()
        }

    def over(self, key: VirtualKey, principals: Principals) -> NotUnderstood | None:
        """What covers the key and is not understood; the broadest, of several."""
        if self._everybody is not None:
            return self._everybody
        for scopes_of, covered in self._scopes.get(key.organization_id, ()):
            for id in scopes_of(key, principals):
                if id in covered:
                    return covered[id]
        return None


NOBODY: Final = Covered((), ())


def covered(row: NotUnderstood, key: VirtualKey) -> Refusal:
    """For a request of a key that `row` covers."""
    return _older_than(f"a rule that covers your key ({_named(row, key)})", _facts(row, key))


def in_the_way(row: NotUnderstood, key: VirtualKey) -> Refusal:
    """For a request that would go to what `row` says."""
    return _older_than(f"what your request would go to ({_named(row, key)})", _facts(row, key))


def unread_price(model: str, problem: str) -> Refusal:
    """For a request whose price this pod could charge in part only."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in model[:_NAME])
    return _older_than(f"the price of model '{shown}' ({problem})", {"kind": "price_list"})


def _older_than(what: str, facts: Mapping[str, object]) -> Refusal:
    words = (
        f"this pod is older than {what} and does not understand it; try again, another pod may; the platform team can "
        "upgrade this one"
    )
    return Refusal(Code.RULE_NOT_UNDERSTOOD, words, meta=facts, retry_after=RETRY_AFTER_S)


def _named(row: NotUnderstood, key: VirtualKey) -> str:
    return " ".join(map(str, _facts(row, key).values())) + f": {row.problem}"


def _facts(row: NotUnderstood, key: VirtualKey) -> dict[str, object]:
    """Its id only to its own organization."""
    facts: dict[str, object] = {"kind": row.kind_name}
    return facts | {"id": row.resource_id} if row.organization_id == key.organization_id else facts
