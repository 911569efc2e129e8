"""A figure is the provider's only if it can be true: zeros that overwrite, usage objects that tell nothing, events and
answers of which only the end can be read, and what other models and tools add."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.usage import Usage, UsageClass, UsagePart, UsageSource, Why
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dataplane.dialects.responses.calls import CallsSeen, Item
from dataplane.dialects.sse import MAX_EVENT
from dataplane.dialects.values import larger, updated
from tests.dialects.metering import FACTS, metered

INPUT, OUTPUT, SEARCH = UsageClass.INPUT, UsageClass.OUTPUT, UsageClass.WEB_SEARCH
WORDS = "word " * 8_000


def sse(events: list[dict[str, Any]]) -> list[bytes]:
    return [f"event: {event.get('type', 'x')}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def read(dialect: Any, operation: Operation, data: list[bytes], streaming: bool) -> Usage:
    """As it comes in those pieces, and byte by byte: both have to say the same."""
    usage: Usage = metered(dialect, operation, data, streaming=streaming).usage()
    whole = b"".join(data)
    if len(whole) < 4_096:
        bytewise = metered(
            dialect, operation, [whole[at : at + 1] for at in range(len(whole))], streaming=streaming
        ).usage()
        assert bytewise == usage
    return usage


def anthropic(start: dict[str, Any], *deltas: dict[str, Any], text: str = "") -> Usage:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"model": "claude-sonnet-4-6", "usage": start}}
    ]
    if text:
        events.append({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})
    events += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": delta} for delta in deltas]
    return read(ANTHROPIC, Operation.MESSAGES, sse([*events, {"type": "message_stop"}]), True)


@pytest.mark.parametrize(
    ("start", "delta"),
    [
        ({"input_tokens": 1000, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 100}),
        ({"input_tokens": 1000, "output_tokens": 1}, {"input_tokens": None, "output_tokens": 100}),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 1000, "output_tokens": 100}),
        ({"input_tokens": 900, "output_tokens": 1}, {"input_tokens": 1000, "output_tokens": 100}),
        ({"input_tokens": 1100, "output_tokens": 1}, {"input_tokens": 1000, "output_tokens": 100}),
    ],
)
def test_what_is_told_later_holds_but_for_zeros(start: dict[str, Any], delta: dict[str, Any]) -> None:
    usage = anthropic(start, delta)
    assert usage.units == {INPUT: 1000, OUTPUT: 100}
    assert usage.source is UsageSource.PROVIDER


def test_zeros_at_the_end_take_no_class_away() -> None:
    start = {
        "input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 30, "output_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 12, "ephemeral_1h_input_tokens": 18},
        "server_tool_use": {"web_search_requests": 2},
    }  # fmt: skip
    zeros = {
        "input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "server_tool_use": {"web_search_requests": 0},
    }  # fmt: skip
    assert anthropic(start, zeros).units == {
        INPUT: 10, UsageClass.CACHE_READ: 20, UsageClass.CACHE_WRITE_5M: 12, UsageClass.CACHE_WRITE_1H: 18,
        OUTPUT: 7, SEARCH: 2,
    }  # fmt: skip


def test_cumulative_repeats_do_not_add() -> None:
    deltas = [{"output_tokens": 50}, {"output_tokens": 100}, {"output_tokens": 100}]
    assert anthropic({"input_tokens": 5, "output_tokens": 1}, *deltas).units == {INPUT: 5, OUTPUT: 100}


def test_an_output_of_zero_beside_text_is_metered() -> None:
    usage = anthropic({"input_tokens": 5, "output_tokens": 1}, {"output_tokens": 0}, text="x" * 340)
    assert (usage.source, usage.why) == (UsageSource.METERED, Why.NO_FIGURES)
    assert usage.units == {INPUT: 5, OUTPUT: 100}


def chat_body(usage: object) -> Usage:
    answer = {"model": "gpt-5", "choices": [{"message": {"content": WORDS}}], "usage": usage}
    return read(CHAT, Operation.CHAT, [json.dumps(answer).encode()], False)


def chat_stream(usage: object) -> Usage:
    chunks: list[dict[str, Any]] = [
        {"id": "c", "model": "gpt-5", "choices": [{"index": 0, "delta": {"content": WORDS}}]}
    ]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
    return read(CHAT, Operation.CHAT, [*sse(chunks), b"data: [DONE]\n\n"], True)


def responses_body(usage: object) -> Usage:
    output = [{"type": "message", "content": [{"type": "output_text", "text": WORDS}]}]
    answer = {"id": "r", "model": "gpt-5", "status": "completed", "output": output, "usage": usage}
    return read(RESPONSES, Operation.RESPONSES, [json.dumps(answer).encode()], False)


def responses_stream(usage: object) -> Usage:
    events: list[dict[str, Any]] = [{"type": "response.output_text.delta", "delta": WORDS}]
    events.append({"type": "response.completed", "response": {"status": "completed", "output": [], "usage": usage}})
    return read(RESPONSES, Operation.RESPONSES, sse(events), True)


def gemini_body(usage: object) -> Usage:
    candidate = {"content": {"parts": [{"text": WORDS}]}, "finishReason": "STOP"}
    return read(
        GEMINI,
        Operation.GENERATE_CONTENT,
        [json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()],
        False,
    )


def anthropic_body(usage: object) -> Usage:
    answer = {"type": "message", "model": "m", "content": [{"type": "text", "text": WORDS}], "usage": usage}
    return read(ANTHROPIC, Operation.MESSAGES, [json.dumps(answer).encode()], False)


NOTHING_TOLD: list[object] = [
    {}, [], None, "none", 7, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {"input_tokens": 0, "output_tokens": 0}, {"promptTokenCount": 0, "candidatesTokenCount": 0},
    {"prompt_tokens": "22", "completion_tokens": "10033"}, {"input_tokens": "22", "output_tokens": "10033"},
    {"promptTokenCount": "22", "candidatesTokenCount": "10033"}, {"total_tokens": 10_033},
    {"tokens_in": 22, "tokens_out": 10_033}, {"prompt_tokens": 0.0, "completion_tokens": 0.0},
]  # fmt: skip


@pytest.mark.parametrize("usage", NOTHING_TOLD, ids=repr)
@pytest.mark.parametrize(
    "told", [chat_body, chat_stream, responses_body, responses_stream, gemini_body, anthropic_body]
)
def test_a_long_answer_without_figures_is_never_nothing(told: Any, usage: object) -> None:
    used = told(usage)
    assert used.source is UsageSource.METERED
    assert used.why in (Why.NO_FIGURES, Why.NOT_COUNTS)
    assert used.units[INPUT] == FACTS.input_tokens_estimate
    assert 0.9 * len(WORDS) / 4 <= used.units[OUTPUT] <= 1.35 * len(WORDS) / 4


def test_one_direction_that_cannot_be_zero_is_estimated_and_the_other_believed() -> None:
    used = chat_stream({"prompt_tokens": 0, "completion_tokens": 9_000, "total_tokens": 9_000})
    assert used.source is UsageSource.METERED
    assert used.units == {INPUT: FACTS.input_tokens_estimate, OUTPUT: 9_000}


def test_an_answer_without_anything_may_have_cost_nothing() -> None:
    answer = {
        "model": "m",
        "choices": [{"message": {"content": ""}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 0},
    }
    used = read(CHAT, Operation.CHAT, [json.dumps(answer).encode()], False)
    assert (used.source, used.units) == (UsageSource.PROVIDER, {INPUT: 9})


def test_embeddings_that_tell_no_input_are_estimated() -> None:
    body = {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 0, "total_tokens": 0}}
    used = read(CHAT, Operation.EMBEDDINGS, [json.dumps(body).encode()], False)
    assert (used.source, used.units) == (UsageSource.METERED, {INPUT: FACTS.input_tokens_estimate})


def test_usage_that_shrinks_from_chunk_to_chunk_keeps_what_it_had() -> None:
    def chunk(prompt: int, output: int, **more: Any) -> dict[str, Any]:
        return {
            "candidates": [{"index": 0, "content": {"parts": [{"text": "x"}]}, **more}],
            "usageMetadata": {"promptTokenCount": prompt, "candidatesTokenCount": output},
        }

    stream = sse([chunk(1000, 50), chunk(1000, 100), chunk(0, 60, finishReason="STOP")])
    assert read(GEMINI, Operation.STREAM_GENERATE_CONTENT, stream, True).units == {INPUT: 1000, OUTPUT: 100}


counts = st.dictionaries(
    st.sampled_from("abcd"), st.one_of(st.integers(0, 99), st.dictionaries(st.just("e"), st.integers(0, 9)))
)


@given(counts, counts)
def test_the_larger_of_two_usage_objects_is_no_smaller_than_either(one: dict[str, Any], other: dict[str, Any]) -> None:
    both = larger(one, other)
    assert larger(both, other) == both
    assert both.keys() == one.keys() | other.keys()
    for key, value in other.items():
        if isinstance(value, int) and isinstance(one.get(key), int):
            assert both[key] == max(value, one[key])


@given(counts, counts)
def test_a_later_usage_object_is_believed_but_for_its_zeros(before: dict[str, Any], now: dict[str, Any]) -> None:
    merged = updated(before, now)
    assert updated(merged, now) == merged
    for key, value in now.items():
        if isinstance(value, int) and isinstance(before.get(key), int):
            assert merged[key] == (value or before[key])


# What cannot be read whole


def test_the_figures_of_an_event_too_large_to_keep_are_read_from_its_end_and_the_rest_is_heard() -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    picture = {"type": "image_generation_call", "result": "A" * (MAX_EVENT + 1_000_000)}
    response = {"id": "r", "model": "gpt-5.5", "output": [picture], "service_tier": "flex", "usage": usage}
    [event] = sse([{"type": "response.completed", "response": response}])
    data = [event[at : at + 65_536] for at in range(0, len(event), 65_536)]
    used = metered(RESPONSES, Operation.RESPONSES, data, streaming=True).usage()
    assert (used.units, used.source, used.service_tier) == ({INPUT: 1000, OUTPUT: 100}, UsageSource.PROVIDER, "flex")


def test_usage_behind_an_event_too_large_to_keep_is_heard() -> None:
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": {"content": "A" * (MAX_EVENT + 1_000)}}]}]
    chunks += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    chunks += [{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}]
    used = metered(CHAT, Operation.CHAT, sse(chunks), streaming=True).usage()
    assert (used.units, used.source) == ({INPUT: 3, OUTPUT: 4}, UsageSource.PROVIDER)


def test_a_picture_in_an_element_of_an_array_too_large_to_keep() -> None:
    part = {"inlineData": {"data": "A" * (MAX_EVENT + 1_000)}}
    element = {
        "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}, "modelVersion": "gemini-3",
    }  # fmt: skip
    used = metered(
        GEMINI, Operation.STREAM_GENERATE_CONTENT, [b"[", json.dumps(element).encode(), b"]"], streaming=False
    ).usage()
    assert (used.units, used.source) == ({INPUT: 3, OUTPUT: 4}, UsageSource.PROVIDER)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_answer_under_the_name_of_a_stream_is_read(indent: int | None) -> None:
    answer = {"type": "message", "model": "m", "content": [], "usage": {"input_tokens": 3, "output_tokens": 4}}
    used = read(ANTHROPIC, Operation.MESSAGES, [json.dumps(answer, indent=indent).encode()], True)
    assert (used.units, used.source) == ({INPUT: 3, OUTPUT: 4}, UsageSource.PROVIDER)


# Other models


def test_what_other_models_used_stands_beside_the_answers_own() -> None:
    iterations = [
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
        {"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 10_000, "output_tokens": 1000},
        {"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 1, "cache_read_input_tokens": 5},
        {"type": "fallback_message", "model": "claude-haiku-4-5-20251001", "input_tokens": 7, "output_tokens": 8},
        {"type": "compaction", "input_tokens": 20, "output_tokens": 30},
        {"type": "advisor_message", "model": "claude-sonnet-4-6-20260101", "input_tokens": 4},
    ]
    used = anthropic({"input_tokens": 1000}, {"output_tokens": 100, "iterations": iterations})
    assert used.units == {INPUT: 1024, OUTPUT: 130}
    assert used.parts == (
        UsagePart("claude-opus-4-7", {INPUT: 10_001, OUTPUT: 1000, UsageClass.CACHE_READ: 5}, "advisor_message"),
        UsagePart("claude-haiku-4-5-20251001", {INPUT: 7, OUTPUT: 8}, "fallback_message"),
    )


def test_a_pass_of_another_model_leaves_the_total_for_its_own_rates() -> None:
    iterations = [
        {"type": "message", "input_tokens": 60, "output_tokens": 40},
        {"type": "message", "model": "claude-opus-4-7", "input_tokens": 100, "output_tokens": 50},
    ]
    used = anthropic({"input_tokens": 160}, {"output_tokens": 90, "iterations": iterations})
    assert used.units == {INPUT: 60, OUTPUT: 40}
    assert used.parts == (UsagePart("claude-opus-4-7", {INPUT: 100, OUTPUT: 50}, "message"),)


@pytest.mark.parametrize("wrong", [-5, "7", 10**18, True, [1], {"a": 1}])
def test_absurd_figures_of_another_model_are_not_believed(wrong: Any) -> None:
    iterations = [{"type": "advisor_message", "model": "other", "input_tokens": 3, "output_tokens": wrong}]
    used = anthropic({"input_tokens": 5}, {"output_tokens": 6, "iterations": iterations})
    assert used.why in (Why.IMPLAUSIBLE, Why.NOT_COUNTS)
    assert used.units == {INPUT: 5, OUTPUT: 6}
    assert sum(sum(part.units.values()) for part in used.parts) <= 3


# Tools


def response_of(items: list[dict[str, Any]], listed: list[dict[str, Any]] | None, **more: Any) -> Usage:
    events: list[dict[str, Any]] = [{"type": "response.output_item.done", "item": item} for item in items]
    response = {"status": "completed", "model": "gpt-5.5", "usage": {"input_tokens": 9, "output_tokens": 9}, **more}
    if listed is not None:
        response["output"] = listed
    return read(
        RESPONSES, Operation.RESPONSES, sse([*events, {"type": "response.completed", "response": response}]), True
    )


SEARCHED = {"type": "web_search_call", "action": {"type": "search"}}


@pytest.mark.parametrize("listed", [None, [], [SEARCHED], [SEARCHED] * 3])
def test_searches_are_not_forgotten_by_a_list_that_lacks_them(listed: list[dict[str, Any]] | None) -> None:
    assert response_of([SEARCHED] * 3, listed).units[SEARCH] == 3


def test_what_only_the_list_shows_counts() -> None:
    opened = {"type": "web_search_call", "action": {"type": "open_page"}}
    assert response_of([], [SEARCHED, opened, SEARCHED]).units[SEARCH] == 2


def test_code_costs_a_container_each() -> None:
    ran = [{"type": "code_interpreter_call", "container_id": name} for name in ("c1", "c1", "c2")]
    shell = {"type": "shell_call", "environment": {"type": "container_reference", "container_id": "c3"}}
    assert response_of([*ran, shell], []).units[UsageClass.CONTAINER] == 3
    assert response_of([{"type": "code_interpreter_call"}] * 2, []).units[UsageClass.CONTAINER] == 1
    assert UsageClass.CONTAINER not in response_of([{"type": "shell_call", "environment": {"type": "local"}}], []).units


@pytest.mark.parametrize(
    ("container", "units"),
    [
        ({"type": "auto"}, 2),
        ({"type": "auto", "memory_limit": "4g"}, 8),
        ({"type": "auto", "memory_limit": "64g"}, 128),
        ({"type": "auto", "memory_limit": "2t"}, 128),
        ("cntr_1", 2),
        (None, 2),
    ],
)
def test_a_container_costs_what_its_memory_does(container: object, units: int) -> None:
    ran = [{"type": "code_interpreter_call", "container_id": name} for name in ("c1", "c2")]
    tools = [{"type": "function", "name": "f"}, {"type": "code_interpreter", "container": container}]
    assert response_of(ran, ran, tools=tools).units[UsageClass.CONTAINER] == units
    assert response_of(ran, [], tools=tools).units[UsageClass.CONTAINER] == units


def test_images_are_billed_as_their_own_model() -> None:
    images = {
        "input_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}, "output_tokens": 1056,
        "output_tokens_details": {"image_tokens": 1056},
    }  # fmt: skip
    tools = [{"type": "image_generation", "model": "gpt-image-1-mini"}]
    used = response_of([], [{"type": "image_generation_call"}], tool_usage={"image_gen": images}, tools=tools)
    units = {INPUT: 10, UsageClass.INPUT_IMAGE: 40, UsageClass.OUTPUT_IMAGE: 1056}
    assert used.parts == (UsagePart("gpt-image-1-mini", units, "image_generation_call"),)
    none = response_of([], [], tool_usage={"image_gen": {"input_tokens": 0, "output_tokens": 0}})
    assert none.parts == ()


def test_a_call_that_nobody_knows_is_counted_under_its_name_and_free_ones_are_not() -> None:
    free = ["function_call", "mcp_call", "computer_call", "local_shell_call", "custom_tool_call", "apply_patch_call"]
    used = response_of([{"type": kind} for kind in (*free, "x_search_call", "x_search_call")], [])
    assert used.unknown_calls == {"x_search_call": 2}


items = st.lists(
    st.builds(
        Item,
        st.sampled_from(["web_search_call", "file_search_call", "code_interpreter_call", "y_call"]),
        st.sampled_from(["i1", "i2", "i3"]),
        container_id=st.sampled_from([None, "c1", "c2"]),
    ),
    max_size=8,
)


@given(items, st.randoms())
def test_order_and_repetition_change_no_count(some: list[Item], random: Any) -> None:
    once, again = CallsSeen(), CallsSeen()
    unique = list({item.id: item for item in some}.values())
    for item in unique:
        once.passed(item)
    shuffled = unique * 2
    random.shuffle(shuffled)
    for item in shuffled:
        again.passed(item)
    again.listed(unique[:2])
    assert (once.units(), once.unknown()) == (again.units(), again.unknown())


def grounded(model: str, *metadata: dict[str, Any], **usage: Any) -> Usage:
    chunks = [{"modelVersion": model, "candidates": [{"index": 0, "groundingMetadata": one}]} for one in metadata]
    figures = {"promptTokenCount": 9, "candidatesTokenCount": 9, **usage}
    end = {"candidates": [{"index": 0, "finishReason": "STOP"}], "usageMetadata": figures, "modelVersion": model}
    return read(GEMINI, Operation.STREAM_GENERATE_CONTENT, sse([*chunks, end]), True)


WEB, MAPS = {"groundingChunks": [{"web": {"uri": "u"}}]}, {"groundingChunks": [{"maps": {"placeId": "p"}}]}


def test_queries_count_once_and_not_when_empty_over_all_chunks() -> None:
    first, second = {"webSearchQueries": ["a", "b", "b"], **WEB}, {"webSearchQueries": ["b", "c", ""], **WEB}
    assert grounded("gemini-3-pro-preview", first, second).units[SEARCH] == 3
    assert grounded("gemini-2.5-pro", first, second).units[SEARCH] == 1


def test_maps_are_a_class_of_their_own() -> None:
    asked = {"webSearchQueries": ["a", "b"], **MAPS}
    assert {**grounded("gemini-2.5-pro", asked).units, INPUT: 0, OUTPUT: 0} == {UsageClass.MAPS: 1, INPUT: 0, OUTPUT: 0}
    assert grounded("gemini-3-flash", asked).units[UsageClass.MAPS] == 2
    both = grounded("gemini-3-flash", asked, WEB).units
    assert (both[SEARCH], both[UsageClass.MAPS]) == (2, 1)


def test_the_providers_own_count_of_calls_is_believed_first() -> None:
    billed = [
        {"tool": "GOOGLE_SEARCH_RETRIEVAL", "successfulToolCallCount": 5},
        {"tool": "GOOGLE_MAPS", "successfulToolCallCount": 2},
    ]
    used = grounded("gemini-3-flash", {"webSearchQueries": ["a"], **WEB}, billedToolCalls=billed)
    assert (used.units[SEARCH], used.units[UsageClass.MAPS]) == (5, 2)
    wrong = grounded(
        "gemini-3-flash",
        {"webSearchQueries": ["a"], **WEB},
        billedToolCalls=[{"tool": "GOOGLE_SEARCH", "successfulToolCallCount": "5"}],
    )
    assert wrong.why is Why.NOT_COUNTS


@pytest.mark.parametrize(
    ("traffic", "tier"), [("ON_DEMAND_FLEX", "flex"), ("ON_DEMAND_PRIORITY", "priority"), ("ON_DEMAND", "")]
)
def test_the_tier_is_read_from_either_name(traffic: str, tier: str) -> None:
    assert grounded("gemini-2.5-pro", trafficType=traffic).service_tier == tier
    assert grounded("gemini-2.5-pro", serviceTier="FLEX").service_tier == "flex"


@pytest.mark.parametrize(
    "model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview-2025-03-11", "gpt-5-search-api"]
)
def test_chat_models_that_search_count_one_a_request(model: str) -> None:
    answer = {
        "model": model,
        "choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9},
    }
    assert read(CHAT, Operation.CHAT, [json.dumps(answer).encode()], False).units[SEARCH] == 1


def test_a_job_that_goes_on_says_so() -> None:
    queued: dict[str, Any] = {"id": "resp_1", "status": "queued", "model": "gpt-4.1", "output": [], "usage": None}
    used = read(RESPONSES, Operation.RESPONSES, [json.dumps(queued).encode()], False)
    assert (used.why, used.units) == (Why.RUNS_ON, {INPUT: FACTS.input_tokens_estimate})


def test_content_that_is_complete_waits_for_its_figures() -> None:
    said = [{"type": "response.output_text.delta", "delta": "Done."}, {"type": "response.output_text.done"}]
    assert metered(RESPONSES, Operation.RESPONSES, sse(said), streaming=True).usage().outstanding
    more = [*said, {"type": "response.output_item.added"}]
    assert not metered(RESPONSES, Operation.RESPONSES, sse(more), streaming=True).usage().outstanding
    finished: list[dict[str, Any]] = [{"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}]
    assert metered(CHAT, Operation.CHAT, sse(finished), streaming=True).usage().outstanding
    done = [*finished, {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}]
    assert not metered(CHAT, Operation.CHAT, sse(done), streaming=True).usage().outstanding
