"""Whose account an error is about: what providers answer, a row each, and what nobody may make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects.dialect import DialectName
from dataplane.dialects.failures import WORDS, Verdict, judge

A, C, R, G = DialectName.ANTHROPIC, DialectName.CHAT, DialectName.RESPONSES, DialectName.GEMINI
CREDENTIAL, PAYMENT, OTHER = Verdict.CREDENTIAL, Verdict.PAYMENT, Verdict.OTHER


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"}


def openai(message: str, kind: str | None = "invalid_request_error", code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def google(status: int, word: str, message: str, reason: str = "") -> dict[str, Any]:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
    error = {"code": status, "message": message, "status": word}
    return {"error": error | ({"details": [info]} if reason else {})}


CASES: dict[str, tuple[DialectName, int, Any, Verdict]] = {
    "anthropic, wrong key": (A, 401, anthropic("authentication_error", "invalid x-api-key"), CREDENTIAL),
    "anthropic, no key": (A, 401, anthropic("authentication_error", "x-api-key header is required"), CREDENTIAL),
    "anthropic, key without the permission": (
        A, 403, anthropic("permission_error", "Your API key does not have permission to use the specified resource."),
        CREDENTIAL),
    "anthropic, no oauth": (
        A, 403, anthropic("permission_error", "OAuth authentication is currently not allowed for this organization."),
        CREDENTIAL),
    "anthropic, organization off": (
        A, 400, anthropic("invalid_request_error", "This organization has been disabled."), CREDENTIAL),
    "anthropic, no credit": (
        A, 400, anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please "
        "go to Plans & Billing to upgrade or purchase credits."), PAYMENT),
    "anthropic, billing": (A, 402, anthropic("billing_error", "There is an issue with your billing."), PAYMENT),
    "anthropic, region": (A, 403, {"error": {"type": "forbidden", "message": "Request not allowed"}}, OTHER),
    "anthropic, model": (
        A, 403, anthropic("permission_error", "This organization does not have access to the model claude-opus-5."),
        OTHER),
    "anthropic, unknown 403": (A, 403, anthropic("permission_error", "Not today."), OTHER),
    "anthropic, context": (A, 400, anthropic("invalid_request_error", "prompt is too long: 250000 tokens"), OTHER),
    "anthropic, an MCP server's credential": (
        A, 400, anthropic("invalid_request_error", "Authentication error while communicating with MCP server."), OTHER),
    "anthropic, rate": (A, 429, anthropic("rate_limit_error", "This request would exceed your rate limit."), OTHER),
    "openai, wrong key": (
        R, 401, openai("Incorrect API key provided: sk-proj-********wxyz.", code="invalid_api_key"), CREDENTIAL),
    "openai, no organization": (
        C, 401, openai("You must be a member of an organization to use the API.", code=None), CREDENTIAL),
    "openai, address": (C, 401, openai("Your IP is not authorized.", code="ip_not_authorized"), CREDENTIAL),
    "openai, scope": (
        C, 403, openai("You have insufficient permissions for this operation. Missing scopes: model.request."),
        CREDENTIAL),
    "openai, the provider row's organization": (
        C, 401, openai("No such organization: org-123.", code="invalid_organization"), CREDENTIAL),
    "openai, the provider row's project": (
        R, 401, openai("OpenAI-Project header should match project for API key", code="mismatched_project"),
        CREDENTIAL),
    "openai, quota": (
        R, 429, openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"), PAYMENT),
    "openai, hard limit": (
        C, 400, openai("Billing hard limit has been reached", code="billing_hard_limit_reached"), PAYMENT),
    "openai, not active": (
        C, 429, openai("Your account is not active.", "billing_not_active", "billing_not_active"), PAYMENT),
    "openai, rate": (C, 429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), OTHER),
    "openai, country": (
        C, 403, openai("Country, region, or territory not supported", "request_forbidden",
        "unsupported_country_region_territory"), OTHER),
    "openai, model": (
        C, 403, openai("Project `proj_x` does not have access to model `gpt-9`", code="model_not_found"), OTHER),
    "openai, moderated": (
        C, 400, openai("Your request was rejected by the safety system.", code="content_policy_violation"), OTHER),
    "azure, wrong key": (
        C, 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API "
        "endpoint."}}, CREDENTIAL),
    "azure, token": (
        R, 401, {"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid, or expired."},
        CREDENTIAL),
    "azure, firewall": (
        C, 403, {"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}},
        CREDENTIAL),
    "azure, keys off": (
        C, 403, {"error": {"code": "AuthenticationTypeDisabled", "message": "Key based authentication is disabled for "
        "this resource."}}, CREDENTIAL),
    "azure, volume": (C, 403, {"error": {"code": "403", "message": "Out of call volume quota."}}, PAYMENT),
    "azure, filtered": (C, 400, openai("The response was filtered", None, "content_filter"), OTHER),
    "gemini, wrong key": (
        G, 400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID"),
        CREDENTIAL),
    "gemini, expired": (
        G, 400, google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), CREDENTIAL),
    "gemini, in an array": (
        G, 400, [google(400, "INVALID_ARGUMENT", "API key not valid.", "API_KEY_INVALID")], CREDENTIAL),
    "gemini, in openai's dialect": (
        C, 400, [google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")], CREDENTIAL),
    "gemini, service off": (
        G, 403, google(403, "PERMISSION_DENIED", "Generative Language API has not been used in project 1 before or it "
        "is disabled.", "SERVICE_DISABLED"), CREDENTIAL),
    "gemini, leaked": (
        G, 403, google(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
        CREDENTIAL),
    "gemini, denied": (G, 403, google(403, "PERMISSION_DENIED", "Your project has been denied access."), CREDENTIAL),
    "gemini, no credential": (G, 401, google(401, "UNAUTHENTICATED", "Request had invalid credentials."), CREDENTIAL),
    "gemini, billing off": (G, 403, google(403, "PERMISSION_DENIED", "No billing.", "BILLING_DISABLED"), PAYMENT),
    "gemini, prepaid": (G, 429, google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), PAYMENT),
    "gemini, rate": (
        G, 429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing "
        "details."), OTHER),
    "gemini, location": (
        G, 400, google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), OTHER),
    "gemini, somebody's file": (
        G, 403, google(403, "PERMISSION_DENIED", "You do not have permission to access the File abc or it may not "
        "exist."), OTHER),
    "gemini, the client's project": (
        G, 403, google(403, "PERMISSION_DENIED", "Caller does not have required permission.", "USER_PROJECT_DENIED"),
        OTHER),
    "xai, wrong key": (
        C, 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***Z9."},
        CREDENTIAL),
    "xai, no credits": (
        C, 403, {"code": "The caller does not have permission", "error": "Your newly created teams doesn't have any "
        "credits yet."}, PAYMENT),
    "xai, credits used": (
        C, 429, {"code": "Some resource has been exhausted", "error": "Your team 7a5b1c1e-0000-4000-8000-000000000000 "
        "has either used all available credits or reached its monthly spending limit."}, PAYMENT),
    "openrouter, no user": (C, 401, {"error": {"message": "User not found.", "code": 401}}, CREDENTIAL),
    "openrouter, credits": (C, 402, {"error": {"message": "Insufficient credits.", "code": 402}}, PAYMENT),
    "openrouter, limit": (C, 403, {"error": {"message": "Key limit exceeded (total limit).", "code": 403}}, PAYMENT),
    "openrouter, flagged": (
        C, 403, {"error": {"message": "Your input was flagged", "code": 403, "metadata": {"reasons": ["violence"]}}},
        OTHER),
    "groq, restricted": (
        C, 400, openai("Organization has been restricted.", code="organization_restricted"), CREDENTIAL),
    "groq, model": (C, 403, openai("blocked", "permissions_error", "model_permission_blocked_org"), OTHER),
    "deepseek, wrong key": (
        C, 401, openai("Authentication Fails (no such user)", "authentication_error", "invalid_request_error"),
        CREDENTIAL),
    "deepseek, balance": (C, 402, openai("Insufficient Balance", "unknown_error", "invalid_request_error"), PAYMENT),
    "mistral": (C, 401, {"detail": "Unauthorized"}, CREDENTIAL),
    "moonshot": (C, 429, openai("Your account is suspended", "exceeded_current_quota_error"), PAYMENT),
    "fireworks": (C, 412, {"error": {"message": "Account acme is suspended, failure to pay past invoices."}}, PAYMENT),
    "litellm, budget": (C, 400, openai("Budget has been exceeded!", "budget_exceeded", "400"), PAYMENT),
    "aws, expired": (C, 403, {"message": "The security token included in the request is expired"}, CREDENTIAL),
    "aws, policy": (
        C, 403, {"Message": "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel"},
        CREDENTIAL),
    "aws, model": (C, 403, {"message": "You don't have access to the model with the specified model ID."}, OTHER),
    "an MCP server of the request": (
        R, 424, openai("Error retrieving tool list. Http status code: 401 (Unauthorized)", "external_connector_error"),
        OTHER),
    "missing": (R, 404, openai("Response with id 'resp_1' not found."), OTHER),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_an_answer_is_about(name: str):
    dialect, status, body, verdict = CASES[name]
    failure = judge(dialect, status, json.dumps(body).encode())
    assert (failure.verdict, failure.status) == (verdict, status)


UNREADABLE = [b"", b"<html>401</html>", b"{", b"null", b"[]", b"[[1]]", b'"x"', b"\xff\xfe", b"[" * 5_000, b"1e999"]


@pytest.mark.parametrize("dialect", DialectName)
@pytest.mark.parametrize("body", UNREADABLE)
def test_without_words_the_status_decides(dialect: DialectName, body: bytes):
    verdicts = {status: judge(dialect, status, body).verdict for status in (400, 401, 402, 403, 404, 429, 500)}
    assert verdicts == dict.fromkeys((400, 403, 404, 429, 500), OTHER) | {401: CREDENTIAL, 402: PAYMENT}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] not in (401, 402)])
def test_half_a_body_accuses_nobody_of_what_it_does_not_say(name: str):
    dialect, status, body, _ = CASES[name]
    text = json.dumps(body).encode()
    for cut in range(len(text)):
        assert judge(dialect, status, text[:cut]).verdict is OTHER


def test_a_model_that_a_client_made_up_is_no_word_of_the_provider():
    model = "your credit balance is too low to access"
    said = openai(f"{model} is not a valid model ID", code=400)
    for dialect in DialectName:
        assert judge(dialect, 400, json.dumps(said).encode(), model).verdict is OTHER
    echoed = anthropic("invalid_request_error", f"{model} is not a model")
    assert judge(A, 400, json.dumps(echoed).encode(), model).verdict is OTHER


EVENTS: dict[str, tuple[DialectName, Any, Verdict]] = {
    "anthropic": (A, anthropic("authentication_error", "invalid x-api-key"), CREDENTIAL),
    "anthropic, overloaded": (A, anthropic("overloaded_error", "Overloaded"), OTHER),
    "responses": (R, {"type": "error", "error": {"type": "insufficient_quota", "code": "insufficient_quota"}}, PAYMENT),
    "responses, flat": (R, {"type": "error", "code": "insufficient_quota", "message": "You exceeded"}, PAYMENT),
    "responses, failed": (
        R, {"type": "response.failed", "response": {"status": "failed", "error": {"code": "invalid_api_key"}}},
        CREDENTIAL),
    "responses, connector": (
        R, {"type": "error", "error": {"type": "external_connector_error", "message": "Http status code: 401"}}, OTHER),
    "chat": (C, openai("No auth credentials found", None, 401), CREDENTIAL),
    "chat, credits": (C, openai("Insufficient credits", None, "402"), PAYMENT),
    "chat, upstream": (C, openai("Provider returned error", None, 502), OTHER),
    "gemini": (G, google(401, "UNAUTHENTICATED", "no"), CREDENTIAL),
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_what_an_error_inside_a_stream_is_about(name: str):
    dialect, event, verdict = EVENTS[name]
    assert judge(dialect, 0, json.dumps(event).encode()).verdict is verdict


jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "type", "code", "message", "status", "details", "reason", "response"]), inner
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.sampled_from(DialectName), st.integers(0, 599), jsons.map(lambda value: json.dumps(value).encode()))
def test_nothing_that_a_provider_sends_raises_and_its_words_are_short_and_one_line(dialect, status, body):
    failure = judge(dialect, status, body)
    assert len(failure.words) <= WORDS
    assert failure.words.isprintable()
