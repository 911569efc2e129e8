from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from dataplane.core.errors import CATALOGUE, Code, Refusal
from dataplane.dialects.dialect import Client, Dialect, DialectName
from dataplane.dialects.registry import ANTHROPIC, CHAT, DIALECTS, GEMINI, RESPONSES

CODEX = Client("codex", "0.169.0", "")
CLAUDE = Client("claude_code", "2.1.330", "")
AIDER = Client("openai_python", "2.20.0", "")
OPENCODE = Client("opencode", "1.18.33", "")
GEMINI_CLI = Client("gemini_cli", "0.61.0", "")
CURL = Client("other", "", "")
CLIENTS = [CODEX, CLAUDE, AIDER, OPENCODE, GEMINI_CLI, CURL]

WORDS = "These are our words."


def refuse(dialect: Dialect, code: Code, client: Client = CURL, **more: Any):
    return dialect.refusal(Refusal(code, WORDS, **more), client, "req_1")


# code: Anthropic (status, type) · OpenAI (status, type) · Codex (status, error.code) · Google (status, word)
SHAPES: dict[Code, tuple[tuple[int, str], tuple[int, str], tuple[int, str], tuple[int, str]]] = {
    Code.MISSING_API_KEY: (
        (401, "authentication_error"), (401, "invalid_api_key"), (401, "missing_api_key"), (401, "UNAUTHENTICATED")),
    Code.INVALID_API_KEY: (
        (401, "authentication_error"), (401, "invalid_api_key"), (401, "invalid_api_key"), (401, "UNAUTHENTICATED")),
    Code.VIRTUAL_KEY_REVOKED: (
        (401, "authentication_error"), (401, "authentication_error"), (401, "virtual_key_revoked"),
        (401, "UNAUTHENTICATED")),
    Code.VIRTUAL_KEY_DISABLED: (
        (401, "authentication_error"), (401, "authentication_error"), (401, "virtual_key_disabled"),
        (401, "UNAUTHENTICATED")),
    Code.VIRTUAL_KEY_EXPIRED: (
        (401, "authentication_error"), (401, "authentication_error"), (401, "virtual_key_expired"),
        (401, "UNAUTHENTICATED")),
    Code.CONFLICTING_API_KEYS: (
        (400, "invalid_request_error"), (400, "invalid_request_error"), (400, "invalid_prompt"),
        (400, "INVALID_ARGUMENT")),
    Code.MODEL_NOT_ALLOWED: (
        (403, "permission_error"), (404, "invalid_request_error"), (404, "model_not_found"), (404, "NOT_FOUND")),
    Code.MODEL_NOT_RECOGNIZED: (
        (403, "permission_error"), (404, "invalid_request_error"), (404, "model_not_found"), (404, "NOT_FOUND")),
    Code.MISSING_MODEL: (
        (400, "invalid_request_error"), (400, "invalid_request_error"), (400, "invalid_prompt"),
        (400, "INVALID_ARGUMENT")),
    Code.PROVIDER_NOT_REACHABLE: (
        (400, "invalid_request_error"), (400, "invalid_request_error"), (400, "invalid_prompt"),
        (400, "INVALID_ARGUMENT")),
    Code.NO_PROVIDER_CONFIGURED: (
        (400, "invalid_request_error"), (400, "invalid_request_error"), (400, "invalid_prompt"),
        (400, "INVALID_ARGUMENT")),
    Code.BAD_REQUEST: (
        (400, "invalid_request_error"), (400, "invalid_request_error"), (400, "invalid_prompt"),
        (400, "INVALID_ARGUMENT")),
    Code.WRONG_BASE_URL: (
        (400, "invalid_request_error"), (400, "invalid_request_error"), (400, "invalid_prompt"),
        (400, "INVALID_ARGUMENT")),
    Code.NOT_FOUND: (
        (404, "not_found_error"), (404, "invalid_request_error"), (404, "not_found"), (404, "NOT_FOUND")),
    Code.METHOD_NOT_ALLOWED: (
        (405, "invalid_request_error"), (405, "invalid_request_error"), (405, "method_not_allowed"),
        (405, "INVALID_ARGUMENT")),
    Code.PAYLOAD_TOO_LARGE: (
        (413, "request_too_large"), (413, "invalid_request_error"), (413, "payload_too_large"),
        (413, "INVALID_ARGUMENT")),
    Code.UNSUPPORTED_ENCODING: (
        (415, "invalid_request_error"), (415, "invalid_request_error"), (415, "unsupported_encoding"),
        (415, "INVALID_ARGUMENT")),
    Code.UPGRADE_NOT_SUPPORTED: (
        (426, "invalid_request_error"), (426, "invalid_request_error"), (426, "upgrade_not_supported"),
        (426, "FAILED_PRECONDITION")),
    Code.BUDGET_EXCEEDED: (
        (402, "billing_error"), (402, "budget_exceeded"), (429, "budget_exceeded"), (402, "FAILED_PRECONDITION")),
    Code.UNPRICED_MODEL: (
        (403, "permission_error"), (403, "permission_error"), (403, "inference_hook_denied"),
        (403, "PERMISSION_DENIED")),
    Code.RATE_LIMITED: (
        (429, "rate_limit_error"), (429, "rate_limit_error"), (429, "rate_limited"), (429, "RESOURCE_EXHAUSTED")),
    Code.PROVIDER_ERROR: (
        (502, "api_error"), (502, "provider_error"), (503, "server_is_overloaded"), (502, "UNAVAILABLE")),
    Code.PROVIDER_CREDENTIAL_REFUSED: (
        (502, "api_error"), (400, "invalid_request_error"), (400, "invalid_prompt"), (400, "INVALID_ARGUMENT")),
    Code.UPSTREAM_TIMEOUT: (
        (504, "timeout_error"), (504, "upstream_timeout"), (503, "server_is_overloaded"), (504, "DEADLINE_EXCEEDED")),
    Code.CONFIGURATION_STALE: (
        (503, "overloaded_error"), (503, "service_unavailable"), (503, "server_is_overloaded"), (503, "UNAVAILABLE")),
    Code.NO_CONFIGURATION: (
        (503, "overloaded_error"), (503, "service_unavailable"), (503, "server_is_overloaded"), (503, "UNAVAILABLE")),
    Code.RULE_NOT_UNDERSTOOD: (
        (503, "overloaded_error"), (503, "service_unavailable"), (503, "server_is_overloaded"), (503, "UNAVAILABLE")),
    Code.SPOOL_FULL: (
        (503, "overloaded_error"), (503, "service_unavailable"), (503, "server_is_overloaded"), (503, "UNAVAILABLE")),
    Code.DRAINING: (
        (503, "overloaded_error"), (503, "service_unavailable"), (503, "server_is_overloaded"), (503, "UNAVAILABLE")),
    Code.ANSWER_CUT: (
        (503, "overloaded_error"), (503, "service_unavailable"), (503, "server_is_overloaded"), (503, "UNAVAILABLE")),
    Code.OVERLOADED: (
        (503, "overloaded_error"), (503, "service_unavailable"), (503, "server_is_overloaded"), (503, "UNAVAILABLE")),
    Code.INTERNAL_ERROR: (
        (500, "api_error"), (500, "internal_error"), (503, "server_is_overloaded"), (500, "INTERNAL")),
}  # fmt: skip


