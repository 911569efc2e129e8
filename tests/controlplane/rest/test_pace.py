"""How often one may call, and how often one may be wrong."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from controlplane.rest import pace
from controlplane.rest.pace import REMEMBERED, Pace
from controlplane.tenancy import brake
from controlplane.tenancy.models import LoginFailures, Organization
from controlplane.tenancy.tokens import new_token
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(token: str, address: str = "192.0.2.1") -> Any:
    return Client().get("/api/v1/teams", headers={"Authorization": f"Bearer {token}"}, REMOTE_ADDR=address)


def wrong() -> str:
    return new_token()[0].reveal().decode()


def test_whoever_guesses_tokens_is_told_to_wait_and_whoever_has_one_is_not(api: Api, organization: Organization):
    for number in range(brake.TOKENS_PER_ADDRESS):
        assert ask("lw_at_nonsense" if number % 2 else wrong()).status_code == 401
    refused = ask(wrong())
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    good = api.headers["Authorization"].removeprefix("Bearer ")
    assert ask(good).status_code == 200
    assert ask(wrong(), "192.0.2.2").status_code == 401


def test_a_flood_of_wrong_tokens_writes_nothing_more():
    for _ in range(brake.TOKENS_PER_ADDRESS):
        ask(wrong())
    before = list(LoginFailures.objects.values())
    for _ in range(5):
        assert ask(wrong()).status_code == 429
    assert list(LoginFailures.objects.values()) == before
    assert "192.0.2.1" not in str(before)


def test_all_addresses_of_one_ipv6_network_are_one():
    for number in range(brake.TOKENS_PER_ADDRESS):
        ask(wrong(), f"2001:db8::{number:x}")
    assert ask(wrong(), "2001:db8::ffff:1").status_code == 429
    assert ask(wrong(), "2001:db8:0:1::1").status_code == 401
    assert LoginFailures.objects.count() == 2


def test_too_many_calls_are_refused_with_the_time_to_wait(
    api: Api, organization: Organization, monkeypatch: pytest.MonkeyPatch
):
    clock = Clock()
    limited = Pace(6, clock)
    monkeypatch.setattr(pace, "_pace", lambda: limited)
    other = Api(organization)
    assert [api.get("teams").status_code for _ in range(7)] == [200] * 6 + [429]
    refused = api.get("teams")
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) == 10
    assert other.get("teams").status_code == 200
    clock.now = 10.0
    assert [api.get("teams").status_code for _ in range(2)] == [200, 429]


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=200))
def test_never_more_than_a_burst_and_what_has_grown_since(per_minute: int, pauses: list[float]):
    clock = Clock()
    limited, taken = Pace(per_minute, clock), 0
    for pause in pauses:
        clock.now += pause
        waits = limited.wait("one")
        taken += not waits
        assert waits <= 60 / per_minute + 1e-6
        assert taken <= per_minute + clock.now * per_minute / 60 + 1e-6


def test_without_a_limit_nothing_is_remembered_and_with_one_not_everybody():
    free, limited = Pace(0), Pace(1)
    for number in range(REMEMBERED + 10):
        assert free.wait(str(number)) == limited.wait(str(number)) == 0.0
    assert (len(free._buckets), len(limited._buckets)) == (0, REMEMBERED)
