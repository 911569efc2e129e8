"""One consistent reading of the configuration: the counter, the outbox and the rows at the same moment."""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import groupby

from django.db import connection
from django.db.models import Max

from controlplane.changes import queries
from controlplane.changes.models import ConfigChange, ResourceKind, Revision, new_epoch
from controlplane.fleet.database import one_moment
from controlplane.fleet.state.catalogue import Catalogue, Loaded, Ref
from controlplane.fleet.state.compile import KIND_OF, compile_all, compile_some

log = logging.getLogger(__name__)

RECENT_REVISIONS = 1000
OUTBOX_AT_MOST = 50_000  # touches read at once; beyond it, reading everything is cheaper

IS_STANDBY = "SELECT pg_is_in_recovery()"


class NotPrimary(Exception):
    """The database answers as a standby: what it says may be old."""


class Rewritten(Exception):
    """The database lost revisions that were seen in it: a failover to a lagging copy, or an old backup."""

    def __init__(self, epoch: str, value: int, seen: int) -> None:
        super().__init__(f"epoch {epoch}: revision {seen} was read, and now the database is at another {value}")
        self.epoch, self.value = epoch, value


def refreshed(held: Catalogue) -> Catalogue | Loaded:
    """A new catalogue when everything had to be read, else what `held` lacks. Raises NotPrimary, database errors."""
    try:
        return _read(held)
    except Rewritten as problem:
        log.error("fleet_database_went_back %s", problem)
        renew_epoch(problem.epoch)
        return _read(held)


def renew_epoch(epoch: str) -> bool:
    """Give this database a new name, so that every pod gets everything anew; False when another replica already has."""
    return Revision.objects.filter(epoch=epoch).update(epoch=new_epoch()) > 0


def _read(held: Catalogue) -> Catalogue | Loaded:
    if held.revision < 0:
        queries.head()  # names a new database
    with one_moment():
        _demand_primary()
        head = Revision.objects.get()
        loaded = _since(held, head) if head.epoch == held.epoch else None
        if loaded is not None:
            return loaded
        fresh = Catalogue()
        fresh.apply(_everything(head))
        return fresh


def _demand_primary() -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(IS_STANDBY)
        if cursor.fetchone()[0]:
            raise NotPrimary("the database is a standby")


def _since(held: Catalogue, head: Revision) -> Loaded | None:
    """What was touched after the revision held; None when the outbox does not say. Raises Rewritten."""
    if head.value == held.revision and _ms(head.committed_at) == held.committed_at_ms:
        return Loaded(head.epoch, head.value, held.committed_at_ms, full=False)
    if head.value <= held.revision:
        raise Rewritten(head.epoch, head.value, held.revision)
    # The row of the revision held comes along: it tells whether history is still the one that was read.
    committed_at = ConfigChange.objects.filter(revision=held.revision).values_list("committed_at", flat=True).first()
    if committed_at is not None and _ms(committed_at) != held.committed_at_ms:
        raise Rewritten(head.epoch, head.value, held.revision)
    touched = _outbox(held.revision, head.value)
    if touched is None:
        return None
    newest = {ref: revision for revision, refs in touched for ref in refs}
    return Loaded(head.epoch, head.value, _ms(head.committed_at), False, touched, compile_some(newest))


def _everything(head: Revision) -> Loaded:
    touches = ConfigChange.objects.values("kind", "resource_id").annotate(last=Max("revision"))
    newest = {
        ref(kind, resource_id): last
        for kind, resource_id, last in touches.values_list("kind", "resource_id", "last").iterator(5000)
    }
    # Pods that were a little behind when a replica started get what they lack, not everything.
    recent = _outbox(max(0, head.value - RECENT_REVISIONS), head.value) or ()
    return Loaded(head.epoch, head.value, _ms(head.committed_at), True, recent, compile_all(newest))


def _outbox(after: int, head: int) -> tuple[tuple[int, tuple[Ref, ...]], ...] | None:
    """What each revision after `after` touched; None when that is too much, or not all there."""
    rows = list(
        ConfigChange.objects.filter(revision__gt=after)
        .order_by("revision")
        .values_list("revision", "kind", "resource_id")[: OUTBOX_AT_MOST + 1]
    )
    touched = tuple(
        (revision, tuple(ref(kind, resource_id) for _, kind, resource_id in changes))
        for revision, changes in groupby(rows, key=lambda row: row[0])
    )
    whole = [revision for revision, _ in touched] == list(range(after + 1, head + 1))
    return touched if whole and len(rows) <= OUTBOX_AT_MOST else None


def ref(kind: str, resource_id: str) -> Ref:
    return Ref(KIND_OF[ResourceKind(kind)], resource_id)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
