"""Logins: whoever changes one leaves a mark without secrets, and who is switched off is out at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from controlplane.changes import audit
from controlplane.changes.actor import Actor
from controlplane.changes.models import AuditEvent
from controlplane.changes.queries import head
from controlplane.tenancy import logins
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden
from dataplane.core.secret import Secret
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db
GOOD, BETTER = "correct horse battery", "staple horse correct"


@pytest.fixture
def operator() -> User:
    return logins.create_login(by=SYSTEM, username="ada", password=Secret(GOOD), operator=True)


def events() -> list[tuple[str, str, str]]:
    rows = AuditEvent.objects.filter(target_kind="login").order_by("seq")
    return [(row.action, row.actor_label, row.target_label) for row in rows]


def client_of(login: User) -> Client:
    client = Client()
    client.force_login(login)
    return client


def inside(client: Client) -> bool:
    return client.get(reverse("admin:password_change")).status_code == 200


def test_each_verb_is_an_event_of_the_installation_that_says_what_differs_and_no_secret(operator: User):
    before = head().revision
    by = Actor.of_user(operator, "192.0.2.7")
    login = logins.create_login(by=by, username="grace", password=Secret(GOOD), email="g@example.com")
    logins.update_login(login, by=by, first_name="Grace", is_superuser=True)
    logins.update_login(login, by=by, first_name="Grace")
    logins.set_password(login, by=by, password=Secret(BETTER))
    logins.set_password(login, by=by, password=None)
    logins.deactivate_login(login, by=by)
    logins.deactivate_login(login, by=by)
    logins.activate_login(login, by=by)
    rows = AuditEvent.objects.filter(target_kind="login", target_id=str(login.pk)).order_by("seq")
    assert [row.action for row in rows] == [
        "login.created", "login.updated", "login.password_set", "login.password_set", "login.deactivated",
        "login.activated",
    ]  # fmt: skip
    assert {(row.actor_label, row.address, row.organization_id) for row in rows} == {("ada", "192.0.2.7", "")}
    assert rows[0].after["email"] == "g@example.com"
    assert (rows[1].before, rows[1].after) == (
        {"first_name": "", "is_superuser": False},
        {"first_name": "Grace", "is_superuser": True},
    )
    assert [row.details for row in rows[2:4]] == [{"usable": True}, {"usable": False}]
    said = json.dumps(list(rows.values("before", "after", "details")))
    for secret in (GOOD, BETTER, "scrypt", login.password):
        assert secret not in said
    assert audit.verify("") is None
    assert head().revision == before  # pods know nothing of logins


def test_logins_are_made_and_changed_by_operators_only(operator: User):
    owner, _ = factories.member(factories.organization(), Role.OWNER)
    for act in (
        lambda: logins.create_login(by=owner, username="x", password=None, operator=True),
        lambda: logins.update_login(operator, by=owner, email="x@example.com"),
        lambda: logins.deactivate_login(operator, by=owner),
        lambda: logins.activate_login(operator, by=owner),
        lambda: logins.set_password(operator, by=owner, password=Secret(BETTER)),
    ):
        with pytest.raises(Forbidden, match="the operator"):
            act()
    logins.set_password(User.objects.get(pk=owner.id), by=owner, password=Secret(BETTER))
    assert User.objects.get(pk=owner.id).check_password(BETTER)


@pytest.mark.parametrize("password", ["short", "password12345", "12345678901"])
def test_a_weak_password_is_refused_and_leaves_nothing(operator: User, password: str):
    with pytest.raises(ValidationError) as refused:
        logins.create_login(by=SYSTEM, username="grace", password=Secret(password))
    assert "password" in refused.value.message_dict
    with pytest.raises(ValidationError):
        logins.set_password(operator, by=SYSTEM, password=Secret(password))
    assert User.objects.get().check_password(GOOD)
    assert [action for action, _, _ in events()] == ["login.created"]


@pytest.mark.parametrize("field", ["password", "is_active", "is_staff", "last_login", "nonsense"])
def test_what_is_not_offered_cannot_be_set(operator: User, field: str):
    with pytest.raises(ValidationError, match="cannot be set"):
        logins.update_login(operator, by=SYSTEM, **{field: "x"})


def test_the_last_operator_stays_one(operator: User):
    for act in (
        lambda: logins.deactivate_login(operator, by=SYSTEM),
        lambda: logins.update_login(operator, by=SYSTEM, is_superuser=False),
        lambda: logins.set_password(operator, by=SYSTEM, password=None),
    ):
        with pytest.raises(ValidationError, match="last operator"):
            act()
    stored = User.objects.get()
    assert (stored.is_active, stored.is_superuser, stored.has_usable_password()) == (True, True, True)
    logins.create_login(by=SYSTEM, username="grace", password=Secret(GOOD), operator=True)
    logins.deactivate_login(operator, by=SYSTEM)
    assert not User.objects.get(username="ada").is_active


def test_who_is_switched_off_is_out_and_stays_out_when_switched_on_again(operator: User):
    grace = logins.create_login(by=SYSTEM, username="grace", password=Secret(GOOD), operator=True)
    hers, second, mine = client_of(grace), client_of(grace), client_of(operator)
    assert inside(hers)
    assert Session.objects.count() == 3
    logins.deactivate_login(grace, by=SYSTEM)
    assert Session.objects.count() == 1
    assert (inside(hers), inside(second), inside(mine)) == (False, False, True)
    logins.activate_login(grace, by=SYSTEM)
    assert (inside(hers), inside(second)) == (False, False)
    assert inside(client_of(grace))


def test_a_new_password_ends_the_sessions_of_the_old_one(operator: User):
    client = client_of(operator)
    assert inside(client)
    logins.set_password(operator, by=SYSTEM, password=Secret(BETTER))
    assert not inside(client)


# ---- the console's pages ----


def post(client: Client, page: str, *args: object, **fields: Any) -> Any:
    answer = client.post(reverse(f"admin:{page}", args=args), fields)
    assert answer.status_code == 302, answer.content.decode()
    return answer


def test_the_pages_of_logins_write_through_the_verbs(operator: User):
    client = client_of(operator)
    post(
        client, "auth_user_add", username="grace", usable_password="true",
        password1=GOOD, password2=GOOD,
    )  # fmt: skip
    grace = User.objects.get(username="grace")
    assert grace.check_password(GOOD)
    fields = {"username": "grace", "first_name": "Grace", "last_name": "", "email": "g@example.com"}
    post(client, "auth_user_change", grace.pk, **fields, is_active="on")
    post(
        client, "auth_user_password_change", grace.pk, usable_password="true",
        password1=BETTER, password2=BETTER, **{"set-password": "Change"},
    )  # fmt: skip
    hers = client_of(User.objects.get(username="grace"))
    post(client, "auth_user_change", grace.pk, **fields)
    assert not inside(hers)
    grace.refresh_from_db()
    assert (grace.check_password(BETTER), grace.is_active, grace.email) == (True, False, "g@example.com")
    assert [event for event in events() if event[2] == "grace"] == [
        ("login.created", "ada", "grace"),
        ("login.updated", "ada", "grace"),
        ("login.password_set", "ada", "grace"),
        ("login.deactivated", "ada", "grace"),
    ]
    assert client.get(reverse("admin:auth_user_history", args=[grace.pk])).status_code == 302


def test_the_page_says_why_the_last_operator_stays(operator: User):
    client = client_of(operator)
    answer = client.post(reverse("admin:auth_user_change", args=[operator.pk]), {"username": "ada", "is_active": "on"})
    assert "last operator" in answer.content.decode()
    operator.refresh_from_db()
    assert operator.is_superuser


def test_ones_own_password_is_audited_and_ends_ones_other_sessions(operator: User):
    here, elsewhere = client_of(operator), client_of(operator)
    answer = here.post(
        reverse("admin:password_change"),
        {"old_password": GOOD, "new_password1": BETTER, "new_password2": BETTER},
    )
    assert answer.status_code == 302
    assert (inside(here), inside(elsewhere)) == (True, False)
    assert events()[-1] == ("login.password_set", "ada", "ada")
