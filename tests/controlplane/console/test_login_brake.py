"""The log-in page while somebody else guesses at the password."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client
from django.urls import reverse

from controlplane.console.logins.browser import cookie_name
from controlplane.tenancy import brake, logins
from controlplane.tenancy.models import LoginPlace
from dataplane.core.secret import Secret
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db
RIGHT, NEW = "correct horse battery", "staple horse correct"
BRAKED = "Too many wrong attempts"


@pytest.fixture
def ada(settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return logins.create_login(by=SYSTEM, username="ada", password=Secret(RIGHT), operator=True)


def log_in(client: Client, password: str = RIGHT, account: str = "ada") -> Any:
    return client.post(reverse("admin:login"), {"username": account, "password": password})


def attack(account: str = "ada") -> None:
    for number in range(brake.PER_ACCOUNT):
        log_in(Client(REMOTE_ADDR=f"198.51.100.{number}"), "wrong", account)


def test_who_was_right_before_logs_in_while_others_guess(ada: User):
    hers = Client(REMOTE_ADDR="192.0.2.1")
    given = log_in(hers).cookies[cookie_name()]
    assert given["httponly"]
    assert given["samesite"] == "Strict"
    assert given["path"] == "/"
    assert "ada" not in given.value
    attack()
    stranger = log_in(Client(REMOTE_ADDR="203.0.113.7"))
    assert stranger.status_code == 200
    assert BRAKED in stranger.content.decode()
    assert cookie_name() not in stranger.cookies
    for client in (hers, Client(REMOTE_ADDR="192.0.2.1")):  # her browser; another one at her address
        assert log_in(client).status_code == 302
    hers.defaults["REMOTE_ADDR"] = "203.0.113.8"  # her browser on a journey
    assert log_in(hers).status_code == 302
    assert log_in(Client(REMOTE_ADDR="203.0.113.7")).status_code == 200


def test_the_browser_keeps_its_name_and_a_wrong_password_gives_none(ada: User):
    client = Client(REMOTE_ADDR="192.0.2.1")
    assert cookie_name() not in log_in(client, "wrong").cookies
    assert cookie_name() not in client.get(reverse("admin:login")).cookies
    first = signing.loads(log_in(client).cookies[cookie_name()].value, salt="controlplane.console.logins.browser")
    again = signing.loads(log_in(client).cookies[cookie_name()].value, salt="controlplane.console.logins.browser")
    assert first == again
    assert LoginPlace.objects.count() == 2


@pytest.mark.parametrize(
    "forged",
    ["", "x", "a" * 32, "a" * 5000, signing.dumps("a" * 32), signing.dumps({"a": 1})],
    ids=["empty", "short", "bare", "long", "signed", "signed, no text"],  # what is signed holds the second
)
def test_a_cookie_that_is_not_ours_is_none(ada: User, forged: str):
    log_in(Client(REMOTE_ADDR="192.0.2.1"))
    attack()
    client = Client(REMOTE_ADDR="203.0.113.7")
    client.cookies[cookie_name()] = forged
    assert BRAKED in log_in(client).content.decode()


def test_strangers_read_the_same_whether_there_is_such_an_account_and_whether_the_password_is_right(ada: User):
    log_in(Client(REMOTE_ADDR="192.0.2.1"))
    pages = set()
    for account, password in (("ada", RIGHT), ("ada", "wrong"), ("nobody", "wrong")):
        attack(account)
        answer = log_in(Client(REMOTE_ADDR="203.0.113.7"), password, account).content.decode()
        words = answer[answer.index(BRAKED) :]
        pages.add(words[: words.index("<")])
    assert len(pages) == 1


def test_a_new_password_ends_the_brake_and_forgets_the_places(ada: User):
    hers = Client(REMOTE_ADDR="192.0.2.1")
    log_in(hers)
    attack()
    logins.set_password(ada, by=SYSTEM, password=Secret(NEW))
    assert not LoginPlace.objects.exists()
    assert log_in(Client(REMOTE_ADDR="203.0.113.7"), NEW).status_code == 302


def test_a_login_that_is_switched_off_or_renamed_leaves_no_place(ada: User):
    grace = logins.create_login(by=SYSTEM, username="grace", password=Secret(RIGHT), operator=True)
    for name in ("ada", "grace"):
        log_in(Client(REMOTE_ADDR="192.0.2.1"), account=name)
    assert LoginPlace.objects.count() == 4
    logins.update_login(ada, by=SYSTEM, username="ada.l")
    assert LoginPlace.objects.count() == 2
    logins.deactivate_login(grace, by=SYSTEM)
    assert not LoginPlace.objects.exists()
