"""The rights of actors: a table of roles and verbs, asked about an object.

Default deny. A role reaches the whole organization, its team, or what belongs to the person itself; an operator
(superuser, or the system) reaches everything. Without any right to see an object the answer is `NoSuchObject`: it does
not exist for the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import ClassVar, Protocol, cast

from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404
from django.utils import timezone

from controlplane.changes.actor import Actor, ActorKind
from controlplane.tenancy.models import ApiToken, Membership, Organization, Role
from controlplane.tenancy.scope import Place, Scope


class Verb(StrEnum):
    """A deed that can be allowed; `<object>.view` is what makes an object exist for a caller."""

    ORGANIZATION_CREATE = "organization.create"  # operators only
    ORGANIZATION_VIEW = "organization.view"
    ORGANIZATION_CHANGE = "organization.change"
    TEAM_VIEW = "team.view"
    TEAM_CREATE = "team.create"
    TEAM_CHANGE = "team.change"
    PROJECT_VIEW = "project.view"
    PROJECT_CHANGE = "project.change"
    PRINCIPAL_VIEW = "principal.view"
    PRINCIPAL_CHANGE = "principal.change"
    GROUP_VIEW = "group.view"
    GROUP_CHANGE = "group.change"  # members too
    LOGIN_VIEW = "login.view"  # operators only
    LOGIN_CHANGE = "login.change"  # operators only
    MEMBERSHIP_VIEW = "membership.view"
    MEMBERSHIP_CHANGE = "membership.change"
    TOKEN_VIEW = "token.view"  # noqa: S105 - a word, not a credential
    TOKEN_CHANGE = "token.change"  # noqa: S105
    KEY_VIEW = "key.view"
    KEY_MINT = "key.mint"
    KEY_CHANGE = "key.change"  # update, extend
    KEY_ROTATE = "key.rotate"
    KEY_DISABLE = "key.disable"  # and enable
    KEY_REVOKE = "key.revoke"
    PROVIDER_VIEW = "provider.view"
    PROVIDER_CHANGE = "provider.change"
    PROVIDER_TEST = "provider.test"
    ALIAS_VIEW = "alias.view"
    ALIAS_CHANGE = "alias.change"
    PRICE_VIEW = "price.view"
    PRICE_CHANGE = "price.change"
    BUDGET_VIEW = "budget.view"
    BUDGET_CHANGE = "budget.change"  # create, change, enable, disable, delete, reset
    BUDGET_OVERRIDE = "budget.override"  # more money for a while
    ALERT_VIEW = "alert.view"  # rules, channels, alerts and their deliveries
    ALERT_CHANGE = "alert.change"
    ALERT_TEST = "alert.test"  # send something: a test event, a delivery once more
    USAGE_VIEW = "usage.view"
    AUDIT_VIEW = "audit.view"
    FLEET_VIEW = "fleet.view"
    FLEET_CHANGE = "fleet.change"  # operators only: a pod serves every organization


class Reach(IntEnum):
    """The distance that a verb carries. Wider is greater."""

    OWN = 1  # what belongs to the caller's own principal
    TEAM = 2  # what belongs to the membership's team
    ORGANIZATION = 3


_VIEWS = {
    Verb.ORGANIZATION_VIEW,
    Verb.TEAM_VIEW,
    Verb.PROJECT_VIEW,
    Verb.PRINCIPAL_VIEW,
    Verb.GROUP_VIEW,
    Verb.MEMBERSHIP_VIEW,
    Verb.KEY_VIEW,
    Verb.PROVIDER_VIEW,
    Verb.ALIAS_VIEW,
    Verb.PRICE_VIEW,
    Verb.BUDGET_VIEW,
    Verb.ALERT_VIEW,
    Verb.USAGE_VIEW,
    Verb.FLEET_VIEW,
}
_KEYS = {Verb.KEY_VIEW, Verb.KEY_MINT, Verb.KEY_CHANGE, Verb.KEY_ROTATE, Verb.KEY_DISABLE, Verb.KEY_REVOKE}
_BUDGETS = {Verb.BUDGET_VIEW, Verb.BUDGET_CHANGE, Verb.BUDGET_OVERRIDE}  # never those of the team itself
OPERATORS_ONLY = frozenset({Verb.ORGANIZATION_CREATE, Verb.LOGIN_VIEW, Verb.LOGIN_CHANGE, Verb.FLEET_CHANGE})
_EVERYTHING = set(Verb) - OPERATORS_ONLY


def _at(reach: Reach, *verbs: Verb) -> dict[Verb, Reach]:
    return dict.fromkeys(verbs, reach)


TABLE: Mapping[Role, Mapping[Verb, Reach]] = MappingProxyType(
    {
        Role.OWNER: _at(Reach.ORGANIZATION, *_EVERYTHING),
        # Who may touch memberships of owners is decided in `may_grant`.
        Role.ADMIN: _at(Reach.ORGANIZATION, *_EVERYTHING),
        Role.TEAM_ADMIN: _at(
            Reach.ORGANIZATION, Verb.ORGANIZATION_VIEW, Verb.PRINCIPAL_VIEW, Verb.GROUP_VIEW, Verb.PROVIDER_VIEW
        )
        | _at(
            Reach.TEAM,
            Verb.TEAM_VIEW,
            Verb.TEAM_CHANGE,
            Verb.PROJECT_VIEW,
            Verb.PROJECT_CHANGE,
            Verb.MEMBERSHIP_VIEW,
            Verb.MEMBERSHIP_CHANGE,
            Verb.USAGE_VIEW,
            *_KEYS,
            *_BUDGETS,
        ),
        Role.MEMBER: _at(Reach.ORGANIZATION, Verb.ORGANIZATION_VIEW)
        | _at(Reach.TEAM, Verb.TEAM_VIEW, Verb.PROJECT_VIEW)
        | _at(
            Reach.OWN,
            Verb.PRINCIPAL_VIEW,
            Verb.KEY_VIEW,
            Verb.KEY_MINT,
            Verb.KEY_ROTATE,
            Verb.KEY_DISABLE,
            Verb.KEY_REVOKE,
            Verb.USAGE_VIEW,
        ),
        Role.VIEWER: _at(Reach.ORGANIZATION, *_VIEWS),
        Role.AUDITOR: _at(Reach.ORGANIZATION, *_VIEWS, Verb.AUDIT_VIEW, Verb.TOKEN_VIEW),
    }
)


class Forbidden(PermissionDenied):
    """The caller sees the object but may not do this to it. The message says who may."""

    def __init__(self, verb: Verb) -> None:
        roles = " or ".join(role.label.lower() for role in Role if verb in TABLE[role]) or "the operator"
        super().__init__(f"{verb.value} is not yours to do here; it takes: {roles}")
        self.verb = verb


class NoSuchObject(Http404):
    """There is no such object for this caller, whether it exists or not."""


class Placed(Protocol):
    """A row that declares where it sits in the tenancy tree."""

    scope: ClassVar[Scope]


@dataclass(frozen=True, slots=True)
class Grant:
    """One role that a caller holds. `verbs`: only these of the role's; None: all. `user_id`: who is meant by own."""

    role: Role
    organization_id: str
    team_id: str = ""
    user_id: str = ""
    verbs: frozenset[Verb] | None = None

    def reach(self, verb: Verb) -> Reach | None:
        if self.verbs is not None and verb not in self.verbs:
            return None
        return TABLE[self.role].get(verb)

    def covers(self, verb: Verb, place: Place) -> bool:
        reach = self.reach(verb)
        if reach is None or not place.organization_id or place.organization_id != self.organization_id:
            return False
        if reach is Reach.ORGANIZATION:
            return True
        if reach is Reach.TEAM:
            return bool(self.team_id) and self.team_id == place.team_id
        if self.team_id and place.team_id and self.team_id != place.team_id:
            return False
        return bool(self.user_id) and self.user_id == place.user_id


