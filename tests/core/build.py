"""Rows for tests: everything has a sensible default, the id says the organization."""

from __future__ import annotations

from typing import Any

from dataplane.core.secret import Secret
from dataplane.core.snapshot import (
    KeySecret,
    KeyState,
    ModelAlias,
    NotUnderstood,
    Organization,
    Principal,
    Project,
    Provider,
    ProviderKind,
    Row,
    Snapshot,
    Unpriced,
    VirtualKey,
)

PUBLIC = "A" * 10


def organization(id: str = "org_1", **fields: Any) -> Organization:
    defaults: dict[str, Any] = {
        "active": True,
        "freshness_bound_ms": 0,
        "cut_on_stale": False,
        "contact": "",
        "price_list_id": "",
        "revision": 1,
    }
    return Organization(id=id, **(defaults | fields))


def project(id: str = "proj_1", **fields: Any) -> Project:
    defaults: dict[str, Any] = {"organization_id": "org_1", "team_id": "team_1", "active": True, "revision": 1}
    return Project(id=id, **(defaults | fields))


def principal(id: str = "prin_1", **fields: Any) -> Principal:
    defaults: dict[str, Any] = {"organization_id": "org_1", "active": True, "revision": 1}
    return Principal(id=id, **(defaults | fields))


def secret(public_id: str = PUBLIC, digest: bytes = b"d" * 32, *, pepper: int = 1, not_after_ms: int = 0) -> KeySecret:
    return KeySecret(public_id, pepper, digest, not_after_ms)


def key(id: str = "vk_1", **fields: Any) -> VirtualKey:
    defaults: dict[str, Any] = {
        "public_id": PUBLIC,
        "state": KeyState.ACTIVE,
        "secrets": (secret(fields.get("public_id", PUBLIC)),),
        "expires_at_ms": 0,
        "organization_id": "org_1",
        "team_id": "team_1",
        "project_id": "proj_1",
        "principal_id": "prin_1",
        "models_allowed": (),
        "providers_allowed": (),
        "tags": (),
        "cut": False,
        "revision": 1,
    }
    return VirtualKey(id=id, **(defaults | fields))


def provider(id: str = "prov_1", **fields: Any) -> Provider:
    defaults: dict[str, Any] = {
        "organization_id": "org_1",
        "name": "anthropic",
        "kind": ProviderKind.ANTHROPIC,
        "base_url": "https://api.anthropic.com",
        "credential": Secret("sk-ant-canary"),
        "enabled": True,
        "priority": 0,
        "models": (),
        "api_version": "",
        "deployments": (),
        "unpriced": Unpriced.REFUSE,
        "private_network": False,
        "price_provider": "",
        "account_headers": (),
        "revision": 1,
    }
    return Provider(id=id, **(defaults | fields))


def alias(id: str = "alias_1", **fields: Any) -> ModelAlias:
    defaults: dict[str, Any] = {
        "organization_id": "org_1",
        "project_id": "",
        "key_id": "",
        "alias": "fast",
        "provider_id": "",
        "model": "claude-haiku-4-5",
        "revision": 1,
    }
    return ModelAlias(id=id, **(defaults | fields))


def not_understood(resource_id: str = "pol_1", **fields: Any) -> NotUnderstood:
    defaults: dict[str, Any] = {
        "id": f"9/{resource_id}",
        "kind": 9,
        "kind_name": "kind 9",
        "organization_id": "org_1",
        "covers": (),
        "everybody": False,
        "problem": "this kind of resource is unknown",
        "revision": 1,
    }
    return NotUnderstood(resource_id=resource_id, **(defaults | fields))


def snapshot(*rows: Row) -> Snapshot:
    """One organization with a project and a principal, and these rows."""
    made = Snapshot.EMPTY.apply(1, [organization(), project(), principal(), *rows])
    assert made.problems() == []
    return made
