"""What a request says, and that rewriting moves nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import Dialect, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from tests.dialects.test_scan import LAYOUTS, TEXT, VALUES

DIALECTS = [(ANTHROPIC, Operation.MESSAGES), (RESPONSES, Operation.RESPONSES), (CHAT, Operation.CHAT)]


def read(dialect: Dialect, operation: Operation, value: Any, model: str = ""):
    body = json.dumps(value).encode()
    return body, dialect.read_request(operation, model, body)


@pytest.mark.parametrize(("dialect", "operation"), DIALECTS, ids=lambda value: getattr(value, "name", ""))
@settings(max_examples=30)
@given(rest=st.dictionaries(TEXT, VALUES, max_size=4), layout=LAYOUTS, new=TEXT.filter(bool))
def test_only_the_models_value_differs(dialect, operation, rest, layout, new):
    value = {**rest, "messages": [{"model": "nested"}], "model": "old"}
    body = json.dumps(value, **layout).encode()
    facts = dialect.read_request(operation, "", body)
    after = dialect.rewrite(body, facts, model=new, include_usage=False)
    start, end = facts.model_span
    assert json.loads(body[start:end]) == facts.model == "old"
    assert after[:start] == body[:start]
    assert after.endswith(body[end:])
    assert json.loads(after) == {**value, "model": new}
    assert dialect.rewrite(body, facts, model="old", include_usage=False) is body


@pytest.mark.parametrize(
    ("options", "asks", "after"),
    [
        ({}, False, {"stream_options": {"include_usage": True}}),
        ({"stream_options": None}, False, {"stream_options": {"include_usage": True}}),
        ({"stream_options": {}}, False, {"stream_options": {"include_usage": True}}),
        ({"stream_options": {"x": [1]}}, False, {"stream_options": {"x": [1], "include_usage": True}}),
        ({"stream_options": {"include_usage": None}}, False, {"stream_options": {"include_usage": True}}),
        ({"stream_options": {"include_usage": True}}, True, None),
        ({"stream_options": {"include_usage": False}}, False, {"stream_options": {"include_usage": True}}),
        ({"stream_options": {"include_usage": "no"}}, False, None),
        ({"stream_options": "odd"}, False, None),
    ],
)
@settings(max_examples=30)
@given(rest=st.dictionaries(TEXT.filter(lambda key: key != "stream_options"), VALUES, max_size=3), layout=LAYOUTS)
def test_usage_is_asked_for_where_a_chat_stream_does_not(options, asks, after, rest, layout):
    value = {**rest, "model": "old", "stream": True, "messages": [], **options}
    body = json.dumps(value, **layout).encode()
    facts = CHAT.read_request(Operation.CHAT, "", body)
    assert facts.asks_usage is asks
    assert json.loads(CHAT.rewrite(body, facts, model="new", include_usage=True)) == {
        **value, **(after or {}), "model": "new",
    }  # fmt: skip
    assert CHAT.rewrite(body, facts, model="old", include_usage=False) is body
    if after is None:
        assert CHAT.rewrite(body, facts, model="old", include_usage=True) is body


@pytest.mark.parametrize("stream", [False, None, "true"])
def test_usage_is_not_asked_for_in_a_plain_chat(stream):
    body, facts = read(CHAT, Operation.CHAT, {"model": "m", "stream": stream, "messages": []})
    assert facts.asks_usage
    assert not facts.stream
    assert CHAT.rewrite(body, facts, model="m", include_usage=True) is body


def test_what_an_anthropic_request_says():
    user = json.dumps({"device_id": "0", "session_id": "s-1"})
    _, facts = read(
        ANTHROPIC,
        Operation.MESSAGES,
        {"model": "claude", "stream": True, "max_tokens": 32_000, "metadata": {"user_id": user}, "messages": []},
    )
    assert (facts.model, facts.stream, facts.max_output, facts.session) == ("claude", True, 32_000, "s-1")


def test_what_a_responses_request_says():
    _, facts = read(
        RESPONSES,
        Operation.RESPONSES,
        {"model": "gpt", "stream": True, "max_output_tokens": 9, "prompt_cache_key": "s-1", "input": []},
    )
    assert (facts.model, facts.stream, facts.max_output, facts.session) == ("gpt", True, 9, "s-1")
    assert RESPONSES.read_request(Operation.RESPONSES_STORED, "", b"").model == ""


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_what_a_chat_request_says(limit):
    _, facts = read(CHAT, Operation.CHAT, {"model": "gpt", limit: 7, "prompt_cache_key": "s", "messages": []})
    assert (facts.max_output, facts.session) == (7, "s")


def test_a_responses_body_on_chat_completions_is_refused_with_what_would_work():
    with pytest.raises(Refusal, match="/v1/responses") as refused:
        read(CHAT, Operation.CHAT, {"model": "gpt", "input": [{"role": "user"}], "tools": [], "stream": True})
    assert refused.value.code is Code.BAD_REQUEST
    # Cursor's Ask mode: a chat body, whatever its tools look like
    read(CHAT, Operation.CHAT, {"model": "gpt", "messages": [], "tools": [{"type": "custom", "name": "ApplyPatch"}]})
    read(CHAT, Operation.EMBEDDINGS, {"model": "e", "input": "text"})


def test_geminis_model_stands_in_the_path_and_the_body_stays_as_it_is():
    value = {"contents": [{"parts": [{"text": "model"}]}], "generationConfig": {"maxOutputTokens": 64}, "model": "x"}
    body, facts = read(GEMINI, Operation.STREAM_GENERATE_CONTENT, value, "gemini-2.5-pro")
    assert (facts.model, facts.stream, facts.max_output) == ("gemini-2.5-pro", True, 64)
    assert GEMINI.rewrite(body, facts, model="gemini-3", include_usage=True) is body
    assert not read(GEMINI, Operation.GENERATE_CONTENT, {}, "g")[1].stream


@pytest.mark.parametrize(
    ("operation", "value", "after"),
    [
        (Operation.EMBED_CONTENT, {"model": "models/a", "content": {}}, {"model": "models/b", "content": {}}),
        (
            Operation.EMBED_CONTENT,
            {"requests": [{"model": "models/a", "content": {}}, {"x": 1}, {"content": {}, "model": "models/a"}]},
            {"requests": [{"model": "models/b", "content": {}}, {"x": 1}, {"content": {}, "model": "models/b"}]},
        ),
        (
            Operation.COUNT_TOKENS,
            {"generateContentRequest": {"contents": [{"model": "models/a"}], "model": "models/a"}},
            {"generateContentRequest": {"contents": [{"model": "models/a"}], "model": "models/b"}},
        ),
        (Operation.CACHED_CONTENTS, {"model": "models/a", "ttl": "60s"}, {"model": "models/b", "ttl": "60s"}),
    ],
)
def test_gemini_bodies_that_repeat_the_model_are_rewritten_in_every_place(operation, value, after):
    path_model = "" if operation is Operation.CACHED_CONTENTS else "a"
    body, facts = read(GEMINI, operation, value, path_model)
    assert facts.model == "a"
    assert json.loads(GEMINI.rewrite(body, facts, model="b", include_usage=False)) == after
    assert GEMINI.rewrite(body, facts, model="a", include_usage=False) is body


def test_reading_cached_contents_needs_no_body():
    assert GEMINI.read_request(Operation.CACHED_CONTENTS, "", b"").model == ""


@pytest.mark.parametrize(("dialect", "operation"), [*DIALECTS, (GEMINI, Operation.GENERATE_CONTENT)])
def test_a_request_without_a_model_is_refused(dialect, operation):
    with pytest.raises(Refusal) as refused:
        dialect.read_request(operation, "", b"{}")
    assert refused.value.code is Code.MISSING_MODEL
