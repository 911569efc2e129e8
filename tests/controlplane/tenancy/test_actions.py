"""The tenancy tree's verbs: who may, what is refused, and what pods hear of it."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.changes.queries import head
from controlplane.tenancy import actions, tokens
from controlplane.tenancy.models import ApiToken, Membership, Organization, Role
from controlplane.tenancy.permissions import TABLE, Forbidden, NoSuchObject, Verb, may
from controlplane.tenancy.scope import Place
from tests.controlplane import factories

SYSTEM = factories.SYSTEM


def test_only_an_operator_makes_organizations(db):
    owner, _ = factories.member(factories.organization(), Role.OWNER)
    with pytest.raises(Forbidden, match="the operator"):
        actions.create_organization(by=owner, name="Mine", slug="mine")
    operator = Actor.of_user(factories.user(is_superuser=True))
    assert actions.create_organization(by=operator, name="Mine", slug="mine").pk.startswith("org_")


def test_pods_hear_of_what_they_hold_and_of_nothing_else(db):
    before = head().revision
    organization = factories.organization()
    team = factories.team(organization)
    project = factories.project(team)
    principal = factories.principal(organization)
    actions.update_team(team, by=SYSTEM, name="Renamed")
    actions.update_project(project, by=SYSTEM, active=False)
    actions.update_principal(principal, by=SYSTEM, active=False)
    actions.update_organization(organization, by=SYSTEM, freshness_bound_s=60, cut_on_stale=True)
    kinds = list(ConfigChange.objects.filter(revision__gt=before).order_by("revision").values_list("kind", flat=True))
    assert kinds == ["organization", "project", "principal", "project", "principal", "organization"]


@pytest.mark.parametrize("bound", [-1, 901, "soon"])
def test_a_freshness_bound_is_at_most_fifteen_minutes(db, bound):
    with pytest.raises(ValidationError) as refused:
        actions.update_organization(factories.organization(), by=SYSTEM, freshness_bound_s=bound)
    assert "freshness_bound_s" in refused.value.message_dict


def test_what_is_not_a_field_cannot_be_set(db):
    with pytest.raises(ValidationError, match="cannot be set; fields are"):
        actions.update_organization(factories.organization(), by=SYSTEM, id="org_other")
    with pytest.raises(ValidationError, match="cannot be set"):
        actions.update_project(factories.project(), by=SYSTEM, organization=factories.organization())


def test_names_are_taken_within_an_organization_only(db):
    one, two = factories.organization(), factories.organization()
    factories.team(one, slug="core")
    factories.team(two, slug="core")
    with pytest.raises(ValidationError):
        factories.team(one, slug="core")


# ---- roles ----


def test_a_role_is_given_by_whoever_is_at_least_as_strong(db):
    team = factories.team()
    organization = team.organization
    factories.member(organization, Role.OWNER)
    strength = {
        Role.OWNER: set(Role),
        Role.ADMIN: set(Role) - {Role.OWNER},
        Role.TEAM_ADMIN: {Role.TEAM_ADMIN, Role.MEMBER},
        Role.MEMBER: set(),
        Role.VIEWER: set(),
        Role.AUDITOR: set(),
    }
    for role, may_give in strength.items():
        giver, _ = factories.member(organization, role, team if role in (Role.TEAM_ADMIN, Role.MEMBER) else None)
        for given_role in Role:
            narrow = given_role in (Role.TEAM_ADMIN, Role.MEMBER)
            arguments: dict[str, Any] = {
                "by": giver,
                "user": factories.user(),
                "organization": organization,
                "role": given_role,
                "team": team if narrow else None,
            }
            if given_role in may_give:
                actions.grant_role(**arguments)
            else:
                with pytest.raises((Forbidden, NoSuchObject)):
                    actions.grant_role(**arguments)


def test_a_team_admin_gives_roles_in_their_own_team_only(db):
    team = factories.team()
    other = factories.team(team.organization)
    admin, _ = factories.member(team.organization, Role.TEAM_ADMIN, team)
    for place in (other, None):
        with pytest.raises((Forbidden, NoSuchObject)):
            actions.grant_role(
                by=admin, user=factories.user(), organization=team.organization, role=Role.MEMBER, team=place
            )


def test_an_admin_neither_demotes_nor_removes_an_owner(db):
    organization = factories.organization()
    factories.member(organization, Role.OWNER)
    _, owner = factories.member(organization, Role.OWNER)
    admin, _ = factories.member(organization, Role.ADMIN)
    with pytest.raises(Forbidden):
        actions.grant_role(by=admin, user=owner.user, organization=organization, role=Role.VIEWER)
    with pytest.raises(Forbidden):
        actions.end_membership(owner, by=admin)


def test_the_last_owner_stays(db):
    organization = factories.organization()
    owner, membership = factories.member(organization, Role.OWNER)
    with pytest.raises(ValidationError, match="last owner"):
        actions.end_membership(membership, by=owner)
    with pytest.raises(ValidationError, match="last owner"):
        actions.grant_role(by=owner, user=membership.user, organization=organization, role=Role.ADMIN)
    factories.member(organization, Role.OWNER)
    actions.end_membership(membership, by=owner)
    assert AuditEvent.objects.filter(action="membership.ended", target_id=membership.pk).exists()


def test_two_owners_who_leave_at_once_do_not_leave_the_house_empty(in_threads, monkeypatch):
    organization = factories.organization()
    owners = [factories.member(organization, Role.OWNER)[1].pk for _ in range(2)]
    both_looked, look = threading.Barrier(2), actions._keep_an_owner

    def look_and_wait_for_the_other(*arguments, **named):
        look(*arguments, **named)
        with contextlib.suppress(threading.BrokenBarrierError):
            both_looked.wait(0.5)  # nobody comes: the other one waits for the lock

    monkeypatch.setattr(actions, "_keep_an_owner", look_and_wait_for_the_other)

    def leave(primary_key: str) -> bool:
        try:
            actions.end_membership(Membership.objects.get(pk=primary_key), by=SYSTEM)
        except ValidationError:
            return False
        return True

    assert sorted(in_threads(leave, owners)) == [False, True]
    assert Membership.objects.filter(organization=organization, role=Role.OWNER).count() == 1


def test_a_role_has_the_reach_that_it_can_have(db):
    team = factories.team()
    for role, where in ((Role.TEAM_ADMIN, None), (Role.ADMIN, team), (Role.OWNER, team), (Role.VIEWER, team)):
        with pytest.raises((ValidationError, IntegrityError)), transaction.atomic():
            actions.grant_role(by=SYSTEM, user=factories.user(), organization=team.organization, role=role, team=where)
    with pytest.raises(ValidationError, match="team of the organization"):
        actions.grant_role(
            by=SYSTEM, user=factories.user(), organization=factories.organization(), role=Role.MEMBER, team=team
        )


# ---- API tokens ----


def test_a_token_acts_with_its_role_until_it_is_revoked(db):
    organization = factories.organization()
    row, token = actions.mint_token(by=SYSTEM, organization=organization, name="ci", role=Role.ADMIN)
    actor = tokens.authenticate(token.reveal().decode(), "192.0.2.9")
    assert actor is not None
    assert (actor.kind, actor.id, actor.label, actor.address) == ("api_token", row.pk, "ci", "192.0.2.9")
    assert may(actor, Verb.KEY_MINT, Place(organization.pk))
    row.refresh_from_db()
    assert row.last_used_at is not None
    actions.revoke_token(row, by=SYSTEM)
    assert tokens.authenticate(token.reveal().decode()) is None
    assert not may(actor, Verb.KEY_MINT, Place(organization.pk))


def test_an_expired_token_is_nobody(db):
    row, token = actions.mint_token(
        by=SYSTEM, organization=factories.organization(), name="ci", expires_at=timezone.now() + timedelta(hours=1)
    )
    actor = tokens.authenticate(token.reveal().decode())
    assert actor is not None
    with change_set(SYSTEM):
        ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert tokens.authenticate(token.reveal().decode()) is None
    assert not may(actor, Verb.ORGANIZATION_VIEW, Place(row.organization_id))
    with pytest.raises(ValidationError, match="future"):
        actions.mint_token(by=SYSTEM, organization=row.organization, name="ci", expires_at=timezone.now())


def test_a_token_narrowed_to_verbs_can_do_no_others(db):
    organization = factories.organization()
    row, _ = actions.mint_token(
        by=SYSTEM, organization=organization, name="ci", role=Role.ADMIN, verbs=[Verb.KEY_VIEW, Verb.KEY_MINT]
    )
    actor = Actor.of_token(row.pk, row.name)
    allowed = {verb for verb in Verb if may(actor, verb, Place(organization.pk))}
    assert allowed == {Verb.KEY_VIEW, Verb.KEY_MINT}


def test_a_token_of_one_organization_is_nobody_in_another(db):
    row, _ = actions.mint_token(by=SYSTEM, organization=factories.organization(), name="ci", role=Role.OWNER)
    actor = Actor.of_token(row.pk, row.name)
    other = factories.organization()
    assert not any(may(actor, verb, Place(other.pk)) for verb in Verb)
    with pytest.raises(NoSuchObject):
        actions.update_organization(other, by=actor, name="x")


@pytest.mark.parametrize("minter_role", Role)
@pytest.mark.parametrize("wanted", Role)
def test_a_token_is_never_stronger_than_whoever_mints_it(db, minter_role, wanted):
    team = factories.team()
    organization = team.organization
    narrow = (Role.TEAM_ADMIN, Role.MEMBER)
    minter, _ = factories.member(organization, minter_role, team if minter_role in narrow else None)
    try:
        row, _ = actions.mint_token(
            by=minter, organization=organization, name="t", role=wanted, team=team if wanted in narrow else None
        )
    except (Forbidden, NoSuchObject):
        return
    token = Actor.of_token(row.pk, row.name)
    for place in (Place(organization.pk), Place(organization.pk, team.pk)):
        stronger = [verb for verb in Verb if may(token, verb, place) and not may(minter, verb, place)]
        assert stronger == []
    assert minter_role in (Role.OWNER, Role.ADMIN)
    assert wanted != Role.OWNER or minter_role == Role.OWNER


def test_a_narrowed_token_mints_no_wider_one(db):
    organization = factories.organization()
    verbs = {Verb.TOKEN_CHANGE, Verb.MEMBERSHIP_CHANGE, Verb.KEY_VIEW}
    row, _ = actions.mint_token(by=SYSTEM, organization=organization, name="a", role=Role.ADMIN, verbs=verbs)
    actor = Actor.of_token(row.pk, row.name)
    for wider in ([], [Verb.KEY_VIEW, Verb.KEY_MINT]):
        with pytest.raises(Forbidden):
            actions.mint_token(by=actor, organization=organization, name="b", role=Role.ADMIN, verbs=wider)
    actions.mint_token(by=actor, organization=organization, name="b", role=Role.ADMIN, verbs=[Verb.KEY_VIEW])


def test_a_token_is_stored_as_its_digest_only(db):
    row, token = actions.mint_token(by=SYSTEM, organization=factories.organization(), name="ci")
    text = token.reveal().decode()
    assert tokens.parse(text) == row.public_id
    assert text not in str(ApiToken.objects.filter(pk=row.pk).values().get())
    assert text[17:43] not in str(ApiToken.objects.filter(pk=row.pk).values().get())


def test_a_token_with_one_other_character_is_nobody(db):
    _, token = actions.mint_token(by=SYSTEM, organization=factories.organization(), name="ci")
    text = token.reveal().decode()
    for at in range(len(text)):
        other = "A" if text[at] != "A" else "B"
        assert tokens.authenticate(text[:at] + other + text[at + 1 :]) is None
    for near in ("", text + "0", text[:-1], text.lower(), " " + text, text + "\n"):
        assert tokens.authenticate(near) is None


def test_a_wellformed_token_that_nobody_minted_is_nobody(db):
    factories.organization()
    stranger, _ = tokens.new_token()
    assert tokens.parse(stranger.reveal().decode())
    assert tokens.authenticate(stranger.reveal().decode()) is None


@given(st.text(max_size=80))
def test_parsing_never_fails(text):
    assert tokens.parse(text) is None


def test_every_role_has_its_row_in_the_table():
    assert set(TABLE) == set(Role)
    assert Organization.scope.organization == "id"
