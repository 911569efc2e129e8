"""The actor behind a request, and what the actor may do anywhere."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from controlplane.changes.actor import Actor
from controlplane.tenancy.permissions import Grant, Reach, Verb, grants_of

_ACTOR = "_console_actor"
_GRANTS = "_console_grants"


def actor_of(request: HttpRequest) -> Actor:
    """The logged-in person, as the audit names them."""
    actor = getattr(request, _ACTOR, None)
    if actor is None:
        actor = Actor.of_user(cast(AbstractBaseUser, request.user), str(request.META.get("REMOTE_ADDR", "")))
        setattr(request, _ACTOR, actor)
    return cast(Actor, actor)


def grants(request: HttpRequest) -> list[Grant]:
    """The roles of the logged-in person, read once a request: what menus and buttons go by. Actions ask again."""
    roles = getattr(request, _GRANTS, None)
    if roles is None:
        roles = grants_of(actor_of(request)) if request.user.is_authenticated else []
        setattr(request, _GRANTS, roles)
    return cast(list[Grant], roles)


def may_somewhere(request: HttpRequest, verb: Verb) -> bool:
    """Tells whether there is any place at which the person may do this."""
    if actor_of(request).operator:
        return True
    return any(_reaches(grant, verb) for grant in grants(request))


def _reaches(grant: Grant, verb: Verb) -> bool:
    reach = grant.reach(verb)
    if reach is Reach.TEAM:
        return bool(grant.team_id)
    return reach is not None


def may_enter(request: HttpRequest) -> bool:
    """The console is for operators and for everybody with a role; being “staff” in Django's sense is not asked for."""
    user = request.user
    return bool(user.is_authenticated and user.is_active and (actor_of(request).operator or grants(request)))
