"""Reads of the tenancy tree, and the filter that every read of tenants' rows goes through."""

from __future__ import annotations

from typing import TypeVar

from django.contrib.auth.models import User
from django.db.models import Model, Q, QuerySet

from controlplane.changes.actor import Actor
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Reach, Verb, grants_of, organizations_of
from controlplane.tenancy.scope import Scope

Row = TypeVar("Row", bound=Model)


def for_actor(actor: Actor, rows: QuerySet[Row], verb: Verb) -> QuerySet[Row]:
    """Returns those of the rows to which the actor may do `verb`. The model declares its `scope`.

    An organization exists for everybody who has a role in it, whichever verbs their token is narrowed to.
    """
    if rows.model is Organization and verb == Verb.ORGANIZATION_VIEW:
        return rows.filter(pk__in=organizations_of(actor).order_by())
    scope: Scope = rows.model.scope  # type: ignore[attr-defined]
    return within(actor, rows, verb, scope)


def within(actor: Actor, rows: QuerySet[Row], verb: Verb, scope: Scope) -> QuerySet[Row]:
    """The same for rows whose paths are given, such as rows that only hold ids."""
    if actor.operator:
        return rows
    seen = Q(pk__in=[])
    for grant in grants_of(actor):
        reach, here = grant.reach(verb), Q(**{scope.organization: grant.organization_id})
        if reach is Reach.ORGANIZATION:
            seen |= here
        elif reach is Reach.TEAM and grant.team_id and scope.team:
            seen |= here & Q(**{scope.team: grant.team_id})
        elif reach is Reach.OWN and grant.user_id and scope.user:
            own = here & Q(**{scope.user: grant.user_id})
            seen |= own & Q(**{scope.team: grant.team_id}) if grant.team_id and scope.team else own
    return rows.filter(seen)


def logins_for(actor: Actor) -> QuerySet[User]:
    """Returns the logins that the actor may name: an operator everybody's, others those of their own organizations."""
    people: QuerySet[User] = User.objects.filter(is_active=True).order_by("username")
    if actor.operator:
        return people
    theirs = organizations_of(actor).order_by()
    return people.filter(Q(memberships__organization__in=theirs) | Q(principals__organization__in=theirs)).distinct()
