"""A control plane in a few lines, for tests: the history of a database, and replicas that look at it now and then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dataplane.core.snapshot import KeySecret, KeyState, Organization, Project, Row, VirtualKey
from dataplane.link.replica import Held
from dataplane.wire.digest import fingerprint
from dataplane.wire.rows import resource_from
from dataplane.wire.updates import Incoming, identity
from protos import fleet_pb2 as pb

PEPPER = b"p" * 32
PART = 3  # resources in one part: small, so that there are many


def key(number: int, state: KeyState = KeyState.ACTIVE, revision: int = 1, cut: bool = True) -> VirtualKey:
    public_id = f"{number:010d}"
    return VirtualKey(
        id=f"vk_{number}",
        public_id=public_id,
        state=state,
        secrets=(KeySecret(public_id, 1, bytes(32), 0),),
        expires_at_ms=0,
        organization_id="org_1",
        team_id="",
        project_id="proj_1",
        principal_id="",
        models_allowed=(),
        providers_allowed=(),
        tags=(),
        cut=cut,
        revision=revision,
    )


@dataclass(frozen=True)
class FromTheFuture:
    """A resource as a newer control plane sends it: of a kind (numbered as ResourceKind) that nobody knows yet, or a
    known one with more in its envelope."""

    id: str
    kind: int = 15
    organization_id: str = "org_1"
    cover: pb.Cover | None = None
    needs: tuple[str, ...] = ()
    known: Row | None = None
    words: tuple[tuple[str, object], ...] = ()  # other values for fields of the known one
    revision: int = 0

    def resource(self) -> pb.Resource:
        if self.known is not None:
            made = resource_from(self.known)
            body = getattr(made, str(made.WhichOneof("resource")))
            for name, value in self.words:
                setattr(body, name, value)
        else:
            body = pb.AnyKind(id=self.id, organization_id=self.organization_id).SerializeToString()
            made = pb.Resource.FromString(_varint((self.kind + 1) << 3 | 2) + _varint(len(body)) + body)
        if self.cover is not None:
            made.cover.CopyFrom(self.cover)
        made.needs.extend(self.needs)
        made.revision = self.revision
        return made


Sent = Row | FromTheFuture


def cover(*scopes: tuple[str, str], organization_id: str = "org_1") -> pb.Cover:
    return pb.Cover(organization_id=organization_id, scopes=[pb.Cover.Scope(kind=kind, id=id) for kind, id in scopes])


def resource_of(row: Sent) -> pb.Resource:
    return row.resource() if isinstance(row, FromTheFuture) else resource_from(row)


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


@dataclass
class Database:
    """Revisions in commit order; `touched` says which rows each one changed. Nothing is ever forgotten."""

    epoch: str = "epoch-1"
    revision: int = 0
    rows: dict[str, Sent] = field(default_factory=dict)
    history: list[tuple[int, dict[str, Sent], frozenset[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        organization = Organization("org_1", True, 0, False, "", "", 0)
        self.commit(organization, Project("proj_1", "org_1", "", True, 0))

    def commit(self, *rows: Sent, removed: Iterable[str] = ()) -> int:
        """One change set; the rows get its revision."""
        self.revision += 1
        self.rows |= {row.id: replace(row, revision=self.revision) for row in rows}
        for id in removed:
            del self.rows[id]
        touched = frozenset({row.id for row in rows} | set(removed))
        self.history.append((self.revision, dict(self.rows), touched))
        return self.revision

    def at(self, revision: int) -> dict[str, Sent]:
        return self.history[revision - 1][1] if revision else {}

    def key(self, number: int) -> VirtualKey:
        found = self.rows[f"vk_{number}"]
        assert isinstance(found, VirtualKey)
        return found


def resources(rows: Iterable[Sent]) -> list[bytes]:
    return [resource_of(row).SerializeToString() for row in rows]


def digest(rows: Iterable[Sent]) -> bytes:
    whole = 0
    for sent in resources(rows):
        whole ^= fingerprint(sent)
    return whole.to_bytes(16, "big")


def reference(row: Sent) -> pb.ResourceRef:
    sent = resource_of(row)
    kind, id = identity(sent, sent.SerializeToString())
    return pb.ResourceRef(kind=kind, id=id)  # type: ignore[arg-type]


def revocations(rows: Iterable[Sent]) -> list[pb.Revocation]:
    return [
        pb.Revocation(key_id=row.id, public_id=row.public_id, revision=row.revision, cut=row.cut)
        for row in rows
        if isinstance(row, VirtualKey) and row.state is not KeyState.ACTIVE
    ]


def full(database: Database, revision: int = -1, part: int = PART) -> list[pb.FleetMessage]:
    revision = database.revision if revision < 0 else revision
    rows = database.at(revision)
    head = pb.Update(epoch=database.epoch, revision=revision, full=True)
    return _parts(head, rows.values(), [], revocations(rows.values()), digest(rows.values()), part)


def delta(database: Database, since: int, revision: int = -1, part: int = PART) -> list[pb.FleetMessage]:
    revision = database.revision if revision < 0 else revision
    rows = database.at(revision)
    touched = {id for number, _, ids in database.history if since < number <= revision for id in ids}
    upserts = [rows[id] for id in sorted(touched) if id in rows]
    gone = [_last_seen(database, id) for id in sorted(touched) if id not in rows]
    head = pb.Update(epoch=database.epoch, from_revision=since, revision=revision)
    return _parts(head, upserts, gone, revocations(upserts), digest(rows.values()), part)


def _last_seen(database: Database, id: str) -> Sent:
    return next(rows[id] for _, rows, _ in reversed(database.history) if id in rows)


def _parts(
    head: pb.Update,
    upserts: Iterable[Sent],
    gone: list[Sent],
    stones: list[pb.Revocation],
    whole: bytes,
    size: int,
) -> list[pb.FleetMessage]:
    rows = list(upserts)
    cuts = [rows[at : at + size] for at in range(0, len(rows), size)] or [[]]
    updates = []
    for number, some in enumerate(cuts):
        update = pb.Update.FromString(head.SerializeToString())
        update.part = number
        update.upserts.extend(resource_of(row) for row in some)
        updates.append(update)
    updates[0].revocations.extend(stones)
    updates[0].removed.extend(reference(row) for row in gone)
    updates[-1].last, updates[-1].digest = True, whole
    return [pb.FleetMessage(update=update) for update in updates]


def welcome(epoch: str, heartbeat_ms: int = 5000) -> pb.FleetMessage:
    peppers = [pb.Pepper(version=1, value=PEPPER)]
    return pb.FleetMessage(welcome=pb.Welcome(epoch=epoch, heartbeat_ms=heartbeat_ms, peppers=peppers))


def incoming(message: pb.FleetMessage) -> Incoming:
    return Incoming.parse(message.SerializeToString())


def held(rows: Iterable[Sent]) -> Held:
    found: Held = {}
    for sent in resources(rows):
        kind, id = identity(pb.Resource.FromString(sent), sent)
        found.setdefault(kind, {})[id] = fingerprint(sent)
    return found
