"""Rows for tests, made by the product's own actions. Every name is unique unless given."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone

from controlplane.budgets import actions as budgets
from controlplane.budgets.models import Budget
from controlplane.budgets.validation import SCOPES
from controlplane.changes.actor import Actor
from controlplane.keys import actions as keys
from controlplane.keys.models import KeySecret, VirtualKey
from controlplane.providers import actions as providers
from controlplane.providers.models import Provider
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy import group_actions as groups
from controlplane.tenancy.models import Group, Membership, Organization, Principal, Project, Role, Team
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind

SYSTEM = Actor.system("tests")
_numbers = count(1)


def user(**fields: Any) -> User:
    number = next(_numbers)
    made: User = get_user_model().objects.create(**{"username": f"user{number}", "is_staff": True} | fields)
    return made


def organization(**fields: Any) -> Organization:
    number = next(_numbers)
    return tenancy.create_organization(
        by=SYSTEM, **{"name": f"Organization {number}", "slug": f"org-{number}"} | fields
    )


def team(of: Organization | None = None, **fields: Any) -> Team:
    number = next(_numbers)
    return tenancy.create_team(
        by=SYSTEM, organization=of or organization(), **{"name": f"Team {number}", "slug": f"team-{number}"} | fields
    )


def project(of: Team | None = None, **fields: Any) -> Project:
    number = next(_numbers)
    return tenancy.create_project(
        by=SYSTEM, team=of or team(), **{"name": f"Project {number}", "slug": f"project-{number}"} | fields
    )


def principal(of: Organization | None = None, **fields: Any) -> Principal:
    number = next(_numbers)
    return tenancy.create_principal(
        by=SYSTEM,
        organization=of or organization(),
        **{"display_name": f"Person {number}", "email": f"person{number}@example.com"} | fields,
    )


def provider(of: Organization | None = None, **fields: Any) -> Provider:
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "name": f"provider-{number}",
        "kind": ProviderKind.ANTHROPIC,
        "credential": Secret(f"sk-ant-api03-tests-{number}-abcdefgh"),
    }
    return providers.create_provider(by=SYSTEM, organization=of or organization(), **defaults | fields)


def key(of: Project | None = None, **fields: Any) -> VirtualKey:
    return key_and_token(of, **fields)[0]


def key_and_token(of: Project | None = None, **fields: Any) -> tuple[VirtualKey, Secret]:
    number = next(_numbers)
    return keys.mint(by=SYSTEM, project=of or project(), **{"name": f"Key {number}"} | fields)


def working_secrets(of: VirtualKey) -> QuerySet[KeySecret]:
    """The secrets that a pod would accept now if the key itself is active, newest first."""
    return of.secrets.filter(Q(not_after=None) | Q(not_after__gt=timezone.now())).order_by("-created_at")


def member(of: Organization, role: Role, team: Team | None = None, **fields: Any) -> tuple[Actor, Membership]:
    """A login with a role, as an actor."""
    login = user(**fields)
    membership = tenancy.grant_role(by=SYSTEM, user=login, organization=of, role=role, team=team)
    return Actor.of_user(login, "192.0.2.1"), membership


def group(of: Organization | None = None, *members: Principal, **fields: Any) -> Group:
    number = next(_numbers)
    made = groups.create_group(by=SYSTEM, organization=of or organization(), **{"name": f"Group {number}"} | fields)
    groups.add_members(made, members, by=SYSTEM)
    return made


def budget(of: Any = None, **fields: Any) -> Budget:
    """On an organization, team, project, principal, key or group; $10 a month unless said otherwise."""
    number = next(_numbers)
    scope = of or organization()
    kind = next(kind for kind, model in SCOPES.items() if isinstance(scope, model))
    owner = scope if isinstance(scope, Organization) else scope.organization
    defaults: dict[str, Any] = {"name": f"Budget {number}", "limit_nano": 10 * 10**9}
    return budgets.create_budget(by=SYSTEM, organization=owner, scope_kind=kind, scope_id=scope.pk, **defaults | fields)
