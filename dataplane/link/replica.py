"""The configuration as the control plane sent it: parts collected, digest checked, swapped whole or not at all.

`revoke` is quick and comes first; `stage` does the work of an update without touching what is served, so that a large
one can run in a thread; `commit` swaps. A tombstone (a revocation whose update is not in yet, or was rejected) lies
over every snapshot until an update that reaches its revision has been applied: no lower revision can undo it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import xor
from typing import Final

from dataplane.core.pushed import PUSHED
from dataplane.core.snapshot import KeyState, NotUnderstood, Ref, Row, Snapshot, VirtualKey
from dataplane.link.understanding import doubt
from dataplane.wire.digest import digest_bytes, fingerprint
from dataplane.wire.rows import KIND_NUMBERS, ref_from, row_from
from dataplane.wire.updates import Identity, Incoming, identity
from protos import fleet_pb2 as pb

# An installation of 100,000 keys sends about 150,000 resources; beyond this bound a pod could not hold them either.
STAGED_RESOURCES: Final = 2_000_000
PROBLEMS_NAMED: Final = 5


Held = dict[int, dict[str, int]]  # kind (`Identity`) → id → fingerprint: what goes into the digest


@dataclass(frozen=True, slots=True)
class Stopped:
    """Keys that may not be used any more; `cut`: their running streams end too."""

    key_ids: frozenset[str]
    cut: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """An update that was not applied. `resync`: because the pod lost track, so that it needs everything."""

    revision: int
    problem: str
    resync: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to do: more parts to come, or seen before."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What is to be served next."""

    snapshot: Snapshot
    held: Held  # of a full update everything, else what was upserted
    removed: frozenset[Identity]
    full: bool
    digest: int
    stopped: tuple[Stopped, ...]
    cut: frozenset[Ref]  # the rows whose running streams an admin ended, whatever runs under them from then on


@dataclass(slots=True)
class _Parts:
    """An update of which the last part has not come."""

    first: pb.Update
    expected: int = 0
    rows: list[Row] = field(default_factory=list)
    doubts: dict[str, NotUnderstood] = field(default_factory=dict)
    held: Held = field(default_factory=lambda: defaultdict(dict))
    count: int = 0
    removed: set[Identity] = field(default_factory=set)
    refs: list[Ref] = field(default_factory=list)


