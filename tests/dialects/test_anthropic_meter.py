from __future__ import annotations

import json

import pytest

from dataplane.core.usage import NO_USAGE, UsageSource
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import ANTHROPIC
from tests.dialects import streams
from tests.dialects.metering import FACTS, metered, tokens, units


def stream(*events: dict, **more):
    return metered(ANTHROPIC, Operation.MESSAGES, [streams.named(list(events))], **more)


def test_a_finished_stream_is_counted_by_the_provider_in_disjoint_classes():
    meter = stream(streams.ANTHROPIC_START, *streams.ANTHROPIC_CONTENT, *streams.ANTHROPIC_END)
    assert units(meter) == {
        "input": 12, "cache_read": 18_000, "cache_write_5m": 500, "cache_write_1h": 200, "output": 211, "web_search": 2,
    }  # fmt: skip
    assert tokens(meter) == 12 + 700 + 18_000 + 211
    usage = meter.usage()
    assert usage.source is UsageSource.PROVIDER
    assert (usage.service_tier, usage.speed, usage.geo) == ("standard", "fast", "us")
    assert json.loads(usage.raw)["cache_creation_input_tokens"] == 700
    assert meter.model == "claude-sonnet-5-5-20260801"
    assert meter.complete
    assert not meter.failed
    assert usage.input_tokens == 18_712


def test_an_aborted_stream_bills_the_announced_input_and_the_output_that_was_seen():
    meter = stream(streams.ANTHROPIC_START, *streams.ANTHROPIC_CONTENT)
    found = units(meter)
    assert meter.usage().source is UsageSource.METERED
    assert not meter.complete
    assert found["cache_read"] == 18_000
    assert found["input"] == 12
    # thinking, text and arguments: about 110 characters, without the signature
    assert 30 <= found["output"] <= 50


def test_a_stream_aborted_before_the_first_event_bills_the_estimate_not_the_upper_bound():
    meter = metered(ANTHROPIC, Operation.MESSAGES, [b"event: mess"])
    assert units(meter) == {"input": FACTS.input_tokens_estimate}
    assert meter.usage().source is UsageSource.METERED


def test_later_cumulative_figures_replace_earlier_ones():
    meter = stream(
        streams.ANTHROPIC_START,
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 55, "input_tokens": 13, "speed": None}},
        {"type": "message_stop"},
    )
    assert units(meter)["output"] == 55
    assert units(meter)["input"] == 13
    assert meter.usage().speed == "fast"


def test_a_cache_write_without_a_lifetime_keeps_its_own_class():
    start = {"type": "message_start", "message": {"model": "m", "usage": {"cache_creation_input_tokens": 9}}}
    assert units(stream(start, *streams.ANTHROPIC_END))["cache_write"] == 9


def test_compaction_is_billed_beside_the_top_level_figures():
    usage = {
        "input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 2},
        "iterations": [
            {"type": "compaction", "input_tokens": 1_000, "output_tokens": 100},
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
        ],
    }  # fmt: skip
    body = json.dumps({"type": "message", "model": "m", "content": [], "usage": usage}).encode()
    meter = metered(ANTHROPIC, Operation.MESSAGES, [body], streaming=False)
    assert units(meter) == {"input": 1_010, "output": 103, "output_reasoning": 2}


def test_an_error_before_any_content_costs_nothing_and_one_after_it_does():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    early = stream(error)
    assert early.failed
    assert early.usage() == NO_USAGE
    late = stream(streams.ANTHROPIC_START, *streams.ANTHROPIC_CONTENT, error)
    assert late.failed
    assert units(late)["cache_read"] == 18_000


def test_a_plain_answer_is_counted_from_its_body():
    message = {**streams.ANTHROPIC_START["message"], "content": [{"type": "text", "text": "hi"}]}
    body = json.dumps(message).encode()
    meter = metered(ANTHROPIC, Operation.MESSAGES, [body[:40], body[40:]], streaming=False)
    assert units(meter)["cache_write_1h"] == 200
    assert (meter.complete, meter.events, meter.model) == (True, 1, "claude-sonnet-5-5-20260801")


def test_half_a_plain_answer_bills_the_estimate_and_its_bytes():
    meter = metered(
        ANTHROPIC, Operation.MESSAGES, [b'{"type":"message","content":[{"text":"' + b"x" * 340], streaming=False
    )
    assert units(meter)["input"] == FACTS.input_tokens_estimate
    assert units(meter)["output"] >= 100
    assert not meter.complete


def test_half_a_character_does_not_hide_an_event():
    events = streams.named([streams.ANTHROPIC_START, *streams.ANTHROPIC_END])
    broken = events.replace(b'"stop_sequence": null', b'"stop_sequence": "\\ud83d"')
    assert units(metered(ANTHROPIC, Operation.MESSAGES, [broken]))["output"] == 211


@pytest.mark.parametrize("streaming", [True, False])
def test_counting_tokens_costs_nothing(streaming):
    meter = metered(ANTHROPIC, Operation.COUNT_TOKENS, [b'{"input_tokens": 5}'], streaming=streaming)
    assert meter.usage() == NO_USAGE
