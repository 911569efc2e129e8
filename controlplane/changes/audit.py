"""The audit: what differs between two states of a row, chained by hashes so that a later edit shows.

An event's hash covers its content and its predecessor's hash. Cutting off the newest events leaves a chain that is
whole: only a head that was kept elsewhere shows that, which is why `verify_audit` prints the heads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Max

from controlplane.changes.actor import Actor
from controlplane.changes.models import AuditEvent
from controlplane.changes.row import AuditTarget, ConfigRow

UNSPOKEN = frozenset({"created_at", "updated_at"})
COVERED = (
    "organization_id",
    "seq",
    "actor_kind",
    "actor_id",
    "actor_label",
    "address",
    "action",
    "target_kind",
    "target_id",
    "target_label",
    "before",
    "after",
    "details",
    "revision",
    "previous_hash",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has not got its place in the chain yet."""

    action: str
    target: AuditTarget
    organization_id: str
    before: Mapping[str, object]
    after: Mapping[str, object]
    details: Mapping[str, object] = field(default_factory=dict)

    def joined(self, other: Draft) -> Draft:
        whole = self if not self.target.part else other
        return Draft(
            whole.action if not whole.target.part else f"{whole.target.kind}.updated",
            whole.target,
            self.organization_id or other.organization_id,
            {**self.before, **other.before},
            {**self.after, **other.after},
        )


def fields_of(row: ConfigRow) -> dict[str, object]:
    """A row's fields as JSON values; secrets, sealed or digested, are left out."""
    values = {
        item.attname: getattr(row, item.attname)
        for item in row._meta.concrete_fields
        if item.attname not in UNSPOKEN | row.unaudited | row.observed and not isinstance(item, models.BinaryField)
    }
    plain: dict[str, object] = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
    return plain


def difference(before: ConfigRow | None, after: ConfigRow | None) -> Draft | None:
    """The event that leads from one state to the other; None when no audited field differs."""
    row = after if after is not None else before
    if row is None:
        return None
    target = row.audit_target()
    old = fields_of(before) if before is not None else {}
    new = fields_of(after) if after is not None else {}
    verb = "created" if before is None else "deleted" if after is None else "updated"
    if verb == "updated":
        differing = {name for name in new if old.get(name) != new[name]}
        if not differing:
            return None
        old, new = ({name: values[name] for name in sorted(differing)} for values in (old, new))
    if target.part:
        verb = "updated"
        old, new = ({f"{target.part}.{name}": value for name, value in values.items()} for values in (old, new))
    return Draft(f"{target.kind}.{verb}", target, row.organization_of(), old, new)


def append(drafts: list[Draft], *, actor: Actor, at: datetime, revision: int) -> None:
    """Give each draft its place in its organization's chain. The caller holds the revision counter's lock."""
    heads: dict[str, tuple[int, str]] = {}
    events = []
    for draft in drafts:
        organization = draft.organization_id
        if organization not in heads:
            last = AuditEvent.objects.filter(organization_id=organization).order_by("-seq").first()
            heads[organization] = (last.seq, last.hash) if last is not None else (0, "")
        seq, previous_hash = heads[organization]
        event = AuditEvent(
            organization_id=organization,
            seq=seq + 1,
            at=at,
            actor_kind=actor.kind.value,
            actor_id=actor.id[:80],
            actor_label=actor.label[:200],
            address=actor.address[:64],
            action=draft.action,
            target_kind=draft.target.kind,
            target_id=draft.target.id,
            target_label=draft.target.label[:250],
            before=dict(draft.before),
            after=dict(draft.after),
            details=json.loads(json.dumps(dict(draft.details), cls=DjangoJSONEncoder)),
            revision=revision,
            previous_hash=previous_hash,
        )
        event.hash = hash_of(event)
        heads[organization] = (event.seq, event.hash)
        events.append(event)
    AuditEvent.objects.bulk_create(events, batch_size=500)


def hash_of(event: AuditEvent) -> str:
    """SHA-256 over canonical JSON of everything that the event says, its predecessor's hash included."""
    content: dict[str, Any] = {name: getattr(event, name) for name in COVERED}
    content["at"] = event.at.isoformat(timespec="microseconds")
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place where a chain does not hold."""

    organization_id: str
    seq: int
    problem: str


def verify(organization_id: str) -> Broken | None:
    """Walk one organization's chain; None when it holds."""
    expected_seq, expected_previous = 1, ""
    for event in AuditEvent.objects.filter(organization_id=organization_id).order_by("seq").iterator(chunk_size=500):
        if event.seq != expected_seq:
            return Broken(organization_id, expected_seq, "an event is missing here")
        if event.previous_hash != expected_previous:
            return Broken(organization_id, event.seq, "it does not follow the event before it")
        if event.hash != hash_of(event):
            return Broken(organization_id, event.seq, "its content was changed")
        expected_seq, expected_previous = event.seq + 1, event.hash
    return None


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest event of a chain: keep it elsewhere to notice a cut-off end."""

    organization_id: str
    seq: int
    hash: str


def heads() -> Iterator[ChainHead]:
    newest = AuditEvent.objects.values("organization_id").annotate(last=Max("seq")).order_by("organization_id")
    for row in newest:
        event = AuditEvent.objects.get(organization_id=row["organization_id"], seq=row["last"])
        yield ChainHead(event.organization_id, event.seq, event.hash)
