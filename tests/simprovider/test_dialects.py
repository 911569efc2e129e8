"""What the simulator says is what a provider would: event sequences, usage in its places, native errors, signatures."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.simprovider import SimInThread
from tests.simprovider.asks import DIALECTS, ask, events_of
from tests.simprovider.errors import KINDS

THINKING: dict[str, Any] = {"thinking": {"type": "adaptive"}}


def post(http: httpx.Client, asked: tuple[str, dict[str, Any]], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(asked[0], json=asked[1], headers=named)


def test_an_anthropic_stream_has_the_events_in_order(http: httpx.Client) -> None:
    raw = post(http, ask("anthropic_messages", "[[sim: say Hi]]", stream=True, **THINKING)).text
    names = [event["type"] for event in events_of(raw)]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [line[7:] for line in raw.splitlines() if line.startswith("event: ")] == names


def test_a_responses_stream_numbers_its_events_and_closes_every_item(http: httpx.Client) -> None:
    calls = json.dumps([{"name": "f", "arguments": {"a": 1}}, {"name": "g"}])
    asked = ask("openai_responses", stream=True, include=["reasoning.encrypted_content"])
    events = events_of(post(http, asked, x_sim_calls=calls, x_sim_text="Hi").text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    done = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert done == ["reasoning", "message", "function_call", "function_call"]
    assert events[-1]["type"] == "response.completed"
    assert [item["type"] for item in events[-1]["response"]["output"]] == done
    assert events[-1]["response"]["output"][0]["encrypted_content"]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_chat_stream_has_usage_only_when_asked(http: httpx.Client, wanted: bool) -> None:
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if wanted else {}
    asked = ask("openai_chat", stream=True, **more)
    raw = post(http, asked).text
    assert raw.endswith("data: [DONE]\n\n")
    last = events_of(raw)[-1]
    assert (last["choices"] == [] and last["usage"]["total_tokens"] > 0) if wanted else "usage" not in last


def test_gemini_streams_an_array_without_alt_sse(http: httpx.Client) -> None:
    path, body = ask("gemini", "[[sim: say one two]]", stream=True)
    answer = http.post(path.partition("?")[0], json=body)
    assert answer.headers["content-type"].startswith("application/json")
    assert [part["candidates"][0].get("finishReason") for part in answer.json()][-1] == "STOP"


USED = {"input": 7, "cache_read": 5, "output": 11, "output_reasoning": 3}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_scripted_usage_stands_where_the_dialect_has_it_and_in_the_record(
    http: httpx.Client, sim: SimInThread, dialect: str, stream: bool
) -> None:
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if dialect == "openai_chat" and stream else {}
    answer = post(http, ask(dialect, stream=stream, **more), x_sim_usage=json.dumps(USED))
    last = events_of(answer.text)[-1] if stream else answer.json()
    if dialect == "anthropic_messages":
        found = (events_of(answer.text)[-2] if stream else last)["usage"]
        assert (found["input_tokens"], found["cache_read_input_tokens"], found["output_tokens"]) == (7, 5, 14)
    elif dialect == "openai_responses":
        found = (last["response"] if stream else last)["usage"]
        assert (found["input_tokens"], found["input_tokens_details"]["cached_tokens"]) == (12, 5)
        assert (found["output_tokens"], found["output_tokens_details"]["reasoning_tokens"]) == (14, 3)
    elif dialect == "openai_chat":
        found = last["usage"]
        assert (found["prompt_tokens"], found["prompt_tokens_details"]["cached_tokens"]) == (12, 5)
        assert (found["completion_tokens"], found["completion_tokens_details"]["reasoning_tokens"]) == (14, 3)
    else:
        found = last["usageMetadata"]
        assert (found["promptTokenCount"], found["cachedContentTokenCount"]) == (12, 5)
        assert (found["candidatesTokenCount"], found["thoughtsTokenCount"], found["totalTokenCount"]) == (11, 3, 26)
    record = sim.requests()[-1]
    assert record.usage == USED
    assert record.usage_sent
    assert sim.totals()["units"] == USED


def test_anthropic_names_the_lifetime_of_cache_writes_unless_told_not_to(http: httpx.Client) -> None:
    used = post(http, ask("anthropic_messages"), x_sim_usage='{"cache_write_1h": 9, "cache_write_5m": 4}').json()[
        "usage"
    ]
    assert used["cache_creation"] == {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 9}
    assert used["cache_creation_input_tokens"] == 13
    used = post(http, ask("anthropic_messages"), x_sim_usage='{"cache_write": 9}').json()["usage"]
    assert "cache_creation" not in used
    assert used["cache_creation_input_tokens"] == 9


def test_a_marked_prefix_is_written_once_and_read_afterwards(http: httpx.Client, sim: SimInThread) -> None:
    system = [{"type": "text", "text": "rule " * 2_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    for _ in range(2):
        post(http, ask("anthropic_messages", system=system))
    first, second = (record.usage for record in sim.requests())
    assert first["cache_write_1h"] == second["cache_read"] > 2_000
    assert "cache_read" not in first
    assert "cache_write_1h" not in second


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_errors_have_the_native_envelope(http: httpx.Client, dialect: str, kind: str) -> None:
    answer = post(http, ask(dialect), x_sim_error=kind, x_sim_message="our words")
    body = answer.json()
    assert answer.status_code >= 400
    assert body["error"]["message"] == "our words"
    if dialect == "anthropic_messages":
        assert body["type"] == "error"
        assert body["request_id"] == answer.headers["request-id"]
    elif dialect == "gemini":
        assert body["error"]["code"] == answer.status_code
        assert body["error"]["status"].isupper()
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}


MID_STREAM = {
    "anthropic_messages": lambda raw: (
        raw.endswith("\n\n") and '"overloaded_error"' in raw.rsplit("event: error\n", 1)[1]
    ),
    "openai_responses": lambda raw: events_of(raw)[-1]["response"]["error"]["code"] == "server_is_overloaded",
    "openai_chat": lambda raw: events_of(raw)[-1]["error"]["code"] == "server_is_overloaded",
    "gemini": lambda raw: json.loads(raw.rsplit("\r\n\r\n", 1)[1])["error"]["status"] == "UNAVAILABLE",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_in_the_middle_of_a_stream_is_the_dialects_own(
    http: httpx.Client, sim: SimInThread, dialect: str
) -> None:
    answer = post(http, ask(dialect, stream=True), x_sim_error="overloaded", x_sim_error_at="2")
    assert answer.status_code == 200
    assert MID_STREAM[dialect](answer.text)
    record = sim.requests()[-1]
    assert (record.ended, record.usage_sent) == ("error_event", False)


def test_thinking_must_come_back_as_it_was(http: httpx.Client) -> None:
    block = post(http, ask("anthropic_messages", **THINKING)).json()["content"][0]
    path, body = ask("anthropic_messages", **THINKING)
    body["messages"] += [{"role": "assistant", "content": [block]}, {"role": "user", "content": "go on"}]
    assert http.post(path, json=body).status_code == 200
    block["thinking"] += "!"
    refused = http.post(path, json=body)
    assert refused.status_code == 400
    assert "signature" in refused.json()["error"]["message"]


def test_encrypted_reasoning_must_come_back_as_it_was(http: httpx.Client) -> None:
    asked = ask("openai_responses", include=["reasoning.encrypted_content"])
    item = post(http, asked).json()["output"][0]
    path, body = asked
    body["input"] = [item, {"role": "user", "content": "go on"}]
    assert http.post(path, json=body).status_code == 200
    item["encrypted_content"] = item["encrypted_content"][:-4] + "AAA="
    assert http.post(path, json=body).json()["error"]["code"] == "invalid_encrypted_content"


def test_a_thought_signature_must_come_back_as_it_was(http: httpx.Client) -> None:
    calls = '[{"name": "f"}]'
    part = post(http, ask("gemini"), x_sim_calls=calls).json()["candidates"][0]["content"]["parts"][-1]
    path, body = ask("gemini")
    body["contents"] += [{"role": "model", "parts": [part]}, {"role": "user", "parts": [{"text": "go on"}]}]
    assert http.post(path, json=body).status_code == 200
    part["thoughtSignature"] = part["thoughtSignature"][:-4] + "AAA="
    assert http.post(path, json=body).status_code == 400


@pytest.mark.parametrize(
    ("vendor", "dialect", "header"),
    [
        ("anthropic", "anthropic_messages", "x-api-key"),
        ("openai", "openai_chat", "authorization"),
        ("openai", "openai_responses", "authorization"),
        ("gemini", "gemini", "x-goog-api-key"),
    ],
)
def test_each_vendor_wants_its_own_key(sim: SimInThread, vendor: str, dialect: str, header: str) -> None:
    sim.keys(**{vendor: "right"})
    path, body = ask(dialect)
    given = (
        {"right": "right", "wrong": "wrong"} if header != "authorization" else {"right": "Bearer right", "wrong": "x"}
    )
    common = {"anthropic-version": "2023-06-01"}
    try:
        assert httpx.post(sim.url + path, json=body, headers=common | {header: given["right"]}).status_code == 200
        for headers in ({header: given["wrong"]}, {}):
            refused = httpx.post(sim.url + path, json=body, headers=common | headers)
            assert refused.status_code == (400 if vendor == "gemini" else 401)
            assert refused.json()["error"]["message"]
    finally:
        sim.keys(**{vendor: ""})


def test_azure_paths_take_an_api_key_and_the_deployment_as_model(sim: SimInThread) -> None:
    path = "/openai/deployments/my-gpt/chat/completions?api-version=2025-01-01"
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx.post(sim.url + path, json=body, headers={"api-key": "any"})
    assert answer.json()["model"] == "my-gpt"
    assert sim.requests()[-1].vendor == "azure"
    refused = httpx.post(sim.url + path, json=body)
    assert refused.json()["error"]["code"] == "401"


def test_the_small_routes_answer(http: httpx.Client) -> None:
    assert {"claude-haiku-5-5", "claude-opus-5-5"} <= {m["id"] for m in http.get("/v1/models").json()["data"]}
    assert http.get("/v1beta/models").json()["models"][0]["name"].startswith("models/")
    assert len(http.post("/v1/embeddings", json={"model": "e", "input": ["a", "b"]}).json()["data"]) == 2
    embedded = http.post("/v1beta/models/e:embedContent", json={"content": {"parts": [{"text": "a"}]}})
    assert len(embedded.json()["embedding"]["values"]) == 64
    counted = http.post(
        "/v1/messages/count_tokens", json={"model": "m", "messages": [{"role": "user", "content": "a"}]}
    )
    assert counted.json()["input_tokens"] > 0
    stored = post(http, ask("openai_responses")).json()["id"]
    assert http.get(f"/v1/responses/{stored}").json()["id"] == stored
    assert http.delete(f"/v1/responses/{stored}").json()["deleted"] is True
    assert http.get(f"/v1/responses/{stored}").status_code == 404
    cached = http.post("/v1beta/cachedContents", json={"model": "models/m", "contents": []}).json()["name"]
    assert http.get(f"/v1beta/{cached}").json()["name"] == cached


@pytest.mark.parametrize("path", ["/v1/nothing", "/v2/messages", "/"])
def test_unknown_paths_are_404_in_the_openai_envelope(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={})
    assert answer.status_code == 404
    assert "Invalid URL" in answer.json()["error"]["message"]
