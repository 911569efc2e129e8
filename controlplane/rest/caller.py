"""The caller of a route: the actor whom one of the settings' authentication classes found behind the request."""

from __future__ import annotations

from typing import Any, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from controlplane.changes.actor import Actor


class HasActor(BasePermission):
    """Somebody asks. What an actor may do is decided by actions, and by the filter on rows."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, Actor)


def actor_of(request: Request) -> Actor:
    return cast(Actor, request.auth)
