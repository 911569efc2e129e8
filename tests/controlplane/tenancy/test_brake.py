"""The brake on guessing passwords."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.tenancy import brake
from controlplane.tenancy.brake import Brake, forget, new_browser
from controlplane.tenancy.models import LoginFailures, LoginPlace

pytestmark = pytest.mark.django_db


ADAS, ELSEWHERE = "192.0.2.1", "198.51.100.9"


def fail(account: str, address: str, times: int, browser: str = "") -> None:
    for _ in range(times):
        attempt(account, address, browser).failed()


def attempt(account: str, address: str, browser: str = "") -> Brake:
    """In a new browser unless one is named."""
    return Brake(account, address, browser or new_browser())


def test_an_account_is_braked_from_whatever_address_its_password_is_guessed():
    for number in range(brake.PER_ACCOUNT):
        assert not attempt("ada", "192.0.2.1").is_on()
        attempt("Ada", f"198.51.100.{number}").failed()
    assert attempt("ada", "192.0.2.1").is_on()
    assert not attempt("grace", "192.0.2.1").is_on()


def test_an_address_is_braked_whatever_accounts_it_tries():
    for number in range(brake.PER_ADDRESS):
        assert not attempt("ada", "192.0.2.1").is_on()
        attempt(f"somebody-{number}", "192.0.2.1").failed()
    assert attempt("ada", "192.0.2.1").is_on()
    assert not attempt("ada", "192.0.2.2").is_on()


def test_the_right_password_forgives_the_account_and_not_the_address():
    fail("ada", "192.0.2.1", brake.PER_ACCOUNT - 1)
    attempt("ada", "192.0.2.1").succeeded()
    fail("ada", "192.0.2.1", 1)
    assert not attempt("ada", "192.0.2.9").is_on()
    fail("grace", "192.0.2.1", brake.PER_ADDRESS - brake.PER_ACCOUNT)
    assert attempt("ada", "192.0.2.1").is_on()


def test_what_ran_out_is_forgotten_and_leaves_no_rows():
    fail("ada", "192.0.2.1", brake.PER_ACCOUNT)
    LoginFailures.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert not attempt("ada", "192.0.2.1").is_on()
    fail("grace", "192.0.2.2", 1)
    assert sorted(LoginFailures.objects.values_list("failures", flat=True)) == [1, 1]


def test_the_table_names_nobody():
    """Neither can stand in a digest by chance, as three hexadecimal digits can."""
    fail("grace", "192.0.2.1", 1)
    keys = [row.key for row in LoginFailures.objects.all()]
    assert len(keys) == 2
    assert all("grace" not in key and "192.0" not in key for key in keys)


# ---- where the password was right before ----


def test_strangers_who_guess_do_not_lock_the_owner_out_where_the_password_was_right():
    attempt("ada", ADAS, "her-browser").succeeded()
    fail("ada", ELSEWHERE, brake.PER_ACCOUNT)
    assert attempt("ada", ELSEWHERE).is_on()
    assert not attempt("Ada", ADAS).is_on(), "her address, another browser"
    assert not attempt("ada", "203.0.113.5", "her-browser").is_on(), "her browser, on a journey"
    assert attempt("ada", "203.0.113.5").is_on()
    assert attempt("grace", ADAS, "her-browser")._limits.keys() != attempt("ada", ADAS, "her-browser")._limits.keys()


def test_the_right_password_there_does_not_give_strangers_new_guesses():
    attempt("ada", ADAS, "her-browser").succeeded()
    fail("ada", ELSEWHERE, brake.PER_ACCOUNT)
    attempt("ada", ADAS, "her-browser").succeeded()
    assert attempt("ada", ELSEWHERE).is_on()


def test_guessing_from_there_is_braked_as_well_and_brakes_nobody_else():
    attempt("ada", ADAS, "her-browser").succeeded()
    fail("ada", "203.0.113.5", brake.PER_ACCOUNT, "her-browser")
    assert attempt("ada", "203.0.113.5", "her-browser").is_on()
    fail("ada", ADAS, brake.PER_ACCOUNT)
    assert attempt("ada", ADAS).is_on()
    assert not attempt("ada", ELSEWHERE).is_on()


def test_an_address_stays_braked_for_everybody_but_a_browser_that_was_right():
    attempt("ada", ADAS, "her-browser").succeeded()
    for number in range(brake.PER_ADDRESS):
        fail(f"somebody-{number}", ADAS, 1)
    assert attempt("ada", ADAS).is_on()
    assert not attempt("ada", ADAS, "her-browser").is_on()


def test_a_place_counts_for_one_account():
    attempt("mallory", ADAS, "shared-browser").succeeded()
    fail("ada", ELSEWHERE, brake.PER_ACCOUNT)
    assert attempt("ada", ADAS, "shared-browser").is_on()


def test_a_new_password_forgets_where_the_old_one_was_right_and_who_guessed_at_it():
    attempt("Ada", ADAS, "her-browser").succeeded()
    attempt("grace", ADAS, "her-browser").succeeded()
    fail("ada", ELSEWHERE, brake.PER_ACCOUNT)
    forget("ADA")
    assert not attempt("ada", ELSEWHERE).is_on()
    fail("ada", ELSEWHERE, brake.PER_ACCOUNT)
    assert attempt("ada", ADAS, "her-browser").is_on()
    assert LoginPlace.objects.count() == 2, "grace's"


def test_a_place_is_forgotten_after_a_while_and_leaves_no_row():
    attempt("ada", ADAS, "her-browser").succeeded()
    LoginPlace.objects.update(until=timezone.now() - timedelta(seconds=1))
    fail("ada", ELSEWHERE, brake.PER_ACCOUNT)
    assert attempt("ada", ADAS, "her-browser").is_on()
    attempt("grace", "192.0.2.8", "another").succeeded()
    assert LoginPlace.objects.count() == 2
    attempt("grace", "192.0.2.8", "another").succeeded()
    assert LoginPlace.objects.count() == 2


def test_nobody_learns_from_the_work_whether_there_is_such_an_account(django_assert_num_queries):
    """One statement for places, one for failures, whoever is asked for."""
    attempt("ada", ADAS, "her-browser").succeeded()
    for account, address, browser in (("ada", ADAS, "her-browser"), ("ada", ADAS, ""), ("nobody", ELSEWHERE, "")):
        with django_assert_num_queries(2):
            attempt(account, address, browser).is_on()
