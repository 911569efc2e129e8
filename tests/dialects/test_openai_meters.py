from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.core.usage import NO_USAGE, UsageSource
from dataplane.dialects import meters
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import CHAT, RESPONSES
from tests.dialects import streams
from tests.dialects.metering import FACTS, metered, tokens, units


def responses(events: list[dict[str, Any]]):
    return metered(RESPONSES, Operation.RESPONSES, [streams.named(events)])


def chat(events: list[dict[str, Any] | str]):
    return metered(CHAT, Operation.CHAT, [streams.bare(events)])


def test_a_response_is_counted_at_its_last_event_in_disjoint_classes():
    meter = RESPONSES.meter(Operation.RESPONSES, streaming=True, facts=FACTS)
    meter.feed(streams.RESPONSES)  # Codex hangs up here: nobody closes
    assert meter.complete
    assert units(meter) == {
        "input": 1_000, "cache_read": 15_000, "cache_write": 4_000, "output": 300, "output_reasoning": 600,
        "web_search": 1,
    }  # fmt: skip
    assert tokens(meter) == streams.RESPONSES_USAGE["total_tokens"]
    assert meter.usage().source is UsageSource.PROVIDER
    assert meter.usage().service_tier == "priority"
    assert meter.model == "gpt-5.5-2026-07-01"


@pytest.mark.parametrize(("kind", "failed"), [("response.incomplete", False), ("response.failed", True)])
def test_incomplete_and_failed_responses_are_billed_by_their_usage(kind, failed):
    end = {**streams.RESPONSES_END, "type": kind}
    meter = responses([*streams.RESPONSES_OPENING, end])
    assert (meter.complete, meter.failed) == (True, failed)
    assert units(meter)["output_reasoning"] == 600


def test_a_failure_without_usage_costs_nothing_before_output():
    error = {"code": "server_is_overloaded", "message": "no"}
    meter = responses([{"type": "response.failed", "response": {"id": "r", "error": error, "usage": None}}])
    assert meter.failed
    assert meter.usage() == NO_USAGE
    assert responses([{"type": "error", "message": "no"}]).failed


def test_an_aborted_response_bills_the_input_estimate_the_output_and_the_searches_seen():
    meter = responses(streams.RESPONSES_OPENING)
    assert meter.usage().source is UsageSource.METERED
    assert units(meter) == {"input": FACTS.input_tokens_estimate, "output": 9, "web_search": 1}


@pytest.mark.parametrize("operation", [Operation.RESPONSES, Operation.RESPONSES_COMPACT])
def test_a_plain_response_and_a_compaction_are_counted(operation):
    body = json.dumps(streams.RESPONSES_END["response"]).encode()
    meter = metered(RESPONSES, operation, [body], streaming=False)
    assert units(meter)["cache_write"] == 4_000
    assert units(meter)["web_search"] == 1


def test_file_searches_are_calls_of_billed_tools():
    response = {**streams.RESPONSES_END["response"], "output": [{"type": "file_search_call"}, {"type": "message"}]}
    meter = responses([{"type": "response.completed", "response": response}])
    assert units(meter)["tool_call"] == 1


@pytest.mark.parametrize("operation", [Operation.RESPONSES_INPUT_TOKENS, Operation.RESPONSES_STORED])
def test_counting_and_reading_what_is_stored_cost_nothing(operation):
    body = json.dumps(streams.RESPONSES_END["response"]).encode()
    assert metered(RESPONSES, operation, [body], streaming=False).usage() == NO_USAGE


def test_a_chat_stream_is_counted_in_disjoint_classes():
    meter = metered(CHAT, Operation.CHAT, [streams.CHAT])
    assert units(meter) == {
        "input": 260, "cache_read": 640, "input_audio": 100, "output": 150, "output_reasoning": 120, "output_audio": 30,
    }  # fmt: skip
    assert tokens(meter) == streams.CHAT_USAGE["total_tokens"]
    assert (meter.complete, meter.model, meter.usage().service_tier) == (True, "gpt-4o-2024-11-20", "default")


