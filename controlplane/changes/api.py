"""The REST route of the audit."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from controlplane.changes.actor import ActorKind
from controlplane.changes.models import AuditEvent
from controlplane.rest.resources import Resource
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import within
from controlplane.tenancy.scope import Scope


class AuditEventOut(serializers.ModelSerializer[AuditEvent]):
    before = serializers.DictField(read_only=True)
    after = serializers.DictField(read_only=True)
    details = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEvent
        fields = (
            "id", "organization_id", "seq", "at", "actor_kind", "actor_id", "actor_label", "address", "action",
            "target_kind", "target_id", "target_label", "before", "after", "details", "revision",
            "previous_hash", "hash",
        )  # fmt: skip
        read_only_fields = fields


class Audit(Resource):
    """Who did what to which object, newest first, chained by hashes."""

    view_verb = Verb.AUDIT_VIEW
    queryset = AuditEvent.objects.all()
    output = AuditEventOut
    times = "at"
    choices = {"actor_kind": tuple(kind.value for kind in ActorKind)}
    filters = ("organization_id", "action", "target_kind", "target_id", "actor_kind", "actor_id", "revision")

    def get_queryset(self) -> QuerySet[Any]:
        return within(self.actor, AuditEvent.objects.all(), self.view_verb, Scope("organization_id"))
