"""Every route of the URL configuration × every role × own and foreign objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from controlplane.api_urls import ROUTES, router
from controlplane.budgets.queries import accounts_for, crossings_for
from controlplane.changes.actor import Actor
from controlplane.rest.resources import Resource
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Verb, may
from controlplane.usage.queries import visible_to
from tests.controlplane import factories as make
from tests.controlplane.console.world import Tenant, tenant

pytestmark = pytest.mark.django_db

BY_PREFIX: dict[str, type[Resource]] = dict(ROUTES)
WITHOUT_ORGANIZATION = {"fleet/pods", "audit"}
# Rows that hold their owners' ids and no more.
ONLY_IDS = {"usage": visible_to, "budget-accounts": accounts_for, "budget-crossings": crossings_for}


def object_routes() -> Iterator[tuple[str, str, dict[str, str]]]:
    """(prefix, suffix, method → action) of every route that names an object of a tenant."""
    for url in router.urls:
        actions = getattr(url.callback, "actions", {})
        route = str(url.pattern)
        for prefix in BY_PREFIX:
            if route.startswith(f"^{prefix}/(?P<pk>") and prefix not in WITHOUT_ORGANIZATION:
                methods = {method: action for method, action in actions.items() if method != "head"}
                yield prefix, route.partition(")")[2].rstrip("$\\Z").strip("/"), methods


def call(headers: dict[str, str], method: str, path: str) -> Any:
    return Client().generic(method.upper(), f"/api/v1/{path}", "{}", "application/json", headers=headers)


def headers_of(of: Tenant, role: Role) -> tuple[Actor, dict[str, str]]:
    team = of.team if role is Role.TEAM_ADMIN else None
    row, token = tenancy.mint_token(by=make.SYSTEM, organization=of.organization, name="t", role=role, team=team)
    return Actor.of_token(row.pk, "t"), {"Authorization": f"Bearer {token.reveal().decode()}"}


def row_of(of: Tenant, prefix: str) -> Any:
    return of.rows[BY_PREFIX[prefix].queryset.model._meta.label_lower]  # type: ignore[union-attr]


def test_the_url_configuration_holds_the_routes_that_this_test_is_about():
    found = {(prefix, suffix) for prefix, suffix, _ in object_routes()}
    assert {("virtual-keys", "revoke"), ("virtual-keys", "rotate"), ("providers", "test"), ("usage", "")} <= found
    assert len(found) >= 14


@pytest.mark.parametrize("role", list(Role))
def test_a_foreign_object_is_404_on_every_route_for_every_role(role: Role):
    own, foreign = tenant(), tenant()
    _, headers = headers_of(own, role)
    for prefix, suffix, actions in object_routes():
        path = f"{prefix}/{row_of(foreign, prefix).pk}" + (f"/{suffix}" if suffix else "")
        for method in actions:
            answer = call(headers, method, path)
            assert answer.status_code == 404, (role, method, path, answer.content)


@pytest.mark.parametrize("role", list(Role))
def test_an_own_object_shows_exactly_when_the_role_reaches_it(role: Role):
    own = tenant()
    actor, headers = headers_of(own, role)
    for prefix, suffix, actions in object_routes():
        if suffix or "get" not in actions:
            continue
        row = row_of(own, prefix)
        if prefix in ONLY_IDS:
            expected = ONLY_IDS[prefix](actor).filter(pk=row.pk).exists()
        else:
            expected = may(actor, Verb(BY_PREFIX[prefix].view_verb), row)
        answer = call(headers, "get", f"{prefix}/{row.pk}")
        assert answer.status_code == (200 if expected else 404), (role, prefix, answer.content)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER, Role.AUDITOR])
def test_roles_that_only_look_write_nowhere(role: Role):
    own = tenant()
    _, headers = headers_of(own, role)
    for prefix, suffix, actions in object_routes():
        path = f"{prefix}/{row_of(own, prefix).pk}" + (f"/{suffix}" if suffix else "")
        for method in actions:
            if method != "get":
                empty = (422,) if method == "patch" else ()
                assert call(headers, method, path).status_code in (403, 404, *empty), (role, method, path)


def test_nothing_answers_without_a_token():
    for prefix in BY_PREFIX:
        assert call({}, "get", prefix).status_code == 401
        assert call({}, "get", f"{prefix}/x").status_code == 401
