"""Whatever happens through the actions: no pod is ever sent a reference that leads nowhere, by delta or in full.

A pod rejects an update with one such reference as a whole and is stale from then on, for every organization.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.db.models import CASCADE, PROTECT, Model
from django.utils import timezone
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from controlplane.changes.change_set import change_set
from controlplane.changes.config import ConfigModel
from controlplane.fleet.state.catalogue import Catalogue
from controlplane.fleet.state.compile import SOURCES
from controlplane.fleet.state.reading import refreshed
from controlplane.keys import actions as keys
from controlplane.keys import alias_actions as aliases
from controlplane.keys.lifecycle import WrongState
from controlplane.keys.models import KeySecret, ModelAlias, OwnerScope, VirtualKey
from controlplane.keys.tasks import REMEMBERED, forget_ended_secrets
from controlplane.providers import actions as providers
from controlplane.providers.models import PriceList, Provider
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Organization, Principal, Project, Team
from dataplane.core.secret import Secret
from dataplane.core.snapshot import KeyState, ProviderKind
from dataplane.link.replica import Replica, Staged
from dataplane.wire.updates import Incoming
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db(transaction=True)

REFUSALS = (ValidationError, WrongState, IntegrityError)  # ProtectedError is an IntegrityError


class World:
    """Rows of two organizations and those that steps add. Steps choose among all of them, mostly what fits together."""

    def __init__(self, numbers: Callable[[int], int]) -> None:
        self.below = numbers
        self.started = timezone.now()
        with change_set(SYSTEM):
            PriceList.objects.all().delete()
        for _ in range(2):
            project = factories.project()
            organization = project.organization
            provider = factories.provider(organization)
            key = factories.key(project, principal=factories.principal(organization), providers_allowed=[provider.pk])
            for level in ({"project": project}, {"key": key}, {}):
                aliases.create_alias(
                    by=SYSTEM, organization=organization, alias="x", model="m", provider=provider, **level
                )

    def any(self, model: type[Model], near: Any = None) -> Any:
        """`near`: of the same organization, three times out of four."""
        rows = model._default_manager.filter(created_at__gte=self.started).order_by("created_at", "pk")
        if near is not None and self.below(4):
            rows = rows.filter(organization=near.pk if isinstance(near, Organization) else near.organization_id)
        found = list(rows)
        return found[self.below(len(found))] if found else None

    def perhaps(self, model: type[Model], near: Any = None) -> Any:
        return self.any(model, near) if self.below(2) else None


def a(world: World, model: type[Model], verb: Callable[..., Any], **fields: Any) -> None:
    row = world.any(model)
    if row is not None:
        verb(row, by=SYSTEM, **fields)


def mint(world: World) -> None:
    project = world.any(Project)
    provider = world.perhaps(Provider, project)
    keys.mint(
        by=SYSTEM, name="k", project=project, principal=world.perhaps(Principal, project),
        owner_scope=list(OwnerScope)[world.below(3)], providers_allowed=[provider.pk] if provider else [],
    )  # fmt: skip


def make_alias(world: World) -> None:
    organization = world.any(Organization)
    level: dict[str, Any] = {}
    match world.below(3):
        case 1:
            level = {"project": world.any(Project, organization)}
        case 2:
            level = {"key": world.any(VirtualKey, organization)}
    aliases.create_alias(
        by=SYSTEM, organization=organization, alias=f"alias-{world.below(3)}", model="m",
        provider=world.perhaps(Provider, organization), **level,
    )  # fmt: skip


def change_alias(world: World) -> None:
    row = world.any(ModelAlias)
    field, model = (("provider", Provider), ("project", Project), ("key", VirtualKey))[world.below(3)]
    if row is not None:
        aliases.update_alias(row, by=SYSTEM, **{field: world.perhaps(model, row)})


def change_key(world: World) -> None:
    row = world.any(VirtualKey)
    if row is not None and world.below(2):
        keys.update(row, by=SYSTEM, project=world.any(Project, row))
    elif row is not None:
        keys.update(row, by=SYSTEM, principal=world.perhaps(Principal, row))


def list_prices(world: World) -> None:
    with change_set(SYSTEM):
        PriceList(version="v", organization=world.perhaps(Organization)).save()


def move_prices(world: World) -> None:
    row, owner = world.any(PriceList), world.perhaps(Organization)
    if row is not None:
        with change_set(SYSTEM):
            row.organization = owner
            row.save()


def forget_secrets(world: World) -> None:
    """As if a grace had ended long ago."""
    with change_set(SYSTEM):
        KeySecret.objects.exclude(not_after=None).update(not_after=timezone.now() - REMEMBERED - timedelta(days=1))
    forget_ended_secrets()


def delete(model: type[ConfigModel]) -> Callable[[World], None]:
    """No verb deletes most of these; a shell inside a change set can."""

    def step(world: World) -> None:
        row = world.any(model)
        if row is not None:
            with change_set(SYSTEM):
                row.delete()

    return step


STEPS: Mapping[str, Callable[[World], object]] = {
    "make an organization": lambda world: factories.organization(),
    "switch an organization": lambda world: a(world, Organization, tenancy.update_organization, active=False),
    "make a team": lambda world: factories.team(world.any(Organization)),
    "make a project": lambda world: factories.project(world.any(Team)),
    "switch a project": lambda world: a(world, Project, tenancy.update_project, active=bool(world.below(2))),
    "make a principal": lambda world: factories.principal(world.any(Organization)),
    "switch a principal": lambda world: a(world, Principal, tenancy.update_principal, active=bool(world.below(2))),
    "make a provider": lambda world: factories.provider(world.any(Organization), kind=ProviderKind.OPENAI),
    "change a provider": lambda world: a(world, Provider, providers.update_provider, enabled=bool(world.below(2))),
    "seal again": lambda world: a(world, Provider, providers.set_credential, credential=Secret("sk-0123456789")),
    "mint": mint,
    "change a key": change_key,
    "rotate": lambda world: a(world, VirtualKey, keys.rotate, grace=timedelta(hours=world.below(2))),
    "disable": lambda world: a(world, VirtualKey, keys.disable),
    "enable": lambda world: a(world, VirtualKey, keys.enable),
    "revoke": lambda world: a(world, VirtualKey, keys.revoke, cut=bool(world.below(2))),
    "forget secrets": forget_secrets,
    "make an alias": make_alias,
    "change an alias": change_alias,
    "delete an alias": lambda world: a(world, ModelAlias, aliases.delete_alias),
    "list prices": list_prices,
    "move prices": move_prices,
    **{
        f"delete {model.__name__}": delete(model)
        for model in (Organization, Team, Project, Principal, Provider, VirtualKey, PriceList)
    },
}


def sent(replica: Replica, messages: list[bytes]) -> Replica:
    """What a pod holds after an update, by the pod's own judgement."""
    staged = None
    for raw in messages:
        incoming = Incoming.parse(raw)
        replica.revoke(incoming.message.update)
        staged = replica.stage(incoming)
    assert isinstance(staged, Staged), staged
    replica.commit(staged)
    assert replica.snapshot.problems() == []
    return replica