def test_a_chat_stream_is_complete_once_it_ended_and_said_its_usage():
    meter = CHAT.meter(Operation.CHAT, streaming=True, facts=FACTS)
    meter.feed(streams.bare([*streams.CHAT_OPENING, streams.chunk({}, "stop")]))
    assert not meter.complete
    meter.feed(streams.bare([{**streams.chunk({}), "choices": [], "usage": streams.CHAT_USAGE}]))
    assert meter.complete


def test_a_chat_stream_without_usage_is_estimated_even_when_it_ended():
    meter = chat([*streams.CHAT_OPENING, streams.chunk({}, "tool_calls"), "[DONE]"])
    assert meter.complete
    assert meter.usage().source is UsageSource.METERED
    assert units(meter)["input"] == FACTS.input_tokens_estimate
    # reasoning, text, name and arguments: about 60 characters
    assert 12 <= units(meter)["output"] <= 20


def test_usage_that_grows_from_chunk_to_chunk_is_the_bill_only_at_the_end():
    def partly(count: int, finish: str | None = None):
        usage = {"prompt_tokens": 50, "completion_tokens": count, "total_tokens": 50 + count}
        return streams.chunk({"content": "word "}, finish, usage=usage)

    aborted = chat([partly(1), partly(2)])
    assert aborted.usage().source is UsageSource.METERED
    assert units(aborted) == {"input": 50, "output": 3}
    ended = chat([partly(1), partly(2), partly(3, "stop"), "[DONE]"])
    assert ended.usage().source is UsageSource.PROVIDER
    assert units(ended) == {"input": 50, "output": 3}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # xAI: reasoning on top of the completion, told by the total
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35,
             "completion_tokens_details": {"reasoning_tokens": 20}},
            {"input": 10, "output": 5, "output_reasoning": 20},
        ),
        # DeepSeek
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 4},
            {"input": 6, "cache_read": 4, "output": 5},
        ),
        # details that claim more than there is
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99},
             "completion_tokens_details": {"reasoning_tokens": 99}},
            {"cache_read": 10, "output_reasoning": 5},
        ),
        ({"prompt_tokens": 3.0, "completion_tokens": 4}, {"input": 3, "output": 4}),
    ],
)  # fmt: skip
def test_imitators_are_read_so_that_the_classes_sum_to_their_total(usage, expected):
    body = json.dumps({"model": "m", "choices": [], "usage": usage}).encode()
    assert units(metered(CHAT, Operation.CHAT, [body], streaming=False)) == expected


def test_chunks_with_undocumented_choices_still_count():
    odd = {"model": "m", "choices": "none", "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
    assert units(chat([odd, "[DONE]"])) == {"input": 4, "output": 2}


def test_an_error_frame_is_a_failure_inside_a_200():
    meter = chat([{"error": {"message": "no"}}])
    assert meter.failed
    assert meter.usage() == NO_USAGE


def test_embeddings_are_input_only():
    body = json.dumps(
        {"data": [{"embedding": [0.1] * 50}], "model": "e", "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    )
    meter = metered(CHAT, Operation.EMBEDDINGS, [body.encode()], streaming=False)
    assert units(meter) == {"input": 8}
    assert meter.usage().source is UsageSource.PROVIDER
    silent = metered(CHAT, Operation.EMBEDDINGS, [b'{"data":[{"embedding":[1,2,3]}]}'], streaming=False)
    assert units(silent) == {"input": FACTS.input_tokens_estimate}


def test_an_answer_too_large_to_keep_is_metered_from_its_tail(monkeypatch):
    monkeypatch.setattr(meters, "MAX_BODY", 10_000)
    monkeypatch.setattr(meters, "TAIL_BYTES", 2_000)
    vectors = [{"embedding": [0.123456] * 1_000} for _ in range(20)]
    body = json.dumps({"data": vectors, "model": "e", "usage": {"prompt_tokens": 8, "total_tokens": 8}}).encode()
    chunks = [body[at : at + 700] for at in range(0, len(body), 700)]
    assert units(metered(CHAT, Operation.EMBEDDINGS, chunks, streaming=False)) == {"input": 8}
