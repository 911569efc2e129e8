"""A stream whose money has run out: at every byte our words and a legal end, and nothing half said is closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import Client, Dialect, Meter, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dataplane.dialects.sse import SseSplitter
from tests.dialects import streams
from tests.dialects.metering import FACTS
from tests.dialects.test_stream_refusals import OPERATIONS, WHOLE, _open_lines

SPENT = Refusal(Code.BUDGET_EXCEEDED, "Budget 'team' is used up.")
SOMEBODY = Client("other", "", "")

TEXT_ONLY = {
    ANTHROPIC: streams.named(
        [
            streams.ANTHROPIC_START,
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "größer"}},
        ]
    ),
    RESPONSES: streams.named(streams.RESPONSES_OPENING[:2]),
    CHAT: streams.bare([streams.chunk({"role": "assistant", "content": "Hel"})]),
    GEMINI: streams.bare([*streams.GEMINI_CHUNKS[:1]]),
}


def after(dialect: Dialect, sent: bytes, *, streaming: bool = True) -> Meter:
    meter = dialect.meter(OPERATIONS[dialect], streaming=streaming, facts=FACTS)
    meter.feed(sent)
    return meter


def end_of(dialect: Dialect, sent: bytes, *, streaming: bool = True) -> bytes:
    return dialect.ending(SPENT, SOMEBODY, "req_1", after(dialect, sent, streaming=streaming).sent_so_far())


def events(text: bytes) -> list[Any]:
    found = []
    for payload in SseSplitter().feed(text):
        try:
            found.append(json.loads(payload))
        except ValueError:
            found.append(payload.decode())
    return found


def read_anthropic(stream: list[Any]) -> dict[str, Any]:
    """As the vendor's SDK does, which throws on what is out of order."""
    message: dict[str, Any] = {}
    open_blocks: set[int] = set()
    for event in stream:
        kind = event["type"]
        if kind == "message_start":
            assert not message
            message = {**event["message"], "content": []}
        elif kind == "content_block_start":
            assert event["index"] == len(message["content"])
            message["content"].append(dict(event["content_block"]))
            open_blocks.add(event["index"])
        elif kind == "content_block_delta":
            assert event["index"] in open_blocks
            block, delta = message["content"][event["index"]], event["delta"]
            if delta["type"] == "text_delta":
                assert block["type"] == "text"
                block["text"] += delta["text"]
        elif kind == "content_block_stop":
            open_blocks.remove(event["index"])
        elif kind == "message_delta":
            message["stop_reason"] = event["delta"]["stop_reason"]
            assert isinstance(event["usage"]["output_tokens"], int)
        elif kind == "message_stop":
            assert message["stop_reason"]
            return {**message, "open": open_blocks}
    raise AssertionError("the stream has no end")


@pytest.mark.parametrize("at", range(len(streams.ANTHROPIC)))
def test_anthropics_own_reader_gets_a_whole_message_wherever_it_is_cut(at: int):
    sent = streams.ANTHROPIC[:at]
    end = end_of(ANTHROPIC, sent)
    if not end:
        assert after(ANTHROPIC, sent).complete
        return
    stream = [event for event in events(sent + end) if isinstance(event, dict)]
    message = read_anthropic(stream)
    if message["stop_reason"] != "tool_use":
        assert message["stop_reason"] == "max_tokens"
        assert message["content"][-1]["type"] == "text"
        assert message["content"][-1]["text"].endswith(SPENT.message)
        assert {message["content"][index]["type"] for index in message["open"]} <= {"thinking", "tool_use"}


def test_a_tool_call_that_is_under_way_is_never_closed_so_that_nobody_runs_half_of_it():
    for at in range(len(streams.ANTHROPIC)):
        sent = streams.ANTHROPIC[:at]
        begun = any(
            isinstance(event, dict) and event.get("content_block", {}).get("type") == "tool_use"
            for event in events(sent + b"\n\n")
        )
        closed = sent.count(b'"content_block_stop", "index": 2') == 1
        if begun and not closed:
            stops = [
                event["index"]
                for event in events(end_of(ANTHROPIC, sent))
                if isinstance(event, dict) and event["type"] == "content_block_stop"
            ]
            assert 2 not in stops


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (Client("claude_code", "2.0.76", ""), "end_turn"),
        (Client("claude_code", "2.1.330", ""), "max_tokens"),
        (Client("other", "2.0.76", ""), "max_tokens"),
    ],
)
def test_who_would_hide_our_words_behind_its_own_is_told_that_the_turn_ended(client: Client, reason: str):
    sent = TEXT_ONLY[ANTHROPIC]
    _, _, end, _ = events(ANTHROPIC.ending(SPENT, client, "req_1", after(ANTHROPIC, sent).sent_so_far()))
    assert end["delta"]["stop_reason"] == reason