def test_the_table_knows_every_code():
    assert set(SHAPES) == set(Code)


@pytest.mark.parametrize("code", SHAPES)
def test_every_code_in_every_envelope(code):
    anthropic, openai, codex, google = SHAPES[code]

    answer = refuse(ANTHROPIC, code, CLAUDE)
    body = json.loads(answer.body)
    assert (answer.status, body["error"]["type"]) == anthropic
    assert body["type"] == "error"
    assert body["error"]["message"] == WORDS
    assert body["error"]["code"] == code
    assert body["request_id"] == "req_1"

    for dialect in (CHAT, RESPONSES):
        answer = refuse(dialect, code, OPENCODE)
        error = json.loads(answer.body)["error"]
        assert (answer.status, error["type"]) == openai
        assert (error["message"], error["code"], error["param"]) == (WORDS, code, None)

        answer = refuse(dialect, code, CODEX)
        error = json.loads(answer.body)["error"]
        assert (answer.status, error["code"]) == codex
        assert error["message"] == WORDS
        assert code in (error["code"], error.get("reason"))

    answer = refuse(GEMINI, code, GEMINI_CLI)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["status"]) == google
    assert (error["code"], error["message"]) == (answer.status, WORDS)
    info = error["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["reason"] == code.upper()
    assert info["metadata"]["code"] == code


SPENT = Refusal(
    Code.BUDGET_EXCEEDED,
    "Budget 'Größe' is used up.",
    meta={"budget": "Größe", "scope": "team", "limit": "$2.00", "resets_at": "2026-12-01T00:00:00+00:00"},
)


def test_codex_is_told_of_a_spent_budget_in_its_own_words_for_limits():
    for dialect in (CHAT, RESPONSES):
        answer = dialect.refusal(SPENT, CODEX, "req_1")
        error, headers = json.loads(answer.body)["error"], dict(answer.headers)
        assert (answer.status, error["type"], error["resets_at"]) == (429, "usage_limit_reached", 1_796_083_200)
        assert headers["x-codex-promo-message"] == "Budget 'Gr??e' is used up."
        assert "retry-after" not in headers


def test_codex_is_told_no_time_where_a_budget_does_not_come_back_by_itself():
    never = Refusal(Code.BUDGET_EXCEEDED, WORDS, meta={"resets_at": ""})
    error = json.loads(RESPONSES.refusal(never, CODEX, "req_1").body)["error"]
    assert (error["type"], "resets_at" in error) == ("usage_limit_reached", False)


def test_openais_python_library_gets_the_words_that_aider_stops_on():
    error = json.loads(CHAT.refusal(SPENT, AIDER, "req_1").body)["error"]
    assert error["message"] == "Budget 'Größe' is used up. (insufficient credits) {\"code\":402}"
    assert json.loads(CHAT.refusal(SPENT, OPENCODE, "req_1").body)["error"]["message"] == SPENT.message


@pytest.mark.parametrize(
    ("code", "others_get"), [(Code.BUDGET_EXCEEDED, 402), (Code.UNPRICED_MODEL, 403), (Code.MODEL_NOT_RECOGNIZED, 403)]
)
def test_aider_through_litellm_gets_the_one_status_that_it_does_not_try_again(code, others_get):
    refusal = Refusal(code, WORDS)
    answer = ANTHROPIC.refusal(refusal, Client("litellm", "1.75.0", ""), "req_1")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, code.value)
    assert ANTHROPIC.refusal(refusal, CLAUDE, "req_1").status == others_get


