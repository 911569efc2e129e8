"""What a pod knows: immutable rows in maps by id, and `apply`, which makes the next snapshot out of this one.

A request reads `Snapshot` once and sees one revision to its end. Rows refer to each other by id; `problems` names
references that lead nowhere (or into another organization), and a snapshot with problems is never served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

from dataplane.core.money.prices import PriceList
from dataplane.core.rows import (
    REFERRERS,
    Budget,
    KeySecret,
    KeyState,
    ModelAlias,
    NotUnderstood,
    OnBreach,
    Organization,
    OutageRule,
    Override,
    Principal,
    Project,
    Provider,
    ProviderKind,
    Ref,
    Row,
    ScopeKind,
    Understood,
    Unpriced,
    VirtualKey,
    organization_of,
    public_ids,
    references,
)
from dataplane.core.sharded import ShardedMap
from dataplane.core.understanding import NOBODY, Covered

__all__ = [
    "Budget",
    "KeySecret",
    "KeyState",
    "ModelAlias",
    "NotUnderstood",
    "OnBreach",
    "Organization",
    "OrganizationView",
    "OutageRule",
    "Override",
    "PriceList",
    "Principal",
    "Project",
    "Provider",
    "ProviderKind",
    "Ref",
    "Row",
    "ScopeKind",
    "Snapshot",
    "Understood",
    "Unpriced",
    "VirtualKey",
]


Holder = str | tuple[str, ...]  # the id of the one key with a public id; several only where something is wrong


class OrganizationView:
    """What the requests of one organization are decided with, put in order once.

    `providers`: enabled ones, lowest priority number first, then by id. `aliases`: by (scope id, client's name), the
    scope being a key, a project or "" for the whole organization. `budgets`: enabled ones, by (scope kind, scope id).
    `doubtful`: what of it is not understood, by id; `strange`: the providers among it, in the same order. They are
    found by id and by name too, where no other has the name, and nothing may be sent to them.
    """

    __slots__ = (
        *("aliases", "budgets", "by_id", "by_name", "contact", "doubtful", "drawn", "prices", "providers"),
        *("remembered", "scopes", "strange"),
    )

    def __init__(
        self,
        organization: Organization | None,
        providers: Iterable[Provider],
        aliases: Iterable[ModelAlias],
        prices: PriceList | None,
        budgets: Iterable[Budget] = (),
        doubts: Iterable[NotUnderstood] = (),
    ) -> None:
        self.doubtful: Mapping[str, NotUnderstood] = {doubt.resource_id: doubt for doubt in doubts}
        ordered = sorted(providers, key=lambda provider: (provider.priority, provider.id))
        self.contact = organization.contact if organization else ""
        self.strange = tuple(provider for provider in ordered if provider.id in self.doubtful)
        self.providers = tuple(each for each in ordered if each.enabled and each.id not in self.doubtful)
        known = (*self.providers, *self.strange)
        self.by_id: Mapping[str, Provider] = {provider.id: provider for provider in known}
        self.by_name: Mapping[str, Provider] = {provider.name: provider for provider in reversed(known)}
        self.aliases: Mapping[tuple[str, str], ModelAlias] = {
            (alias.key_id or alias.project_id, alias.alias): alias
            for alias in sorted(aliases, key=lambda alias: alias.id, reverse=True)
        }
        self.scopes = frozenset(scope for scope, _ in self.aliases)
        self.prices = prices
        self.budgets: Mapping[tuple[ScopeKind, str], tuple[Budget, ...]] = _by_scope(budgets)
        self.remembered: dict[object, object] = {}  # answers to questions that come again and take long
        self.drawn: dict[object, Any] = {}  # the same, of `dataplane.core.money.accounts`

    def alias(self, key: VirtualKey, model: str) -> ModelAlias | None:
        """The key's own, else its project's, else the organization's."""
        for scope in (key.id, key.project_id, ""):
            found = self.aliases.get((scope, model))
            if found is not None:
                return found
        return None


def _by_scope(budgets: Iterable[Budget]) -> dict[tuple[ScopeKind, str], tuple[Budget, ...]]:
    found: dict[tuple[ScopeKind, str], tuple[Budget, ...]] = {}
    for budget in sorted(budgets, key=lambda budget: budget.id):
        if budget.enabled:
            scope = (budget.scope_kind, budget.scope_id)
            found[scope] = (*found.get(scope, ()), budget)
    return found


class Snapshot:
    """One revision of everything. Immutable; `apply` shares what did not change with the next one."""

    __slots__ = (
        *("_covered", "_members", "_public", "_refused", "_rows", "_views", "_wrong", "epoch", "revision"),
        *("aliases", "budgets", "keys", "not_understood", "organizations", "prices", "principals", "projects"),
        *("providers",),
    )

    EMPTY: ClassVar[Snapshot]

    def __init__(self) -> None:
        self.revision = 0
        self.epoch = ""
        self._rows: dict[type[Row], ShardedMap[Row]] = {kind: ShardedMap() for kind in REFERRERS}
        self._public: ShardedMap[Holder] = ShardedMap()  # public id → who carries it
        self._members: ShardedMap[frozenset[Ref]] = ShardedMap()  # organization id → the rows of its view
        self._wrong: dict[Ref, tuple[str, ...]] = {}
        self._views: dict[str, OrganizationView] = {}  # filled on first use
        self._covered: Covered | None = NOBODY  # None: to be made
        self._refused: int | None = 0
        self._name_rows()

    def _name_rows(self) -> None:
        """By their names: attributes, since a request reads a dozen of them."""
        rows: Mapping[type[Row], Any] = self._rows
        self.organizations: Mapping[str, Organization] = rows[Organization]
        self.projects: Mapping[str, Project] = rows[Project]
        self.principals: Mapping[str, Principal] = rows[Principal]
        self.keys: Mapping[str, VirtualKey] = rows[VirtualKey]
        self.providers: Mapping[str, Provider] = rows[Provider]
        self.aliases: Mapping[str, ModelAlias] = rows[ModelAlias]
        self.prices: Mapping[str, PriceList] = rows[PriceList]
        self.budgets: Mapping[str, Budget] = rows[Budget]
        self.not_understood: Mapping[str, NotUnderstood] = rows[NotUnderstood]

    def key_by_public_id(self, public_id: str) -> VirtualKey | None:
        """By any public id of the key's secrets, also of one whose rotation grace runs or has run out."""
        holder = self._public.get(public_id)
        return None if holder is None else self.keys[holder if isinstance(holder, str) else holder[0]]

    def view(self, organization_id: str) -> OrganizationView:
        """Made on first use and kept until something in it changes."""
        view = self._views.get(organization_id)
        if view is None:
            organization = self.organizations.get(organization_id)
            members = self._members.get(organization_id, frozenset())
            view = self._views[organization_id] = OrganizationView(
                organization,
                [self.providers[id] for kind, id in members if kind is Provider],
                [self.aliases[id] for kind, id in members if kind is ModelAlias],
                self.prices.get(organization.price_list_id) if organization else None,
                [self.budgets[id] for kind, id in members if kind is Budget],
                [doubt for doubt in self.not_understood.values() if doubt.organization_id == organization_id],
            )
        return view

    def not_understood_over(self, key: VirtualKey) -> NotUnderstood | None:
        """What covers the key and is not understood."""
        return self._who_is_covered().over(key, self.principals)

    def refused_keys(self) -> int:
        """How many keys are refused because of what is not understood. Counted once, 30 ms for 100,000 keys."""
        if self._refused is None:
            over, principals = self._who_is_covered().over, self.principals
            shards = cast(ShardedMap[VirtualKey], self._rows[VirtualKey]).shards()
            self._refused = sum([over(key, principals) is not None for shard in shards for key in shard.values()])
        return self._refused

    def _who_is_covered(self) -> Covered:
        if self._covered is None:
            self._covered = Covered(self.not_understood.values(), self.organizations)
        return self._covered

    def pieces(self) -> list[object]:
        """What it holds, in small parts: whoever lets go of them one by one never stops for long."""
        maps: list[ShardedMap[Any]] = [*self._rows.values(), self._public, self._members]
        return [shard for each in maps for shard in each.shards()]

    def problems(self) -> list[str]:
        """What keeps this snapshot from being served; looked for in `apply`, among what it touched."""
        return sorted(problem for found in self._wrong.values() for problem in found)

    def apply(
        self,
        revision: int,
        upserts: Iterable[Row],
        removed: Iterable[Ref] = (),
        full: bool = False,
        *,
        epoch: str | None = None,
    ) -> Snapshot:
        """The snapshot after this change; `full`: after forgetting everything.

        A row that is older than the one held is left out: a late message undoes nothing. What is both removed and
        upserted is there afterwards.
        """
        base = Snapshot.EMPTY if full else self
        new: dict[type[Row], dict[str, Row]] = {}
        gone: dict[type[Row], set[str]] = {}
        for row in upserts:
            kind = type(row)
            rows = new.get(kind)
            if rows is None:
                rows = new[kind] = {}
            held = rows.get(row.id) or base._rows[kind].get(row.id)
            if held is None or held.revision <= row.revision:
                rows[row.id] = row
        for kind, id in removed:
            if id in base._rows[kind] and id not in new.get(kind, {}):
                gone.setdefault(kind, set()).add(id)

        made = Snapshot.__new__(Snapshot)
        made.revision = revision
        made.epoch = self.epoch if epoch is None else epoch
        made._rows = {
            kind: rows.changed(new[kind], gone.get(kind, ())) if kind in new else rows.changed({}, gone.get(kind, ()))
            for kind, rows in base._rows.items()
        }
        made._name_rows()
        made._public, shared = _public_ids(base, new.get(VirtualKey, {}), gone.get(VirtualKey, set()))
        made._members = _members(base, new, gone)
        made._views = _untouched_views(base, new, gone)
        touched = new.keys() | gone.keys()
        made._covered = None if touched & {NotUnderstood, Organization} else base._covered
        made._refused = None if touched & {NotUnderstood, Organization, Principal, VirtualKey} else base._refused
        if not made.not_understood:
            made._covered, made._refused = NOBODY, 0
        keys = cast(Mapping[str, VirtualKey], new.get(VirtualKey, {}))
        doubtful = made._doubtful(key for id, key in keys.items() if id not in shared)
        suspects = _suspects(base, made, new, gone)
        suspects.update((VirtualKey, id) for id in (*shared, *doubtful))
        made._wrong = made._check(suspects)
        return made

    def _check(self, suspects: Iterable[Ref]) -> dict[Ref, tuple[str, ...]]:
        wrong: dict[Ref, tuple[str, ...]] = {}
        for kind, id in suspects:
            row = self._rows[kind].get(id)
            if row is not None and (found := tuple(self._row_problems(row))):
                wrong[kind, id] = found
        return wrong

    def _doubtful(self, keys: Iterable[VirtualKey]) -> Iterator[str]:
        """Ids of the keys whose references want a look. Quick, for there may be 100,000 new keys of few projects."""
        projects: dict[str, str] = {}  # id → whose; nobody's when it is not there
        principals: dict[str, str] = {}
        for key in keys:
            project_id, principal_id, owner = key.project_id, key.principal_id, key.organization_id
            if project_id not in projects:
                project = self.projects.get(project_id)
                projects[project_id] = project.organization_id if project is not None else ""
            if principal_id not in principals:
                principal = self.principals.get(principal_id)
                principals[principal_id] = principal.organization_id if principal is not None else ""
            if (
                owner not in self.organizations
                or (project_id and projects[project_id] != owner)
                or (principal_id and principals[principal_id] != owner)
            ):
                yield key.id

    def _row_problems(self, row: Row) -> Iterator[str]:
        if isinstance(row, PriceList | NotUnderstood):
            return
        if isinstance(row, Organization):
            if row.price_list_id and row.price_list_id not in self.prices:
                yield f"{row.id} refers to {row.price_list_id}, which is not there"
            return
        if isinstance(row, VirtualKey):
            if row.state is KeyState.REVOKED:
                return  # it leads nowhere any more
            for public_id in public_ids(row):
                if self._public[public_id] != row.id:
                    yield f"{row.id} has the public id {public_id}, and so has another key"
        if row.organization_id not in self.organizations:
            yield f"{row.id} refers to {row.organization_id}, which is not there"
        for kind, id in references(row):
            target = self._rows[kind].get(id)
            if target is None:
                yield f"{row.id} refers to {id}, which is not there"
            elif getattr(target, "organization_id", "") != row.organization_id:
                yield f"{row.id} refers to {id}, which belongs to another organization"


Snapshot.EMPTY = Snapshot()


def _public_ids(base: Snapshot, new: Mapping[str, Row], gone: set[str]) -> tuple[ShardedMap[Holder], set[str]]:
    """Who carries which, and the keys that share one of those that changed hands."""
    holders: dict[str, Holder | None] = {}
    before = base._public
    for id in (*new, *gone) if base.keys else ():
        held = base.keys.get(id)
        for public_id in public_ids(held) if held else ():
            holders[public_id] = _without(holders[public_id] if public_id in holders else before.get(public_id), id)
    for id, key in new.items():
        for public_id in public_ids(cast(VirtualKey, key)):
            known = holders[public_id] if public_id in holders else before.get(public_id)
            holders[public_id] = id if known is None else _with(known, id)
    taken = {public_id: holder for public_id, holder in holders.items() if holder is not None}
    made = before.changed(taken, [public_id for public_id, holder in holders.items() if holder is None])
    return made, {id for holder in taken.values() if not isinstance(holder, str) for id in holder}


def _with(holder: Holder, id: str) -> Holder:
    ids = {id, holder} if isinstance(holder, str) else {id, *holder}
    return tuple(sorted(ids)) if len(ids) > 1 else id


def _without(holder: Holder | None, id: str) -> Holder | None:
    ids = [one for one in ((holder,) if isinstance(holder, str) else holder or ()) if one != id]
    return tuple(ids) if len(ids) > 1 else (ids[0] if ids else None)


def _members(
    base: Snapshot, new: Mapping[type[Row], Mapping[str, Row]], gone: Mapping[type[Row], set[str]]
) -> ShardedMap[frozenset[Ref]]:
    members: dict[str, set[Ref]] = {}

    def of(row: Row) -> set[Ref]:
        organization_id = organization_of(row)
        if organization_id not in members:
            members[organization_id] = set(base._members.get(organization_id, ()))
        return members[organization_id]

    for kind in (Provider, ModelAlias, Budget):
        for id in (*new.get(kind, ()), *gone.get(kind, ())):
            held = base._rows[kind].get(id)
            if held is not None:
                of(held).discard((kind, id))
        for id, row in new.get(kind, {}).items():
            of(row).add((kind, id))
    return base._members.changed(
        {id: frozenset(refs) for id, refs in members.items() if refs},
        [id for id, refs in members.items() if not refs],
    )


def _untouched_views(
    base: Snapshot, new: Mapping[type[Row], Mapping[str, Row]], gone: Mapping[type[Row], set[str]]
) -> dict[str, OrganizationView]:
    if PriceList in new or PriceList in gone:
        return {}
    touched: set[str] = {*new.get(Organization, ()), *gone.get(Organization, ())}
    for kind in (Provider, ModelAlias, Budget, NotUnderstood):
        rows = base._rows[kind]
        touched.update(organization_of(row) for row in new.get(kind, {}).values())
        touched.update(organization_of(rows[id]) for id in (*new.get(kind, ()), *gone.get(kind, ())) if id in rows)
    return {id: view for id, view in base._views.items() if id not in touched}


def _suspects(
    base: Snapshot,
    made: Snapshot,
    new: Mapping[type[Row], Mapping[str, Row]],
    gone: Mapping[type[Row], set[str]],
) -> set[Ref]:
    """The rows whose references may have changed their meaning: what is new, what was wrong, who referred to what went
    away."""
    suspects: set[Ref] = set(base._wrong)
    left: set[type[Row]] = set(gone)
    for kind, rows in new.items():
        if kind is not VirtualKey:  # those are looked through for themselves
            suspects.update((kind, id) for id in rows)
        held = base._rows[kind]
        if held and any(id in held and organization_of(held[id]) != organization_of(row) for id, row in rows.items()):
            left.add(kind)
    for referrer in {referrer for kind in left for referrer in REFERRERS[kind]}:
        suspects.update((referrer, id) for id in made._rows[referrer])
    return suspects
