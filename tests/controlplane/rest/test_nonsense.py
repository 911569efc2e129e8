"""Whatever is sent to whatever the document lists: never a defect, and every refusal is a problem."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from tests.controlplane.console.world import Tenant, pod, tenant
from tests.controlplane.rest.program import Api
from tests.grid import part, thinned

pytestmark = pytest.mark.django_db

DOCUMENT = SchemaGenerator().get_schema(public=True)
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method in ("get", "post", "patch", "delete") and path != "/api/v1/openapi.yaml"
]
VALUES: tuple[Any, ...] = (
    None, True, -1, 2**63, 10**30, 1.5, 1e308, "", "\0", "x" * 5000, [], {}, [None], ["\0"], [1] * 600, {"a": None},
    {"\0": "\0"}, {"a": {"b": []}}, "2026-13-01", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "NaN", "\ud800", "1e999999",
)  # fmt: skip
IDS = ("x", "%00", "%ff", "..%2f", "a" * 600, "é")
BODIES = (
    "",
    "null",
    "[]",
    "0",
    '"x"',
    "{",
    '{"a":',
    "[" * 50_000,
    '{"a": NaN}',
    '{"name": 1' + "0" * 5000 + "}",
    "\ufeff{}",
)


def fields_of(operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return sorted(DOCUMENT["components"]["schemas"].get(name, {}).get("properties", ()))


def is_fine(answer: Any, *about: object) -> None:
    assert answer.status_code < 500, (about, answer.content)
    assert answer.status_code != 429, "the rest would not be tried"
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", about
        assert answer.json()["detail"], about


@pytest.fixture
def made(db: None) -> Tenant:
    pod()
    return tenant()


def filled(path: str, made: Tenant) -> str:
    resource = path.split("/")[3].replace("-", "")
    ids = {label.rpartition(".")[2] + "s": str(row.pk) for label, row in made.rows.items()}
    ids |= {"virtualkeys": made.key.pk, "modelaliases": ids["modelaliass"], "usage": ids["usagerecords"]}
    return path.replace("{revision}", "head").replace("{id}", ids.get(resource, "x")).replace("{pod_id}", "pod_0")


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{method} {path}" for method, path, _ in OPERATIONS]
)
@thinned(4)
def test_nothing_that_is_sent_is_a_defect(made: Tenant, method: str, path: str, operation: dict[str, Any], step: int):
    if path.endswith("/test"):
        pytest.skip("speaks to the provider or the channel")
    api, there, number = Api(made.organization), filled(path, made), OPERATIONS.index((method, path, operation))
    api.client = Client(raise_request_exception=False)

    def send(target: str, body: Any = None, text: str | None = None) -> Any:
        content = text if text is not None else json.dumps(body)
        return api.client.generic(method.upper(), target, content, content_type="application/json", headers=api.headers)

    for wrong in part(IDS, number, step):
        is_fine(send(path.replace("{id}", wrong).replace("{revision}", wrong).replace("{pod_id}", wrong), {}), wrong)
    if method == "get":
        return
    for text in part(BODIES, number, step):
        is_fine(send(there, text=text), text[:20])
    names = fields_of(operation)
    good = {
        "organization_id": made.organization.pk, "team_id": made.team.pk, "project_id": made.project.pk, "name": "n",
        "slug": "s", "display_name": "d", "scope_kind": "project", "scope_id": made.project.pk, "limit_nano": 1,
        "alias": "a", "model": "m", "kind": "webhook", "reason": "r", "extra_nano": 1, "role": "viewer",
        "provider": "openai", "credential": "sk-1234567890", "username": "nobody",
    }  # fmt: skip
    base = {name: value for name, value in good.items() if name in names}
    for field, name in enumerate(names):
        for value in part(VALUES, number + field, step):
            is_fine(send(there, base | {name: value}), name, value)


def test_a_key_of_idempotency_may_be_anything(made: Tenant):
    api = Api(made.organization)
    for key in ("\x7f" * 8, "x" * 256, "é" * 10, " " * 8, "\t" * 9):
        headers = api.headers | {"Idempotency-Key": key}
        answer = Client(raise_request_exception=False).post(
            "/api/v1/teams", "{}", content_type="application/json", headers=headers
        )
        assert answer.status_code in (400, 422)
