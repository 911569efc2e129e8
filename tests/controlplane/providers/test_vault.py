"""Credentials at rest: they open where they belong, and nowhere else."""

from __future__ import annotations

import base64
import os
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from controlplane import environment as env
from controlplane.changes.models import AuditEvent
from controlplane.environment import REPOSITORY
from controlplane.providers import credentials, vault
from controlplane.providers.apps import credentials_can_be_opened, secrets_are_usable, variables_are_known
from controlplane.providers.models import Provider
from dataplane.core.secret import Secret
from tests.controlplane import factories

HERE = vault.SealedPlace("provider", "org_1/prov_1", "credential", 1)


@pytest.fixture
def roots(monkeypatch):
    """Set the root keys of this test's environment: version → key, newest first."""

    def set_to(keys: dict[int, bytes]) -> None:
        text = ",".join(f"{version}:{base64.b64encode(key).decode()}" for version, key in keys.items())
        monkeypatch.setenv("AIGATEWAY_ROOT_KEYS", text)
        env.environment.cache_clear()

    yield set_to
    monkeypatch.undo()
    env.environment.cache_clear()


@given(st.binary(min_size=0, max_size=4096))
def test_what_goes_in_comes_out(value):
    assert vault.unseal(vault.seal(Secret(value), HERE), HERE).reveal() == value


def test_the_same_credential_is_sealed_differently_each_time():
    one, two = (vault.seal(Secret("sk-ant-0123456789"), HERE).value for _ in range(2))
    assert one != two
    assert b"sk-ant" not in one
    assert not {one[i : i + 12] for i in range(len(one) - 12)} & {two[i : i + 12] for i in range(len(two) - 12)}


@pytest.mark.parametrize(
    "elsewhere",
    [
        vault.SealedPlace("other", "org_1/prov_1", "credential", 1),
        vault.SealedPlace("provider", "org_1/prov_2", "credential", 1),
        vault.SealedPlace("provider", "org_2/prov_1", "credential", 1),
        vault.SealedPlace("provider", "org_1/prov_1", "other", 1),
        vault.SealedPlace("provider", "org_1/prov_1", "credential", 2),
        vault.SealedPlace("providerorg_1/prov_1", "", "credential", 1),
    ],
)
def test_a_moved_ciphertext_does_not_open(elsewhere):
    with pytest.raises(vault.CannotUnseal):
        vault.unseal(vault.seal(Secret("sk"), HERE), elsewhere)
    with pytest.raises(vault.CannotUnseal):
        vault.rewrap(vault.seal(Secret("sk"), HERE), elsewhere)


def test_the_inner_key_of_one_row_does_not_open_the_value_of_another():
    mine, other = vault.seal(Secret("mine"), HERE), vault.seal(Secret("other"), HERE)
    spliced = vault.Sealed(mine.value[:61] + other.value[61:], mine.root_version)
    with pytest.raises(vault.CannotUnseal):
        vault.unseal(spliced, HERE)