class Replica:
    """What one pod holds. `revoke` and `commit` are for the loop's thread; `stage`, one at a time, for any."""

    def __init__(self) -> None:
        self.snapshot = Snapshot.EMPTY
        self.digest = 0
        self._held: Held = {}
        self._tombstones: dict[str, pb.Revocation] = {}
        self._parts: _Parts | None = None
        self._given_up: tuple[str, int, bool] | None = None  # the update whose further parts are not worth an answer

    @property
    def epoch(self) -> str:
        return self.snapshot.epoch

    @property
    def revision(self) -> int:
        return self.snapshot.revision

    def revoke(self, update: pb.Update) -> tuple[Stopped, ...]:
        """Stop the keys of this update now, before anything else in it is looked at."""
        if update.epoch != self.epoch or not update.revocations:
            return ()  # revisions of another epoch cannot be compared with ours
        for revocation in update.revocations:
            stone = self._tombstones.get(revocation.key_id)
            if stone is None or stone.revision < revocation.revision or (revocation.cut and not stone.cut):
                self._tombstones[revocation.key_id] = revocation
        stopped, self.snapshot = self._buried(self.snapshot, update.revocations)
        return stopped

    def _buried(self, snapshot: Snapshot, revocations: Iterable[pb.Revocation]) -> tuple[tuple[Stopped, ...], Snapshot]:
        """The snapshot with these tombstones over it, and whom they stopped."""
        rows: list[VirtualKey] = []
        for revocation in revocations:
            key = snapshot.keys.get(revocation.key_id)
            if key is not None and key.revision < revocation.revision:
                rows.append(replace(key, state=KeyState.REVOKED, cut=revocation.cut, revision=revocation.revision))
        if not rows:
            return (), snapshot
        return _stopped(snapshot, rows, ()), snapshot.apply(snapshot.revision, rows)

    def stage(self, incoming: Incoming) -> Staged | Rejected | Ignored:
        """Take one part of an update in; with the last one, all of it."""
        update = incoming.message.update
        if update.part == 0:
            self._parts = self._given_up = None
            verdict = self._acceptable(update)
            if verdict is not None:
                self._given_up = (update.epoch, update.revision, update.full)
                return verdict
            self._parts = _Parts(update)
        parts = self._parts
        if parts is None or update.part != parts.expected or not _same_update(update, parts.first):
            return self._give_up(update, "a part of the update is missing")
        parts.count += len(update.upserts)
        if parts.count > STAGED_RESOURCES:
            return self._give_up(update, f"more than {STAGED_RESOURCES} resources", resync=False)
        parts.expected += 1
        for resource, sent in zip(update.upserts, incoming.resources(), strict=True):
            row = row_from(resource)
            if (doubtful := doubt(resource, row, sent)) is not None:
                parts.doubts[doubtful.id] = doubtful
            if row is None:
                kind, id = identity(resource, sent)
            else:
                parts.rows.append(row)
                kind, id = KIND_NUMBERS[type(row)], row.id
            parts.held[kind][id] = fingerprint(sent)
        for ref in update.removed:
            parts.removed.add((int(ref.kind), ref.id))
            if (gone := ref_from(ref)) is not None:
                parts.refs.append(gone)
        if not update.last:
            return Ignored()
        self._parts = None
        return self._whole(update, parts)

    def _acceptable(self, update: pb.Update) -> Rejected | Ignored | None:
        """None, or why an update that begins is not taken."""
        same_epoch = update.epoch == self.epoch
        if update.full:
            if same_epoch and update.revision < self.revision:
                return Rejected(update.revision, f"older than revision {self.revision}, which is served", resync=False)
            return None
        if not same_epoch:
            return Rejected(update.revision, "a delta of another epoch", resync=True)
        if update.revision <= self.revision:
            return Ignored()  # a duplicate
        if update.from_revision != self.revision:
            problem = f"it continues revision {update.from_revision}, but revision {self.revision} is served"
            return Rejected(update.revision, problem, resync=True)
        return None

    def _give_up(self, update: pb.Update, problem: str, *, resync: bool = True) -> Rejected | Ignored:
        """Once per update."""
        self._parts = None
        this = (update.epoch, update.revision, update.full)
        if self._given_up == this:
            return Ignored()
        self._given_up = this
        return Rejected(update.revision, problem, resync)

    def _whole(self, update: pb.Update, parts: _Parts) -> Staged | Rejected:
        removed = {(kind, id) for kind, id in parts.removed if id not in parts.held.get(kind, {})}
        digest = 0
        if not update.full:
            digest = self.digest
            for kind, id in removed:
                digest ^= self._held.get(kind, {}).get(id, 0)
            for kind, some in parts.held.items():
                before = self._held.get(kind, {})
                for id in some:
                    digest ^= before.get(id, 0)
        for some in parts.held.values():
            digest = reduce(xor, some.values(), digest)
        if digest_bytes(digest) != update.digest:
            return Rejected(update.revision, "the digest differs", resync=True)
        served = self.snapshot
        rows, refs = [*parts.rows, *parts.doubts.values()], [*parts.refs, *_understood_now(served, parts)]
        snapshot = served.apply(update.revision, rows, refs, update.full, epoch=update.epoch)
        if problems := snapshot.problems():
            named = "; ".join(problems[:PROBLEMS_NAMED])
            more = f" and {len(problems) - PROBLEMS_NAMED} more" if len(problems) > PROBLEMS_NAMED else ""
            return Rejected(update.revision, named + more, resync=False)
        keys = [row for row in parts.rows if isinstance(row, VirtualKey)]
        if update.full:
            lost = served.keys.keys() - snapshot.keys.keys()
        else:
            lost = {id for kind, id in parts.refs if kind is VirtualKey and id not in snapshot.keys}
        return Staged(
            snapshot=snapshot,
            held=parts.held,
            removed=frozenset(removed),
            full=update.full,
            digest=digest,
            stopped=_stopped(served, keys, lost),
            cut=_cut_by_hand(served, parts.rows),
        )

    def commit(self, staged: Staged) -> tuple[Stopped, ...]:
        """Serve it, under the tombstones that it does not reach yet. Returns whom this stopped."""
        new_epoch = staged.snapshot.epoch != self.epoch
        if new_epoch:
            self._tombstones.clear()
        stopped, self.snapshot = self._buried(staged.snapshot, self._tombstones.values())
        reached = [id for id, stone in self._tombstones.items() if stone.revision <= staged.snapshot.revision]
        for id in reached:
            del self._tombstones[id]
        if staged.full:
            self._held = staged.held
        else:
            for kind, id in staged.removed:
                if some := self._held.get(kind):
                    some.pop(id, None)
                    if not some:
                        del self._held[kind]
            for kind, some in staged.held.items():
                self._held.setdefault(kind, {}).update(some)
        self.digest = staged.digest
        return staged.stopped + stopped


def _understood_now(before: Snapshot, parts: _Parts) -> list[Ref]:
    """What was not understood and has been replaced or removed."""
    return [
        (NotUnderstood, id)
        for id, row in before.not_understood.items()
        if row.resource_id in parts.held.get(row.kind, ()) or (row.kind, row.resource_id) in parts.removed
    ]


def _same_update(part: pb.Update, first: pb.Update) -> bool:
    return (part.epoch, part.revision, part.full, part.from_revision) == (
        first.epoch,
        first.revision,
        first.full,
        first.from_revision,
    )


def _stopped(before: Snapshot, keys: Iterable[VirtualKey], gone: Iterable[str]) -> tuple[Stopped, ...]:
    """Who could be used, or could at least finish, and now can not."""
    ended: dict[bool, set[str]] = {True: set(), False: set()}
    for key in keys:
        held = before.keys.get(key.id)
        if held is None or key.state is KeyState.ACTIVE:
            continue
        cut = key.cut and key.state is KeyState.REVOKED
        if held.state is KeyState.ACTIVE or (cut and not (held.cut and held.state is KeyState.REVOKED)):
            ended[cut].add(key.id)
    ended[True].update(id for id in gone if id in before.keys)
    return tuple(Stopped(frozenset(ids), cut) for cut, ids in ended.items() if ids)


def _cut_by_hand(before: Snapshot, rows: Iterable[Row]) -> frozenset[Ref]:
    """What was cut since `before`; under a row that it does not hold nothing runs."""
    cut = set()
    for row in rows:
        cuts = getattr(row, "cuts", 0)
        held = getattr(before, PUSHED[type(row)].attribute).get(row.id) if cuts else None
        if held is not None and held.cuts < cuts:
            cut.add((type(row), row.id))
    return frozenset(cut)
