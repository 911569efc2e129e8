"""Verbs on model aliases: permission, validation, mutation and audit in one transaction."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ValidationError

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.keys.models import ModelAlias, VirtualKey
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization, Project
from controlplane.tenancy.permissions import Verb, require
from controlplane.tenancy.scope import Place

CHANGEABLE = frozenset({"alias", "model", "provider", "project", "key"})
_NAME = re.compile(r"[^\s*\x00-\x1f\x7f]{1,200}")


def create_alias(
    *,
    by: Actor,
    organization: Organization,
    alias: str,
    model: str,
    provider: Provider | None = None,
    project: Project | None = None,
    key: VirtualKey | None = None,
) -> ModelAlias:
    """For the whole organization, one of its projects, or one key. A name that is taken there is a ValidationError."""
    require(by, Verb.ALIAS_CHANGE, Place(organization.pk))
    row = ModelAlias(organization=organization, alias=alias, model=model, provider=provider, project=project, key=key)
    with change_set(by) as change:
        _check(row)
        row.save(force_insert=True)
        change.say("model_alias.created", row)
    return row


def update_alias(row: ModelAlias, *, by: Actor, **fields: Any) -> ModelAlias:
    """Fields: see CHANGEABLE."""
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for name in unknown})
    require(by, Verb.ALIAS_CHANGE, row)
    with change_set(by) as change:
        for name, value in fields.items():
            setattr(row, name, value)
        _check(row)
        row.save(update_fields=[*fields, "updated_at"])
        change.say("model_alias.updated", row)
    return row


def delete_alias(row: ModelAlias, *, by: Actor) -> None:
    require(by, Verb.ALIAS_CHANGE, row)
    with change_set(by) as change:
        ModelAlias.objects.filter(pk=row.pk).delete()
        change.say("model_alias.deleted", row)


def _check(row: ModelAlias) -> None:
    """Raises ValidationError. Everything that an alias names is of its organization."""
    for field in ("alias", "model"):
        if _NAME.fullmatch(getattr(row, field)) is None:
            raise ValidationError({field: "is a model name without blanks and *, of up to 200 characters"})
    for field, other in (("provider", row.provider), ("project", row.project), ("key", row.key)):
        if other is not None and other.organization_id != row.organization_id:
            raise ValidationError({field: f"must be a {field} of the organization"})
    row.full_clean()
