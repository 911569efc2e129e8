"""What a pod knows: immutable rows in maps by id, and `apply`, which makes the next snapshot out of this one.

A request reads `Snapshot` once and sees one revision to its end. Rows refer to each other by id; `problems` names
references that lead nowhere (or into another organization), and a snapshot with problems is never served. Which kinds
of rows there are and what they refer to is registered in `pushed.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, cast

from dataplane.core.money.prices import PriceList
from dataplane.core.pushed import PUSHED, Kinds
from dataplane.core.rows import (
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
    Unpriced,
    VirtualKey,
    public_ids,
)
from dataplane.core.sharded import ShardedMap
from dataplane.core.understanding import COVERED_IS_READ_FROM, NOBODY, REFUSED_IS_READ_FROM, Covered
from dataplane.core.view import OrganizationView

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
    "Unpriced",
    "VirtualKey",
]


R = TypeVar("R", bound=Row)
New = Mapping[type[Row], Mapping[str, Row]]  # of a change, by kind and id
Gone = Mapping[type[Row], Collection[str]]
Holder = str | tuple[str, ...]  # the id of the one key with a public id; several only where something is wrong


class Snapshot:
    """One revision of everything. Immutable; `apply` shares what did not change with the next one.

    Its rows are attributes, since a request reads a dozen of them; they are declared for the reader and the type
    checker, and set from the registry.
    """

    EMPTY: ClassVar[Snapshot]

    organizations: Mapping[str, Organization]
    projects: Mapping[str, Project]
    principals: Mapping[str, Principal]
    keys: Mapping[str, VirtualKey]
    providers: Mapping[str, Provider]
    aliases: Mapping[str, ModelAlias]
    prices: Mapping[str, PriceList]
    budgets: Mapping[str, Budget]
    not_understood: Mapping[str, NotUnderstood]

    def __init__(self, kinds: Kinds = PUSHED) -> None:
        self.revision = 0
        self.epoch = ""
        self._kinds = kinds
        self._rows: dict[type[Row], ShardedMap[Row]] = {kind: ShardedMap() for kind in kinds}
        self._public: ShardedMap[Holder] = ShardedMap()  # public id → who carries it
        self._members: ShardedMap[frozenset[Ref]] = ShardedMap()  # organization id → the rows of its view
        self._wrong: dict[Ref, tuple[str, ...]] = {}
        self._views: dict[str, OrganizationView] = {}  # filled on first use
        self._covered: Covered | None = NOBODY  # None: to be made
        self._refused: int | None = 0
        self._name_rows()

    def _name_rows(self) -> None:
        for kind, registered in self._kinds.items():
            setattr(self, registered.attribute, self._rows[kind])

    def key_by_public_id(self, public_id: str) -> VirtualKey | None:
        """By any public id of the key's secrets, also of one whose rotation grace runs or has run out."""
        holder = self._public.get(public_id)
        return None if holder is None else self.keys[holder if isinstance(holder, str) else holder[0]]

    def view(self, organization_id: str) -> OrganizationView:
        """Made on first use and kept until something in it changes."""
        view = self._views.get(organization_id)
        if view is None:
            members = self._members.get(organization_id, frozenset())
            rows = [self._rows[kind][id] for kind, id in members]
            view = self._views[organization_id] = OrganizationView(rows, self.prices)
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
        return sorted(problem for problems in self._wrong.values() for problem in problems)

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
        base = Snapshot(self._kinds) if full else self
        new, gone = base._change(upserts, removed)
        after = Snapshot.__new__(Snapshot)
        after.revision = revision
        after.epoch = self.epoch if epoch is None else epoch
        after._kinds = self._kinds
        after._rows = {kind: rows.changed(new.get(kind, {}), gone.get(kind, ())) for kind, rows in base._rows.items()}
        after._name_rows()
        after._public, shared = _public_ids(base, _of(VirtualKey, new), gone.get(VirtualKey, ()))
        after._members = _members(base, new, gone)
        after._views = _untouched_views(base, new, gone)
        touched = new.keys() | gone.keys()
        after._covered = None if touched & COVERED_IS_READ_FROM else base._covered
        after._refused = None if touched & REFUSED_IS_READ_FROM else base._refused
        if not after.not_understood:
            after._covered, after._refused = NOBODY, 0
        doubtful = after._doubtful(key for id, key in _of(VirtualKey, new).items() if id not in shared)
        suspects = _suspects(base, after, new, gone)
        suspects.update((VirtualKey, id) for id in (*shared, *doubtful))
        after._wrong = after._check(suspects)
        return after

    def _change(self, upserts: Iterable[Row], removed: Iterable[Ref]) -> tuple[New, Gone]:
        """What of it is news."""
        new: dict[type[Row], dict[str, Row]] = {}
        gone: dict[type[Row], set[str]] = {}
        for row in upserts:
            kind = type(row)
            rows = new.get(kind)
            if rows is None:
                rows = new[kind] = {}
            held = rows.get(row.id) or self._rows[kind].get(row.id)
            if held is None or held.revision <= row.revision:
                rows[row.id] = row
        for kind, id in removed:
            if id in self._rows[kind] and id not in new.get(kind, {}):
                gone.setdefault(kind, set()).add(id)
        return new, gone

    def _check(self, suspects: Iterable[Ref]) -> dict[Ref, tuple[str, ...]]:
        wrong: dict[Ref, tuple[str, ...]] = {}
        for kind, id in suspects:
            row = self._rows[kind].get(id)
            if row is not None and (problems := tuple(self._row_problems(row))):
                wrong[kind, id] = problems
        return wrong

    def _doubtful(self, keys: Iterable[VirtualKey]) -> Iterator[str]:
        """Ids of the keys whose references want a look. Quick, for there may be 100,000 new keys of few projects."""
        ids_of = attrgetter(*self._kinds[VirtualKey].references)
        sound: dict[object, bool] = {}
        for key in keys:
            ids = ids_of(key)
            if ids not in sound:
                sound[ids] = not any(self._reference_problems(key))
            if not sound[ids]:
                yield key.id

    def _row_problems(self, row: Row) -> Iterator[str]:
        if isinstance(row, VirtualKey):
            if row.state is KeyState.REVOKED:
                return  # it leads nowhere any more
            for public_id in public_ids(row):
                if self._public[public_id] != row.id:
                    yield f"{row.id} has the public id {public_id}, and so has another key"
        yield from self._reference_problems(row)

    def _reference_problems(self, row: Row) -> Iterator[str]:
        kinds = self._kinds
        owner = kinds[type(row)].owner
        for attribute, target in kinds[type(row)].references.items():
            id = getattr(row, attribute)
            if not id and attribute != owner:
                continue
            referred = self._rows[target].get(id)
            if referred is None:
                yield f"{row.id} refers to {id}, which is not there"
            elif kinds[target].owner and kinds.organization_of(referred) != kinds.organization_of(row):
                yield f"{row.id} refers to {id}, which belongs to another organization"


