"""Minting and changing keys: what is refused, what it says, and what is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from controlplane.changes.change_set import change_set
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.changes.queries import head
from controlplane.environment import environment
from controlplane.keys import actions, alias_actions, tasks
from controlplane.keys.lifecycle import WrongState
from controlplane.keys.models import KeyEnvironment, KeySecret, KeyState, OwnerScope, VirtualKey
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden, NoSuchObject, Verb
from controlplane.tenancy.queries import for_actor
from dataplane.core import keys as core
from tests.controlplane import factories

SYSTEM = factories.SYSTEM


def test_a_minted_key_is_well_formed_and_stored_as_its_digest_only(db):
    key, token = factories.key_and_token(environment=KeyEnvironment.TEST)
    text = token.reveal().decode()
    parsed = core.parse(text)
    assert parsed is not None
    assert (parsed.public_id, parsed.env) == (key.public_id, "test")
    secret = key.secrets.get()
    assert bytes(secret.digest) == core.digest(environment().pepper_keyring()[secret.pepper_version], text)
    stored = str(list(VirtualKey.objects.values())) + str(list(KeySecret.objects.values()))
    assert text not in stored
    assert text[21:47] not in stored
    assert key.shown == text[:21]
    assert str(token) == "Secret(…)"


def test_tags_and_patterns_are_tidied_and_kept_in_order(db):
    key = factories.key(tags=[" cli ", "cli", "", "team-a"], models_allowed=["claude-*", " gpt-5.5 ", "claude-*"])
    assert key.tags == ["cli", "team-a"]
    assert key.models_allowed == ["claude-*", "gpt-5.5"]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": ""}, "name", "blank"),
        ({"tags": [f"t{n}" for n in range(33)]}, "tags", "at most 32"),
        ({"tags": ["x" * 129]}, "tags", "at most 128"),
        ({"tags": ["a\nb"]}, "tags", "printable"),
        ({"models_allowed": ["claude 3"]}, "models_allowed", "a pattern is a model name"),
        ({"models_allowed": ["x" * 201]}, "models_allowed", "up to 200"),
        ({"metadata": {"a": 1}}, "metadata", "text to text"),
        ({"metadata": {"a": "b\0"}}, "metadata", "text"),
        ({"providers_allowed": ["prov_none"]}, "providers_allowed", "there is: none yet"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=timezone.get_default_timezone())}, "expires_at", "future"),
        ({"expires_at": datetime(2099, 1, 1)}, "expires_at", "time zone"),  # noqa: DTZ001
    ],
)
def test_a_refusal_says_what_would_be_right(db, fields, field, words):
    before = head()
    with pytest.raises(ValidationError) as refused:
        factories.key(factories.project(), **fields)
    assert words in str(refused.value.message_dict[field])
    assert not VirtualKey.objects.exists()
    assert ConfigChange.objects.filter(revision__gt=before.revision, kind="virtual_key").count() == 0


def test_a_provider_of_another_organization_does_not_exist_for_a_key(db):
    project = factories.project()
    mine, theirs = factories.provider(project.organization), factories.provider()
    with pytest.raises(ValidationError) as refused:
        factories.key(project, providers_allowed=[theirs.pk])
    words = str(refused.value)
    assert mine.name in words
    assert theirs.name not in words
    assert factories.key(project, providers_allowed=[mine.pk]).providers_allowed == [mine.pk]


def test_a_principal_of_another_organization_is_refused(db):
    with pytest.raises(ValidationError, match="principal of the key's organization"):
        factories.key(factories.project(), principal=factories.principal())


def test_an_external_id_names_one_key_of_an_organization(db):
    project = factories.project()
    factories.key(project, external_id="asset-1")
    with pytest.raises(ValidationError):
        factories.key(project, external_id="asset-1")
    factories.key(external_id="asset-1")


@pytest.mark.parametrize("scope", OwnerScope)
def test_the_owner_decides_whether_a_key_has_a_team(db, scope):
    project = factories.project()
    key = factories.key(project, owner_scope=scope)
    assert key.team_id == (None if scope == OwnerScope.ORGANIZATION else project.team_id)


def test_a_key_that_moves_takes_its_team_along(db):
    project = factories.project()
    key = factories.key(project)
    elsewhere = factories.project(factories.team(project.organization))
    actions.update(key, by=SYSTEM, project=elsewhere)
    key.refresh_from_db()
    assert (key.project_id, key.team_id) == (elsewhere.pk, elsewhere.team_id)
    with pytest.raises(ValidationError, match="project of the key's organization"):
        actions.update(key, by=SYSTEM, project=factories.project())


def test_what_is_not_a_field_cannot_be_set(db):
    key = factories.key()
    for field in ("state", "organization", "public_id", "digest", "revoked_at", "owner_scope", "cut"):
        with pytest.raises(ValidationError, match="cannot be set"):
            actions.update(key, by=SYSTEM, **{field: "x"})


def test_a_rotation_without_grace_stops_the_old_secret_at_once(db):
    key = factories.key()
    old = key.secrets.get().public_id
    actions.rotate(key, by=SYSTEM, grace=timedelta(0))
    assert old not in set(factories.working_secrets(key).values_list("public_id", flat=True))
    assert [secret.public_id for secret in factories.working_secrets(key)] == [key.public_id]
    for grace in (timedelta(hours=-1), timedelta(hours=73)):
        with pytest.raises(ValidationError, match="between 0 and 72 hours"):
            actions.rotate(key, by=SYSTEM, grace=grace)


def test_what_runs_is_cut_only_where_the_admin_says_so_and_the_old_secret_stops(db):
    key = factories.key()
    actions.rotate(key, by=SYSTEM, grace=timedelta(0))
    actions.disable(key, by=SYSTEM)
    assert VirtualKey.objects.get().cuts == 0
    with pytest.raises(ValidationError, match="choose no grace"):
        actions.rotate(key, by=SYSTEM, grace=timedelta(hours=1), cut=True)
    actions.disable(key, by=SYSTEM, cut=True)  # it was disabled before: what drains is cut afterwards
    actions.disable(VirtualKey.objects.get(), by=SYSTEM, cut=True)
    actions.enable(key, by=SYSTEM)
    actions.rotate(key, by=SYSTEM, grace=timedelta(0), cut=True)
    assert VirtualKey.objects.get().cuts == 3
    assert list(AuditEvent.objects.filter(action="virtual_key.rotated").values_list("details__cut", flat=True)) == [
        False,
        True,
    ]


def test_two_who_cut_at_once_have_both_cut(in_threads):
    key = factories.key()
    read = [VirtualKey.objects.get(), VirtualKey.objects.get()]
    in_threads(lambda row: actions.disable(row, by=SYSTEM, cut=True), read)
    key.refresh_from_db()
    assert key.cuts == 2


def test_rotations_and_revocations_at_the_same_time_leave_one_truth(in_threads):
    key = factories.key()

    def act(number: int) -> str:
        mine = VirtualKey.objects.get(pk=key.pk)
        try:
            if number == 2:
                actions.revoke(mine, by=SYSTEM)
            else:
                actions.rotate(mine, by=SYSTEM)
        except Exception as error:
            return type(error).__name__
        return "done"

    outcomes = in_threads(act, list(range(5)))
    assert set(outcomes) <= {"done", "WrongState"}
    assert outcomes[2] == "done"
    key.refresh_from_db()
    assert key.state == KeyState.REVOKED
    assert key.secrets.filter(not_after=None).count() == 1


def test_what_somebody_read_before_a_revocation_does_not_bring_the_key_back(db):
    key = factories.key()
    stale = [VirtualKey.objects.get(pk=key.pk) for _ in range(4)]
    actions.revoke(key, by=SYSTEM)
    for step in (
        lambda: actions.enable(stale[0], by=SYSTEM),
        lambda: actions.rotate(stale[1], by=SYSTEM),
        lambda: actions.disable(stale[2], by=SYSTEM),
        lambda: actions.extend(stale[3], by=SYSTEM, expires_at=None),
    ):
        with pytest.raises(WrongState, match="mint a new one"):
            step()
    key.refresh_from_db()
    assert (key.state, key.secrets.count()) == (KeyState.REVOKED, 1)


def test_a_member_mints_for_themselves_in_their_team_and_nowhere_else(db):
    team = factories.team()
    project, elsewhere = factories.project(team), factories.project(factories.team(team.organization))
    member, membership = factories.member(team.organization, Role.MEMBER, team)
    me = factories.principal(team.organization, user=membership.user)
    somebody = factories.principal(team.organization)
    key, _ = actions.mint(by=member, name="mine", project=project, principal=me)
    assert list(for_actor(member, VirtualKey.objects.all(), Verb.KEY_VIEW)) == [key]
    for refused in (
        {"project": project},
        {"project": project, "principal": me, "owner_scope": OwnerScope.ORGANIZATION},
    ):
        with pytest.raises(Forbidden):
            actions.mint(by=member, name="not mine", **refused)
    foreigners: tuple[dict[str, Any], ...] = (
        {"project": elsewhere, "principal": me},
        {"project": project, "principal": somebody},
        {"project": factories.project(), "principal": me},
    )
    for foreign in foreigners:
        with pytest.raises(NoSuchObject):
            actions.mint(by=member, name="not mine", **foreign)


def test_a_team_admin_mints_team_and_project_keys_but_no_organization_keys(db):
    team = factories.team()
    project = factories.project(team)
    admin, _ = factories.member(team.organization, Role.TEAM_ADMIN, team)
    for scope in (OwnerScope.TEAM, OwnerScope.PROJECT):
        actions.mint(by=admin, name="k", project=project, owner_scope=scope)
    with pytest.raises(Forbidden):
        actions.mint(by=admin, name="k", project=project, owner_scope=OwnerScope.ORGANIZATION)


def test_a_key_cannot_be_moved_where_its_mover_may_not_mint(db):
    team = factories.team()
    key = factories.key(factories.project(team))
    admin, _ = factories.member(team.organization, Role.TEAM_ADMIN, team)
    with pytest.raises(NoSuchObject):
        actions.update(key, by=admin, project=factories.project(factories.team(team.organization)))
    key.refresh_from_db()
    assert key.team_id == team.pk


def test_the_database_itself_refuses_a_key_of_the_wrong_shape(db):
    key = factories.key()
    for fields in ({"team": None}, {"state": "revoked"}):
        with pytest.raises(IntegrityError), transaction.atomic(), change_set(SYSTEM):
            VirtualKey.objects.filter(pk=key.pk).update(**fields)


def test_secrets_that_ended_long_ago_are_forgotten_and_the_key_pushed_again(db):
    key = factories.key()
    actions.rotate(key, by=SYSTEM)
    ended = key.secrets.exclude(public_id=key.public_id).get()
    with change_set(SYSTEM):
        KeySecret.objects.filter(pk=ended.pk).update(not_after=timezone.now() - timedelta(days=31))
    before = head().revision
    assert tasks.forget_ended_secrets() == 1
    assert [secret.public_id for secret in key.secrets.all()] == [key.public_id]
    assert ConfigChange.objects.filter(revision__gt=before, kind="virtual_key", resource_id=key.pk).exists()
    assert tasks.forget_ended_secrets() == 0


def test_an_alias_belongs_to_one_level_and_names_nothing_foreign(db):
    project = factories.project()
    organization, key = project.organization, factories.key(project)
    provider = factories.provider(organization)
    make: dict[str, Any] = {"by": SYSTEM, "organization": organization, "alias": "fast", "model": "claude-haiku-4-5"}
    for level in ({}, {"project": project}, {"key": key}):
        alias_actions.create_alias(**make, **level, provider=provider)
        with pytest.raises(ValidationError):
            alias_actions.create_alias(**make, **level)
    for wrong in (
        {"project": project, "key": key},
        {"project": factories.project()},
        {"key": factories.key()},
        {"provider": factories.provider()},
    ):
        with pytest.raises(ValidationError):
            alias_actions.create_alias(**make | {"alias": "other"}, **wrong)
    for name in ("", "two words", "star*"):
        with pytest.raises(ValidationError, match="without blanks"):
            alias_actions.create_alias(**make | {"alias": name})


def test_an_alias_is_changed_and_deleted_under_its_own_name(db):
    organization = factories.organization()
    alias = alias_actions.create_alias(by=SYSTEM, organization=organization, alias="fast", model="m1")
    alias_actions.update_alias(alias, by=SYSTEM, model="m2")
    before = head().revision
    alias_actions.delete_alias(alias, by=SYSTEM)
    assert list(ConfigChange.objects.filter(revision__gt=before).values_list("resource_id", flat=True)) == [alias.pk]