def test_a_spent_budget_warns_in_the_header_too():
    for dialect, client in product(DIALECTS.values(), CLIENTS):
        assert dict(dialect.refusal(SPENT, client, "req_1").headers)["x-langwatch-budget-warning"] == "team:100"


def test_aider_takes_a_400_as_final_where_it_would_try_a_403_again():
    assert refuse(CHAT, Code.UNPRICED_MODEL, AIDER).status == 400
    assert refuse(CHAT, Code.UNPRICED_MODEL, OPENCODE).status == 403


def test_a_refused_credential_is_a_400_for_whoever_tries_a_502_again_without_a_word():
    code = Code.PROVIDER_CREDENTIAL_REFUSED
    stops = (
        "codex",
        "gemini_cli",
        "opencode",
        "qwen_code",
        "openai_python",
        "openai_js",
        "continue",
        "ai_sdk",
        "litellm",
    )
    for dialect in DIALECTS.values():
        for name in stops:
            answer = refuse(dialect, code, Client(name, "1", ""))
            assert (answer.status, WORDS in answer.body.decode()) == (400, True)
        for client in (CLAUDE, CURL, Client("cursor", "", "")):
            assert refuse(dialect, code, client).status == 502


@pytest.mark.parametrize("code", list(Code))
def test_what_holds_for_every_refusal(code):
    for dialect, client in product(DIALECTS.values(), CLIENTS):
        answer = refuse(dialect, code, client, retry_after=3_600)
        headers = dict(answer.headers)
        assert headers["content-type"] == "application/json"
        assert b"server_error" not in answer.body
        if CATALOGUE[code].retryable:
            assert "x-should-retry" not in headers
            assert 0 < int(headers["retry-after"]) <= 20
        else:
            assert headers["x-should-retry"] == "false"
            assert "retry-after" not in headers


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_a_wait_is_told_when_waiting_helps(dialect):
    assert dict(refuse(dialect, Code.RATE_LIMITED, retry_after=7).headers)["retry-after"] == "7"
    assert dict(refuse(dialect, Code.RATE_LIMITED).headers)["retry-after"] == "2"
    assert dict(refuse(dialect, Code.OVERLOADED).headers)["retry-after"] == "2"
    assert "retry-after" not in dict(refuse(dialect, Code.PROVIDER_ERROR).headers)


def test_gemini_is_told_the_wait_in_the_body_too():
    details = json.loads(refuse(GEMINI, Code.RATE_LIMITED, retry_after=7).body)["error"]["details"]
    assert details[1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    assert len(json.loads(refuse(GEMINI, Code.BAD_REQUEST).body)["error"]["details"]) == 1


@pytest.mark.parametrize("name", DialectName)
def test_facts_travel_with_the_refusal(name):
    answer = refuse(DIALECTS[name], Code.MODEL_NOT_ALLOWED, meta={"models": ["a", "b"], "contact": "it@acme"})
    error = json.loads(answer.body)["error"]
    if name is DialectName.GEMINI:
        metadata = error["details"][0]["metadata"]
        assert all(isinstance(value, str) for value in metadata.values())
        assert json.loads(metadata["models"]) == ["a", "b"]
        assert metadata["contact"] == "it@acme"
    else:
        assert error["meta"] == {"models": ["a", "b"], "contact": "it@acme"}


def test_a_missing_key_is_answered_in_the_words_of_the_contract():
    message = "missing API key; supply Authorization: Bearer lw_vk_... or x-api-key"
    answer = CHAT.refusal(Refusal(Code.MISSING_API_KEY, message), CURL, "req_1")
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"], error["code"]) == (401, "invalid_api_key", "missing_api_key")
    assert error["message"] == message
