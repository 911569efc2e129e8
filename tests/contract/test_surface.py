"""What anyone who can reach a pod's port sees: probes, refusals, headers."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable

import httpx
import pytest

from tests.contract.faults import Mode
from tests.contract.house import House, eventually
from tests.contract.requests import ask, every_ask, send

pytestmark = pytest.mark.processes

PASSED_ON = {"x-forwarded-for": "203.0.113.9"}
WORDS = "missing API key; supply Authorization: Bearer lw_vk_... or x-api-key"


def anyone(house: House) -> httpx.Client:
    return httpx.Client(base_url=house.layout.gateway_urls[0], trust_env=False, timeout=60)


def test_healthz_is_always_200_and_says_which_version_answers(house: House) -> None:
    with anyone(house) as client:
        answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.headers["x-langwatch-gateway-version"] == answer.json()["version"]
    assert answer.json()["uptime_s"] >= 0
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:\+[0-9A-Za-z.-]{1,40})?", answer.json()["version"])


def test_strangers_learn_from_probes_no_more_than_a_balancer_needs(house: House) -> None:
    with anyone(house) as client:
        mine, theirs = client.get("/health").json(), client.get("/health", headers=PASSED_ON).json()
        assert set(mine) > set(theirs) == {"status", "version"}
        assert set(client.get("/readyz", headers=PASSED_ON).json()) == {"status", "version", "checks"}
        assert client.get("/metrics").status_code == 200
        assert client.get("/metrics", headers=PASSED_ON).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/chat/completions")])
def test_without_a_key_the_openai_envelope_says_which_headers_to_send(house: House, method: str, path: str) -> None:
    with anyone(house) as client:
        answer = client.request(method, path, json={"model": "gpt-5.5"} if method == "POST" else None)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["message"]) == ("invalid_api_key", "missing_api_key", WORDS)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", answer.headers["traceparent"])
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-langwatch-trace-id"])
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-langwatch-span-id"])
    assert re.fullmatch(r"req_[0-9a-f]{30}", answer.headers["x-langwatch-request-id"])


def test_an_unknown_path_is_404_in_the_openai_envelope_and_never_a_redirect(house: House) -> None:
    with anyone(house) as client:
        answer = client.get("/v1/nothing-here")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("asked", list(every_ask()), ids=lambda asked: asked.name)
def test_malformed_and_unknown_keys_are_refused_alike_in_the_dialects_envelope(house: House, asked: object) -> None:
    minted = house.mint()
    unknown = minted["token"][:-33] + house.virtual_key[-33:]
    answers = []
    for key in ("nonsense", unknown):
        with house.gateway(key=key) as client:
            answers.append(send(client, asked))  # type: ignore[arg-type]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert _without_ids(answers[0]) == _without_ids(answers[1])
    assert "invalid_api_key" in answers[0].text
    assert answers[0].headers["x-should-retry"] == "false"


def _without_ids(answer: httpx.Response) -> str:
    return re.sub(r"req_[0-9a-f]{30}|[0-9a-f]{32}|[0-9a-f]{16}", "…", answer.text)


def test_a_body_that_says_it_is_too_large_is_refused_before_the_key_is_looked_at(house: House) -> None:
    head = b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % (64 * 2**20)
    with socket.create_connection(("127.0.0.1", house.layout.pod_ports[0]), timeout=60) as connection:
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_the_three_shapes_of_the_model_list(house: House) -> None:
    with house.gateway() as client:
        openai = client.get("/v1/models").json()
        anthropic = client.get("/v1/models?limit=1000", headers={"anthropic-version": "2023-06-01"}).json()
        gemini = client.get("/v1beta/models").json()
    assert openai["object"] == "list"
    assert {entry["object"] for entry in openai["data"]} == {"model"}
    assert openai["models"], "Codex reads `models`"
    assert {"claude-sonnet-5-5", "gpt-5.5"} <= {entry["id"] for entry in openai["data"]}
    assert not any(word in entry["slug"] for entry in openai["models"] for word in ("claude", "embedding", "tts"))
    assert openai["data"] == sorted(openai["data"], key=lambda entry: -entry["created"])
    assert anthropic["has_more"] is False
    sold = [entry["created_at"] for entry in anthropic["data"]]
    assert sold == sorted(sold, reverse=True)
    assert sold[0] > "2026"
    names = [entry["id"] for entry in anthropic["data"]]
    assert names.index("claude-sonnet-5-5") < names.index("claude-sonnet-4-5")
    assert "claude-v1" not in names
    assert anthropic["data"][0]["type"] == "model"
    assert all(entry["name"].startswith("models/") for entry in gemini["models"])


@pytest.mark.parametrize("name", ["claude-haiku-4-5-20251001", "gpt-5-mini-2025-08-07"])
def test_a_dated_name_that_a_request_would_reach_is_a_model(house: House, name: str) -> None:
    with house.gateway() as client:
        assert client.get(f"/v1/models/{name}").json()["id"] == name


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/v1/v1/messages", "invalid_request_error", "the base URL should be this gateway's address without a path"),
        ("/messages", "invalid_request_error", "the base URL should end in /v1"),
        ("//v1/messages", "invalid_request_error", "the base URL should not end in a slash"),
        ("/chat/completions", "invalid_request_error", "the base URL should end in /v1"),
    ],
)
def test_a_wrong_base_url_is_told_the_right_one(house: House, path: str, kind: str, words: str) -> None:
    with house.gateway() as client:
        url = str(client.base_url).rstrip("/") + path
        answer = client.post(httpx.URL(url), json={"model": "gpt-5.5"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == (kind, "wrong_base_url")
    assert words in error["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_clients_request_id_comes_back_beside_ours(house: House) -> None:
    with house.gateway() as client:
        listed = client.get("/v1/models", headers={"x-request-id": "mine-7"})
        refused = client.get("/v1/models/nope-9")
    assert listed.headers["x-request-id"] == "mine-7"
    assert re.fullmatch(r"req_[0-9a-f]{30}", listed.headers["x-langwatch-request-id"])
    assert refused.headers["request-id"] == refused.headers["x-request-id"] == refused.json()["request_id"]


def test_count_tokens_is_answered_and_is_not_billed(house: House) -> None:
    body = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "Hello"}]}
    with house.gateway() as client:
        answer = client.post("/v1/messages/count_tokens", json=body)
    assert answer.status_code == 200
    assert answer.json()["input_tokens"] > 0
    request_id = answer.headers["x-langwatch-request-id"]
    (booked,) = eventually("it is recorded", lambda: house.booked(request_id))
    assert booked["cost_nano"] == 0


def test_claude_codes_reachability_check_needs_no_key(house: House) -> None:
    with anyone(house) as client:
        assert client.head("/api/hello").status_code == 200


def test_codexs_websocket_attempt_is_answered_426(house: House) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "eA==",
    }
    with house.gateway() as client:
        assert client.get("/v1/responses", headers=upgrade).status_code == 426


def test_a_model_nobody_serves_is_named_with_what_would_work(house: House) -> None:
    with house.gateway() as client:
        answer = send(client, ask("openai_chat", streaming=False, model="no-such-model"))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_recognized"
    assert "no-such-model" in answer.json()["error"]["message"]


def test_a_key_that_allows_other_models_is_told_which(house: House) -> None:
    minted = house.mint(models_allowed=["claude-haiku-*"])
    with house.gateway(key=minted["token"]) as client:
        answer = send(client, ask("anthropic_messages", streaming=True))
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    assert "claude-haiku-" in json.dumps(answer.json()), "it names what would have worked"


def test_a_pod_without_its_control_plane_starts_degraded_and_becomes_ready_with_it(
    build_house: Callable[..., House],
) -> None:
    house = build_house()
    house.kill("pod-" + str(house.layout.pod_ports[0]))
    house.links[0].set(Mode.REFUSE)
    pod = house.pods[0]
    pod.start()
    with anyone(house) as client:
        house.await_answer(pod, f"{house.layout.gateway_urls[0]}/healthz", lambda status: status == 200)
        starting = client.get("/startupz")
        assert starting.status_code == 503
        assert starting.json()["status"] == "degraded"
        refused = send(client, ask("anthropic_messages", streaming=True), authorization=f"Bearer {house.virtual_key}")
        assert refused.status_code == 503, "without contact the pod cannot say that a key is wrong"
        house.links[0].set(Mode.PASS)
        eventually("the pod starts", lambda: client.get("/startupz").status_code == 200)
        eventually("and knows that it is up to date", lambda: client.get("/readyz").status_code == 200)