Snapshot.EMPTY = Snapshot()


def _of(kind: type[R], new: New) -> Mapping[str, R]:
    return cast("Mapping[str, R]", new.get(kind, {}))


def _public_ids(
    base: Snapshot, new: Mapping[str, VirtualKey], gone: Collection[str]
) -> tuple[ShardedMap[Holder], set[str]]:
    """Who carries which, and the keys that share one of those that changed hands."""
    holders: dict[str, Holder | None] = {}
    before = base._public
    for id in (*new, *gone) if base.keys else ():
        held = base.keys.get(id)
        for public_id in public_ids(held) if held else ():
            holders[public_id] = _without(holders[public_id] if public_id in holders else before.get(public_id), id)
    for id, key in new.items():
        for public_id in public_ids(key):
            holder = holders[public_id] if public_id in holders else before.get(public_id)
            holders[public_id] = id if holder is None else _with(holder, id)
    taken = {public_id: holder for public_id, holder in holders.items() if holder is not None}
    after = before.changed(taken, [public_id for public_id, holder in holders.items() if holder is None])
    return after, {id for holder in taken.values() if not isinstance(holder, str) for id in holder}


def _with(holder: Holder, id: str) -> Holder:
    ids = {id, holder} if isinstance(holder, str) else {id, *holder}
    return tuple(sorted(ids)) if len(ids) > 1 else id


def _without(holder: Holder | None, id: str) -> Holder | None:
    ids = [one for one in ((holder,) if isinstance(holder, str) else holder or ()) if one != id]
    return tuple(ids) if len(ids) > 1 else (ids[0] if ids else None)


def _members(base: Snapshot, new: New, gone: Gone) -> ShardedMap[frozenset[Ref]]:
    members: dict[str, set[Ref]] = {}

    def of(row: Row) -> set[Ref]:
        organization_id = base._kinds.organization_of(row)
        if organization_id not in members:
            members[organization_id] = set(base._members.get(organization_id, ()))
        return members[organization_id]

    for kind in base._kinds.in_its_view:
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


def _untouched_views(base: Snapshot, new: New, gone: Gone) -> dict[str, OrganizationView]:
    kinds = base._kinds
    if any(kind in new or kind in gone for kind in kinds.in_every_view):
        return {}
    touched: set[str] = set()
    for kind in kinds.in_its_view:
        rows = base._rows[kind]
        touched.update(kinds.organization_of(row) for row in new.get(kind, {}).values())
        touched.update(
            kinds.organization_of(rows[id]) for id in (*new.get(kind, ()), *gone.get(kind, ())) if id in rows
        )
    return {id: view for id, view in base._views.items() if id not in touched}


def _suspects(base: Snapshot, after: Snapshot, new: New, gone: Gone) -> set[Ref]:
    """The rows whose references may have changed their meaning: what is new, what was wrong, who referred to what went
    away."""
    whose = base._kinds.organization_of
    suspects: set[Ref] = set(base._wrong)
    left: set[type[Row]] = set(gone)
    for kind, rows in new.items():
        if kind is not VirtualKey:  # those are looked through for themselves
            suspects.update((kind, id) for id in rows)
        held = base._rows[kind]
        if held and any(id in held and whose(held[id]) != whose(row) for id, row in rows.items()):
            left.add(kind)
    for referrer in {referrer for kind in left for referrer in base._kinds.referrers[kind]}:
        suspects.update((referrer, id) for id in after._rows[referrer])
    return suspects
