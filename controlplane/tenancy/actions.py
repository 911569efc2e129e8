"""Verbs on the tenancy tree: permission, validation, mutation and audit in one transaction.

Each takes `by`, the actor, and raises Forbidden, NoSuchObject or django's ValidationError (field → what is right).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, TypeVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.changes.config import ConfigModel
from controlplane.changes.cuttable import Cuttable
from controlplane.environment import environment
from controlplane.tenancy.models import (
    ApiToken,
    Membership,
    Organization,
    Principal,
    PrincipalKind,
    Project,
    Role,
    Team,
)
from controlplane.tenancy.permissions import (
    Forbidden,
    Grant,
    Verb,
    grant_of_token,
    may_grant,
    require,
    require_operator,
)
from controlplane.tenancy.scope import Place
from controlplane.tenancy.tokens import new_token
from dataplane.core.keys import digest
from dataplane.core.secret import Secret

Row = TypeVar("Row", bound=ConfigModel)


def create_organization(
    *,
    by: Actor,
    name: str,
    slug: str,
    contact: str = "",
    freshness_bound_s: int = 0,
    cut_on_stale: bool = False,
    cut_on_expiry: bool = False,
) -> Organization:
    require_operator(by, Verb.ORGANIZATION_CREATE)
    row = Organization(
        name=name,
        slug=slug,
        contact=contact,
        freshness_bound_s=freshness_bound_s,
        cut_on_stale=cut_on_stale,
        cut_on_expiry=cut_on_expiry,
    )
    return _created(row, by)


def update_organization(organization: Organization, *, by: Actor, cut: bool = False, **fields: Any) -> Organization:
    """Fields: name, slug, contact, active, freshness_bound_s, cut_on_stale, cut_on_expiry. `cut`: its running answers
    end too, within a second."""
    require(by, Verb.ORGANIZATION_CHANGE, organization)
    allowed = {"name", "slug", "contact", "active", "freshness_bound_s", "cut_on_stale", "cut_on_expiry"}
    return _updated(organization, by, fields, allowed, cut=cut)


def create_team(*, by: Actor, organization: Organization, name: str, slug: str, external_id: str = "") -> Team:
    require(by, Verb.TEAM_CREATE, Place(organization.pk))
    return _created(Team(organization=organization, name=name, slug=slug, external_id=external_id), by)


def update_team(team: Team, *, by: Actor, **fields: Any) -> Team:
    """Fields: name, slug, external_id."""
    require(by, Verb.TEAM_CHANGE, team)
    return _updated(team, by, fields, {"name", "slug", "external_id"})


def create_project(*, by: Actor, team: Team, name: str, slug: str) -> Project:
    require(by, Verb.PROJECT_CHANGE, Place(team.organization_id, team.pk))
    return _created(Project(organization_id=team.organization_id, team=team, name=name, slug=slug), by)


def update_project(project: Project, *, by: Actor, cut: bool = False, **fields: Any) -> Project:
    """Fields: name, slug, active. `cut`: its running answers end too, within a second."""
    require(by, Verb.PROJECT_CHANGE, project)
    return _updated(project, by, fields, {"name", "slug", "active"}, cut=cut)


def create_principal(
    *,
    by: Actor,
    organization: Organization,
    display_name: str,
    kind: PrincipalKind = PrincipalKind.PERSON,
    email: str = "",
    external_id: str = "",
    user: AbstractBaseUser | None = None,
) -> Principal:
    require(by, Verb.PRINCIPAL_CHANGE, Place(organization.pk))
    row = Principal(
        organization=organization,
        kind=kind,
        display_name=display_name,
        email=email,
        external_id=external_id,
        user_id=user.pk if user is not None else None,
    )
    return _created(row, by)


def update_principal(principal: Principal, *, by: Actor, cut: bool = False, **fields: Any) -> Principal:
    """Fields: display_name, kind, email, external_id, active, user. `cut`: their running answers end too, within a
    second."""
    require(by, Verb.PRINCIPAL_CHANGE, principal)
    allowed = {"display_name", "kind", "email", "external_id", "active", "user"}
    return _updated(principal, by, fields, allowed, cut=cut)


def grant_role(
    *, by: Actor, user: AbstractBaseUser, organization: Organization, role: Role, team: Team | None = None
) -> Membership:
    """Give a login a role, or another one than it has at this place."""
    place = Place(organization.pk, team.pk if team is not None else "")
    require(by, Verb.MEMBERSHIP_CHANGE, place)
    _within(organization, team)
    if not may_grant(by, Grant(role, place.organization_id, place.team_id)):
        raise Forbidden(Verb.MEMBERSHIP_CHANGE)
    with change_set(by):
        membership = Membership.objects.filter(user_id=user.pk, organization=organization, team=team).first()
        if membership is None:
            return _created(Membership(user_id=user.pk, organization=organization, role=role, team=team), by)
        _keep_an_owner(membership, by, becomes=role)
        return _updated(membership, by, {"role": role}, {"role"})


def end_membership(membership: Membership, *, by: Actor) -> None:
    require(by, Verb.MEMBERSHIP_CHANGE, membership)
    with change_set(by) as change:
        _keep_an_owner(membership, by, becomes=None)
        Membership.objects.filter(pk=membership.pk).delete()
        change.say("membership.ended", membership)


def mint_token(
    *,
    by: Actor,
    organization: Organization,
    name: str,
    role: Role = Role.VIEWER,
    team: Team | None = None,
    verbs: Collection[Verb] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiToken, Secret]:
    """A token for programs; the Secret is shown once. Never stronger than whoever mints it."""
    place = Place(organization.pk, team.pk if team is not None else "")
    require(by, Verb.TOKEN_CHANGE, place)
    _within(organization, team)
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "must lie in the future"})
    token, public_id = new_token()
    version, pepper = next(iter(environment().pepper_keyring().items()))
    row = ApiToken(
        organization=organization,
        name=name,
        role=role,
        team=team,
        verbs=sorted(Verb(verb).value for verb in verbs),
        public_id=public_id,
        pepper_version=version,
        digest=digest(pepper, token.reveal()),
        expires_at=expires_at,
    )
    if not may_grant(by, grant_of_token(row)):
        raise Forbidden(Verb.TOKEN_CHANGE)
    return _created(row, by, "api_token.minted"), token


def revoke_token(token: ApiToken, *, by: Actor) -> ApiToken:
    require(by, Verb.TOKEN_CHANGE, token)
    if token.revoked_at is not None:
        return token
    with change_set(by) as change:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at", "updated_at"])
        change.say("api_token.revoked", token)
    return token


def _created(row: Row, by: Actor, action: str = "") -> Row:
    with change_set(by) as change:
        row.full_clean()
        row.save(force_insert=True)
        change.say(action or f"{row.audit_target().kind}.created", row)
    return row


def _updated(row: Row, by: Actor, fields: dict[str, Any], allowed: Collection[str], *, cut: bool = False) -> Row:
    unknown = sorted(set(fields) - set(allowed))
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(allowed))}" for name in unknown})
    with change_set(by) as change:
        for name, value in fields.items():
            setattr(row, name, value)
        row.full_clean()
        columns = row.cut_running() if cut and isinstance(row, Cuttable) else ()
        row.save(update_fields=[*fields, *columns, "updated_at"])
        change.say(f"{row.audit_target().kind}.updated", row)
    return row


def _within(organization: Organization, team: Team | None) -> None:
    if team is not None and team.organization_id != organization.pk:
        raise ValidationError({"team": "must be a team of the organization"})


def _keep_an_owner(membership: Membership, by: Actor, *, becomes: Role | None) -> None:
    """Taking a role away takes the right to give it; the last owner stays one."""
    if not may_grant(by, Grant(Role(membership.role), membership.organization_id, membership.team_id or "")):
        raise Forbidden(Verb.MEMBERSHIP_CHANGE)
    if membership.role != Role.OWNER or becomes == Role.OWNER:
        return
    others = Membership.objects.filter(
        ~Q(pk=membership.pk), organization=membership.organization_id, role=Role.OWNER, user__is_active=True
    )
    if not others.exists():
        raise ValidationError(
            {"role": "the last owner of an organization stays its owner; make somebody else one first"}
        )
