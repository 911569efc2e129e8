"""A form that makes a secret is sent once: reloads, double clicks and two browsers' worth of POSTs make one."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse, reverse_lazy

from controlplane.console import form_token as form_tokens
from controlplane.console.addresses import page_of
from controlplane.keys import actions
from controlplane.keys.models import KeySecret, VirtualKey
from controlplane.rest.models import IdempotentAnswer
from controlplane.tenancy.actions import end_membership, grant_role
from controlplane.tenancy.models import ApiToken, Role
from tests.controlplane import factories as make
from tests.controlplane.console.reading import form_token, text_of
from tests.controlplane.console.world import pod

pytestmark = pytest.mark.django_db
SECRET = re.compile(r"lw_(?:vk_live|at)_[0-9A-Z]{42}")
ADD_KEY = reverse_lazy("admin:keys_virtualkey_add")
ADD_TOKEN = reverse_lazy("admin:tenancy_apitoken_add")


def client_of(login: User) -> Client:
    client = Client()
    client.force_login(login)
    return client


@pytest.fixture
def admin() -> Client:
    return client_of(make.user(is_superuser=True, username="ada"))


def key_form(**values: str) -> dict[str, str]:
    return {
        "name": "laptop",
        "owner_scope": "project",
        "key_environment": "live",
        "project": make.project().pk,
    } | values


def secrets_in(answer: Any) -> set[str]:
    return set(SECRET.findall(text_of(answer)))


def test_reloading_the_page_that_shows_a_key_leads_to_the_key_and_mints_no_other(admin: Client):
    said = key_form() | form_token(admin, str(ADD_KEY))
    first = admin.post(ADD_KEY, said)
    (secret,) = secrets_in(first)
    key = VirtualKey.objects.get()
    for _ in range(2):
        again = admin.post(ADD_KEY, said)
        assert again.headers["Location"] == page_of(key)
        shown = text_of(admin.get(again.headers["Location"]))
        assert "This form was sent before, and “laptop” has what it made then." in shown
        assert not secrets_in(again) | set(SECRET.findall(shown))
    assert VirtualKey.objects.count() == KeySecret.objects.count() == 1
    kept = str(list(IdempotentAnswer.objects.values()))
    assert key.pk in kept
    assert secret[-32:] not in kept


def test_the_second_sending_is_told_of_the_first_even_where_its_words_would_be_refused_now(admin: Client):
    said = key_form(external_id="hr-1") | form_token(admin, str(ADD_KEY))
    admin.post(ADD_KEY, said)
    assert admin.post(ADD_KEY, said).headers["Location"] == page_of(VirtualKey.objects.get())


def test_reloading_the_page_that_shows_a_new_secret_rotates_no_further(admin: Client):
    key = make.key()
    said = {"grace": "24"} | form_token(admin, page_of(key, "rotate"))
    assert len(secrets_in(admin.post(page_of(key, "rotate"), said))) == 1
    again = admin.post(page_of(key, "rotate"), said)
    assert again.headers["Location"] == page_of(key)
    assert "The secret was shown once" in text_of(admin.get(page_of(key)))
    assert key.secrets.count() == 2
    # A rotation that is meant takes a form of its own.
    said |= form_token(admin, page_of(key, "rotate"))
    assert len(secrets_in(admin.post(page_of(key, "rotate"), said))) == 1
    assert key.secrets.count() == 3


def test_reloading_the_page_that_shows_an_api_token_mints_no_other(admin: Client):
    said = {"organization": make.organization().pk, "name": "ci", "role": "viewer"} | form_token(admin, str(ADD_TOKEN))
    assert len(secrets_in(admin.post(ADD_TOKEN, said))) == 1
    assert admin.post(ADD_TOKEN, said).headers["Location"] == page_of(ApiToken.objects.get())
    assert ApiToken.objects.count() == 1


def test_a_form_that_was_refused_is_sent_again_with_its_words_put_right(admin: Client):
    said = key_form(expires_at_0="2020-01-01", expires_at_1="00:00") | form_token(admin, str(ADD_KEY))
    assert "must lie in the future" in text_of(admin.post(ADD_KEY, said))
    assert not IdempotentAnswer.objects.exists()
    assert len(secrets_in(admin.post(ADD_KEY, said | {"expires_at_0": "2099-01-01"}))) == 1


def test_a_form_without_a_token_makes_nothing_and_is_shown_again_with_one(admin: Client):
    for token in ({}, {"form_token": "made up"}, form_token(admin, str(ADD_TOKEN))):
        answer = admin.post(ADD_KEY, key_form() | token)
        assert "made nothing. Send it again." in text_of(answer)
        assert 'name="form_token" value="' in text_of(answer)
    key = make.key()
    assert "made nothing. Send it again." in text_of(admin.post(page_of(key, "rotate"), {"grace": "0"}))
    assert (VirtualKey.objects.count(), key.secrets.count()) == (1, 1)


def test_a_token_is_dead_before_it_is_forgotten_that_it_was_spent(admin: Client, monkeypatch: pytest.MonkeyPatch):
    said = key_form() | form_token(admin, str(ADD_KEY))
    monkeypatch.setattr(form_tokens, "LIVES", timedelta(seconds=-1))
    assert "waited too long" in text_of(admin.post(ADD_KEY, said))
    assert not VirtualKey.objects.exists()


def test_nobody_learns_from_another_ones_form(admin: Client):
    said = key_form() | form_token(admin, str(ADD_KEY))
    admin.post(ADD_KEY, said)
    organization = make.organization()
    actor, _ = make.member(organization, Role.OWNER)
    answer = client_of(User.objects.get(pk=actor.id)).post(ADD_KEY, said)
    assert answer.status_code == 200
    assert "laptop" not in text_of(answer).replace('value="laptop"', "")
    assert VirtualKey.objects.count() == 1


def test_what_was_made_may_be_gone_from_the_persons_sight(admin: Client):
    organization = make.organization()
    make.member(organization, Role.OWNER)
    actor, membership = make.member(organization, Role.OWNER)
    owner = client_of(User.objects.get(pk=actor.id))
    said = key_form(project=make.project(make.team(organization)).pk) | form_token(owner, str(ADD_KEY))
    owner.post(ADD_KEY, said)
    end_membership(membership, by=make.SYSTEM)
    user = User.objects.get(pk=actor.id)
    grant_role(by=make.SYSTEM, user=user, organization=make.organization(), role=Role.OWNER)
    again = owner.post(ADD_KEY, said)
    assert again.headers["Location"] == reverse("admin:keys_virtualkey_changelist")
    assert "is gone; nothing was made now" in text_of(owner.get(again.headers["Location"]))


@pytest.mark.django_db(transaction=True)
def test_a_double_click_mints_one(in_threads: Callable[..., list[Any]]):
    login = make.user(is_superuser=True)
    first = client_of(login)
    said = key_form() | form_token(first, str(ADD_KEY))
    clients = [client_of(login) for _ in range(3)]
    answers = in_threads(lambda client: client.post(ADD_KEY, said), clients)
    key = VirtualKey.objects.get()
    assert KeySecret.objects.count() == 1
    assert sorted(answer.status_code for answer in answers) == [200, 302, 302]
    (shown,) = set().union(*map(secrets_in, answers))
    assert key.public_id in shown
    assert {answer.headers.get("Location", page_of(key)) for answer in answers} == {page_of(key)}


@pytest.mark.django_db(transaction=True)
def test_a_double_click_rotates_once(in_threads: Callable[..., list[Any]]):
    key, login = make.key(), make.user(is_superuser=True)
    said = {"grace": "24"} | form_token(client_of(login), page_of(key, "rotate"))
    answers = in_threads(lambda client: client.post(page_of(key, "rotate"), said), [client_of(login) for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [200, 302, 302]
    assert key.secrets.count() == 2


def test_a_failure_after_the_mint_leaves_neither_key_nor_spent_form(admin: Client, monkeypatch: pytest.MonkeyPatch):
    mint = actions.mint

    def fails(**fields: Any) -> Any:
        mint(**fields)
        raise RuntimeError("the machine went down")

    said = key_form() | form_token(admin, str(ADD_KEY))
    with monkeypatch.context() as broken:
        broken.setattr(actions, "mint", fails)
        with pytest.raises(RuntimeError, match="the machine went down"):
            admin.post(ADD_KEY, said)
    assert not VirtualKey.objects.exists()
    assert len(secrets_in(admin.post(ADD_KEY, said))) == 1


def test_a_key_is_said_to_work_where_it_does(admin: Client):
    def mint() -> str:
        return text_of(admin.post(ADD_KEY, key_form() | form_token(admin, str(ADD_KEY))))

    shown = mint()
    assert "“laptop” is minted<" in shown
    assert "No pod is ready now" in shown
    pod(name="drains", state="draining")
    pod(name="left", connected=False)
    pod(name="refuses", nack_revision=7)
    assert "works now" not in mint()
    pod(name="gw-1")
    shown = mint()
    assert "“laptop” is minted and works now" in shown
    assert "Pods that serve it: gw-1." in shown
