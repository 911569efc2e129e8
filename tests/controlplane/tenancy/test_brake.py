"""The brake on guessing passwords."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.tenancy import brake
from controlplane.tenancy.brake import Brake
from controlplane.tenancy.models import LoginFailures

pytestmark = pytest.mark.django_db


def fail(account: str, address: str, times: int) -> None:
    for _ in range(times):
        Brake(account, address).failed()


def test_an_account_is_braked_from_whatever_address_its_password_is_guessed():
    for number in range(brake.PER_ACCOUNT):
        assert not Brake("ada", "192.0.2.1").is_on()
        Brake("Ada", f"198.51.100.{number}").failed()
    assert Brake("ada", "192.0.2.1").is_on()
    assert not Brake("grace", "192.0.2.1").is_on()


def test_an_address_is_braked_whatever_accounts_it_tries():
    for number in range(brake.PER_ADDRESS):
        assert not Brake("ada", "192.0.2.1").is_on()
        Brake(f"somebody-{number}", "192.0.2.1").failed()
    assert Brake("ada", "192.0.2.1").is_on()
    assert not Brake("ada", "192.0.2.2").is_on()


def test_the_right_password_forgives_the_account_and_not_the_address():
    fail("ada", "192.0.2.1", brake.PER_ACCOUNT - 1)
    Brake("ada", "192.0.2.1").succeeded()
    fail("ada", "192.0.2.1", 1)
    assert not Brake("ada", "192.0.2.9").is_on()
    fail("grace", "192.0.2.1", brake.PER_ADDRESS - brake.PER_ACCOUNT)
    assert Brake("ada", "192.0.2.1").is_on()


def test_what_ran_out_is_forgotten_and_leaves_no_rows():
    fail("ada", "192.0.2.1", brake.PER_ACCOUNT)
    LoginFailures.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert not Brake("ada", "192.0.2.1").is_on()
    fail("grace", "192.0.2.2", 1)
    assert sorted(LoginFailures.objects.values_list("failures", flat=True)) == [1, 1]


def test_the_table_names_nobody():
    """Neither can stand in a digest by chance, as three hexadecimal digits can."""
    fail("grace", "192.0.2.1", 1)
    keys = [row.key for row in LoginFailures.objects.all()]
    assert len(keys) == 2
    assert all("grace" not in key and "192.0" not in key for key in keys)
