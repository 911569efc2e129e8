"""What the pods are to hold, in memory: every resource compiled once, and which were touched by which revision.

Pure: rows come in through `apply`, messages go out of `delta` and `full`. A delta carries the present content of all
that was touched since the pod's revision, so it can span any number of revisions and is never stale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, cast

from dataplane.wire.digest import digest_bytes, fingerprint
from dataplane.wire.updates import REMOVED, REVOCATION, UPSERT, framed
from protos import fleet_pb2 as wire

PART_BYTES = 1 << 20  # a quarter of the message limit: a part never starves heartbeats for long
RING_REVISIONS = 20_000  # a pod further behind than this gets everything
RING_TOUCHES = 500_000
DELTAS_KEPT = 16  # pods mostly stand at the same one or two revisions

_VIRTUAL_KEY = wire.RESOURCE_KIND_VIRTUAL_KEY
_ITEM_OVERHEAD = 6  # tag and length


class Ref(NamedTuple):
    """Which resource: `wire.ResourceKind` and id."""

    kind: int
    id: str


@dataclass(frozen=True)
class Loaded:
    """One consistent reading of the database: all of it (`full`), or what was touched after the revision asked from."""

    epoch: str
    revision: int
    committed_at_ms: int
    full: bool
    touched: tuple[tuple[int, tuple[Ref, ...]], ...] = ()  # ascending revisions; when full: recent ones, for deltas
    resources: Mapping[Ref, bytes] = field(default_factory=dict)  # of what was touched: absent means deleted


class Catalogue:
    """The map, its digest, and the ring of recent revisions. One writer; readers take what they need, then await."""

    def __init__(self) -> None:
        self.epoch = ""
        self.revision = -1
        self.committed_at_ms = 0
        self._digest = 0
        self._resources: dict[Ref, bytes] = {}
        self.stopped_revision = -1  # the newest that stopped a key
        self._keys: dict[str, str] = {}  # public id → key id
        self._key_ids: dict[str, tuple[str, ...]] = {}  # key id → its public ids, the one in use first
        self._stopped: dict[str, wire.Revocation] = {}  # keys not active, and lately deleted ones, by key id
        self._ring: deque[tuple[int, tuple[Ref, ...]]] = deque()
        self._ring_touches = 0
        self._deltas: dict[int, list[bytes]] = {}
        self._floor = 0  # the oldest revision that a delta can start from

    def __len__(self) -> int:
        return len(self._resources)

    @property
    def digest(self) -> bytes:
        return digest_bytes(self._digest)

    def key_id(self, public_id: str) -> str | None:
        return self._keys.get(public_id)

    def get(self, ref: Ref) -> bytes | None:
        return self._resources.get(ref)

    def apply(self, loaded: Loaded) -> None:
        """Take over what was read. A full reading replaces everything."""
        self._deltas = {}
        if loaded.full:
            self._replace(loaded)
            return
        if loaded.epoch != self.epoch or loaded.revision < self.revision:
            raise ValueError("a delta must continue what is held")
        newest = {ref: revision for revision, refs in loaded.touched for ref in refs}
        for ref, revision in newest.items():
            self._put(ref, loaded.resources.get(ref), revision)
        for revision, refs in loaded.touched:
            self._remember(revision, refs)
        self.revision = loaded.revision
        self.committed_at_ms = loaded.committed_at_ms

    def can_continue(self, epoch: str, revision: int) -> bool:
        """Whether a pod that holds this can be brought up to date by a delta."""
        return epoch == self.epoch and self._floor <= revision <= self.revision

    def delta(self, since: int) -> list[bytes]:
        """Serialised `FleetMessage`s that bring a pod from revision `since` to the newest; revocations first."""
        if since not in self._deltas:
            if len(self._deltas) >= DELTAS_KEPT:
                self._deltas.clear()
            self._deltas[since] = list(_parts(self._header(from_revision=since), self._changes(since), self.digest))
        return self._deltas[since]

    def full(self) -> Iterator[bytes]:
        """Serialised `FleetMessage`s that replace whatever a pod holds, made one at a time from what is held now."""
        stopped, resources = list(self._stopped.values()), list(self._resources.values())
        items = chain(
            ((REVOCATION, revocation.SerializeToString()) for revocation in stopped),
            ((UPSERT, resource) for resource in resources),
        )
        return _parts(self._header(full=True), items, self.digest)

    def _changes(self, since: int) -> list[tuple[bytes, bytes]]:
        refs: set[Ref] = set()
        for revision, touched in reversed(self._ring):
            if revision <= since:
                break
            refs.update(touched)
        stopped = [self._stopped[ref.id] for ref in refs if ref.kind == _VIRTUAL_KEY and ref.id in self._stopped]
        changes = [(REVOCATION, revocation.SerializeToString()) for revocation in stopped]
        for ref in sorted(refs):
            resource = self._resources.get(ref)
            if resource is None:
                gone = wire.ResourceRef(kind=cast("wire.ResourceKind.ValueType", ref.kind), id=ref.id)
                changes.append((REMOVED, gone.SerializeToString()))
            else:
                changes.append((UPSERT, resource))
        return changes

    def _header(self, *, from_revision: int = 0, full: bool = False) -> wire.Update:
        return wire.Update(
            epoch=self.epoch,
            from_revision=from_revision,
            revision=self.revision,
            full=full,
            committed_at_ms=self.committed_at_ms,
        )

    def _replace(self, loaded: Loaded) -> None:
        self._digest = 0
        self._resources, self._keys, self._key_ids, self._stopped = {}, {}, {}, {}
        self._ring.clear()
        self._ring_touches = 0
        self._floor = loaded.touched[0][0] - 1 if loaded.touched else loaded.revision
        self.epoch, self.revision, self.committed_at_ms = loaded.epoch, loaded.revision, loaded.committed_at_ms
        for ref, resource in loaded.resources.items():
            self._put(ref, resource, loaded.revision)
        for revision, refs in loaded.touched:
            self._remember(revision, refs)

    def _put(self, ref: Ref, resource: bytes | None, revision: int) -> None:
        old = self._resources.pop(ref, None)
        if old is not None:
            self._digest ^= fingerprint(old)
        if resource is not None:
            self._resources[ref] = resource
            self._digest ^= fingerprint(resource)
        if ref.kind == _VIRTUAL_KEY:
            self._index_key(ref.id, resource, revision)

    def _index_key(self, key_id: str, resource: bytes | None, revision: int) -> None:
        before = self._key_ids.pop(key_id, ())
        for public_id in before:
            if self._keys.get(public_id) == key_id:
                del self._keys[public_id]
        self._stopped.pop(key_id, None)
        if resource is None:
            if before:
                gone = wire.Revocation(key_id=key_id, public_id=before[0], revision=revision, cut=True)
                self._stopped[key_id] = gone
                self.stopped_revision = revision
            return
        parsed = wire.Resource.FromString(resource)
        key = parsed.virtual_key
        public_ids = tuple(dict.fromkeys((key.public_id, *(secret.public_id for secret in key.secrets))))
        self._key_ids[key_id] = public_ids
        for public_id in public_ids:
            self._keys[public_id] = key_id
        if key.state != wire.KEY_STATE_ACTIVE:
            self.stopped_revision = revision
            self._stopped[key_id] = wire.Revocation(
                key_id=key_id, public_id=key.public_id, revision=parsed.revision, cut=key.cut
            )

    def _remember(self, revision: int, refs: tuple[Ref, ...]) -> None:
        self._ring.append((revision, refs))
        self._ring_touches += len(refs)
        while len(self._ring) > RING_REVISIONS or self._ring_touches > RING_TOUCHES:
            self._floor, dropped = self._ring.popleft()
            self._ring_touches -= len(dropped)
            for ref in dropped:
                if ref not in self._resources and ref.id in self._stopped:
                    self._forget_deleted(ref.id)

    def _forget_deleted(self, key_id: str) -> None:
        """Once no delta can start before a key's deletion, nobody needs telling of it."""
        if self._stopped[key_id].revision <= self._floor:
            del self._stopped[key_id]


def _parts(header: wire.Update, items: Iterable[tuple[bytes, bytes]], digest: bytes) -> Iterator[bytes]:
    """Cut one update into messages of at most PART_BYTES and one item; `items` are (field tag, content), in order."""
    part: list[tuple[bytes, bytes]] = []
    size = 0
    for item in items:
        length = len(item[1])
        if part and size + length > PART_BYTES:
            yield framed(header, part)
            header.part += 1
            part, size = [], 0
        part.append(item)
        size += length + _ITEM_OVERHEAD
    header.last, header.digest = True, digest
    yield framed(header, part)
