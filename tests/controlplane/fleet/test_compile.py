"""Rows → resources: every field arrives, and a row that cannot be understood stops nothing but itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from controlplane.budgets import actions as budgets
from controlplane.changes.change_set import change_set
from controlplane.changes.models import ResourceKind
from controlplane.environment import environment
from controlplane.fleet.state import compile as compiler
from controlplane.fleet.state.catalogue import Ref
from controlplane.fleet.state.reading import ref as ref_of
from controlplane.keys import actions as keys
from controlplane.keys.models import OwnerScope
from controlplane.providers.models import PriceList
from controlplane.tenancy import actions as tenancy
from dataplane.core.keys import digest
from dataplane.core.pushed import PUSHED
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from dataplane.wire.rows import KIND_NUMBERS
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM
from tests.controlplane.usage.test_reconcile import PRICES

pytestmark = pytest.mark.django_db


def compiled(kind: ResourceKind, id: str, revision: int = 7) -> Any:
    ref = ref_of(kind, id)
    found = compiler.compile_some({ref: revision})
    assert list(found) == [ref]
    resource = wire.Resource.FromString(found[ref])
    assert resource.revision == revision
    assert compiler.compile_all({ref: revision})[ref] == found[ref]
    return getattr(resource, kind.value)


def overwrite(table: str, id: str, **columns: Any) -> None:
    """What no action would write: a row damaged behind everybody's back."""
    with connection.cursor() as cursor:
        for name, value in columns.items():
            cursor.execute(f'UPDATE {table} SET "{name}" = %s WHERE id = %s', [value, id])


def test_an_organization_names_the_price_list_that_applies_to_it() -> None:
    organization = factories.organization(contact="it@example.com")
    with change_set(SYSTEM):
        organization.freshness_bound_s, organization.cut_on_stale = 600, True
        organization.save()
    found = compiled(ResourceKind.ORGANIZATION, organization.pk)
    assert (found.active, found.contact, found.price_list_id) == (True, "it@example.com", "")
    assert (found.freshness_bound_ms, found.cut_on_stale) == (600_000, True)
    shared = PriceList(version="shared")
    with change_set(SYSTEM):
        shared.save()
    assert compiled(ResourceKind.ORGANIZATION, organization.pk).price_list_id == shared.pk
    own = PriceList(version="own", organization=organization)
    with change_set(SYSTEM):
        own.save()
    assert compiled(ResourceKind.ORGANIZATION, organization.pk).price_list_id == own.pk
    other = factories.organization()
    assert compiled(ResourceKind.ORGANIZATION, other.pk).price_list_id == shared.pk


def test_projects_and_principals_say_where_they_belong_and_whether_they_are_active() -> None:
    project = factories.project()
    found = compiled(ResourceKind.PROJECT, project.pk)
    assert (found.organization_id, found.team_id, found.active) == (project.organization_id, project.team_id, True)
    person = factories.principal(project.organization)
    tenancy.update_principal(person, by=SYSTEM, active=False)
    found = compiled(ResourceKind.PRINCIPAL, person.pk)
    assert (found.organization_id, found.active) == (project.organization_id, False)


def test_a_key_carries_digests_of_its_secrets_newest_first() -> None:
    project = factories.project()
    person = factories.principal(project.organization)
    provider = factories.provider(project.organization)
    expires = timezone.now() + timedelta(days=1)
    key, token = factories.key_and_token(
        project, principal=person, expires_at=expires, models_allowed=["claude-*"], providers_allowed=[provider.pk],
        tags=["ci"],
    )  # fmt: skip
    old = key.public_id
    newer = keys.rotate(key, by=SYSTEM, grace=timedelta(hours=1))
    found = compiled(ResourceKind.VIRTUAL_KEY, key.pk)
    assert (found.state, found.public_id) == (wire.KEY_STATE_ACTIVE, key.public_id)
    assert [secret.public_id for secret in found.secrets] == [key.public_id, old]
    pepper = environment().pepper_keyring()[found.secrets[0].pepper_version]
    assert [secret.digest for secret in found.secrets] == [
        digest(pepper, newer.reveal()),
        digest(pepper, token.reveal()),
    ]
    assert found.secrets[0].not_after_ms == 0
    assert found.secrets[1].not_after_ms > timezone.now().timestamp() * 1000
    assert found.expires_at_ms == int(expires.timestamp() * 1000)
    assert (found.organization_id, found.team_id, found.project_id, found.principal_id) == (
        project.organization_id, project.team_id, project.pk, person.pk,
    )  # fmt: skip
    assert (list(found.models_allowed), list(found.providers_allowed), list(found.tags)) == (
        ["claude-*"], [provider.pk], ["ci"],
    )  # fmt: skip


