"""Figures of a provider that are none, or that no answer can have: ours stand for them, and its own words are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.core.usage import Usage, UsageClass, UsageSource
from dataplane.dialects.counts import MOST_CALLS, MOST_INPUT, MOST_UNSEEN, plausible
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from tests.dialects.metering import metered

NONE_OR_ABSURD = [-5, "7", True, {"a": 1}, [1], 1e300, 10**12, 10**18, 2**63, 10**26, float("-1")]
TEXT = "sixteen letters. " * 4


def answer(dialect: Any, operation: Operation, body: dict[str, Any]) -> Usage:
    usage: Usage = metered(dialect, operation, [json.dumps(body).encode()], streaming=False).usage()
    return usage


def anthropic(value: Any) -> Usage:
    usage = {"input_tokens": 3, "output_tokens": value}
    return answer(ANTHROPIC, Operation.MESSAGES, {"model": "m", "content": [{"text": TEXT}], "usage": usage})


def anthropic_stream(value: Any) -> Usage:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": TEXT}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": value}},
        {"type": "message_stop"},
    ]
    data = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    usage: Usage = metered(ANTHROPIC, Operation.MESSAGES, data, streaming=True).usage()
    return usage


def chat(value: Any) -> Usage:
    usage = {"prompt_tokens": 3, "completion_tokens": value}
    return answer(CHAT, Operation.CHAT, {"model": "m", "choices": [{"message": {"content": TEXT}}], "usage": usage})


def responses(value: Any) -> Usage:
    usage = {"input_tokens": 3, "output_tokens": value}
    return answer(RESPONSES, Operation.RESPONSES, {"model": "m", "output": [{"text": TEXT}], "usage": usage})


def gemini(value: Any) -> Usage:
    candidate = {"content": {"parts": [{"text": TEXT}]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": value}
    return answer(GEMINI, Operation.GENERATE_CONTENT, {"candidates": [candidate], "usageMetadata": usage})


@pytest.mark.parametrize("value", NONE_OR_ABSURD, ids=repr)
@pytest.mark.parametrize("told", [anthropic, anthropic_stream, chat, responses, gemini])
def test_output_that_is_no_count_or_cannot_be_is_metered_and_kept_as_it_was_told(told: Any, value: Any) -> None:
    usage = told(value)
    assert usage.source is UsageSource.METERED
    assert usage.doubted
    assert usage.units[UsageClass.INPUT] == 3
    assert len(TEXT) // 4 <= usage.units[UsageClass.OUTPUT] <= 200
    assert "3" in usage.raw


@pytest.mark.parametrize("value", [7, 7.0, 400_000])
@pytest.mark.parametrize("told", [anthropic, anthropic_stream, chat, responses, gemini])
def test_a_figure_that_can_be_is_the_providers(told: Any, value: float) -> None:
    usage = told(value)
    assert usage.source is UsageSource.PROVIDER
    assert not usage.doubted
    assert usage.units.get(UsageClass.OUTPUT, 0) == value


def test_each_kind_of_use_has_its_own_measure() -> None:
    used = {UsageClass.CACHE_READ: MOST_INPUT, UsageClass.OUTPUT: MOST_UNSEEN + 50, UsageClass.WEB_SEARCH: MOST_CALLS}
    assert plausible(used, 0, 50) is used
    assert UsageClass.OUTPUT not in plausible(used, 0, 49)
    assert plausible(used, MOST_UNSEEN + 50, 0) is used
    more = {**used, UsageClass.INPUT: 1}
    assert plausible(more, 0, 50).keys() == used.keys() - {UsageClass.CACHE_READ}
    assert UsageClass.WEB_SEARCH not in plausible({**used, UsageClass.WEB_SEARCH: MOST_CALLS + 1}, 0, 50)
    assert UsageClass.OUTPUT not in plausible({UsageClass.OUTPUT: 10**18}, 10**18, 0)
