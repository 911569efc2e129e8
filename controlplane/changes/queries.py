"""Reads of the revision counter and the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from controlplane.changes.models import ConfigChange, ResourceKind, Revision


@dataclass(frozen=True, slots=True)
class Head:
    """The newest committed revision of this database."""

    epoch: str
    revision: int
    committed_at: datetime


def head() -> Head:
    """One small read; on an untouched database it also names the epoch."""
    row = Revision.objects.first()
    if row is None:
        Revision.objects.bulk_create([Revision(id=1)], ignore_conflicts=True)
        row = Revision.objects.get()
    return Head(row.epoch, row.value, row.committed_at)


def revision_of(kind: ResourceKind, resource_id: str) -> int:
    """The revision of the last change that touched a resource; 0 for none."""
    changes = ConfigChange.objects.filter(kind=kind, resource_id=resource_id)
    return int(changes.aggregate(last=Max("revision"))["last"] or 0)