def grants_of(actor: Actor) -> list[Grant]:
    """Every role that the actor holds now. An operator needs none."""
    if actor.kind is ActorKind.USER:
        rows = Membership.objects.filter(user_id=actor.id, user__is_active=True)
        return [Grant(Role(row.role), row.organization_id, row.team_id or "", actor.id) for row in rows]
    if actor.kind is ActorKind.API_TOKEN:
        now = timezone.now()
        tokens = ApiToken.objects.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=now), pk=actor.id, revoked_at=None
        )
        return [grant_of_token(token) for token in tokens]
    return []


def grant_of_token(token: ApiToken) -> Grant:
    verbs = frozenset(Verb(verb) for verb in token.verbs) if token.verbs else None
    return Grant(Role(token.role), token.organization_id, token.team_id or "", "", verbs)


def place_of(row: models.Model) -> Place:
    return cast(Placed, row).scope.place(row)


def may(actor: Actor, verb: Verb, row: models.Model | Place) -> bool:
    """Tells whether the actor may do `verb` to the row, or to something that sits at the place."""
    if actor.operator:
        return True
    place = row if isinstance(row, Place) else place_of(row)
    return any(grant.covers(verb, place) for grant in grants_of(actor))


def require(actor: Actor, verb: Verb, row: models.Model | Place) -> None:
    """Raise Forbidden, or NoSuchObject when the actor may not even know of the row."""
    if actor.operator:
        return
    place = row if isinstance(row, Place) else place_of(row)
    grants = grants_of(actor)
    if any(grant.covers(verb, place) for grant in grants):
        return
    view = Verb(f"{verb.value.partition('.')[0]}.view")
    if any(grant.covers(view, place) for grant in grants):
        raise Forbidden(verb)
    # Something new is asked for at a node: whether the node may be known decides.
    if isinstance(row, Place) and any(grant.organization_id == place.organization_id for grant in grants):
        raise Forbidden(verb)
    raise NoSuchObject("no such object")


def require_operator(actor: Actor, verb: Verb) -> None:
    """Raise Forbidden unless the actor runs the installation."""
    if not actor.operator:
        raise Forbidden(verb)


# Giving a role away takes a role that is at least as strong.
_MAY_GRANT: Mapping[Role, frozenset[Role]] = MappingProxyType(
    {
        Role.OWNER: frozenset(Role),
        Role.ADMIN: frozenset(Role) - {Role.OWNER},
        Role.TEAM_ADMIN: frozenset({Role.TEAM_ADMIN, Role.MEMBER}),
        Role.MEMBER: frozenset(),
        Role.VIEWER: frozenset(),
        Role.AUDITOR: frozenset(),
    }
)


def may_grant(actor: Actor, wanted: Grant) -> bool:
    """Tells whether the actor may hand out (or take away) such a grant: never more than it has itself."""
    if actor.operator:
        return True
    place = Place(wanted.organization_id, wanted.team_id)
    for own in grants_of(actor):
        if not own.covers(Verb.MEMBERSHIP_CHANGE, place) or wanted.role not in _MAY_GRANT[own.role]:
            continue
        if own.verbs is None or (wanted.verbs is not None and wanted.verbs <= own.verbs):
            return True
    return False


def organizations_of(actor: Actor) -> models.QuerySet[Organization]:
    """The organizations that exist for the actor."""
    everything: models.QuerySet[Organization] = Organization.objects.order_by("name", "pk")
    if actor.operator:
        return everything
    return everything.filter(pk__in={grant.organization_id for grant in grants_of(actor)})