def content(replica: Replica) -> Any:
    snapshot = replica.snapshot
    maps = (
        snapshot.organizations, snapshot.projects, snapshot.principals, snapshot.keys, snapshot.providers,
        snapshot.aliases, snapshot.prices,
    )  # fmt: skip
    return [dict(rows) for rows in maps]


class Fleet:
    """A replica, and pods that stand at every revision there was."""

    def __init__(self) -> None:
        self.catalogue = self.everything()
        self.last = sent(Replica(), list(self.catalogue.full()))
        self.behind: list[list[bytes]] = [list(self.catalogue.full())]  # what brings a new pod to an older revision

    def everything(self) -> Catalogue:
        found = refreshed(Catalogue())
        assert isinstance(found, Catalogue)
        return found

    def follow(self, choose: Callable[[int], int]) -> None:
        found = refreshed(self.catalogue)
        assert not isinstance(found, Catalogue)
        self.catalogue.apply(found)
        if self.catalogue.revision == self.last.revision:
            return
        fresh = sent(Replica(), list(self.everything().full()))
        sent(self.last, self.catalogue.delta(self.last.revision))
        late = sent(Replica(), self.behind[choose(len(self.behind))])
        sent(late, self.catalogue.delta(late.revision))
        assert content(self.last) == content(late) == content(fresh)
        assert self.last.digest == late.digest == fresh.digest
        self.behind.append(list(self.catalogue.full()))


