"""Memberships and API tokens over the API: nobody gets more than its giver has, and a token is shown once."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from controlplane.changes.models import AuditEvent
from controlplane.rest.models import IdempotentAnswer
from controlplane.tenancy.models import Organization, Role
from tests.controlplane import factories as make
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db


def test_roles_are_given_changed_and_taken(api: Api, organization: Organization):
    _, known = make.member(organization, Role.VIEWER)
    team = make.team(organization)
    body = {"organization_id": organization.pk, "username": known.user.get_username()}
    assert api.patch(f"memberships/{known.pk}", {"role": "auditor"}).json()["role"] == "auditor"
    made = api.post("memberships", body | {"role": "team_admin", "team_id": team.pk})
    assert made.status_code == 201, made.json()
    assert (made.json()["team_id"], made.json()["user_id"]) == (team.pk, str(known.user_id))
    assert api.get("memberships", user_id=str(known.user_id)).json()["data"] != []
    assert api.get("memberships", user_id="nobody").status_code == 400
    nonsense = api.post("memberships", body | {"role": "team_admin"})
    assert nonsense.status_code == 422
    assert api.delete(f"memberships/{made.json()['id']}").status_code == 204
    assert api.get(f"memberships/{made.json()['id']}").status_code == 404
    actions = AuditEvent.objects.filter(target_kind="membership", actor_label="ci").order_by("seq")
    assert list(actions.values_list("action", flat=True)) == [
        "membership.updated", "membership.created", "membership.ended",
    ]  # fmt: skip


def test_nobody_gives_more_than_they_have(api: Api, organization: Organization):
    _, owner = make.member(organization, Role.OWNER)
    body = {"organization_id": organization.pk, "username": owner.user.get_username(), "role": "owner"}
    assert api.post("memberships", body).status_code == 403
    assert api.patch(f"memberships/{owner.pk}", {"role": "viewer"}).status_code == 403
    assert api.delete(f"memberships/{owner.pk}").status_code == 403
    token = {"organization_id": organization.pk, "name": "mine"}
    assert api.post("api-tokens", token | {"role": "owner"}).status_code == 403
    assert api.post("api-tokens", token | {"verbs": ["organization.create"]}).status_code == 422
    owner.refresh_from_db()
    assert owner.role == Role.OWNER


def test_the_last_owner_stays_one(organization: Organization):
    api = Api(organization, Role.OWNER)
    _, owner = make.member(organization, Role.OWNER)
    for refused in (api.delete(f"memberships/{owner.pk}"), api.patch(f"memberships/{owner.pk}", {"role": "admin"})):
        assert refused.status_code == 422
        assert "last owner" in refused.json()["errors"][0]["message"]


def test_a_login_of_somebody_elses_organization_cannot_be_named(api: Api, organization: Organization):
    _, other = make.member(make.organization(), Role.VIEWER)
    body = {"organization_id": organization.pk, "role": "viewer"}
    for name in (other.user.get_username(), "nobody", 7):
        answer = api.post("memberships", body | {"username": name})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "username")


def test_a_token_is_shown_once_used_and_revoked(api: Api, organization: Organization):
    body = {"organization_id": organization.pk, "name": "reader", "role": "viewer", "verbs": ["team.view"]}
    minted, replayed = api.post("api-tokens", body, key="token-0001"), api.post("api-tokens", body, key="token-0001")
    assert (minted.status_code, replayed.status_code) == (201, 201)
    token, shown = minted.json()["token"], api.get(f"api-tokens/{minted.json()['id']}").json()
    assert token.startswith(shown["prefix"])
    assert "token" not in shown
    assert (replayed.json()["token"], replayed.json()["id"]) == (None, shown["id"])
    assert token not in json.dumps(list(IdempotentAnswer.objects.values("body", "fingerprint", "key")))
    headers = {"Authorization": f"Bearer {token}"}
    assert Client().get("/api/v1/teams", headers=headers).status_code == 200
    assert Client().get("/api/v1/projects", headers=headers).json()["data"] == []
    revoked = api.post(f"api-tokens/{shown['id']}/revoke")
    assert revoked.json()["revoked_at"] is not None
    assert Client().get("/api/v1/teams", headers=headers).status_code == 401
    events = AuditEvent.objects.filter(target_id=shown["id"]).order_by("seq").values_list("action", "actor_label")
    assert list(events) == [("api_token.minted", "ci"), ("api_token.revoked", "ci")]
    assert token[-32:] not in json.dumps(list(AuditEvent.objects.values("before", "after", "details")))
