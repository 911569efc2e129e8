"""What is taken already: 409, at its field, in words, whether it was there before or somebody was quicker."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models

from controlplane.changes import unique
from controlplane.changes.change_set import change_set
from controlplane.changes.config import ConfigModel
from controlplane.keys.models import VirtualKey
from controlplane.tenancy import actions
from controlplane.tenancy.models import Organization, Role, Team
from tests.controlplane import factories as make
from tests.controlplane.console.world import tenant
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db
CONFIGURATION = [model for model in apps.get_models() if issubclass(model, ConfigModel)]
CONSTRAINTS = [(model, constraint) for model in CONFIGURATION for constraint in model._meta.constraints]


def is_taken(answer: Any, field: str, *words: str) -> None:
    assert answer.status_code == 409, answer.content
    problem = answer.json()
    assert problem["code"] == "already_exists"
    assert [error["field"] for error in problem["errors"]] == [field]
    message = problem["errors"][0]["message"]
    assert "Constraint" not in message
    assert all(word in message for word in ("already", *words))


def test_an_external_id_of_a_key(api: Api, organization: Organization):
    body = {"name": "k", "project_id": make.project(make.team(organization)).pk, "external_id": "hr-1"}
    assert api.post("virtual-keys", body).status_code == 201
    is_taken(api.post("virtual-keys", body), "external_id", "virtual key", "external id")
    other = api.post("virtual-keys", body | {"external_id": "hr-2"}).json()
    is_taken(api.patch(f"virtual-keys/{other['id']}", {"external_id": "hr-1"}), "external_id")
    assert VirtualKey.objects.count() == 2
    for _ in range(2):
        assert api.post("virtual-keys", body | {"external_id": ""}).status_code == 201


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("teams", {"name": "Core", "slug": "core"}, "slug"),
        ("principals", {"display_name": "Ada", "email": "ada@example.com"}, "email"),
        ("principals", {"display_name": "Ada", "external_id": "hr-1"}, "external_id"),
        ("groups", {"name": "Interns"}, "name"),
        ("providers", {"name": "claude", "kind": "anthropic", "credential": "sk-ant-secret-1234"}, "name"),
        ("model-aliases", {"alias": "fast", "model": "gpt-5.5"}, "alias"),
        ("alert-rules", {"name": "r", "kind": "unpriced_model"}, "name"),
        ("alert-channels", {"name": "c", "kind": "pagerduty", "secret": "0" * 32}, "name"),
    ],
)
def test_names_of_one_organization(api: Api, organization: Organization, route: str, body: dict[str, Any], field: str):
    body = body | {"organization_id": organization.pk}
    assert api.post(route, body).status_code == 201
    is_taken(api.post(route, body), field)


def test_names_of_other_places(api: Api, organization: Organization):
    team = make.team(organization)
    body = {"team_id": team.pk, "name": "Tools", "slug": "tools"}
    assert api.post("projects", body).status_code == 201
    is_taken(api.post("projects", body), "slug")
    key = make.key(make.project(team))
    for place in ({"project_id": key.project_id}, {"key_id": key.pk}):
        alias = {"organization_id": organization.pk, "alias": "fast", "model": "m"} | place
        assert api.post("model-aliases", alias).status_code == 201
        is_taken(api.post("model-aliases", alias), "alias")
    both = api.post("model-aliases", alias | {"project_id": key.project_id, "alias": "other"})
    assert (both.status_code, both.json()["errors"][0]["field"]) == (422, "key")


def test_what_is_wrong_beside_it_is_told_first(api: Api, organization: Organization):
    make.team(organization, slug="core")
    answer = api.post("teams", {"organization_id": organization.pk, "name": "\t", "slug": "core"})
    assert answer.status_code == 422


def test_doing_again_what_may_be_done_again_is_no_conflict(api: Api, organization: Organization):
    _, known = make.member(organization, Role.VIEWER)
    body = {"organization_id": organization.pk, "username": known.user.get_username(), "role": "viewer"}
    assert api.post("memberships", body).status_code == 201
    group, person = make.group(organization), make.principal(organization)
    for _ in range(2):
        assert api.post(f"groups/{group.pk}/members/add", {"principal_ids": [person.pk]}).status_code == 200
    price = {
        "organization_id": organization.pk,
        "provider": "openai",
        "model": "m",
        "rates": {"input": "1", "output": "2"},
    }
    for _ in range(2):
        assert api.post("price-overrides", price).status_code == 201


@pytest.mark.parametrize(("model", "constraint"), CONSTRAINTS, ids=[constraint.name for _, constraint in CONSTRAINTS])
def test_no_constraint_is_told_by_its_name(model: type[ConfigModel], constraint: models.BaseConstraint):
    if isinstance(constraint, models.UniqueConstraint):
        assert not constraint.fields or unique.taken(model, constraint.fields).message_dict
    else:
        field, words = model.must[constraint.name]
        assert model._meta.get_field(field)
        assert words


@pytest.mark.parametrize(
    "name", ["team", "principal", "provider", "model_alias", "group", "virtual_key", "organization"]
)
def test_a_write_that_comes_too_late_says_the_same(name: str):
    """The look before the write saw nothing."""
    row: Any = written()[name]
    field = FIELDS.get(name, "name")
    twin = type(row)(
        **{one.attname: getattr(row, one.attname) for one in row._meta.local_fields if not one.primary_key}
    )
    if name == "virtual_key":
        twin.public_id = "0000000000"
    with pytest.raises(ValidationError) as refused, change_set(make.SYSTEM):
        twin.save(force_insert=True)
    assert list(refused.value.message_dict) == [field]
    assert unique.only_taken(refused.value)


FIELDS = {
    "organization": "slug", "team": "slug", "model_alias": "alias", "virtual_key": "external_id", "principal": "email",
}  # fmt: skip


def written() -> dict[str, Any]:
    made = tenant()
    rows = {label.rpartition(".")[2]: row for label, row in made.rows.items()}
    return {
        "organization": made.organization, "team": made.team, "principal": made.principal, "provider": made.provider,
        "model_alias": rows["modelalias"], "group": rows["group"],
        "virtual_key": make.key(made.project, external_id="hr-1"),
    }  # fmt: skip


def test_an_integrity_error_that_nobody_foresaw_is_a_conflict_too(
    api: Api, organization: Organization, monkeypatch: pytest.MonkeyPatch
):
    team = make.team(organization)

    def too_late(**_: Any) -> None:
        with change_set(make.SYSTEM):
            Team(organization=organization, name="x", slug=team.slug).save_base(force_insert=True)

    monkeypatch.setattr(actions, "create_team", too_late)
    is_taken(api.post("teams", {"organization_id": organization.pk, "name": "Core", "slug": "core"}), "slug")


def test_forms_are_told_the_same():
    make.organization(slug="same")
    with pytest.raises(ValidationError) as refused:
        make.organization(slug="same")
    assert refused.value.message_dict == {
        "slug": ["An organization with this slug already exists; choose another slug."]
    }
