"""Query parameters: what the document describes is what the routes take, and nonsense is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator

from controlplane.keys import actions as keys
from controlplane.tenancy.models import Organization
from tests.controlplane import factories as make
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db

DOCUMENT = SchemaGenerator().get_schema(public=True)
NONSENSE = {
    "boolean": ("yes", "1", "TRUE"),
    "integer": ("many", "1.5", "-1e3", "9" * 30, "٣"),
    "date-time": ("yesterday", "2026-13-01", "99999-01-01T00:00:00Z", "0"),
    "enum": ("weird", "ACTIVE", "active ", "\u2028"),
    "any": ("", "\0", "x" * 5000, "\x7f"),
}


def parameters() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", ()):
            if parameter["in"] == "query":
                yield path, parameter["name"], parameter["schema"]


def asked(api: Api, path: str, organization: Organization, **query: str) -> Any:
    """With whatever else the route demands."""
    operation = DOCUMENT["paths"][path]["get"]
    required = [one["name"] for one in operation.get("parameters", ()) if one.get("required") and one["in"] == "query"]
    given = {"organization_id": organization.pk, "scope_id": organization.pk, "scope_kind": "organization"}
    return api.get(path.removeprefix("/api/v1/"), **{name: given[name] for name in required} | query)


LISTED = sorted(parameters(), key=lambda one: one[:2])


def test_the_document_describes_them():
    enums = {(path, name) for path, name, schema in LISTED if "enum" in schema}
    assert len(LISTED) > 80
    for wanted in (
        ("virtual-keys", "state"), ("budgets", "scope_kind"), ("budgets/coverage", "scope_kind"), ("usage", "outcome"),
        ("usage/totals", "by"), ("usage/totals", "state"), ("alerts", "severity"), ("fleet/pods", "state"),
        ("audit", "actor_kind"), ("memberships", "role"), ("providers", "kind"), ("alert-deliveries", "event"),
    ):  # fmt: skip
        assert (f"/api/v1/{wanted[0]}", wanted[1]) in enums
    assert {name for path, name, _ in LISTED if path == "/api/v1/audit"} >= {"since", "until"}


@pytest.mark.parametrize(("path", "name", "schema"), LISTED, ids=[f"{path}?{name}" for path, name, _ in LISTED])
def test_nonsense_is_refused_and_sense_is_not(
    api: Api, organization: Organization, path: str, name: str, schema: dict[str, Any]
):
    kind = "enum" if "enum" in schema else schema.get("format", schema["type"])
    for nonsense in (*NONSENSE.get(kind, ()), *NONSENSE["any"]):
        answer = asked(api, path, organization, **{name: nonsense})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), (nonsense, answer.content)
        assert answer.json()["detail"].startswith(name)
        if kind == "enum" and nonsense == "weird":
            assert all(word in answer.json()["detail"] for word in schema["enum"])
    sense = {"enum": schema.get("enum", [""])[0], "boolean": "true", "date-time": "2026-11-24T00:00:00Z"}
    if kind in sense and name != "scope_kind":
        answer = asked(api, path, organization, **{name: sense[kind]})
        assert answer.status_code == 200, answer.content
    if kind == "integer":
        assert asked(api, path, organization, **{name: str(schema["minimum"] + 1)}).status_code == 200


def test_a_parameter_is_given_once_and_only_where_there_is_one(api: Api, organization: Organization):
    twice = api.client.get("/api/v1/virtual-keys?state=active&state=revoked", headers=api.headers)
    assert (twice.status_code, "twice" in twice.json()["detail"] or "once" in twice.json()["detail"]) == (400, True)
    team = make.team(organization)
    for answer in (
        api.get(f"teams/{team.pk}", verbose="1"),
        api.client.post(f"/api/v1/teams/{team.pk}?x=1", headers=api.headers),
        api.client.patch(f"/api/v1/teams/{team.pk}?dry_run=true", "{}", "application/json", headers=api.headers),
        api.client.delete(f"/api/v1/budgets/{make.budget(organization).pk}?force=true", headers=api.headers),
    ):
        assert answer.status_code in (400, 405)
    tree = api.get("budgets/tree", organisation_id=organization.pk)
    assert "organization_id" in tree.json()["detail"]
    assert api.get("budgets/tree").status_code == 400


def test_filters_find_what_they_are_asked_for(api: Api, organization: Organization):
    project = make.project(make.team(organization))
    live, gone = make.key(project), make.key(project)
    keys.revoke(gone, by=make.SYSTEM)
    found = {
        state: {row["id"] for row in api.get("virtual-keys", state=state).json()["data"]}
        for state in ("active", "revoked")
    }
    assert found == {"active": {live.pk}, "revoked": {gone.pk}}
    assert api.get("projects", active="false").json()["data"] == []
    assert [row["id"] for row in api.get("projects", active="true").json()["data"]] == [project.pk]


def test_the_audit_is_cut_by_time(api: Api, organization: Organization):
    make.team(organization)
    moment = api.get("audit", action="team.created").json()["data"][0]["at"]
    assert len(api.get("audit", action="team.created", since=moment).json()["data"]) == 1
    assert api.get("audit", action="team.created", until=moment).json()["data"] == []
    assert api.get("audit", since="2100-01-01T00:00:00Z").json()["data"] == []


@pytest.mark.parametrize(
    "cursor", ["x", "cD1ub25zZW5zZQ==", "cD0lMDA=", "bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "cj0xJnA9eA=="]
)
@pytest.mark.parametrize("path", ["teams", "usage", "alerts", "budget-accounts", "audit", "memberships"])
def test_a_cursor_that_is_not_ours_is_no_defect(api: Api, path: str, cursor: str):
    assert api.get(path, cursor=cursor).status_code in (200, 400)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("path", ["usage", "usage/totals", "audit"])
def test_the_ends_of_time_are_no_defect(api: Api, path: str, moment: str):
    for name in ("since", "until"):
        assert api.get(path, **{name: moment}).status_code in (200, 400)
