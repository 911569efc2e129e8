"""Verbs on virtual keys: permission, validation, mutation and audit in one transaction.

Each takes `by`, the actor, and raises Forbidden, NoSuchObject, WrongState, or django's ValidationError (field → what
would be right). Plaintext leaves only in the Secret that `mint` and `rotate` return.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.environment import environment
from controlplane.keys import validation
from controlplane.keys.lifecycle import VERB_OF, Step, after
from controlplane.keys.models import KeyEnvironment, KeySecret, KeyState, OwnerScope, VirtualKey
from controlplane.tenancy.models import Principal, Project
from controlplane.tenancy.permissions import Verb, require
from controlplane.tenancy.scope import Place
from dataplane.core import keys as core
from dataplane.core.secret import Secret

GRACE = timedelta(hours=24)
LONGEST_GRACE = timedelta(hours=72)
CHANGEABLE = frozenset(
    {
        "name",
        "description",
        "project",
        "principal",
        "models_allowed",
        "providers_allowed",
        "tags",
        "metadata",
        "external_id",
    }
)


def mint(
    *,
    by: Actor,
    name: str,
    project: Project,
    owner_scope: OwnerScope = OwnerScope.PROJECT,
    principal: Principal | None = None,
    environment: KeyEnvironment = KeyEnvironment.LIVE,
    description: str = "",
    expires_at: datetime | None = None,
    models_allowed: Iterable[str] = (),
    providers_allowed: Iterable[str] = (),
    tags: Iterable[str] = (),
    metadata: Mapping[str, str] | None = None,
    external_id: str = "",
) -> tuple[VirtualKey, Secret]:
    """A new key and its text, which is shown once. The minter needs `key.mint` at the level that will own the key."""
    key = VirtualKey(
        name=name,
        description=description,
        environment=environment,
        owner_scope=owner_scope,
        organization_id=project.organization_id,
        team_id=None if owner_scope == OwnerScope.ORGANIZATION else project.team_id,
        project=project,
        principal=principal,
        external_id=external_id,
    )
    _require_mint(by, key)
    key.expires_at = validation.expiry(expires_at)
    key.models_allowed = validation.patterns(models_allowed, "models_allowed")
    key.providers_allowed = validation.providers(providers_allowed, key.organization_id)
    key.tags = validation.tags(tags)
    key.metadata = validation.metadata(metadata or {})
    validation.tree(key)
    with change_set(by) as change:
        token, secret = _new_secret(key)
        key.full_clean()
        key.save(force_insert=True)
        secret.save(force_insert=True)
        change.say("virtual_key.minted", key)
    return key, token


def update(key: VirtualKey, *, by: Actor, **fields: Any) -> VirtualKey:
    """Fields: see CHANGEABLE. A new project or principal needs the right to mint there."""
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError(
            {field: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for field in unknown}
        )
    require(by, VERB_OF[Step.UPDATE], key)
    with change_set(by) as change:
        _locked(key, Step.UPDATE)
        for field, value in fields.items():
            setattr(key, field, _cleaned(field, value, key.organization_id))
        if "project" in fields:
            key.team_id = None if key.owner_scope == OwnerScope.ORGANIZATION else key.project.team_id
        if {"project", "principal"} & set(fields):
            _require_mint(by, key)
        validation.tree(key)
        key.full_clean()
        key.save(update_fields=[*fields, "team", "updated_at"])
        change.say("virtual_key.updated", key)
    return key


def extend(key: VirtualKey, *, by: Actor, expires_at: datetime | None) -> VirtualKey:
    """Set another expiry; None: never."""
    require(by, VERB_OF[Step.EXTEND], key)
    with change_set(by) as change:
        _locked(key, Step.EXTEND)
        key.expires_at = validation.expiry(expires_at)
        key.save(update_fields=["expires_at", "updated_at"])
        change.say("virtual_key.extended", key)
    return key


def rotate(key: VirtualKey, *, by: Actor, grace: timedelta = GRACE, cut: bool = False) -> Secret:
    """A new secret, shown once; those before it work until `grace` is over, 0 meaning that they stop now.

    `cut`, only without grace: answers that they began end too, within a second.
    """
    require(by, VERB_OF[Step.ROTATE], key)
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise ValidationError({"grace": f"between 0 and {LONGEST_GRACE // timedelta(hours=1)} hours"})
    if cut and grace:
        raise ValidationError({"cut": "ends running answers only where the old secret stops now: choose no grace"})
    with change_set(by) as change:
        _locked(key, Step.ROTATE)
        ends = timezone.now() + grace
        key.secrets.filter(Q(not_after=None) | Q(not_after__gt=ends)).update(not_after=ends)
        token, secret = _new_secret(key)
        columns = key.cut_running() if cut else ()
        key.save(update_fields=["public_id", *columns, "updated_at"])
        secret.save(force_insert=True)
        change.say("virtual_key.rotated", key, grace_s=int(grace.total_seconds()), cut=cut)
    return token


def disable(key: VirtualKey, *, by: Actor, reason: str = "", cut: bool = False) -> VirtualKey:
    """Stop the key for now; running streams end by themselves, or with `cut` within a second.

    A key that was disabled without a cut can be cut afterwards.
    """
    require(by, VERB_OF[Step.DISABLE], key)
    with change_set(by) as change:
        if _locked(key, Step.DISABLE):
            key.disabled_reason = reason[:300]
        elif not cut:
            return key
        columns = key.cut_running() if cut else ()
        key.save(update_fields=["state", "disabled_reason", *columns, "updated_at"])
        change.say("virtual_key.disabled", key, cut=cut)
    return key


def enable(key: VirtualKey, *, by: Actor) -> VirtualKey:
    """Take `disable` back, exactly."""
    require(by, VERB_OF[Step.ENABLE], key)
    with change_set(by) as change:
        if not _locked(key, Step.ENABLE):
            return key
        key.disabled_reason = ""
        key.save(update_fields=["state", "disabled_reason", "updated_at"])
        change.say("virtual_key.enabled", key)
    return key


def revoke(key: VirtualKey, *, by: Actor, cut: bool = True) -> VirtualKey:
    """For good: every secret stops, a rotation's grace included. `cut`: running streams end within a second.

    A key that was revoked without a cut can be cut afterwards.
    """
    require(by, VERB_OF[Step.REVOKE], key)
    with change_set(by) as change:
        if _locked(key, Step.REVOKE):
            key.revoked_at = timezone.now()
            key.revoked_by = by.label[:200]
        elif key.cut or not cut:
            return key
        key.cut = cut
        key.save(update_fields=["state", "revoked_at", "revoked_by", "cut", "updated_at"])
        change.say("virtual_key.revoked", key, cut=cut)
    return key


def _locked(key: VirtualKey, step: Step) -> bool:
    """Bring `key` up to date, inside the change set's lock, and take the step. False: it was there already."""
    key.refresh_from_db()
    before = KeyState(key.state)
    key.state = after(before, step)
    return key.state != before or step in (Step.UPDATE, Step.EXTEND, Step.ROTATE)


