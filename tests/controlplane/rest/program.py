"""A program that uses the API."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Organization, Role
from tests.controlplane import factories as make


class Api:
    """A program with an API token."""

    def __init__(self, organization: Organization, role: Role = Role.ADMIN, **fields: Any) -> None:
        _, token = tenancy.mint_token(by=make.SYSTEM, organization=organization, name="ci", role=role, **fields)
        self.headers = {"Authorization": f"Bearer {token.reveal().decode()}"}
        self.client = Client()

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(f"/api/v1/{path}", query, headers=self.headers)

    def post(self, path: str, body: Any = None, key: str = "") -> Any:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return self.client.post(
            f"/api/v1/{path}", json.dumps(body or {}), content_type="application/json", headers=headers
        )

    def patch(self, path: str, body: Any) -> Any:
        return self.client.patch(
            f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=self.headers
        )

    def delete(self, path: str) -> Any:
        return self.client.delete(f"/api/v1/{path}", headers=self.headers)
