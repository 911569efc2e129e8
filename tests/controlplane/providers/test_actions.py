"""Providers: what is accepted, what is refused in words, and what is stored."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from controlplane import environment as env
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.changes.queries import head
from controlplane.providers import actions
from controlplane.providers.credentials import credential_of
from controlplane.providers.kinds import KINDS
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden, NoSuchObject
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from dataplane.providers import endpoint
from tests.controlplane import factories

SYSTEM = factories.SYSTEM


@pytest.fixture
def private_allowed(monkeypatch):
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "true")
    env.environment.cache_clear()
    yield
    monkeypatch.undo()
    env.environment.cache_clear()


def test_every_kind_is_registered_and_its_address_is_one_that_pods_read():
    assert set(KINDS) == set(ProviderKind)
    for kind in KINDS.values():
        if kind.base_url:
            assert endpoint.parse(kind.base_url)


@pytest.mark.parametrize("kind", [kind for kind in ProviderKind if KINDS[kind].base_url])
def test_a_hosted_kind_needs_no_address(db, kind):
    assert factories.provider(kind=kind).base_url == KINDS[kind].base_url


@pytest.mark.parametrize("kind", [kind for kind in ProviderKind if not KINDS[kind].base_url])
def test_other_kinds_need_one(db, kind):
    with pytest.raises(ValidationError) as refused:
        factories.provider(kind=kind)
    assert "base_url" in refused.value.message_dict


def test_azure_names_its_deployments(db):
    make: dict[str, Any] = {
        "kind": ProviderKind.AZURE_OPENAI,
        "base_url": "https://acme.openai.azure.com/",
        "deployments": {"gpt-5.5": "gpt55-eu"},
        "api_version": "2024-10-21",
    }
    provider = factories.provider(**make)
    assert (provider.base_url, provider.deployments) == ("https://acme.openai.azure.com", {"gpt-5.5": "gpt55-eu"})
    for wrong, field in (
        ({"deployments": {}}, "deployments"),
        ({"deployments": {"gpt": "a/b"}}, "deployments"),
        ({"deployments": {"gpt": "x#"}}, "deployments"),
        ({"api_version": "2024-10-21&x=1"}, "api_version"),
        ({"kind": ProviderKind.OPENAI}, "deployments"),
    ):
        with pytest.raises(ValidationError) as refused:
            factories.provider(**make | wrong)
        assert field in refused.value.message_dict


@pytest.mark.parametrize(
    "url", ["http://llm.example.com", "https://127.0.0.1:8080", "https://10.0.0.8", "http://localhost:1"]
)
def test_private_addresses_take_the_operators_word(db, url, request):
    make: dict[str, Any] = {"kind": ProviderKind.OPENAI_COMPATIBLE, "base_url": url}
    if url != "http://localhost:1":
        with pytest.raises(ValidationError, match=r"private|plain http|https"):
            factories.provider(**make)
    request.getfixturevalue("private_allowed")
    assert factories.provider(**make).base_url == url


@pytest.mark.parametrize(
    ("credential", "words"),
    [
        ("", "visible ASCII"),
        ("   ", "visible ASCII"),
        ("two words", "visible ASCII"),
        ("sk-ant\r\nx-evil: 1", "visible ASCII"),
        ("ключ", "visible ASCII"),
        ("x" * 4097, "4096"),
        ("lw_vk_live_ABCDEFGHJK", "one of this gateway's own keys"),
    ],
)
def test_what_cannot_be_a_credential_is_refused_without_being_repeated(db, credential, words):
    with pytest.raises(ValidationError) as refused:
        factories.provider(credential=Secret(credential))
    assert words in str(refused.value)
    assert not credential.strip() or credential.strip() not in str(refused.value)


def test_a_credential_is_trimmed_sealed_and_replaced(db):
    provider = factories.provider(credential=Secret(" sk-ant-api03-one-abcdefgh\n"))
    assert credential_of(provider) == Secret("sk-ant-api03-one-abcdefgh")
    before, first = head().revision, provider.credential_fingerprint
    actions.set_credential(provider, by=SYSTEM, credential=Secret("sk-ant-api03-two-stuvwxyz"))
    provider.refresh_from_db()
    assert credential_of(provider) == Secret("sk-ant-api03-two-stuvwxyz")
    assert (provider.credential_version, provider.credential_last4) == (2, "wxyz")
    assert provider.credential_fingerprint != first
    assert list(ConfigChange.objects.filter(revision__gt=before).values_list("kind", flat=True)) == ["provider"]
    assert actions.has_credential(provider, Secret("sk-ant-api03-two-stuvwxyz"))
    assert not actions.has_credential(provider, Secret("sk-ant-api03-one-abcdefgh"))


def test_what_is_not_a_field_cannot_be_set(db):
    provider = factories.provider()
    for field in ("kind", "organization", "credential_sealed", "last_test_ok"):
        given: dict[str, Any] = {field: "x"}
        with pytest.raises(ValidationError, match="cannot be set"):
            actions.update_provider(provider, by=SYSTEM, **given)


def test_an_update_changes_what_it_names_only(db):
    provider = factories.provider(models=["claude-*"], priority=5)
    actions.update_provider(provider, by=SYSTEM, enabled=False, models=[" claude-opus-* ", "claude-opus-*"])
    provider.refresh_from_db()
    assert (provider.enabled, provider.models, provider.priority) == (False, ["claude-opus-*"], 5)
    event = AuditEvent.objects.latest("pk")
    assert event.action == "provider.updated"
    assert set(event.after) == {"enabled", "models"}


@pytest.mark.parametrize(
    "elsewhere",
    ["https://collector.example.com", "https://api.anthropic.com:8443", "https://API.anthropic.com.evil.io"],
)
def test_a_stored_credential_does_not_follow_the_address_to_another_host(db, elsewhere):
    provider = factories.provider(base_url="https://api.anthropic.com")
    with pytest.raises(ValidationError, match="enter the credential of the new address") as refused:
        actions.update_provider(provider, by=SYSTEM, base_url=elsewhere)
    assert "credential" in refused.value.message_dict
    provider.refresh_from_db()
    assert provider.base_url == "https://api.anthropic.com"
    actions.update_provider(provider, by=SYSTEM, base_url=elsewhere, credential=Secret("sk-of-the-other-place"))
    provider.refresh_from_db()
    assert (provider.base_url, provider.credential_version) == (elsewhere.lower(), 2)
    assert credential_of(provider) == Secret("sk-of-the-other-place")


def test_another_path_at_the_same_host_keeps_the_credential(db):
    provider = factories.provider(base_url="https://api.anthropic.com")
    actions.update_provider(provider, by=SYSTEM, base_url="https://api.anthropic.com/v1")
    provider.refresh_from_db()
    assert (provider.base_url, provider.credential_version) == ("https://api.anthropic.com/v1", 1)


def test_an_update_of_nothing_is_no_change(db):
    provider = factories.provider()
    before = head().revision
    actions.update_provider(provider, by=SYSTEM)
    assert head().revision == before


@pytest.mark.parametrize("models", [["two words"], ["x" * 201], ["m"] * 1 + [f"m{n}" for n in range(501)]])
def test_models_are_patterns(db, models):
    with pytest.raises(ValidationError) as refused:
        factories.provider(models=models)
    assert "models" in refused.value.message_dict


def test_names_are_slugs_and_taken_once_in_an_organization(db):
    organization = factories.organization()
    factories.provider(organization, name="main")
    factories.provider(name="main")
    for name in ("main", "with/slash", "with space", ""):
        with pytest.raises(ValidationError) as refused:
            factories.provider(organization, name=name)
        assert {"name", "__all__"} & set(refused.value.message_dict)


@pytest.mark.parametrize("role", Role)
def test_providers_are_changed_by_owners_and_admins(db, role):
    team = factories.team()
    provider = factories.provider(team.organization)
    actor, _ = factories.member(team.organization, role, team if role in (Role.TEAM_ADMIN, Role.MEMBER) else None)
    calls = (
        lambda: actions.update_provider(provider, by=actor, priority=1),
        lambda: actions.set_credential(provider, by=actor, credential=Secret("sk-ant-api03-three-333333")),
        lambda: actions.create_provider(
            by=actor,
            organization=team.organization,
            name="n",
            kind=ProviderKind.OPENAI,
            credential=Secret("sk-12345678"),
        ),
    )
    for call in calls:
        if role in (Role.OWNER, Role.ADMIN):
            call()
        else:
            with pytest.raises((Forbidden, NoSuchObject)):
                call()
    assert Provider.objects.filter(name="n").exists() == (role in (Role.OWNER, Role.ADMIN))