@settings(max_examples=10, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # shrinking takes minutes
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=15, max_size=30), st.data())
def test_every_revision_is_whole_by_delta_and_in_full(steps: list[str], data: st.DataObject) -> None:
    def below(limit: int) -> int:
        return data.draw(st.integers(0, max(0, limit - 1)))

    world, fleet = World(below), Fleet()
    for step in steps:
        with suppress(*REFUSALS):
            STEPS[step](world)
        fleet.follow(below)


def test_between_pushed_rows_a_delete_is_refused_or_takes_along_what_refers() -> None:
    pushed = {source.rows().model for source in SOURCES.values()}
    found = {
        (model, field.name): field.remote_field.on_delete
        for model in pushed
        for field in model._meta.local_fields
        if field.remote_field is not None and field.remote_field.model in pushed
    }
    assert found[ModelAlias, "provider"] is PROTECT
    assert set(found.values()) <= {PROTECT, CASCADE}


# ---- what no action does ----


def overwrite(model: type[Model], row: Model, **columns: Any) -> None:
    with connection.cursor() as cursor:
        for name, value in columns.items():
            cursor.execute(f'UPDATE {model._meta.db_table} SET "{name}" = %s WHERE id = %s', [value, row.pk])


@pytest.mark.parametrize("column", ["project_id", "principal_id"])
def test_a_key_that_refers_to_another_organization_stops_and_nothing_else_does(column: str) -> None:
    project, foreign = factories.project(), factories.project()
    bad, good = (
        factories.key(project, principal=factories.principal(project.organization)),
        factories.key(project),
    )
    aliases.create_alias(by=SYSTEM, organization=project.organization, alias="x", model="m", key=bad)
    theirs = foreign if column == "project_id" else factories.principal(foreign.organization)
    overwrite(VirtualKey, bad, **{column: theirs.pk})
    snapshot = sent(Replica(), list(Fleet().everything().full())).snapshot
    assert (snapshot.keys[bad.pk].state, snapshot.keys[good.pk].state) == (KeyState.DISABLED, KeyState.ACTIVE)
    assert theirs.pk not in (snapshot.keys[bad.pk].project_id, snapshot.keys[bad.pk].principal_id)


@pytest.mark.parametrize("column", ["project_id", "key_id", "provider_id"])
def test_an_alias_that_refers_to_another_organization_is_left_out_and_taken_back(column: str) -> None:
    project, foreign = factories.project(), factories.project()
    make: dict[str, Callable[[Project], Any]] = {
        "project_id": lambda of: of,
        "key_id": factories.key,
        "provider_id": lambda of: factories.provider(of.organization),
    }
    mine, theirs = make[column](project), make[column](foreign)
    bad = aliases.create_alias(
        by=SYSTEM, organization=project.organization, alias="x", model="m", **{column.removesuffix("_id"): mine}
    )
    fleet = Fleet()
    assert bad.pk in fleet.last.snapshot.aliases
    overwrite(ModelAlias, bad, **{column: theirs.pk})
    with change_set(SYSTEM):
        ModelAlias.objects.filter(pk=bad.pk).update(alias="y")  # touched
    fleet.follow(lambda limit: 0)
    assert bad.pk not in fleet.last.snapshot.aliases
