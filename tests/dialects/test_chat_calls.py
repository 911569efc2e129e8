"""What chat completions are billed for beside tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.core.usage import Usage, UsageClass, UsageSource
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import CHAT
from tests.dialects import streams
from tests.dialects.metering import FACTS, metered

TOKENS = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}


def whole(model: str, usage: Any) -> Usage:
    choices = [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]
    body = json.dumps({"model": model, "choices": choices, "usage": usage}).encode()
    return metered(CHAT, Operation.CHAT, [body], streaming=False).usage()


def streamed(model: str, usage: Any) -> Usage:
    events: list[dict[str, Any] | str] = [
        streams.chunk({"content": "x"}, model=model),
        streams.chunk({}, "stop", model=model),
        {**streams.chunk({}, model=model), "choices": [], "usage": usage},
        "[DONE]",
    ]
    text = streams.bare(events)
    found = metered(CHAT, Operation.CHAT, [text]).usage()
    for at in range(len(text)):
        assert metered(CHAT, Operation.CHAT, [text[:at], text[at:]]).usage() == found
    return found


@pytest.mark.parametrize("answer", [whole, streamed])
@pytest.mark.parametrize(
    "model",
    [
        *("gpt-4o-search-preview", "gpt-4o-mini-search-preview", "gpt-4o-search-preview-2025-03-11"),
        *("gpt-5-search-api", "gpt-5-search-api-2025-10-14"),
    ],
)
def test_a_search_model_searches_once_a_request(answer, model):
    assert answer(model, TOKENS).units == {"input": 1_000, "output": 100, "web_search": 1}
    silent = answer(model, None)
    assert (silent.source, silent.units[UsageClass.WEB_SEARCH]) == (UsageSource.METERED, 1)


@pytest.mark.parametrize("model", ["gpt-5", "my-search-model", "text-search-ada-doc-001", "research-api"])
def test_other_models_do_not(model):
    assert whole(model, TOKENS).units == {"input": 1_000, "output": 100}


def test_the_model_that_was_asked_for_tells_where_the_answer_does_not():
    facts = FACTS.__class__("gpt-4o-search-preview", None, True, 0, True, 9, "", input_tokens_estimate=5)
    body = json.dumps({"choices": [], "usage": TOKENS}).encode()
    found = metered(CHAT, Operation.CHAT, [body], streaming=False, facts=facts).usage()
    assert found.units[UsageClass.WEB_SEARCH] == 1


@pytest.mark.parametrize("answer", [whole, streamed])
@pytest.mark.parametrize(
    ("more", "units", "unknown"),
    [
        ({"server_tool_use": {"web_search_requests": 3}}, {"web_search": 3}, {}),
        ({"num_search_queries": 4}, {"web_search": 4}, {}),
        ({"num_sources_used": 5}, {}, {"num_sources_used": 5}),
        ({"server_side_tool_usage": {"SERVER_SIDE_TOOL_WEB_SEARCH": 2, "SERVER_SIDE_TOOL_X_SEARCH": 1}},
         {"web_search": 3}, {}),
        ({"server_side_tool_usage_details": {
            "web_search_calls": 0, "file_search_calls": 2, "code_interpreter_calls": 1, "mcp_calls": 8}},
         {"tool_call": 2}, {"code_interpreter": 1}),
    ],
)  # fmt: skip
def test_calls_that_imitators_count_are_counted(answer, more, units, unknown):
    found = answer("m", {**TOKENS, **more})
    assert found.source is UsageSource.PROVIDER
    assert found.units == {"input": 1_000, "output": 100, **units}
    assert found.unknown_calls == unknown


@pytest.mark.parametrize("odd", [{"num_search_queries": -1}, {"num_sources_used": "7"}, {"server_tool_use": 5}])
def test_odd_calls_do_no_harm(odd):
    found = whole("m", {**TOKENS, **odd})
    assert (found.units[UsageClass.INPUT], found.units[UsageClass.OUTPUT]) == (1_000, 100)


def test_names_of_unknown_calls_are_bounded():
    names = {f"tool_{number}_{'x' * 90}": 1 for number in range(300)}
    found = whole("m", {**TOKENS, "server_side_tool_usage": names})
    assert len(found.unknown_calls) <= 16
    assert max(map(len, found.unknown_calls)) <= 64
