"""README's paragraph about what is changed: a request's body in two places, in the dialects that it names."""

from __future__ import annotations

import json

import pytest

from dataplane.core.routing import Candidate
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from dataplane.dialects.dialect import Dialect, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dataplane.providers.upstream import upstream_request, wire_model
from tests.core import build
from tests.papers.house import house

STREAMS: tuple[tuple[Dialect, Operation, dict[str, object]], ...] = (
    (ANTHROPIC, Operation.MESSAGES, {"model": "m", "stream": True, "max_tokens": 9, "messages": []}),
    (RESPONSES, Operation.RESPONSES, {"model": "m", "stream": True, "input": "hi"}),
    (CHAT, Operation.CHAT, {"model": "m", "stream": True, "messages": []}),
    (GEMINI, Operation.STREAM_GENERATE_CONTENT, {"contents": []}),
)


def paragraph() -> str:
    _, found, rest = house().text("README.md").partition("**What is changed is declared**")
    assert found, "README has no bullet that declares what is changed of a request"
    return " ".join(rest.partition("\n- ")[0].split())


def sent_on(dialect: Dialect, operation: Operation, said: dict[str, object], model: str = "m") -> object:
    body = json.dumps(said).encode()
    facts = dialect.read_request(operation, "m" if dialect is GEMINI else "", body)
    return json.loads(dialect.rewrite(body, facts, model=model, include_usage=facts.stream and not facts.asks_usage))


@pytest.mark.parametrize(("dialect", "operation", "said"), STREAMS, ids=lambda value: getattr(value, "name", None))
def test_a_stream_is_changed_only_where_the_readme_says(dialect: Dialect, operation: Operation, said: dict) -> None:
    added = {"stream_options": {"include_usage": True}} if dialect is CHAT else {}
    assert sent_on(dialect, operation, said) == said | added
    other = {"model": "other"} if "model" in said else {}
    assert sent_on(dialect, operation, said, "other") == said | added | other


def test_a_chat_stream_that_asks_for_its_usage_is_left_alone() -> None:
    said = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "messages": []}
    assert sent_on(CHAT, Operation.CHAT, said) == said


def test_a_chat_stream_that_does_not_want_its_usage_is_asked_for_it_all_the_same() -> None:
    said = {"model": "m", "stream": True, "stream_options": {"include_usage": False}, "messages": []}
    assert sent_on(CHAT, Operation.CHAT, said) == said | {"stream_options": {"include_usage": True}}


def test_the_readme_names_both_places() -> None:
    assert "two places" in paragraph()
    for words in ("`model`", "A chat stream that does not ask for `stream_options.include_usage`", "Azure deployment"):
        assert words in paragraph()


def test_an_azure_deployment_replaces_the_model() -> None:
    azure = build.provider(kind=ProviderKind.AZURE_OPENAI, deployments=(("gpt-5.5", "prod"),))
    assert wire_model(Candidate(azure, "gpt-5.5")) == "prod"


def test_of_the_headers_those_that_the_readme_names_stay_here() -> None:
    provider = build.provider(base_url="https://llm.example.com", credential=Secret("sk-theirs"))
    stays = ("Authorization", "X-Api-Key", "Cookie", "X-Forwarded-For", "Via", "Traceparent", "X-Langwatch-Tags")
    passes = ("anthropic-beta", "User-Agent", "X-Stainless-Lang")
    fields = [(name.encode(), b"v") for name in (*stays, *passes)]
    request = upstream_request(Candidate(provider, "m"), Operation.MESSAGES, "/messages", "", fields, version="v1")
    values = {name.lower(): value for name, value in request.headers}
    assert {name.lower().encode() for name in passes} <= set(values)
    assert not [name for name in stays if values.get(name.lower().encode()) == b"v"]
    for words in ("credential and host", "cookies", "forwarding", "trace", "`X-Langwatch-`"):
        assert words in paragraph()
