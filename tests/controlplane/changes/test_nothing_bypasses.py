"""No way of writing a configuration row avoids the change set: every model × every path that Django offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.db import models, transaction

from controlplane.alerts.models import AlertRule, Channel
from controlplane.budgets import actions as budgets
from controlplane.budgets.models import Budget, Override
from controlplane.changes import queries
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import OutsideChangeSet, change_set
from controlplane.changes.config import ConfigModel
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.keys.models import KeySecret, ModelAlias, VirtualKey
from controlplane.providers.models import PriceList, PriceOverride, Provider
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import (
    ApiToken,
    Group,
    GroupMember,
    Membership,
    Organization,
    Principal,
    Project,
    Role,
    Team,
)
from tests.controlplane import factories
from tests.controlplane.alerts import world

SYSTEM = Actor.system("tests")
MODELS = [model for model in apps.get_models() if issubclass(model, ConfigModel)]


def _membership() -> Membership:
    return factories.member(factories.organization(), Role.VIEWER)[1]


def _token() -> ApiToken:
    return tenancy.mint_token(by=SYSTEM, organization=factories.organization(), name="t")[0]


def _saved(row: ConfigModel) -> ConfigModel:
    with change_set(SYSTEM):
        row.save()
    return row


def _place_in_a_group() -> GroupMember:
    person = factories.principal()
    place: GroupMember = factories.group(person.organization, person).members.get()
    return place


def _override() -> Override:
    return budgets.override_budget(factories.budget(), by=SYSTEM, extra_nano=1, until=None, reason="because")


def _alias() -> ConfigModel:
    return _saved(ModelAlias(organization=factories.organization(), alias="fast", model="claude-haiku-4-5"))


# How to get one row of each, and a text field to change.
ROWS: dict[type[ConfigModel], tuple[Callable[[], Any], str]] = {
    Organization: (factories.organization, "contact"),
    Team: (factories.team, "name"),
    Project: (factories.project, "name"),
    Principal: (factories.principal, "display_name"),
    Membership: (_membership, "role"),
    ApiToken: (_token, "name"),
    Provider: (factories.provider, "api_version"),
    ModelAlias: (_alias, "model"),
    PriceOverride: (
        lambda: _saved(PriceOverride(organization=factories.organization(), provider="openai", model="m")),
        "model",
    ),
    PriceList: (lambda: _saved(PriceList(organization=factories.organization(), version="1")), "version"),
    VirtualKey: (factories.key, "description"),
    Group: (factories.group, "name"),
    GroupMember: (_place_in_a_group, "id"),
    Budget: (factories.budget, "contact"),
    Override: (_override, "reason"),
    Channel: (lambda: world.email(factories.organization()), "name"),
    AlertRule: (lambda: world.rule(factories.organization()), "name"),
    KeySecret: (lambda: factories.key().secrets.get(), "public_id"),
}


def _copy(row: Any) -> Any:
    """A row like it that is not in the database."""
    with change_set(SYSTEM):
        type(row).objects.filter(pk=row.pk).delete()
    row._state.adding = True
    return row


def _save(row: Any, field: str) -> None:
    if row._meta.get_field(field).primary_key:
        row.save()
    else:
        setattr(row, field, Role.AUDITOR if field == "role" else "other")
        row.save()


def _fixture(row: Any, field: str) -> None:
    for loaded in serializers.deserialize("json", serializers.serialize("json", [row])):
        loaded.save()


def _changed(row: Any, field: str) -> dict[str, Any]:
    return {"updated_at": row.updated_at} if row._meta.get_field(field).primary_key else {field: getattr(row, field)}


def _bulk_update(row: Any, field: str) -> None:
    type(row).objects.bulk_update([row], list(_changed(row, field)))


def _related_manager(row: Any, field: str) -> None:
    """`organization.teams.update()` and its like."""
    for relation in row._meta.concrete_fields:
        name = relation.remote_field.get_accessor_name() if relation.remote_field else None
        parent = getattr(row, relation.name) if name and not relation.one_to_one else None
        if parent is not None and hasattr(parent, str(name)):
            getattr(parent, str(name)).filter(pk=row.pk).update(**_changed(row, field))
            return
    type(row).objects.filter(pk=row.pk).update(**_changed(row, field))


CHANGES: dict[str, Callable[[Any, str], Any]] = {
    "save": _save,
    "save with update_fields": lambda row, field: row.save(update_fields=list(_changed(row, field))),
    "save_base": lambda row, field: models.Model.save_base(row, raw=True, force_update=True),
    "fixture": _fixture,
    "queryset.update": lambda row, field: type(row).objects.filter(pk=row.pk).update(**_changed(row, field)),
    "update through a relation": _related_manager,
    "base manager": lambda row, field: type(row)._base_manager.filter(pk=row.pk).update(**_changed(row, field)),
    "bulk_update": _bulk_update,
    "update_or_create": lambda row, field: type(row).objects.update_or_create(pk=row.pk, defaults=_changed(row, field)),
}
DELETES: dict[str, Callable[[Any, str], Any]] = {
    "delete": lambda row, field: row.delete(),
    "queryset.delete": lambda row, field: type(row).objects.filter(pk=row.pk).delete(),
    "base manager delete": lambda row, field: type(row)._base_manager.filter(pk=row.pk).delete(),
    "raw delete": lambda row, field: (
        type(row).objects.filter(pk=row.pk)._raw_delete(using="default")
        if type(row) is not VirtualKey
        else row.delete()
    ),
}
CREATES: dict[str, Callable[[Any, str], Any]] = {
    "insert": lambda row, field: row.save(force_insert=True),
    "bulk_create": lambda row, field: type(row).objects.bulk_create([row]),
    "get_or_create": lambda row, field: type(row).objects.get_or_create(
        pk=row.pk, defaults={f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields if not f.primary_key}
    ),
    "fixture": _fixture,
}


def test_every_configuration_model_is_covered_here():
    assert set(MODELS) == set(ROWS)


def _expected(row: Any) -> set[tuple[str, str]]:
    return {(touch.kind.value, touch.id) for touch in row.touches()}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("path", [*CHANGES, *DELETES, *(f"create by {name}" for name in CREATES)])
def test_a_write_raises_outside_and_is_recorded_inside_a_change_set(db, model, path):
    make, field = ROWS[model]
    row = make()
    if path.startswith("create by "):
        row, write = _copy(row), CREATES[path.removeprefix("create by ")]
    else:
        write = (CHANGES | DELETES)[path]
    expected = _expected(row)
    with pytest.raises(OutsideChangeSet), transaction.atomic():
        write(row, field)
    before = queries.head().revision
    with change_set(SYSTEM):
        write(row, field)
    touched = set(ConfigChange.objects.filter(revision__gt=before).values_list("kind", "resource_id"))
    assert touched >= expected


def test_deletes_and_cascades_raise_outside_a_change_set_and_leave_every_row(db):
    key = factories.key()
    with pytest.raises(OutsideChangeSet):
        key.delete()
    with pytest.raises(OutsideChangeSet):
        VirtualKey.objects.all().delete()
    assert key.secrets.count() == 1


def test_rows_that_a_delete_takes_along_are_recorded_too(db):
    project = factories.project()
    alias = _saved(ModelAlias(organization=project.organization, project=project, alias="fast", model="m"))
    before = queries.head().revision
    project_id = project.pk
    with change_set(SYSTEM):
        project.delete()
    assert not ModelAlias.objects.exists()
    touched = set(ConfigChange.objects.filter(revision__gt=before).values_list("kind", "resource_id"))
    assert touched == {("project", project_id), ("model_alias", alias.pk)}
    assert {"project.deleted", "model_alias.deleted"} <= set(AuditEvent.objects.values_list("action", flat=True))


def test_a_membership_goes_with_its_team_and_is_audited(db):
    team = factories.team()
    _, membership = factories.member(team.organization, Role.TEAM_ADMIN, team)
    with change_set(SYSTEM):
        Team.objects.filter(pk=team.pk).delete()
    event = AuditEvent.objects.get(target_id=membership.pk, action="membership.deleted")
    assert event.before["team_id"] == team.pk


def test_writes_that_would_hide_which_rows_they_hit_are_refused(db):
    organization = factories.organization()
    with change_set(SYSTEM):
        for conflict in (
            {"ignore_conflicts": True},
            {"update_conflicts": True, "unique_fields": ["pk"], "update_fields": ["name"]},
        ):
            with pytest.raises(TypeError, match="conflicts"):
                Organization.objects.bulk_create([organization], **conflict)


def test_what_happened_may_be_noted_without_a_change_set_but_nothing_else_with_it(db):
    key = factories.key()
    head = queries.head()
    VirtualKey.objects.filter(pk=key.pk).update(last_used_at=key.created_at)
    key.last_used_at = key.created_at
    key.save(update_fields=["last_used_at"])
    assert queries.head() == head
    with pytest.raises(OutsideChangeSet):
        VirtualKey.objects.filter(pk=key.pk).update(last_used_at=key.created_at, state="active")
    with pytest.raises(OutsideChangeSet):
        key.save(update_fields=["last_used_at", "name"])


def test_a_model_whose_rows_could_vanish_with_somebody_elses_does_not_pass_the_checks():
    for model in MODELS:
        assert [problem for problem in model.check() if problem.id in ("changes.E001", "changes.E002")] == []
    field = Membership._meta.get_field("user")
    original, field.remote_field.on_delete = field.remote_field.on_delete, models.CASCADE
    try:
        assert [problem.id for problem in Membership.check() if problem.id == "changes.E001"] == ["changes.E001"]
    finally:
        field.remote_field.on_delete = original


def test_a_change_by_queryset_touches_exactly_the_rows_that_match(db):
    organizations = [factories.organization() for _ in range(3)]
    before = queries.head().revision
    with change_set(SYSTEM):
        Organization.objects.filter(pk__in=[row.pk for row in organizations[:2]]).update(contact="help@example.com")
    touched = set(ConfigChange.objects.filter(revision__gt=before).values_list("resource_id", flat=True))
    assert touched == {row.pk for row in organizations[:2]}
