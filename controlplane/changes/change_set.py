"""`change_set()`: the one way to change the configuration.

    with change_set(actor) as change:
        key.state = KeyState.DISABLED
        key.save()
        change.say("virtual_key.disabled", key, reason=reason)

Entering opens a transaction and locks the revision counter: one writer at a time, and revisions commit in the order of
their numbers. Rows are watched by `ConfigModel`; leaving writes the outbox and the audit, and wakes the fleet. A change
set inside another joins it: one revision, the outer actor.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from django.db import connection, transaction
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.changes.audit import Draft, append, difference
from controlplane.changes.models import ConfigChange, ResourceKind, Revision
from controlplane.changes.row import AuditTarget, ConfigRow, Touch

CHANNEL = "aigateway_changes"
_active = threading.local()  # a transaction belongs to its thread's connection, and so does a change set


class OutsideChangeSet(Exception):
    """A configuration row was about to be written outside a change set."""


class ChangeSet:
    """The work between entering and leaving. `revision` is the number that it will have if pods are concerned."""

    def __init__(self, actor: Actor, revision: int) -> None:
        self.actor = actor
        self.revision = revision
        self._touched: dict[tuple[ResourceKind, str], Touch] = {}
        self._watched: dict[tuple[type[ConfigRow], str], ConfigRow | None] = {}
        self._drafts: list[Draft] = []

    def watch(self, model: type[ConfigRow], rows: Iterable[tuple[str, ConfigRow | None]]) -> None:
        """These rows are about to be written; `None` for one that does not exist yet."""
        for primary_key, before in rows:
            self._watched.setdefault((model, primary_key), before)

    def touch(self, touch: Touch) -> None:
        """This resource changes although none of its own rows does."""
        earlier = self._touched.get((touch.kind, touch.id))
        if earlier is not None:
            touch = replace(
                touch,
                organization_id=touch.organization_id or earlier.organization_id,
                revoked=touch.revoked or earlier.revoked,
                cut=touch.cut or earlier.cut,
            )
        self._touched[touch.kind, touch.id] = touch

    def say(self, action: str, row: ConfigRow, **details: object) -> None:
        """Name what has been done to `row` since the last word about it: one audit event.

        A row that is to be deleted goes by its queryset, since Django takes the id away from a deleted instance.
        """
        if row.pk is None:
            raise ValueError("the row has lost its id")
        target = row.audit_target()
        drafts = self._settle(only=(target.kind, target.id))
        before = {name: value for draft in drafts for name, value in draft.before.items()}
        after = {name: value for draft in drafts for name, value in draft.after.items()}
        self._drafts.append(Draft(action, target, row.organization_of(), before, after, details))

    def note(self, draft: Draft) -> None:
        """An event about something that is not configuration, such as a login."""
        self._drafts.append(draft)

    def settle(self) -> tuple[list[Touch], list[Draft]]:
        """Everything touched, and everything done, the unnamed included."""
        self._drafts.extend(_merged(self._settle()))
        return list(self._touched.values()), self._drafts

    def mark(self) -> object:
        return dict(self._touched), dict(self._watched), list(self._drafts)

    def rewind(self, mark: object) -> None:
        self._touched, self._watched, self._drafts = mark  # type: ignore[misc]

    def _settle(self, only: tuple[str, str] | None = None) -> list[Draft]:
        """Compare watched rows with what the database holds now, and forget them."""
        drafts = []
        for model, primary_keys in _by_model(self._watched, only).items():
            now = model.present(primary_keys)
            for primary_key in primary_keys:
                before, after = self._watched.pop((model, primary_key)), now.get(primary_key)
                for touch in model.consequences(before, after):
                    self.touch(touch)
                draft = difference(before, after)
                if draft is not None:
                    drafts.append(draft)
        return drafts


def _by_model(
    watched: Mapping[tuple[type[ConfigRow], str], ConfigRow | None], only: tuple[str, str] | None
) -> dict[type[ConfigRow], list[str]]:
    chosen: dict[type[ConfigRow], list[str]] = {}
    for (model, primary_key), before in watched.items():
        if only is not None:
            row = before if before is not None else model.present([primary_key]).get(primary_key)
            if row is None:
                continue
            target = row.audit_target()
            if (target.kind, target.id) != only:
                continue
        chosen.setdefault(model, []).append(primary_key)
    return chosen


def _merged(drafts: list[Draft]) -> list[Draft]:
    """One event per target: rows that are part of another object speak with it."""
    merged: dict[AuditTarget, Draft] = {}
    for draft in drafts:
        earlier = merged.get(draft.target)
        merged[draft.target] = draft if earlier is None else earlier.joined(draft)
    return list(merged.values())


def current() -> ChangeSet | None:
    """The change set that this thread is in."""
    return getattr(_active, "change", None)


@contextmanager
def change_set(actor: Actor) -> Iterator[ChangeSet]:
    """A transaction that may write configuration. An exception takes everything back."""
    outer = current()
    if outer is not None:
        mark = outer.mark()
        try:
            with transaction.atomic():
                yield outer
        except BaseException:
            outer.rewind(mark)
            raise
        return
    with transaction.atomic():
        head = _lock()
        change = ChangeSet(actor, head.value + 1)
        _active.change = change
        try:
            yield change
            touched, drafts = change.settle()
        finally:
            _active.change = None
        _record(change, head, touched, drafts)


def _lock() -> Revision:
    head = Revision.objects.select_for_update().first()
    if head is None:
        Revision.objects.bulk_create([Revision(id=1)], ignore_conflicts=True)
        head = Revision.objects.select_for_update().get()
    return head


def _record(change: ChangeSet, head: Revision, touched: list[Touch], drafts: list[Draft]) -> None:
    now = timezone.now()
    if touched:
        ConfigChange.objects.bulk_create(
            [
                ConfigChange(
                    revision=change.revision,
                    kind=touch.kind,
                    resource_id=touch.id,
                    organization_id=touch.organization_id,
                    revoked=touch.revoked,
                    cut=touch.cut,
                    committed_at=now,
                )
                for touch in touched
            ],
            batch_size=500,
        )
        head.value, head.committed_at = change.revision, now
        head.save(update_fields=["value", "committed_at"])
    append(drafts, actor=change.actor, at=now, revision=change.revision if touched else 0)
    if touched and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(change.revision)])
