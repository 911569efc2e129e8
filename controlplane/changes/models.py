"""The revision counter, the outbox and the audit. Written only by `change_set`; of the outbox, `outbox` forgets."""

from __future__ import annotations

import secrets
from typing import Any, NoReturn

from django.db import models
from django.utils import timezone


class ResourceKind(models.TextChoices):
    """What pods hold; the names of `ResourceKind` in protos/fleet.proto."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    PRINCIPAL = "principal"
    VIRTUAL_KEY = "virtual_key"
    PROVIDER = "provider"
    MODEL_ALIAS = "model_alias"
    PRICE_LIST = "price_list"
    BUDGET = "budget"


def new_epoch() -> str:
    return secrets.token_hex(8)


class Revision(models.Model):
    """One row: the newest revision, and the epoch that names this database.

    Its row lock serialises change sets, so that revisions commit in the order of their numbers.
    """

    id = models.SmallAutoField(primary_key=True)
    value = models.BigIntegerField(default=0)
    epoch = models.CharField(max_length=32, default=new_epoch)
    committed_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.epoch}:{self.value}"


class ConfigChange(models.Model):
    """The outbox: `revision` touched this resource. Says that, never what: content is compiled from current rows."""

    revision = models.BigIntegerField()
    kind = models.CharField(max_length=20, choices=ResourceKind.choices)
    resource_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40, blank=True)
    revoked = models.BooleanField(default=False, help_text="A key stopped working.")
    cut = models.BooleanField(default=False, help_text="Its running streams end at once.")
    committed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["revision", "kind", "resource_id"], name="one_change_per_resource_and_revision"
            )
        ]
        # "At which revision did this resource change last?"
        indexes = [models.Index(fields=["kind", "resource_id", "-revision"], name="change_of_resource")]

    def __str__(self) -> str:
        return f"{self.revision} {self.kind} {self.resource_id}"


class AppendOnly(Exception):
    """An audit event was about to be changed or deleted."""


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly("audit events are not changed")

    def delete(self) -> NoReturn:
        raise AppendOnly("audit events are not deleted")


class AuditEvent(models.Model):
    """A record of who did what to which object, in the same transaction as the deed. No secrets.

    Hash-chained per organization (`organization_id` empty: of the installation), `seq` without holes from 1.
    `before` and `after` hold the fields that differ; all fields of a row that was made or deleted.
    """

    organization_id = models.CharField(max_length=40, blank=True)
    seq = models.BigIntegerField()
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=12)
    actor_id = models.CharField(max_length=80)
    actor_label = models.CharField(max_length=200)
    address = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=80)
    target_kind = models.CharField(max_length=40)
    target_id = models.CharField(max_length=40)
    target_label = models.CharField(max_length=250, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    details = models.JSONField(default=dict)
    revision = models.BigIntegerField(default=0, help_text="0: nothing that pods hold.")
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization_id", "seq"], name="one_audit_event_per_place_in_the_chain")
        ]
        indexes = [
            models.Index(fields=["target_kind", "target_id"], name="audit_of_target"),
            models.Index(fields=["organization_id", "-at"], name="audit_of_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_label or self.target_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("audit events are not changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("audit events are not deleted")
