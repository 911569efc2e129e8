"""Roles × verbs × where the object is, against a table that is written out here once more, by hand."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from controlplane.changes.actor import Actor, ActorKind
from controlplane.changes.config import ConfigModel
from controlplane.keys.models import KeySecret, ModelAlias, VirtualKey
from controlplane.providers.models import PriceList, PriceOverride, Provider
from controlplane.tenancy import actions
from controlplane.tenancy.models import ApiToken, Membership, Organization, Principal, Project, Role, Team
from controlplane.tenancy.permissions import (
    TABLE,
    Forbidden,
    NoSuchObject,
    Reach,
    Verb,
    grants_of,
    may,
    organizations_of,
    place_of,
    require,
)
from controlplane.tenancy.queries import for_actor
from controlplane.tenancy.scope import Place
from tests.controlplane import factories

READ = {
    *("organization.view", "team.view", "project.view", "principal.view", "membership.view", "key.view"),
    *(
        "group.view",
        "provider.view",
        "alias.view",
        "price.view",
        "budget.view",
        "alert.view",
        "usage.view",
        "fleet.view",
    ),
}
KEYS = {"key.view", "key.mint", "key.change", "key.rotate", "key.disable", "key.revoke"}
EVERYTHING = {verb.value for verb in Verb} - {"organization.create", "login.view", "login.change", "fleet.change"}
# role → where → verbs. "own": what belongs to the caller's principal, in the caller's team.
ALLOWED: dict[str, dict[str, set[str]]] = {
    "owner": {"organization": EVERYTHING},
    "admin": {"organization": EVERYTHING},
    "team_admin": {
        "organization": {"organization.view", "principal.view", "group.view", "provider.view"},
        "team": {
            "team.view",
            "team.change",
            "project.view",
            "project.change",
            "membership.view",
            "membership.change",
            "usage.view",
            *KEYS,
            *("budget.view", "budget.change", "budget.override"),
        },
    },
    "member": {
        "organization": {"organization.view"},
        "team": {"team.view", "project.view"},
        "own": {"principal.view", "usage.view", *KEYS} - {"key.change"},
    },
    "viewer": {"organization": READ},
    "auditor": {"organization": {*READ, "audit.view", "token.view"}},
}


def expected(role: str, verb: str, where: str) -> bool:
    levels = {
        "own": ("own", "team", "organization"),
        "team": ("team", "organization"),
        "organization": ("organization",),
    }
    return any(verb in ALLOWED[role].get(level, set()) for level in levels[where])


@pytest.fixture
def house(db):
    """An organization with two teams, somebody else's organization, and a caller's place in the first team."""
    team = factories.team()
    other_team = factories.team(team.organization)
    return team, other_team, factories.team()


@pytest.mark.parametrize("role", Role)
def test_role_by_verb_by_place(house, role):
    team, other_team, foreign_team = house
    narrow = role in (Role.TEAM_ADMIN, Role.MEMBER)
    actor, _ = factories.member(team.organization, role, team if narrow else None)
    places = {
        "own": Place(team.organization_id, team.pk, actor.id),
        "team": Place(team.organization_id, team.pk, "somebody else"),
        "organization": Place(team.organization_id),
    }
    in_the_other_team = Place(team.organization_id, other_team.pk, "somebody else")
    nobodys = [
        Place(foreign_team.organization_id, foreign_team.pk, actor.id),
        Place(""),
        Place("", team.pk, actor.id),
    ]
    for verb in Verb:
        for where, place in places.items():
            assert may(actor, verb, place) == expected(role, verb, where), (verb, where)
        assert may(actor, verb, in_the_other_team) == expected(role, verb, "organization"), verb
        assert not any(may(actor, verb, place) for place in nobodys), verb


def test_what_is_ones_own_in_another_team_is_out_of_a_members_reach(house):
    team, other_team, _ = house
    actor, _ = factories.member(team.organization, Role.MEMBER, team)
    assert not any(
        may(actor, verb, Place(team.organization_id, other_team.pk, actor.id))
        for verb in Verb
        if verb is not Verb.ORGANIZATION_VIEW
    )


@pytest.mark.parametrize("role", Role)
def test_the_table_holds_no_verb_that_this_page_does_not(role):
    wide = {verb.value for verb, reach in TABLE[role].items()}
    assert wide == set().union(*ALLOWED[role].values())
    assert Verb.ORGANIZATION_CREATE not in TABLE[role]


def test_an_operator_may_do_everything_and_an_inactive_one_nothing(db):
    place = Place(factories.organization().pk)
    login = factories.user(is_superuser=True)
    assert all(may(Actor.of_user(login), verb, place) for verb in Verb)
    login.is_active = False
    login.save()
    assert not any(may(Actor.of_user(login), verb, place) for verb in Verb)


@pytest.mark.parametrize("role", Role)
def test_a_deactivated_login_loses_its_role(db, role):
    team = factories.team()
    actor, membership = factories.member(team.organization, role, team if role == Role.TEAM_ADMIN else None)
    assert organizations_of(actor).exists()
    User.objects.filter(pk=membership.user_id).update(is_active=False)
    assert not any(may(actor, verb, Place(team.organization_id, team.pk, actor.id)) for verb in Verb)
    assert not organizations_of(actor).exists()


# ---- on rows ----


@pytest.fixture
def two_tenants(db):
    """One row of each kind in two organizations."""

    def tenant() -> dict[type[ConfigModel], ConfigModel]:
        project = factories.project()
        organization = project.organization
        key = factories.key(project)
        _, membership = factories.member(organization, Role.VIEWER)
        token, _ = actions.mint_token(by=factories.SYSTEM, organization=organization, name="t")
        return {
            Organization: organization,
            Team: project.team,
            Project: project,
            Principal: factories.principal(organization),
            Membership: membership,
            ApiToken: token,
            Provider: factories.provider(organization),
            VirtualKey: key,
            KeySecret: key.secrets.get(),
        }

    return tenant(), tenant()


VIEWS = {
    Organization: Verb.ORGANIZATION_VIEW,
    Team: Verb.TEAM_VIEW,
    Project: Verb.PROJECT_VIEW,
    Principal: Verb.PRINCIPAL_VIEW,
    Membership: Verb.MEMBERSHIP_VIEW,
    ApiToken: Verb.TOKEN_VIEW,
    Provider: Verb.PROVIDER_VIEW,
    VirtualKey: Verb.KEY_VIEW,
    KeySecret: Verb.KEY_VIEW,
    ModelAlias: Verb.ALIAS_VIEW,
    PriceOverride: Verb.PRICE_VIEW,
    PriceList: Verb.PRICE_VIEW,
}


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.VIEWER, Role.AUDITOR])
def test_a_row_of_another_organization_does_not_exist(two_tenants, role):
    mine, theirs = two_tenants
    actor, _ = factories.member(mine[Organization], role)
    for model, view in VIEWS.items():
        if model not in mine:
            continue
        rows = for_actor(actor, model.objects.all(), view)
        assert theirs[model].pk not in set(rows.values_list("pk", flat=True))
        if view in TABLE[role]:
            assert rows.get(pk=mine[model].pk) == mine[model]
    for verb in Verb:
        for row in theirs.values():
            with pytest.raises((NoSuchObject, Forbidden)) as refused:
                require(actor, verb, row)
            assert isinstance(refused.value, NoSuchObject)


def test_filter_and_check_agree_on_every_row_role_and_verb(two_tenants):
    mine, theirs = two_tenants
    team = mine[Team]
    actors = [
        factories.member(mine[Organization], role, team if role in (Role.TEAM_ADMIN, Role.MEMBER) else None)[0]
        for role in Role
    ]
    own_principal = factories.principal(
        mine[Organization], user=User.objects.get(pk=actors[list(Role).index(Role.MEMBER)].id)
    )
    own_key = factories.key(mine[Project], principal=own_principal)
    own_elsewhere = factories.key(factories.project(factories.team(mine[Organization])), principal=own_principal)
    rows = [*mine.values(), *theirs.values(), own_principal, own_key, own_elsewhere]
    for actor in actors:
        grants = grants_of(actor)
        for verb in Verb:
            listed = {
                model: set(for_actor(actor, model.objects.all(), verb).values_list("pk", flat=True)) for model in mine
            }
            for row in rows:
                allowed = any(grant.covers(verb, place_of(row)) for grant in grants)
                assert (row.pk in listed[type(row)]) == allowed, (actor, verb, row)


def test_what_is_seen_but_not_allowed_is_forbidden_and_says_who_may(db):
    key = factories.key()
    viewer, _ = factories.member(key.organization, Role.VIEWER)
    with pytest.raises(Forbidden, match=r"key\.revoke is not yours to do here; it takes: owner or admin or team admin"):
        require(viewer, Verb.KEY_REVOKE, key)


def test_a_member_sees_the_keys_of_their_own_principal_only(db):
    team = factories.team()
    project = factories.project(team)
    member, membership = factories.member(team.organization, Role.MEMBER, team)
    me = factories.principal(team.organization, user=membership.user)
    mine = factories.key(project, principal=me)
    factories.key(project)
    factories.key(project, principal=factories.principal(team.organization))
    assert list(for_actor(member, VirtualKey.objects.all(), Verb.KEY_VIEW)) == [mine]
    assert not for_actor(member, Provider.objects.all(), Verb.PROVIDER_VIEW).exists()


def test_a_principal_without_login_is_nobodys_own(db):
    """An actor with an empty id owns nothing, and neither does a row without a person."""
    team = factories.team()
    key = factories.key(factories.project(team), principal=factories.principal(team.organization))
    ghost = Actor(ActorKind.USER, "0", "ghost")
    assert not may(ghost, Verb.KEY_VIEW, key)
    token, _ = actions.mint_token(by=factories.SYSTEM, organization=team.organization, name="t", role=Role.MEMBER)
    assert not may(Actor.of_token(token.pk, "t"), Verb.KEY_VIEW, key)
    assert not may(Actor.system("x").__class__(ActorKind.SYSTEM, "x", "x"), Verb.KEY_VIEW, key)


def test_reaches_are_ordered():
    assert Reach.OWN < Reach.TEAM < Reach.ORGANIZATION
