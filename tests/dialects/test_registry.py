from __future__ import annotations

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import DialectName, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, DIALECTS, GEMINI, RESPONSES, envelope, match

ROUTES = [
    ("POST", "/v1/messages", ANTHROPIC, Operation.MESSAGES, "", "v1", "/messages", ""),
    ("POST", "/anthropic/v1/messages", ANTHROPIC, Operation.MESSAGES, "", "v1", "/messages", "/anthropic"),
    ("POST", "/v1/messages/count_tokens", ANTHROPIC, Operation.COUNT_TOKENS, "", "v1", "/messages/count_tokens", ""),
    ("POST", "/v1/responses", RESPONSES, Operation.RESPONSES, "", "v1", "/responses", ""),
    ("POST", "/openai/v1/responses", RESPONSES, Operation.RESPONSES, "", "v1", "/responses", "/openai"),
    ("POST", "/v1/responses/compact", RESPONSES, Operation.RESPONSES_COMPACT, "", "v1", "/responses/compact", ""),
    ("POST", "/v1/responses/input_tokens", RESPONSES, Operation.RESPONSES_INPUT_TOKENS, "", "v1",
     "/responses/input_tokens", ""),
    ("GET", "/v1/responses/resp_68a1", RESPONSES, Operation.RESPONSES_STORED, "", "v1", "/responses/resp_68a1", ""),
    ("DELETE", "/v1/responses/resp_68a1", RESPONSES, Operation.RESPONSES_STORED, "", "v1", "/responses/resp_68a1", ""),
    ("POST", "/v1/chat/completions", CHAT, Operation.CHAT, "", "v1", "/chat/completions", ""),
    ("POST", "/cursor/v1/chat/completions", CHAT, Operation.CHAT, "", "v1", "/chat/completions", "/cursor"),
    ("POST", "/v1/embeddings", CHAT, Operation.EMBEDDINGS, "", "v1", "/embeddings", ""),
    ("POST", "/v1beta/models/gemini-2.5-pro:generateContent", GEMINI, Operation.GENERATE_CONTENT, "gemini-2.5-pro",
     "v1beta", "/models/{model}:generateContent", ""),
    ("POST", "/v1/models/gemini-2.5-pro:streamGenerateContent", GEMINI, Operation.STREAM_GENERATE_CONTENT,
     "gemini-2.5-pro", "v1", "/models/{model}:streamGenerateContent", ""),
    ("POST", "/models/gemini-2.5-pro:streamGenerateContent", GEMINI, Operation.STREAM_GENERATE_CONTENT,
     "gemini-2.5-pro", "", "/models/{model}:streamGenerateContent", ""),
    ("POST", "/gemini/v1beta/models/google%2Fg-3:countTokens", GEMINI, Operation.COUNT_TOKENS, "google/g-3", "v1beta",
     "/models/{model}:countTokens", "/gemini"),
    ("POST", "/v1beta/models/team/g:embedContent", GEMINI, Operation.EMBED_CONTENT, "team/g", "v1beta",
     "/models/{model}:embedContent", ""),
    ("POST", "/v1beta/models/e:batchEmbedContents", GEMINI, Operation.EMBED_CONTENT, "e", "v1beta",
     "/models/{model}:batchEmbedContents", ""),
    ("POST", "/v1beta/cachedContents", GEMINI, Operation.CACHED_CONTENTS, "", "v1beta", "/cachedContents", ""),
    ("PATCH", "/v1beta/cachedContents/a1", GEMINI, Operation.CACHED_CONTENTS, "", "v1beta", "/cachedContents/a1", ""),
    ("GET", "/v1/models", CHAT, Operation.MODELS, "", "v1", "/models", ""),
    ("GET", "/openai/v1/models", CHAT, Operation.MODELS, "", "v1", "/models", "/openai"),
    ("GET", "/v1/models/provider/gpt-5.5", CHAT, Operation.MODELS, "provider/gpt-5.5", "v1",
     "/models/provider/gpt-5.5", ""),
    ("GET", "/v1beta/models", GEMINI, Operation.MODELS, "", "v1beta", "/models", ""),
    ("GET", "/v1beta/models/gemini-2.5-pro", GEMINI, Operation.MODELS, "gemini-2.5-pro", "v1beta",
     "/models/gemini-2.5-pro", ""),
    ("GET", "/anthropic/v1/models", ANTHROPIC, Operation.MODELS, "", "v1", "/models", "/anthropic"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "dialect", "operation", "model", "version", "tail", "prefix"), ROUTES)
def test_every_route_of_the_contract(method, path, dialect, operation, model, version, tail, prefix):
    route = match(method, path)
    assert (route.dialect, route.operation, route.path_model) == (dialect, operation, model)
    assert (route.version, route.tail, route.prefix) == (version, tail, prefix)


@pytest.mark.parametrize(
    ("headers", "dialect"),
    [
        ({b"anthropic-version": b"2023-06-01", b"authorization": b"Bearer x"}, ANTHROPIC),
        ({b"x-goog-api-key": b"x"}, GEMINI),
        ({b"x-goog-api-key": b"x", b"authorization": b"Bearer x"}, CHAT),
        ({b"x-api-key": b"x"}, CHAT),
    ],
)
def test_the_list_of_models_is_the_callers(headers, dialect):
    assert match("GET", "/v1/models", headers).dialect is dialect


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/messages", Code.METHOD_NOT_ALLOWED),
        ("PUT", "/v1/chat/completions", Code.METHOD_NOT_ALLOWED),
        ("POST", "/v1/models", Code.METHOD_NOT_ALLOWED),
        ("POST", "/v1/responses/resp_1", Code.METHOD_NOT_ALLOWED),
        ("GET", "/v1beta/models/g:generateContent", Code.METHOD_NOT_ALLOWED),
        ("GET", "/v1/responses", Code.UPGRADE_NOT_SUPPORTED),
        ("GET", "/openai/v1/responses", Code.UPGRADE_NOT_SUPPORTED),
        ("POST", "/", Code.NOT_FOUND),
        ("POST", "/v1/unknown", Code.NOT_FOUND),
        ("POST", "/v1/messages/batches", Code.NOT_FOUND),
        ("POST", "/v1beta/models/g:explode", Code.NOT_FOUND),
        ("GET", "/v1/responses/../../x", Code.NOT_FOUND),
        ("GET", "/v1/models/../../x", Code.NOT_FOUND),
        ("GET", "/v1/models/%2e%2e/x", Code.NOT_FOUND),
        ("POST", "/v1beta/models/../x:generateContent", Code.NOT_FOUND),
        ("POST", "/v1beta/models/%2E%2E%2Fx:generateContent", Code.NOT_FOUND),
        ("GET", "/evil/v1/models", Code.NOT_FOUND),
    ],
)
def test_what_is_no_route_is_refused(method, path, code):
    with pytest.raises(Refusal) as refused:
        match(method, path)
    assert refused.value.code is code


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", ANTHROPIC),
        ("/anthropic/what", ANTHROPIC),
        ("/v1beta/what", GEMINI),
        ("/v1/responses", RESPONSES),
        ("/v1/what", CHAT),
        ("/", CHAT),
    ],
)
def test_a_refusal_without_a_route_takes_the_nearest_envelope(path, dialect):
    assert envelope(path) is dialect


def test_every_dialect_is_found_by_its_name():
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {name: name for name in DialectName}
