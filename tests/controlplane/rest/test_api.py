"""The REST API: what a program can rely on."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from controlplane.changes.models import AuditEvent
from controlplane.keys.models import KeyState, VirtualKey
from controlplane.providers.models import Provider
from controlplane.rest.models import IdempotentAnswer
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Organization, Role
from tests.controlplane import factories as make
from tests.controlplane.console.world import pod, record, tenant
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db
TOKEN = re.compile(r"lw_vk_live_[0-9A-Z]{42}")


# ---- from nothing to a key ----


def test_a_program_sets_up_everything_from_team_to_key(api: Api, organization: Organization):
    team = api.post("teams", {"organization_id": organization.pk, "name": "Core", "slug": "core"})
    assert team.status_code == 201, team.json()
    project = api.post("projects", {"team_id": team.json()["id"], "name": "Tools", "slug": "tools"}).json()
    person = api.post("principals", {"organization_id": organization.pk, "display_name": "Grace"}).json()
    provider = api.post(
        "providers",
        {"organization_id": organization.pk, "kind": "anthropic", "name": "claude", "credential": "sk-ant-secret-1234"},
    ).json()
    assert provider["credential_last4"] == "1234"
    assert "credential" not in provider
    minted = api.post(
        "virtual-keys",
        {
            "name": "laptop",
            "project_id": project["id"],
            "principal_id": person["id"],
            "models_allowed": ["claude-*"],
            "providers_allowed": [provider["id"]],
        },
    )
    assert minted.status_code == 201
    assert TOKEN.fullmatch(minted.json()["token"])
    assert "no-store" in minted.headers["Cache-Control"]
    key = api.get(f"virtual-keys/{minted.json()['id']}").json()
    assert "token" not in key
    assert key["prefix"] in minted.json()["token"]
    assert (key["state"], key["principal_id"], key["models_allowed"]) == ("active", person["id"], ["claude-*"])


def test_running_answers_are_cut_by_the_request_that_switches_off(api: Api, organization: Organization):
    project = make.project(make.team(organization))
    key, principal, provider = make.key(project), make.principal(organization), make.provider(organization)
    rows: dict[str, Any] = {"projects": project, "principals": principal, "organizations": organization}
    for route, row in rows.items():
        answer = api.patch(f"{route}/{row.pk}", {"active": False, "cut": True})
        assert answer.status_code == 200, answer.json()
        assert answer.json()["active"] is False
    assert api.patch(f"providers/{provider.pk}", {"enabled": False, "cut": True}).json()["enabled"] is False
    assert api.post(f"virtual-keys/{key.pk}/rotate", {"grace_s": 0, "cut": True}).status_code == 200
    refused = api.post(f"virtual-keys/{key.pk}/rotate", {"cut": True})
    assert refused.status_code == 422
    assert "choose no grace" in str(refused.json())
    for row in (project, principal, organization, provider, key):
        row.refresh_from_db()
        assert row.cuts == 1
    assert api.patch(f"organizations/{organization.pk}", {"cut_on_expiry": True}).json()["cut_on_expiry"] is True


def test_the_life_of_a_key(api: Api, organization: Organization):
    key = make.key(make.project(make.team(organization)))
    rotated = api.post(f"virtual-keys/{key.pk}/rotate", {"grace_s": 60}).json()
    assert TOKEN.fullmatch(rotated["token"])
    assert api.post(f"virtual-keys/{key.pk}/disable", {"reason": "lost"}).json()["state"] == "disabled"
    assert api.post(f"virtual-keys/{key.pk}/enable").json()["state"] == "active"
    assert api.patch(f"virtual-keys/{key.pk}", {"name": "desk"}).json()["name"] == "desk"
    assert api.post(f"virtual-keys/{key.pk}/revoke").json()["state"] == "revoked"
    refused = api.post(f"virtual-keys/{key.pk}/rotate")
    assert refused.status_code == 409
    assert "mint a new one" in refused.json()["detail"]
    actions = AuditEvent.objects.filter(target_id=key.pk).order_by("seq").values_list("action", "actor_label")
    assert [action for action, _ in actions][1:] == [
        "virtual_key.rotated", "virtual_key.disabled", "virtual_key.enabled", "virtual_key.updated",
        "virtual_key.revoked",
    ]  # fmt: skip
    assert {label for _, label in actions[1:]} == {"ci"}


def test_aliases_and_prices_can_be_taken_back(api: Api, organization: Organization):
    alias = api.post("model-aliases", {"organization_id": organization.pk, "alias": "fast", "model": "gpt-5.5"}).json()
    assert api.patch(f"model-aliases/{alias['id']}", {"model": "gpt-6"}).json()["model"] == "gpt-6"
    assert api.delete(f"model-aliases/{alias['id']}").status_code == 204
    price = api.post(
        "price-overrides",
        {
            "organization_id": organization.pk,
            "provider": "openai",
            "model": "m",
            "rates": {"input": "1", "output": "2"},
        },
    ).json()
    changed = api.patch(f"price-overrides/{price['id']}", {"rates": {"input": "3", "output": "4"}}).json()
    assert changed["rates"] == {"input": "3", "output": "4"}
    assert api.delete(f"price-overrides/{price['id']}").status_code == 204


# ---- problems ----


def test_without_a_token_the_answer_says_how_to_send_one():
    answer = Client().get("/api/v1/virtual-keys")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "lw_at_" in answer.json()["detail"]


@pytest.mark.parametrize("token", ["lw_at_nonsense", "lw_at_" + "0" * 42, "x" * 5000])
def test_a_wrong_token_is_refused(token: str, db: None):
    answer = Client().get("/api/v1/virtual-keys", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert token not in answer.content.decode()


def test_a_revoked_token_is_refused_at_once(organization: Organization):
    row, token = tenancy.mint_token(by=make.SYSTEM, organization=organization, name="ci")
    headers = {"Authorization": f"Bearer {token.reveal().decode()}"}
    assert Client().get("/api/v1/teams", headers=headers).status_code == 200
    tenancy.revoke_token(row, by=make.SYSTEM)
    assert Client().get("/api/v1/teams", headers=headers).status_code == 401


def test_a_body_that_is_not_right_is_explained_field_by_field(api: Api, organization: Organization):
    answer = api.post("teams", {"organization_id": organization.pk, "slug": "not a slug", "nmae": "Core"})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "validation_error"
    assert {error["field"] for error in problem["errors"]} == {"nmae"}
    assert "fields are" in problem["errors"][0]["message"]
    again = api.post("teams", {"organization_id": organization.pk, "slug": "not a slug"}).json()
    assert {error["field"] for error in again["errors"]} == {"name", "slug"}


def test_what_an_action_refuses_is_a_problem_too(api: Api, organization: Organization):
    project = make.project(make.team(organization))
    answer = api.post("virtual-keys", {"name": "k", "project_id": project.pk, "expires_at": "2020-01-01T00:00:00Z"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "expires_at"


@pytest.mark.parametrize("field", ["id", "state", "public_id", "organization_id", "revoked_at", "token"])
def test_fields_that_are_not_offered_cannot_be_set(api: Api, organization: Organization, field: str):
    project = make.project(make.team(organization))
    answer = api.post("virtual-keys", {"name": "k", "project_id": project.pk, field: "x"})
    assert answer.status_code == 422
    assert not VirtualKey.objects.exists()


def test_broken_json_another_media_type_and_an_unknown_route_are_problems(api: Api):
    broken = api.client.post("/api/v1/teams", "{", content_type="application/json", headers=api.headers)
    assert (broken.status_code, broken.json()["code"]) == (400, "bad_request")
    form = api.client.post("/api/v1/teams", {"name": "x"}, headers=api.headers)
    assert form.status_code == 415
    nowhere = api.get("horoscopes")
    assert (nowhere.status_code, nowhere.headers["Content-Type"]) == (404, "application/problem+json")


def test_a_role_that_only_looks_is_told_who_may(organization: Organization):
    viewer = Api(organization, Role.VIEWER)
    key = make.key(make.project(make.team(organization)))
    assert viewer.get(f"virtual-keys/{key.pk}").status_code == 200
    answer = viewer.post(f"virtual-keys/{key.pk}/revoke")
    assert answer.status_code == 403
    assert "owner" in answer.json()["detail"]
    key.refresh_from_db()
    assert key.state == KeyState.ACTIVE


# ---- tenants ----

ONE = "virtual-keys/{key}", "providers/{provider}", "teams/{team}", "projects/{project}", "principals/{principal}"


def test_a_foreign_object_does_not_exist(api: Api, organization: Organization):
    other = tenant()
    ids = {
        "key": other.key.pk, "provider": other.provider.pk, "team": other.team.pk, "project": other.project.pk,
        "principal": other.principal.pk,
    }  # fmt: skip
    paths = [path.format(**ids) for path in ONE] + [f"organizations/{other.organization.pk}"]
    for path in paths:
        for answer in (api.get(path), api.patch(path, {"name": "mine"})):
            assert answer.status_code == 404, path
            nothing = api.get(path.rpartition("/")[0] + "/nothing_at_all")
            assert answer.json() | {"request_id": ""} == nothing.json() | {"request_id": ""}
    for step in ("rotate", "disable", "enable", "revoke"):
        assert api.post(f"virtual-keys/{other.key.pk}/{step}").status_code == 404
    assert api.post(f"providers/{other.provider.pk}/test").status_code == 404
    other.key.refresh_from_db()
    assert other.key.state == KeyState.ACTIVE


def test_a_foreign_id_in_a_body_does_not_exist_either(api: Api, organization: Organization):
    other, project = tenant(), make.project(make.team(organization))
    for body in (
        {"name": "k", "project_id": other.project.pk},
        {"name": "k", "project_id": project.pk, "principal_id": other.principal.pk},
        {"name": "k", "project_id": project.pk, "providers_allowed": [other.provider.pk]},
    ):
        answer = api.post("virtual-keys", body)
        assert answer.status_code == 422, body
        assert "no such" in answer.json()["errors"][0]["message"].lower()
    assert api.post("teams", {"organization_id": other.organization.pk, "name": "x", "slug": "x"}).status_code == 422


def test_lists_hold_the_own_organization_only(api: Api, organization: Organization):
    tenant()
    make.key(make.project(make.team(organization)))
    make.member(organization, Role.VIEWER)
    routes = ("organizations", "teams", "projects", "principals", "memberships", "api-tokens", "virtual-keys",
              "providers", "model-aliases", "price-overrides", "usage", "audit")  # fmt: skip
    for route in routes:
        rows = api.get(route).json()["data"]
        assert {row.get("organization_id", row["id"]) for row in rows} <= {organization.pk}, route
        assert rows or route in (
            "principals",
            "memberships",
            "providers",
            "model-aliases",
            "price-overrides",
            "usage",
        ), route


def test_a_token_of_some_verbs_does_only_these(organization: Organization):
    from controlplane.tenancy.permissions import Verb

    narrow = Api(organization, Role.ADMIN, verbs=[Verb.KEY_VIEW, Verb.PROJECT_VIEW])
    key = make.key(make.project(make.team(organization)))
    assert narrow.get(f"virtual-keys/{key.pk}").status_code == 200
    assert narrow.post(f"virtual-keys/{key.pk}/revoke").status_code == 403
    assert narrow.get("audit").json()["data"] == []


def test_a_person_with_a_session_needs_the_csrf_token_to_write(organization: Organization):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make.user(is_superuser=True))
    assert client.get("/api/v1/organizations").status_code == 200
    answer = client.post("/api/v1/organizations", "{}", content_type="application/json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


# ---- pages ----


def test_pages_are_walked_by_cursor(api: Api, organization: Organization):
    team = make.team(organization)
    made = {make.project(team).pk for _ in range(5)}
    seen: list[str] = []
    cursor = None
    while True:
        page = api.get("projects", limit="2", **({"cursor": cursor} if cursor else {})).json()
        assert len(page["data"]) <= 2
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 5
    assert set(seen) == made


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"cursor": "nonsense"}, {"stat": "active"}]
)
def test_a_parameter_that_makes_no_sense_is_an_error(api: Api, query: dict[str, str]):
    answer = api.get("virtual-keys", **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


# ---- once ----


def test_a_post_that_is_sent_twice_does_its_work_once(api: Api, organization: Organization):
    body = {"organization_id": organization.pk, "name": "Core", "slug": "core"}
    first, second = api.post("teams", body, key="a-key-0001"), api.post("teams", body, key="a-key-0001")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "Idempotent-Replay" not in first.headers
    assert second.headers["Idempotent-Replay"] == "true"
    assert organization.teams.count() == 1


def test_a_replayed_mint_returns_the_key_without_its_text_and_says_so(api: Api, organization: Organization):
    body = {"name": "k", "project_id": make.project(make.team(organization)).pk}
    first, second = (
        api.post("virtual-keys", body, key="mint-0001").json(),
        api.post("virtual-keys", body, key="mint-0001").json(),
    )
    assert second["id"] == first["id"]
    assert second["token"] is None
    assert "not kept" in second["notice"]
    stored = json.dumps(list(IdempotentAnswer.objects.values("body", "fingerprint", "key")))
    assert first["token"].removeprefix("lw_vk_live_")[10:] not in stored


def test_the_same_key_for_something_else_is_refused(api: Api, organization: Organization):
    body = {"organization_id": organization.pk, "name": "Core", "slug": "core"}
    api.post("teams", body, key="a-key-0001")
    answer = api.post("teams", body | {"slug": "other"}, key="a-key-0001")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert organization.teams.count() == 1


def test_a_failed_post_leaves_its_key_free(api: Api, organization: Organization):
    body = {"organization_id": organization.pk, "name": "Core", "slug": "core"}
    assert api.post("teams", body | {"slug": "!"}, key="a-key-0001").status_code == 422
    assert api.post("teams", body, key="a-key-0001").status_code == 201


def test_keys_of_two_callers_do_not_meet(organization: Organization):
    body = {"organization_id": organization.pk, "name": "Core"}
    one, two = Api(organization), Api(organization)
    assert one.post("teams", body | {"slug": "one"}, key="a-key-0001").status_code == 201
    assert two.post("teams", body | {"slug": "two"}, key="a-key-0001").status_code == 201


def test_a_key_of_the_wrong_shape_is_an_error(api: Api):
    assert api.post("teams", {}, key="short").status_code == 400


# ---- usage, fleet, audit ----


def test_usage_is_filtered_and_summed(organization: Organization, api: Api):
    made = tenant()
    api = Api(made.organization)
    record(made, model="gpt-5.5", cost_nano=10**9)
    assert len(api.get("usage").json()["data"]) == 2
    assert len(api.get("usage", model="gpt-5.5").json()["data"]) == 1
    assert api.get("usage", since="2100-01-01T00:00:00Z").json()["data"] == []
    assert api.get("usage", since="yesterday").status_code == 400
    sums = api.get("usage/totals", by="model").json()
    assert sums["total"]["attempts"] == 2
    assert [group["of"] for group in sums["groups"]] == ["gpt-5.5", "claude-sonnet-5-5"]
    assert api.get("usage/totals", by="weather").status_code == 400


def test_the_fleet_says_how_far_a_revision_has_got(api: Api):
    row = pod()
    assert api.get("fleet/pods").json()["data"][0]["pod_id"] == row.pod_id
    head = api.get("fleet/pods/convergence/head").json()
    assert head["settled"] is False
    assert head["pods"][0]["reach"] in ("waiting", "refused")
    assert api.get(f"fleet/pods/{row.pod_id}").status_code == 200


def test_the_fleet_says_which_pods_are_too_old_for_what_and_ids_to_operators_only(api: Api):
    since = timezone.now() - timedelta(minutes=3)
    item = {"kind": "budget", "id": "bud_1", "problem": "scope 'galaxy' is unknown"}
    row = pod(not_understood=[item], not_understood_count=4, not_understood_since=since, refused_keys=12)
    shown = api.get(f"fleet/pods/{row.pod_id}").json()
    assert (shown["not_understood_count"], shown["refused_keys"]) == (4, 12)
    assert datetime.fromisoformat(shown["not_understood_since"]) == since
    assert shown["not_understood"] == [item | {"id": ""}]
    client = Client()
    client.force_login(make.user(is_superuser=True))
    assert client.get(f"/api/v1/fleet/pods/{row.pod_id}").json()["not_understood"] == [item]
    again = pod(not_understood_count=0, not_understood_since=since)
    assert api.get(f"fleet/pods/{again.pod_id}").json()["not_understood_since"] is None
    assert api.get(f"fleet/pods/{pod().pod_id}").json()["not_understood_count"] is None


def test_the_fleet_is_closed_to_members_of_a_team(organization: Organization):
    team = make.team(organization)
    assert Api(organization, Role.TEAM_ADMIN, team=team).get("fleet/pods").status_code == 403


def test_a_pod_is_evicted_by_an_operator_only(api: Api):
    row, bare = pod(identity="pod-1", certificate="c" * 64), pod()
    assert api.post(f"fleet/pods/{row.pod_id}/evict", {}).status_code == 403
    client = Client()
    client.force_login(make.user(is_superuser=True))
    evict = f"/api/v1/fleet/pods/{row.pod_id}/evict"
    answer = client.post(evict, {"reason": "lost"}, content_type="application/json")
    assert (answer.status_code, answer.json()["evicted"]) == (200, True)
    assert api.get(f"fleet/pods/{bare.pod_id}").json()["evicted"] is False
    refused = client.post(f"/api/v1/fleet/pods/{bare.pod_id}/evict", {}, content_type="application/json")
    assert refused.status_code == 409


def test_the_audit_names_the_token_that_did_it(api: Api, organization: Organization):
    api.post("teams", {"organization_id": organization.pk, "name": "Core", "slug": "core"})
    event = api.get("audit", action="team.created").json()["data"][0]
    assert (event["actor_kind"], event["actor_label"], event["after"]["slug"]) == ("api_token", "ci", "core")


def test_a_method_that_a_route_does_not_take_is_a_problem_and_asking_for_options_is_not(api: Api):
    answer = api.delete("teams")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert api.client.options("/api/v1/teams", headers=api.headers).status_code == 200


def test_an_empty_change_is_an_error(api: Api, organization: Organization):
    team = make.team(organization)
    assert api.patch(f"teams/{team.pk}", {}).status_code == 422


def test_the_document_of_the_api_is_served_to_everybody():
    answer = Client().get("/api/v1/openapi.yaml")
    assert answer.status_code == 200
    assert b"/api/v1/virtual-keys/{id}/revoke" in answer.content


def test_a_program_sees_that_a_provider_refuses_the_credential(api: Api, organization: Organization):
    row = make.provider(organization)
    seen = api.get(f"providers/{row.pk}").json()
    assert (seen["refused_since"], seen["last_error"], seen["last_error_at"]) == (None, "", None)
    since = timezone.now()
    Provider.objects.filter(pk=row.pk).update(refused_since=since, last_error="402", last_error_at=since)
    [seen] = api.get("providers").json()["data"]
    assert (seen["last_error"], seen["refused_since"][:19]) == ("402", f"{since:%Y-%m-%dT%H:%M:%S}")
    assert api.patch(f"providers/{row.pk}", {"last_error": "fine"}).status_code in (400, 422)
    seen = api.patch(f"providers/{row.pk}", {"credential": "sk-ant-api03-another-one"}).json()
    assert (seen["refused_since"], seen["last_error"], seen["last_error_at"]) == (None, "", None)