def _new_secret(key: VirtualKey) -> tuple[Secret, KeySecret]:
    version, pepper = next(iter(environment().pepper_keyring().items()))
    minted = core.mint(key.environment, secrets.token_bytes)
    key.public_id = minted.public_id
    return minted.token, KeySecret(
        organization_id=key.organization_id,
        key=key,
        public_id=minted.public_id,
        pepper_version=version,
        digest=core.digest(pepper, minted.token.reveal()),
    )


def _require_mint(by: Actor, key: VirtualKey) -> None:
    """What a key of this owner may reach, its minter must reach; what it names must exist for the minter."""
    require(by, Verb.PROJECT_VIEW, key.project)
    if key.principal is not None:
        require(by, Verb.PRINCIPAL_VIEW, key.principal)
    require(by, Verb.KEY_MINT, _place_of_owner(key))


def _place_of_owner(key: VirtualKey) -> Place:
    team = "" if key.owner_scope == OwnerScope.ORGANIZATION else key.project.team_id
    user = key.principal.user_id if key.principal is not None else None
    own = "" if user is None or key.owner_scope == OwnerScope.ORGANIZATION else str(user)
    return Place(key.organization_id, team, own)


def _cleaned(field: str, value: Any, organization_id: str) -> Any:
    match field:
        case "models_allowed":
            return validation.patterns(value, field)
        case "providers_allowed":
            return validation.providers(value, organization_id)
        case "tags":
            return validation.tags(value)
        case "metadata":
            return validation.metadata(value)
        case _:
            return value
