"""Which rows exist for a caller: every route and every reference asks the one function that the settings name."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import QuerySet

from controlplane.changes.actor import Actor
from controlplane.tenancy.permissions import Verb
from tests.controlplane import factories as make
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db


class Blind:
    """Nothing exists for anybody."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, str]] = []

    def __call__(self, actor: Actor, rows: QuerySet[Any], verb: str) -> QuerySet[Any]:
        self.questions.append((rows.model.__name__, verb))
        return rows.none()


BLIND = Blind()


@pytest.fixture
def blind(settings) -> Blind:
    BLIND.questions.clear()
    settings.REST_VISIBLE_ROWS = f"{__name__}.BLIND"
    return BLIND


def test_routes_and_references_ask_whom_the_settings_name(blind):
    organization = make.organization()
    team = make.team(organization)
    api = Api(organization)
    assert api.get("teams").json()["data"] == []
    assert api.get(f"teams/{team.pk}").status_code == 404
    answer = api.post("projects", {"team_id": team.pk, "name": "Api", "slug": "api"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "team_id")
    assert blind.questions == [("Team", "team.view")] * 3


def test_a_narrow_token_names_its_organization_and_no_other():
    api = Api(make.organization(), verbs=[Verb.TEAM_CREATE, Verb.TEAM_VIEW])
    [own] = api.get("organizations").json()["data"]
    body = {"name": "Core", "slug": "core"}
    assert api.post("teams", {"organization_id": own["id"], **body}).status_code == 201
    assert api.post("teams", {"organization_id": make.organization().pk, **body}).status_code == 422
