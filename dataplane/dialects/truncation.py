"""A running stream ended early and legally: our words as text, then the end that the dialect has for "no more tokens".

For an answer whose money has run out. Every client shows the words and takes the answer as it is, where an error event
makes Claude Code ask again and Gemini CLI show nothing, and a stream that just ends makes opencode loop. What is half
said stays half said: a thinking block lacks its signature and a tool call half its arguments, and closing such a block
would have clients send it back or run it, so it is left open and the words get a block of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Final

import msgspec

from dataplane.core.errors import Refusal
from dataplane.core.usage import INPUT_CLASSES, Usage
from dataplane.dialects.anthropic_messages import AnthropicTally
from dataplane.dialects.clients import CLAUDE_CODE
from dataplane.dialects.dialect import Client, DialectName, Meter
from dataplane.dialects.gemini import opening
from dataplane.dialects.json_array import JsonArraySplitter
from dataplane.dialects.meters import EventMeter
from dataplane.dialects.openai_chat import DONE, ChatTally
from dataplane.dialects.openai_responses import ResponsesTally
from dataplane.dialects.registry import DIALECTS


def truncation(dialect: DialectName, refusal: Refusal, client: Client, request_id: str, so_far: Meter) -> bytes:
    """What ends the stream, to be written to the client in one write of its own. Empty when the stream was complete
    already, and inside a plain JSON answer."""
    if so_far.complete or not isinstance(so_far, EventMeter):
        return b""
    if isinstance(so_far.splitter, JsonArraySplitter):
        return _ENDS[dialect](refusal, client, request_id, so_far)
    if not so_far.mid_event:
        return _ENDS[dialect](refusal, client, request_id, so_far)
    ended = deepcopy(so_far)
    ended.close()  # an event that lacks nothing but its blank line is one for the client too
    return b"\n\n" if ended.complete else b"\n\n" + _ENDS[dialect](refusal, client, request_id, ended)


def _anthropic(refusal: Refusal, client: Client, request_id: str, meter: EventMeter) -> bytes:
    tally = meter.tally
    if not isinstance(tally, AnthropicTally):
        return b""
    events: list[dict[str, object]] = []
    input_tokens, output_tokens = _tokens(meter.usage())
    if not tally.started:
        message: dict[str, object] = {
            "id": f"msg_{request_id}",
            "type": "message",
            "role": "assistant",
            "model": meter.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": input_tokens, "output_tokens": 0},
        }
        events.append({"type": "message_start", "message": message})
    if not tally.ending:
        inside = tally.open_block == "text"
        index = tally.blocks - 1 if inside else tally.blocks
        if not inside:
            events.append(
                {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
            )
        words = {"type": "text_delta", "text": _words(refusal, after_text=inside)}
        events.append({"type": "content_block_delta", "index": index, "delta": words})
        events.append({"type": "content_block_stop", "index": index})
        end = {"stop_reason": _stop_reason(client), "stop_sequence": None}
        events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": output_tokens}})
    events.append({"type": "message_stop"})
    return _named(events)


def _stop_reason(client: Client) -> str:
    """Claude Code 2.0 shows words of its own, and nothing of the answer, when the tokens are used up."""
    return "end_turn" if client.name == CLAUDE_CODE and client.version.startswith("2.0.") else "max_tokens"


def _responses(refusal: Refusal, client: Client, request_id: str, meter: EventMeter) -> bytes:
    tally = meter.tally
    if not isinstance(tally, ResponsesTally):
        return b""
    id, index = f"msg_{request_id}", tally.items
    part: dict[str, object] = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    said = {**part, "text": refusal.message}
    item: dict[str, object] = {"id": id, "type": "message", "role": "assistant"}
    done = {**item, "status": "completed", "content": [said]}
    where = {"item_id": id, "output_index": index, "content_index": 0}
    input_tokens, output_tokens = _tokens(meter.usage())
    response = {
        "id": tally.id or f"resp_{request_id}",
        "object": "response",
        "created_at": tally.created_at,
        "status": "incomplete",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"},
        "model": meter.model,
        "output": [done],
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        },
    }
    events: list[dict[str, object]] = [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **where, "part": part},
        {"type": "response.output_text.delta", **where, "delta": refusal.message, "logprobs": []},
        {"type": "response.output_text.done", **where, "text": refusal.message, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": said},
        {"type": "response.output_item.done", "output_index": index, "item": done},
        {"type": "response.incomplete", "response": response},
    ]
    return _named([{**event, "sequence_number": meter.events + at} for at, event in enumerate(events)])


def _chat(refusal: Refusal, client: Client, request_id: str, meter: EventMeter) -> bytes:
    """Where a tool call is under way a regular end would run half of it, so that one ends as an error."""
    tally = meter.tally
    if not isinstance(tally, ChatTally):
        return b""
    if tally.finished or tally.called_tools:
        chat = DIALECTS[DialectName.CHAT]
        return chat.stream_refusal(refusal, client, request_id, meter).lstrip(b"\n")
    chunk: dict[str, object] = {
        "id": tally.id or f"chatcmpl-{request_id}",
        "object": "chat.completion.chunk",
        "created": tally.created,
        "model": meter.model,
    }
    words = {"role": "assistant", "content": _words(refusal, after_text=tally.output_bytes > 0)}
    chunks: list[dict[str, object]] = [
        {**chunk, "choices": [{"index": 0, "delta": words, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
    ]
    if tally.facts.asks_usage:
        input_tokens, output_tokens = _tokens(meter.usage())
        usage = {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
        chunks.append({**chunk, "choices": [], "usage": usage})
    return b"".join(_data(each) for each in chunks) + DONE


def _gemini(refusal: Refusal, client: Client, request_id: str, meter: EventMeter) -> bytes:
    input_tokens, output_tokens = _tokens(meter.usage())
    content = {"role": "model", "parts": [{"text": _words(refusal, after_text=meter.events > 0)}]}
    chunk = {
        "candidates": [{"content": content, "finishReason": "MAX_TOKENS", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": input_tokens,
            "candidatesTokenCount": output_tokens,
            "totalTokenCount": input_tokens + output_tokens,
        },
        "modelVersion": meter.model,
    }
    if not isinstance(meter.splitter, JsonArraySplitter):
        return _data(chunk)
    if meter.mid_event:
        return b""  # nothing can end a half object; the broken connection says it
    return opening(meter) + msgspec.json.encode(chunk) + b"]"


_ENDS: Final[Mapping[DialectName, Callable[[Refusal, Client, str, EventMeter], bytes]]] = {
    DialectName.ANTHROPIC: _anthropic,
    DialectName.RESPONSES: _responses,
    DialectName.CHAT: _chat,
    DialectName.GEMINI: _gemini,
}


def _words(refusal: Refusal, *, after_text: bool) -> str:
    return f"\n\n{refusal.message}" if after_text else refusal.message


def _tokens(usage: Usage) -> tuple[int, int]:
    """Input and output as of now, for clients that count along."""
    total = sum(count for unit, count in usage.units.items() if unit.startswith(("input", "cache", "output")))
    sent = sum(count for unit, count in usage.units.items() if unit in INPUT_CLASSES)
    return sent, total - sent


def _named(events: list[dict[str, object]]) -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), msgspec.json.encode(event)) for event in events
    )


def _data(value: object) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(value)
