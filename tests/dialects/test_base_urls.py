"""A base URL with a part too many or too few is answered with the right one, in the dialect of the path's words."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.clients import detect
from dataplane.dialects.dialect import Dialect
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES, envelope, match
from tests.dialects.test_registry import ROUTES

# Of every route of the registry.
PATHS = sorted({(method, path) for method, path, *_ in ROUTES})
LEFT_OVER = ["v1", "v1beta", "anthropic", "openai", "gemini", "cursor", "api", ""]


def refused(method: str, path: str, headers: dict[bytes, bytes] | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        match(method, path, headers)
    return caught.value


@pytest.mark.parametrize(
    ("path", "base", "right", "dialect"),
    [
        ("/v1/v1/messages", "should be this gateway's address without a path", "/v1/messages", ANTHROPIC),
        ("/messages", "should end in /v1", "/v1/messages", ANTHROPIC),
        ("/messages/count_tokens", "should end in /v1", "/v1/messages/count_tokens", ANTHROPIC),
        ("//v1/messages", "should not end in a slash", "/v1/messages", ANTHROPIC),
        ("/v1//messages", "should not end in a slash", "/v1/messages", ANTHROPIC),
        ("/v1/messages/", "should not end in a slash", "/v1/messages", ANTHROPIC),
        ("/v1/anthropic/v1/messages", "should end in /anthropic", "/anthropic/v1/messages", ANTHROPIC),
        ("/v1beta/messages", "should be this gateway's address", "/v1/messages", ANTHROPIC),
        ("/v1/messages/v1/messages", "should be this gateway's address", "/v1/messages", ANTHROPIC),
        ("/api/v1/messages", "should be this gateway's address", "/v1/messages", ANTHROPIC),
        ("/chat/completions", "should end in /v1", "/v1/chat/completions", CHAT),
        ("/v1/v1/chat/completions", "should end in /v1", "/v1/chat/completions", CHAT),
        ("/v1beta/chat/completions", "should end in /v1", "/v1/chat/completions", CHAT),
        ("/v1beta/openai/chat/completions", "should end in /openai/v1", "/openai/v1/chat/completions", CHAT),
        ("/v1/chat/completions/chat/completions", "should end in /v1", "/v1/chat/completions", CHAT),
        ("/embeddings", "should end in /v1", "/v1/embeddings", CHAT),
        ("/budget", "should end in /v1", "/v1/budget", CHAT),
        ("/responses", "should end in /v1", "/v1/responses", RESPONSES),
        ("/v1/responses/responses", "should end in /v1", "/v1/responses", RESPONSES),
        ("/openai/v1/v1/responses", "should end in /openai/v1", "/openai/v1/responses", RESPONSES),
        ("/v1/v1beta/models/g:generateContent", "should be this gateway's address", "/v1beta/models/g:generateContent",
         GEMINI),
        ("/v1beta/v1beta/models/a/b:countTokens", "should be this gateway's address",
         "/v1beta/models/a/b:countTokens", GEMINI),
        ("/v1//v1/messages", "should be this gateway's address", "/v1/messages", ANTHROPIC),
    ],
)  # fmt: skip
def test_the_words_name_the_right_base_url(path: str, base: str, right: str, dialect: Dialect):
    refusal = refused("POST", path)
    assert refusal.code is Code.WRONG_BASE_URL
    assert refusal.message == f"no such route: {path}; the base URL {refusal.message.partition('URL ')[2]}"
    assert f"the base URL {base}" in refusal.message
    assert refusal.message.endswith(f"so that the client asks for {right}")
    assert refusal.meta == {"route": right}
    assert envelope(path) is dialect


def outcome(method: str, path: str) -> Refusal | None:
    try:
        match(method, path)
    except Refusal as refusal:
        return refusal
    return None


def assert_it_leads_back(method: str, asked: str, path: str) -> None:
    refusal = outcome(method, asked)
    if refusal is None or refusal.code is Code.METHOD_NOT_ALLOWED:
        return  # with a prefix of ours it is a route as it is; a model may be called `v1/models`
    assert refusal.code is Code.WRONG_BASE_URL, asked
    right = str(refusal.meta["route"])
    assert match(method, right).tail == match(method, path).tail
    if "/models" not in path:  # its words are everybody's: headers and the version decide
        assert envelope(asked) is match(method, path).dialect


@given(st.sampled_from(PATHS), st.lists(st.sampled_from(LEFT_OVER), min_size=1, max_size=4), st.integers(0, 2))
def test_whatever_is_left_over_in_front_of_a_route_leads_back_to_it(known, left_over, slashes):
    method, path = known
    assert_it_leads_back(method, "".join(f"/{word}" for word in left_over) + path + "/" * slashes, path)


@given(st.sampled_from(PATHS))
def test_a_route_without_its_version_leads_back_to_it(known):
    method, path = known
    assert_it_leads_back(method, re.sub(r"/v1(?:beta)?/", "/", path, count=1), path)


@given(st.text("/v1betamsgx.:%?#\u00e9", max_size=40).map(lambda text: f"/{text}"), st.sampled_from(["GET", "POST"]))
def test_no_path_is_too_strange(path, method):
    refusal = outcome(method, path)
    assert refusal is None or refusal.code in (
        *(Code.NOT_FOUND, Code.WRONG_BASE_URL, Code.METHOD_NOT_ALLOWED, Code.UPGRADE_NOT_SUPPORTED),
    )
    assert refusal is None or refusal.meta.get("route") != path
    assert envelope(path) in (ANTHROPIC, CHAT, GEMINI, RESPONSES)


@pytest.mark.parametrize("path", ["/" + "v1/" * 2_000 + "messages", "/" + "/" * 5_000 + "x", "/v1" * 17 + "/messages"])
def test_no_thought_is_spent_on_what_is_too_long(path):
    assert refused("POST", path).code is Code.NOT_FOUND


@pytest.mark.parametrize("path", ["/evil/v1/messages", "/v1/../v1/messages", "/v1/unknown", "/v1", "/v1/", "/", "//"])
def test_what_ends_in_no_routes_words_is_just_not_there(path):
    assert refused("POST", path).code is Code.NOT_FOUND


def test_the_list_of_models_is_missed_in_the_callers_dialect():
    headers = {b"anthropic-version": b"2023-06-01"}
    for path in ("/models", "/v1/v1/models", "/v1/models/"):
        assert refused("GET", path, headers).code is Code.WRONG_BASE_URL
        assert envelope(path, headers) is ANTHROPIC
        assert envelope(path, {}) is CHAT


def test_a_wrong_method_is_told_the_whole_path():
    assert refused("GET", "/anthropic/v1/messages").message == "/anthropic/v1/messages answers POST"
    assert refused("PUT", "/openai/chat/completions").message == "/openai/chat/completions answers POST"
    assert refused("GET", "/v1/v1/messages").code is Code.WRONG_BASE_URL, "whatever the method"


def test_codexs_websocket_falls_back_to_http_before_it_is_told():
    upgrade = {b"upgrade": b"websocket", b"connection": b"Upgrade"}
    assert refused("GET", "/responses", upgrade).code is Code.UPGRADE_NOT_SUPPORTED
    assert refused("POST", "/responses").code is Code.WRONG_BASE_URL


@pytest.mark.parametrize(
    ("path", "agent", "code"),
    [
        ("/v1/v1/messages", b"claude-cli/2.1.330 (external, cli)", "wrong_base_url"),
        ("/responses", b"codex_exec/0.169.0", "invalid_prompt"),  # the one 400 of which Codex shows the message alone
        ("/chat/completions", b"OpenAI/Python 2.20.0", "wrong_base_url"),
        ("/v1/v1beta/models/g:generateContent", b"GeminiCLI/0.61.0", 400),
    ],
)
def test_it_is_a_400_since_clients_replace_the_words_of_a_404(path: str, agent: bytes, code: object):
    """Claude Code says of any 404 that there is an issue with the model."""
    answer = envelope(path).refusal(refused("POST", path), detect({b"user-agent": agent}), "req_1")
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (400, code)
    assert "the base URL should" in error["message"]
    assert ("x-should-retry", "false") in answer.headers
