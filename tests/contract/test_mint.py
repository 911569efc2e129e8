"""A minted key works at once although pushes are asynchronous; an unknown one costs next to nothing."""

from __future__ import annotations

import re

import pytest

from dataplane.core import keys
from tests.contract.house import House
from tests.contract.requests import ask, send

pytestmark = pytest.mark.processes


def test_the_first_request_of_a_new_key_works_on_every_pod(house: House) -> None:
    for round_number in range(10):
        token = house.mint()["token"]
        for pod in range(2):
            with house.gateway((pod + round_number) % 2, key=token) as client:
                answer = send(client, ask("openai_chat", streaming=False))
            assert answer.status_code == 200, answer.text


def lookups(house: House, pod: int) -> float:
    """Questions that left the pod: those answered from its own memory are not among them."""
    line = r'^aigateway_key_lookups_total\{answer="(?:known|unknown|failed)"\} ([0-9.e+]+)$'
    asked = re.findall(line, house.metrics(pod), re.MULTILINE)
    return sum(float(value) for value in asked)


def test_an_unknown_key_is_looked_up_once(house: House) -> None:
    stranger = keys.mint("live", lambda count: bytes(range(7, 7 + count))).token.reveal().decode()
    before = lookups(house, 0)
    with house.gateway(0, key=stranger) as client:
        statuses = {send(client, ask("openai_chat", streaming=False)).status_code for _ in range(50)}
    assert statuses == {401}
    assert lookups(house, 0) - before == 1


def test_a_malformed_key_is_never_looked_up(house: House) -> None:
    before = lookups(house, 0)
    with house.gateway(0, key=house.virtual_key[:-1] + ("0" if house.virtual_key[-1] != "0" else "1")) as client:
        assert send(client, ask("openai_chat", streaming=False)).status_code == 401
    assert lookups(house, 0) == before