def test_words_go_into_the_text_that_is_open():
    delta, stop, end, last = events(end_of(ANTHROPIC, TEXT_ONLY[ANTHROPIC]))
    assert (delta["index"], delta["delta"]["text"]) == (0, f"\n\n{SPENT.message}")
    assert stop == {"type": "content_block_stop", "index": 0}
    assert end["delta"]["stop_reason"] == "max_tokens"
    assert end["usage"]["output_tokens"] >= 3
    assert last == {"type": "message_stop"}


def test_a_responses_stream_ends_incomplete_with_a_message_of_its_own():
    sent = streams.named(streams.RESPONSES_OPENING[:3])
    said = events(end_of(RESPONSES, sent))
    assert [event["sequence_number"] for event in said] == list(range(3, 10))
    added, *_, done, last = said
    assert added["output_index"] == done["output_index"] == 1
    assert done["item"]["content"][0]["text"] == SPENT.message
    assert last["type"] == "response.incomplete"
    response = last["response"]
    assert (response["id"], response["status"]) == ("resp_1", "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["total_tokens"] == 20_000 + response["usage"]["output_tokens"]


def test_a_chat_stream_ends_for_its_length_with_the_usage_that_was_asked_for():
    words, end, usage, done = events(end_of(CHAT, TEXT_ONLY[CHAT]))
    assert words["choices"][0]["delta"]["content"] == f"\n\n{SPENT.message}"
    assert words["id"] == end["id"] == "chatcmpl-1"
    assert end["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["prompt_tokens"] == 20_000
    assert done == "[DONE]"


def test_a_chat_stream_with_a_tool_call_under_way_ends_as_an_error():
    error, _, done = events(end_of(CHAT, streams.bare(streams.CHAT_OPENING)))
    assert error["error"]["code"] == "budget_exceeded"
    assert error["error"]["type"] == "invalid_request_error"
    assert done == "[DONE]"


def test_a_gemini_stream_ends_for_its_tokens():
    [chunk] = events(end_of(GEMINI, TEXT_ONLY[GEMINI]))
    [candidate] = chunk["candidates"]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert candidate["content"]["parts"][0]["text"].endswith(SPENT.message)
    assert chunk["usageMetadata"]["promptTokenCount"] == 5_000


def test_a_gemini_array_stays_an_array_at_every_byte():
    for at in range(len(streams.GEMINI_ARRAY)):
        sent = streams.GEMINI_ARRAY[:at]
        meter = after(GEMINI, sent, streaming=False)
        end = GEMINI.ending(SPENT, SOMEBODY, "req_1", meter.sent_so_far())
        if meter.mid_event or meter.complete:
            assert end == b""
        else:
            whole = json.loads(sent + end)
            assert whole[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_at_every_byte_of_a_stream_the_end_arrives_as_events_of_its_own(dialect: Dialect):
    whole = WHOLE[dialect]
    for at in range(len(whole)):
        sent = whole[:at]
        meter = after(dialect, sent)
        half = meter.mid_event and any(line.startswith(b"data") for line in _open_lines(sent))
        end = dialect.ending(SPENT, SOMEBODY, "req_1", meter.sent_so_far())
        if not end:
            assert meter.complete
            continue
        splitter = SseSplitter()
        splitter.feed(sent)
        own = splitter.feed(end)[1 if half else 0 :]
        assert not splitter.mid_event
        assert own or end == b"\n\n"  # it lacked nothing but a blank line
        for payload in own:
            assert payload == b"[DONE]" or json.loads(payload)


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_a_complete_stream_gets_nothing_more(dialect: Dialect):
    assert end_of(dialect, WHOLE[dialect]) == b""


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_nothing_is_put_into_a_plain_answer(dialect: Dialect):
    operation = Operation.GENERATE_CONTENT if dialect is GEMINI else OPERATIONS[dialect]
    meter = dialect.meter(operation, streaming=False, facts=FACTS)
    meter.feed(b'{"half":')
    assert dialect.ending(SPENT, SOMEBODY, "req_1", meter.sent_so_far()) == b""


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_what_was_produced_grows_with_the_stream(dialect: Dialect):
    meter = dialect.meter(OPERATIONS[dialect], streaming=True, facts=FACTS)
    seen = [0]
    for at in range(0, len(WHOLE[dialect]), 11):
        meter.feed(WHOLE[dialect][at : at + 11])
        seen.append(meter.produced)
    assert seen == sorted(seen)
    assert seen[-1] > 0