def test_a_secret_rotated_without_grace_has_ended_for_pods_with_slow_clocks_too() -> None:
    key, _ = factories.key_and_token(factories.project())
    keys.rotate(key, by=SYSTEM, grace=timedelta(0))
    found = compiled(ResourceKind.VIRTUAL_KEY, key.pk)
    assert [secret.not_after_ms for secret in found.secrets] == [0, 1]


def test_an_organizations_own_key_has_no_team() -> None:
    key = factories.key(owner_scope=OwnerScope.ORGANIZATION)
    assert compiled(ResourceKind.VIRTUAL_KEY, key.pk).team_id == ""


@pytest.mark.parametrize("damage", ['"claude-*"', "{}", "[1]", "null", "7"])
@pytest.mark.parametrize("column", ["models_allowed", "providers_allowed"])
def test_a_key_whose_limits_cannot_be_read_is_disabled_rather_than_unlimited(column: str, damage: str) -> None:
    key, other = factories.key(), factories.key()
    overwrite("keys_virtualkey", key.pk, **{column: damage})
    found = compiled(ResourceKind.VIRTUAL_KEY, key.pk)
    assert (found.state, found.public_id, found.project_id) == (wire.KEY_STATE_DISABLED, key.public_id, key.project_id)
    assert compiled(ResourceKind.VIRTUAL_KEY, other.pk).state == wire.KEY_STATE_ACTIVE


def test_a_provider_carries_its_credential_in_plain() -> None:
    provider = factories.provider(credential=Secret("sk-ant-api03-canary-0123456789"))
    found = compiled(ResourceKind.PROVIDER, provider.pk)
    assert found.credential == b"sk-ant-api03-canary-0123456789"
    assert (found.enabled, found.kind, found.name) == (True, "anthropic", provider.name)
    assert found.base_url == provider.base_url
    assert found.private_network is False


def test_an_azure_provider_carries_its_deployments() -> None:
    provider = factories.provider(
        kind=ProviderKind.AZURE_OPENAI,
        base_url="https://contoso.openai.azure.com",
        api_version="2025-04-01-preview",
        deployments={"gpt-5": "prod-5"},
    )
    found = compiled(ResourceKind.PROVIDER, provider.pk)
    assert (dict(found.deployments), found.api_version) == ({"gpt-5": "prod-5"}, "2025-04-01-preview")


@pytest.mark.parametrize(
    "damage",
    [{"credential_sealed": b"rubbish"}, {"credential_root_version": 99}, {"models": '"x"'}, {"deployments": "[]"}],
    ids=str,
)
def test_a_provider_that_cannot_be_read_is_switched_off_without_its_credential(damage: dict[str, Any]) -> None:
    provider = factories.provider()
    overwrite("providers_provider", provider.pk, **damage)
    found = compiled(ResourceKind.PROVIDER, provider.pk)
    assert (found.enabled, found.credential, found.name) == (False, b"", provider.name)


def test_a_credential_moved_to_another_row_does_not_open() -> None:
    one, two = factories.provider(), factories.provider()
    overwrite("providers_provider", two.pk, credential_sealed=bytes(one.credential_sealed))
    assert compiled(ResourceKind.PROVIDER, two.pk).credential == b""


def test_an_alias_arrives_with_its_level() -> None:
    key = factories.key()
    provider = factories.provider(key.organization)
    alias = providers_alias(key.organization, key=key, alias="fast", provider=provider, model="claude-haiku-4-5")
    found = compiled(ResourceKind.MODEL_ALIAS, alias.pk)
    assert (found.key_id, found.project_id, found.alias, found.provider_id, found.model) == (
        key.pk, "", "fast", provider.pk, "claude-haiku-4-5",
    )  # fmt: skip


def providers_alias(organization: Any, **fields: Any) -> Any:
    from controlplane.keys.models import ModelAlias

    alias = ModelAlias(organization=organization, **fields)
    with change_set(SYSTEM):
        alias.save()
    return alias


def test_a_price_list_arrives_as_integers_and_a_damaged_one_without_prices() -> None:
    prices = PriceList(version="v7", prices=PRICES)
    with change_set(SYSTEM):
        prices.save()
    found = compiled(ResourceKind.PRICE_LIST, prices.pk)
    [price] = found.prices
    assert (price.provider, price.model, list(price.match)) == (
        "anthropic", "claude-sonnet-4-5", ["claude-sonnet-4-5*"],
    )  # fmt: skip
    assert dict(price.cards[0].tiers[0].rates_pico) == {"input": 3_000_000, "output": 15_000_000}
    for damage in ('[{"model": 7}]', '[{"unheard_of": 1}]', "7", "[[]]"):
        overwrite("providers_pricelist", prices.pk, prices=damage)
        found = compiled(ResourceKind.PRICE_LIST, prices.pk)
        assert (found.version, list(found.prices)) == ("v7", [])