@given(st.data())
def test_a_flipped_bit_anywhere_is_noticed(data):
    sealed = vault.seal(Secret("sk-ant-0123456789"), HERE)
    at = data.draw(st.integers(0, len(sealed.value) * 8 - 1))
    value = bytearray(sealed.value)
    value[at // 8] ^= 1 << at % 8
    with pytest.raises(vault.CannotUnseal):
        vault.unseal(vault.Sealed(bytes(value), sealed.root_version), HERE)


def test_a_row_that_is_given_another_rows_credential_says_so(db):
    one, two = factories.provider(), factories.provider()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE providers_provider SET credential_sealed = (SELECT credential_sealed FROM providers_provider "
            "WHERE id = %s) WHERE id = %s",
            [one.pk, two.pk],
        )
    two.refresh_from_db()
    with pytest.raises(vault.CannotUnseal, match="altered or moved"):
        credentials.credential_of(two)
    assert credentials.credential_of(one)


def test_an_older_credential_put_back_after_a_newer_one_does_not_open(db):
    from controlplane.providers import actions

    provider = factories.provider()
    old = bytes(provider.credential_sealed)
    actions.set_credential(provider, by=factories.SYSTEM, credential=Secret("sk-ant-api03-the-new-one"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET credential_sealed = %s WHERE id = %s", [old, provider.pk])
    provider.refresh_from_db()
    with pytest.raises(vault.CannotUnseal):
        credentials.credential_of(provider)


def test_rotating_the_root_key_rewraps_and_leaves_the_old_one_unneeded(db, roots):
    first, second = os.urandom(32), os.urandom(32)
    roots({1: first})
    provider = factories.provider(credential=Secret("sk-ant-api03-kept-through-rotation"))
    before = bytes(provider.credential_sealed)
    roots({2: second, 1: first})
    out = StringIO()
    call_command("rotate_root", stdout=out)
    assert "1 credentials are now under version 2" in out.getvalue()
    assert AuditEvent.objects.filter(action="provider.credential_rewrapped", target_id=provider.pk).count() == 1
    roots({2: second})
    provider.refresh_from_db()
    assert provider.credential_root_version == 2
    assert bytes(provider.credential_sealed)[61:] == before[61:]
    assert credentials.credential_of(provider) == Secret("sk-ant-api03-kept-through-rotation")
    credentials.check_roots()


def test_a_credential_whose_root_key_is_gone_is_named_at_the_start(db, roots):
    roots({1: os.urandom(32)})
    provider = factories.provider()
    roots({2: os.urandom(32)})
    with pytest.raises(env.ConfigurationError, match="version 1"):
        credentials.check_roots()
    assert [problem.id for problem in credentials_can_be_opened(None, databases=["default"])] == ["providers.E002"]
    with pytest.raises(vault.CannotUnseal, match="version 1"):
        credentials.credential_of(provider)


def test_another_root_key_under_the_same_version_is_found_at_the_start(db, roots):
    roots({1: os.urandom(32)})
    factories.provider()
    credentials.check_roots()
    roots({1: os.urandom(32)})
    with pytest.raises(env.ConfigurationError, match="given as version 1 is not the one"):
        credentials.check_roots()
    assert [problem.id for problem in credentials_can_be_opened(None, databases=["default"])] == ["providers.E002"]


def test_one_altered_credential_does_not_stop_the_start(db, roots):
    roots({1: os.urandom(32)})
    altered, _ = factories.provider(), factories.provider()
    with connection.cursor() as cursor:
        nothing = b"\x01" + bytes(100)
        cursor.execute("UPDATE providers_provider SET credential_sealed = %s WHERE id = %s", [nothing, altered.pk])
    credentials.check_roots()


def test_another_key_under_the_same_version_does_not_open_it(roots):
    roots({1: os.urandom(32)})
    sealed = vault.seal(Secret("sk"), HERE)
    roots({1: os.urandom(32)})
    with pytest.raises(vault.CannotUnseal):
        vault.unseal(sealed, HERE)


def test_the_start_is_refused_without_usable_root_keys(roots, monkeypatch):
    assert secrets_are_usable(None) == []
    monkeypatch.setenv("AIGATEWAY_ROOT_KEYS", "")
    env.environment.cache_clear()
    assert [problem.id for problem in secrets_are_usable(None)] == ["providers.E001"]


def test_the_database_holds_no_credential(db):
    credential = "sk-ant-api03-canary-0123456789"
    provider = factories.provider(credential=Secret(credential))
    row = Provider.objects.filter(pk=provider.pk).values().get()
    stored = b"\0".join(bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for v in row.values())
    assert credential.encode() not in stored
    assert credential[:12].encode() not in stored
    assert row["credential_last4"] == credential[-4:]


def test_a_fingerprint_shows_equality_within_an_organization_only():
    one, same, other = Secret("sk-1"), Secret("sk-1"), Secret("sk-2")
    assert vault.fingerprint(one, "org_1") == vault.fingerprint(same, "org_1")
    assert vault.fingerprint(one, "org_1") != vault.fingerprint(other, "org_1")
    assert vault.fingerprint(one, "org_1") != vault.fingerprint(one, "org_2")


def test_nothing_of_a_short_credential_is_shown():
    assert vault.last4(Secret("short-secret")) == ""
    assert vault.last4(Secret("sk-ant-api03-0123456789")) == "6789"


def test_the_check_names_a_variable_that_is_none_and_where_all_are_listed(monkeypatch):
    assert variables_are_known(None) == []
    monkeypatch.setenv("AIGATEWAY_TYPO", "canary")
    (warning,) = variables_are_known(None)
    assert warning.msg.startswith("AIGATEWAY_TYPO is not a variable")
    assert "canary" not in warning.msg
    assert (REPOSITORY / "deploy/reference/settings.md").read_text().count("AIGATEWAY_") > 50
