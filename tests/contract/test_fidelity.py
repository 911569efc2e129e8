"""The provider gets what the client sent, the client what the provider sent: hashes compared."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.contract.house import House, eventually
from tests.contract.requests import Ask, ask, every_ask, send

pytestmark = pytest.mark.processes

OURS = (
    "x-langwatch-request-id",
    "x-langwatch-trace-id",
    "x-langwatch-span-id",
    "traceparent",
    "x-langwatch-gateway-version",
)


def record_of(house: House, provider_request_id: str) -> dict[str, Any]:
    with house.simulator() as simulator:
        records = simulator.get("/_sim/requests").json()
    return next(record for record in records if record["request_id"] == provider_request_id)


def provider_request_id(answer_headers: dict[str, str]) -> str:
    return answer_headers.get("request-id") or answer_headers["x-request-id"]


@pytest.mark.parametrize("asked", list(every_ask()), ids=lambda asked: asked.name)
@pytest.mark.parametrize("chunk", ["", "1"], ids=["as-sent", "byte-by-byte"])
def test_bodies_pass_unchanged_both_ways_and_are_attributed_and_priced(house: House, asked: Ask, chunk: str) -> None:
    with house.gateway() as client:
        answer = send(client, asked, **({"x_sim_chunk": chunk} if chunk else {}))
    assert answer.status_code == 200, answer.text
    seen = record_of(house, provider_request_id(dict(answer.headers)))
    assert seen["body_sha256"] == hashlib.sha256(asked.body).hexdigest()
    assert seen["sent_sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert seen["virtual_key_seen"] is False
    for name in OURS:
        assert answer.headers[name]

    request_id = answer.headers["x-langwatch-request-id"]
    (booked,) = eventually("the usage record arrives", lambda: house.booked(request_id))
    assert booked["dialect"] == asked.dialect
    assert booked["outcome"] == "ok"
    assert booked["source"] == "provider"
    assert {unit: count for unit, count in booked["units"].items() if count} == {
        unit: count for unit, count in seen["usage"].items() if count
    }
    assert booked["priced"] is True
    assert booked["cost_nano"] > 0
    assert booked["project_id"] == house.report["project_id"]


@pytest.mark.parametrize(
    "asked", [each for each in every_ask() if each.dialect != "gemini"], ids=lambda asked: asked.name
)
def test_an_alias_changes_the_model_and_not_one_byte_more(house: House, asked: Ask) -> None:
    real = json.loads(asked.body)["model"]
    alias = f"team-{asked.name}"
    house.post("model-aliases", {"organization_id": house.report["organization_id"], "alias": alias, "model": real})
    renamed = asked.body.replace(json.dumps(real).encode(), json.dumps(alias).encode(), 1)

    def served() -> object:
        with house.gateway() as client:
            answer = send(client, Ask(asked.dialect, asked.streaming, asked.path, renamed, asked.headers))
        return answer if answer.status_code == 200 else None

    answer = eventually("the alias reaches the pod", served)
    seen = record_of(house, provider_request_id(dict(answer.headers)))
    assert seen["body_sha256"] == hashlib.sha256(asked.body).hexdigest()
    assert seen["sent_sha256"] == hashlib.sha256(answer.content).hexdigest()


def test_an_alias_in_a_gemini_path_reaches_the_real_model(house: House) -> None:
    house.post(
        "model-aliases",
        {"organization_id": house.report["organization_id"], "alias": "team-gemini", "model": "gemini-3.5-flash"},
    )

    def served() -> object:
        with house.gateway() as client:
            answer = send(client, ask("gemini", streaming=False, model="team-gemini"))
        return answer if answer.status_code == 200 else None

    answer = eventually("the alias reaches the pod", served)
    assert record_of(house, provider_request_id(dict(answer.headers)))["model"] == "gemini-3.5-flash"


@pytest.mark.parametrize("asked", list(every_ask()), ids=lambda asked: asked.name)
@pytest.mark.parametrize("error", ["rate_limit", "overloaded", "context_length"])
def test_a_providers_error_reaches_the_client_verbatim(house: House, asked: Ask, error: str) -> None:
    with house.gateway() as client:
        answer = send(client, asked, x_sim_error=error)
    assert answer.status_code >= 400
    seen = record_of(house, provider_request_id(dict(answer.headers)))
    assert answer.status_code == seen["status"]
    assert seen["sent_sha256"] == hashlib.sha256(answer.content).hexdigest()