def test_what_does_not_exist_any_more_is_absent() -> None:
    assert compiler.compile_some({Ref(wire.RESOURCE_KIND_PROJECT, "proj_gone"): 3}) == {}


def test_every_kind_that_is_pushed_has_a_source() -> None:
    assert set(compiler.SOURCES) == set(compiler.KIND_OF) == set(ResourceKind)
    assert {source.kind for source in compiler.SOURCES.values()} == set(KIND_NUMBERS)
    assert [kind.value for kind in ResourceKind] == [kind.wire for kind in PUSHED.values() if kind.wire]


def test_a_budget_says_all_that_pods_decide_with_and_only_overrides_that_may_still_live() -> None:
    provider = factories.provider()
    budget = factories.budget(
        provider.organization,
        provider=provider,
        model_pattern="claude-*",
        window="day",
        timezone="Europe/Berlin",
        anchor=6,
        outage="strict",
        thresholds=[50, 100],
        contact="ann@example.com",
    )
    until = timezone.now() + timedelta(days=1)
    budgets.override_budget(budget, by=SYSTEM, extra_nano=5, until=until, reason="r")
    gone = budgets.override_budget(budget, by=SYSTEM, extra_nano=7, until=None, reason="r")
    budgets.withdraw_override(gone, by=SYSTEM)
    found = compiled(ResourceKind.BUDGET, budget.pk)
    assert (found.scope_kind, found.scope_id) == ("organization", provider.organization_id)
    assert (found.provider_id, found.model_pattern, found.scope_name) == (
        provider.pk,
        "claude-*",
        provider.organization.name,
    )
    assert (found.window, found.timezone, found.anchor, found.resets) == ("day", "Europe/Berlin", 6, 0)
    assert (found.limit_nano, found.on_breach, found.outage, found.overdraft_nano) == (10**10, "block", "strict", 0)
    assert [(each.extra_nano, each.until_ms) for each in found.overrides] == [(5, int(until.timestamp() * 1000))]
    assert (list(found.thresholds), found.contact, found.enabled) == ([50, 100], "ann@example.com", True)
    assert compiled(ResourceKind.BUDGET, factories.budget().pk).overdraft_nano == 500_000_000
    assert compiled(ResourceKind.BUDGET, factories.budget(limit_nano=10**11).pk).overdraft_nano == 2 * 10**9


def test_a_budget_that_cannot_be_understood_refuses_too_much_not_too_little() -> None:
    budget = factories.budget(model_pattern="claude-*", on_breach="warn")
    overwrite("budgets_budget", budget.pk, window="eon")
    found = compiled(ResourceKind.BUDGET, budget.pk)
    assert (found.model_pattern, found.on_breach, found.limit_nano, found.window) == ("", "block", 10**10, "total")
    narrowed = factories.budget(on_breach="warn")
    overwrite("budgets_budget", narrowed.pk, provider_id=factories.provider().pk)
    assert compiled(ResourceKind.BUDGET, narrowed.pk).on_breach == "block"


def test_a_principal_names_its_groups() -> None:
    person = factories.principal()
    groups = [factories.group(person.organization, person) for _ in range(2)]
    assert list(compiled(ResourceKind.PRINCIPAL, person.pk).group_ids) == sorted(group.pk for group in groups)


NO_RULES = {
    *(ResourceKind.ORGANIZATION, ResourceKind.PROJECT, ResourceKind.PRINCIPAL, ResourceKind.VIRTUAL_KEY),
    *(ResourceKind.PROVIDER, ResourceKind.MODEL_ALIAS, ResourceKind.PRICE_LIST),
}


def enveloped(kind: ResourceKind, id: str) -> wire.Resource:
    ref = ref_of(kind, id)
    return wire.Resource.FromString(compiler.compile_some({ref: 7})[ref])


def test_every_rule_says_whom_it_binds_for_pods_that_do_not_understand_it() -> None:
    """Whoever adds a kind of rule gives its `Source` a cover; what restricts nobody is listed above."""
    assert {kind for kind, source in compiler.SOURCES.items() if source.cover is None} == NO_RULES


SCOPES = ("organization", "team", "project", "principal", "key", "group")


@pytest.mark.parametrize("of", [getattr(factories, name) for name in SCOPES], ids=SCOPES)
def test_the_cover_of_a_budget_is_its_scope_also_when_the_budget_cannot_be_understood(of: Any) -> None:
    scope = of()
    budget = factories.budget(scope)
    expected = wire.Cover(
        organization_id=budget.organization_id, scopes=[wire.Cover.Scope(kind=budget.scope_kind, id=scope.pk)]
    )
    assert enveloped(ResourceKind.BUDGET, budget.pk).cover == expected
    overwrite("budgets_budget", budget.pk, window="eon")
    assert enveloped(ResourceKind.BUDGET, budget.pk).cover == expected
    assert not enveloped(ResourceKind.ORGANIZATION, budget.organization_id).HasField("cover")
