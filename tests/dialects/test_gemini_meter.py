from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.core.usage import NO_USAGE, UsageSource
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import GEMINI
from tests.dialects import streams
from tests.dialects.metering import FACTS, metered, tokens, units

EXPECTED = {
    # 5,000 of prompt: 3,000 cached, 400 of 500 audio and all 300 image uncached; 70 of tool prompts on top
    "input": 1_370, "cache_read": 3_000, "input_audio": 400, "input_image": 300, "output": 150, "output_image": 250,
    "output_reasoning": 250, "web_search": 1,
}  # fmt: skip


@pytest.mark.parametrize(("text", "streaming"), [(streams.GEMINI_SSE, True), (streams.GEMINI_ARRAY, False)])
def test_both_kinds_of_stream_are_counted_in_disjoint_classes(text, streaming):
    meter = metered(GEMINI, Operation.STREAM_GENERATE_CONTENT, [text], streaming=streaming)
    assert units(meter) == EXPECTED
    assert tokens(meter) == streams.GEMINI_USAGE["totalTokenCount"]
    assert (meter.complete, meter.events, meter.model) == (True, 3, "gemini-2.5-pro")
    assert meter.usage().source is UsageSource.PROVIDER


def test_a_plain_answer_is_counted():
    body = json.dumps(streams.GEMINI_CHUNKS[-1]).encode()
    assert units(metered(GEMINI, Operation.GENERATE_CONTENT, [body], streaming=False)) == EXPECTED


def test_later_generations_bill_each_search():
    chunk = {**streams.GEMINI_CHUNKS[-1], "modelVersion": "gemini-3.5-pro"}
    meter = metered(GEMINI, Operation.GENERATE_CONTENT, [json.dumps(chunk).encode()], streaming=False)
    assert units(meter)["web_search"] == 2


def test_an_aborted_stream_keeps_the_figures_so_far_and_adds_the_output_seen():
    meter = metered(GEMINI, Operation.STREAM_GENERATE_CONTENT, [streams.bare([*streams.GEMINI_CHUNKS[:1]])])
    assert not meter.complete
    assert meter.usage().source is UsageSource.METERED
    assert units(meter) == {"input": 5_000, "output_reasoning": 20}
    longer = {"candidates": [{"content": {"parts": [{"text": "x" * 400}]}}]}
    meter = metered(GEMINI, Operation.STREAM_GENERATE_CONTENT, [streams.bare([streams.GEMINI_CHUNKS[0], longer])])
    assert 80 <= units(meter)["output"] <= 100


def test_a_stream_of_two_candidates_is_complete_when_both_have_finished():
    def chunk(finished: int, usage: int):
        both: list[dict[str, Any]] = [{"index": index, "content": {"parts": [{"text": "x"}]}} for index in (0, 1)]
        for candidate in both[:finished]:
            candidate["finishReason"] = "STOP"
        return {"candidates": both, "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": usage}}

    meter = GEMINI.meter(Operation.STREAM_GENERATE_CONTENT, streaming=True, facts=FACTS)
    meter.feed(streams.bare([chunk(0, 1), chunk(1, 2)]))
    assert not meter.complete
    meter.feed(streams.bare([chunk(2, 3)]))
    assert meter.complete
    assert units(meter) == {"input": 9, "output": 3}


def test_a_blocked_prompt_is_complete():
    chunk = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    meter = metered(GEMINI, Operation.STREAM_GENERATE_CONTENT, [streams.bare([chunk])])
    assert meter.complete
    assert units(meter) == {"input": 9}


@pytest.mark.parametrize("text", [b'{"error":{"code":429,"message":"no"}}', b'[{"error":{"code":429}}]'])
def test_an_error_costs_nothing(text):
    meter = metered(GEMINI, Operation.STREAM_GENERATE_CONTENT, [text], streaming=False)
    assert meter.failed
    assert meter.usage() == NO_USAGE


def test_an_embedding_without_figures_is_estimated():
    meter = metered(GEMINI, Operation.EMBED_CONTENT, [b'{"embedding":{"values":[0.1]}}'], streaming=False)
    assert units(meter) == {"input": FACTS.input_tokens_estimate}
    body = b'{"embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":7}}'
    assert units(metered(GEMINI, Operation.EMBED_CONTENT, [body], streaming=False)) == {"input": 7}


@pytest.mark.parametrize("operation", [Operation.COUNT_TOKENS, Operation.CACHED_CONTENTS])
def test_counting_and_caches_cost_nothing(operation):
    body = b'{"totalTokens":7,"usageMetadata":{"promptTokenCount":7}}'
    assert metered(GEMINI, operation, [body], streaming=False).usage() == NO_USAGE
