"""A provider refuses the organization's credential: engineers hear whom to ask, admins hear what it said, until it is
mended."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.contract.house import House, eventually
from tests.contract.requests import DIALECTS, ask, send

pytestmark = pytest.mark.processes

PROVIDERS = {
    "anthropic_messages": "anthropic",
    "openai_responses": "openai",
    "openai_chat": "openai",
    "gemini": "gemini",
}
CREDENTIALS = {name: f"sk-canary-{name}-0123456789abcdef" for name in ("anthropic", "openai", "gemini")}
NATIVE = ("invalid x-api-key", "Incorrect API key", "API key not valid")


@pytest.fixture
def house(build_house: Callable[..., House]) -> House:
    """Whose providers do not know the organization's credentials."""
    addresses = {"ANTHROPIC": "{simulator}", "OPENAI": "{simulator}/v1", "GEMINI": "{simulator}"}
    opened = build_house(
        settings={f"{name.upper()}_API_KEY": secret for name, secret in CREDENTIALS.items()}
        | {f"DEMO_{name}_BASE_URL": address for name, address in addresses.items()}
    )
    with opened.simulator() as simulator:
        simulator.post("/_sim/keys", json=dict.fromkeys(CREDENTIALS, "sk-another"))
    return opened


def providers(house: House) -> dict[str, dict[str, Any]]:
    with house.api() as api:
        return {each["name"]: each for each in api.get("providers").json()["data"]}


def alerts(house: House) -> list[dict[str, Any]]:
    with house.api() as api:
        found: list[dict[str, Any]] = api.get("alerts").json()["data"]
    return found


def test_engineers_and_admins_are_told_until_it_is_mended(house: House) -> None:
    organization = house.report["organization_id"]
    house.post("alert-rules", {"organization_id": organization, "name": "refused", "kind": "provider_refused"})

    for dialect in DIALECTS:
        name = PROVIDERS[dialect]
        for streaming in (False, True):
            with house.gateway() as client:
                answer = send(client, ask(dialect, streaming=streaming))
            assert answer.status_code == 502, answer.text
            assert answer.headers["x-should-retry"] == "false"
            assert f"the organization's key for '{name}' was refused; ask " in answer.text
            assert not [words for words in (*NATIVE, CREDENTIALS[name][:14]) if words in answer.text]
            request_id = answer.headers["x-langwatch-request-id"]
            [booked] = eventually("the request is booked", partial(house.booked, request_id))
            assert (booked["outcome"], booked["refusal_code"]) == ("provider_error", "provider_credential_refused")
            assert (booked["cost_nano"], booked["http_status"]) == (0, 502)

    for name, row in providers(house).items():
        assert row["refused_since"], name
        assert row["last_error"][:5] in ("401: ", "400: "), row["last_error"]
        assert CREDENTIALS[name][:14] not in row["last_error"]
        assert f'provider="{row["id"]}"' in house.metrics()
    told = eventually("every provider has its alert", lambda: len(alerts(house)) >= 3 and alerts(house))
    assert {(each["kind"], each["state"]) for each in told} == {("provider_refused", "open")}
    assert {each["subject"] for each in told} == {row["id"] for row in providers(house).values()}

    # What providers know again: one by a request, one by a new credential, one by a test.
    with house.simulator() as simulator:
        simulator.post("/_sim/keys", json=CREDENTIALS | {"openai": "sk-rotated-0123456789abcdef"})
    with house.gateway() as client:
        assert send(client, ask("anthropic_messages", streaming=True)).status_code == 200
    rows = providers(house)
    with house.api() as api:
        changed = api.patch(f"providers/{rows['openai']['id']}", json={"credential": "sk-rotated-0123456789abcdef"})
        assert changed.status_code == 200, changed.text
    assert house.post(f"providers/{rows['gemini']['id']}/test")["ok"]

    eventually("no provider refuses", lambda: not [row for row in providers(house).values() if row["refused_since"]])
    eventually("the alerts are over", lambda: {each["state"] for each in alerts(house)} == {"resolved"})
    assert len(alerts(house)) == 3
