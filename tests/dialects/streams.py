"""Streams in the shapes that providers send, each with tools, reasoning and cache usage where the format has them."""

from __future__ import annotations

import json
from typing import Any


def named(events: list[dict[str, Any]], end: bytes = b"\n") -> bytes:
    """`event:` and `data:` lines, as Anthropic and the Responses API send them."""
    return b"".join(
        b"event: " + event["type"].encode() + end + b"data: " + json.dumps(event).encode() + end + end
        for event in events
    )


def bare(events: list[dict[str, Any] | str], end: bytes = b"\n") -> bytes:
    """`data:` lines only, as chat completions and Gemini send them."""
    return b"".join(
        b"data: " + (event.encode() if isinstance(event, str) else json.dumps(event).encode()) + end + end
        for event in events
    )


def _block(index: int, start: dict[str, Any], deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


ANTHROPIC_START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5-20260801", "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 12, "cache_creation_input_tokens": 700, "cache_read_input_tokens": 18_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 200},
            "output_tokens": 3, "service_tier": "standard", "speed": "fast", "inference_geo": "us",
        },
    },
}  # fmt: skip
ANTHROPIC_CONTENT: list[dict[str, Any]] = [
    *_block(0, {"type": "thinking", "thinking": "", "signature": ""}, [
        {"type": "thinking_delta", "thinking": "The file must be\nwritten — first."},
        {"type": "signature_delta", "signature": "EqQBCgIYAhIM" * 20},
    ]),
    {"type": "ping"},
    *_block(1, {"type": "text", "text": ""}, [
        {"type": "text_delta", "text": "I will \"write\" it: "}, {"type": "text_delta", "text": "größer 漢字"},
    ]),
    *_block(2, {"type": "tool_use", "id": "toolu_01", "name": "Write", "input": {}}, [
        {"type": "input_json_delta", "partial_json": "{\"file_path\": \"/tmp/a"},
        {"type": "input_json_delta", "partial_json": "\", \"content\": \"x\"}"},
    ]),
]  # fmt: skip
ANTHROPIC_END: list[dict[str, Any]] = [
    {
        "type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 211, "server_tool_use": {"web_search_requests": 2}},
    },
    {"type": "message_stop"},
]  # fmt: skip
ANTHROPIC = named([ANTHROPIC_START, *ANTHROPIC_CONTENT, *ANTHROPIC_END])

RESPONSES_USAGE: dict[str, Any] = {
    "input_tokens": 20_000, "input_tokens_details": {"cached_tokens": 15_000, "cache_write_tokens": 4_000},
    "output_tokens": 900, "output_tokens_details": {"reasoning_tokens": 600}, "total_tokens": 20_900,
}  # fmt: skip
RESPONSES_OUTPUT: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAAB" * 40},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "a"}},
    {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page", "url": "u"}},
    {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "exec", "input": "await tools.x()"},
]  # fmt: skip
RESPONSES_OPENING: list[dict[str, Any]] = [
    {
        "type": "response.created", "sequence_number": 0,
        "response": {
            "id": "resp_1", "object": "response", "created_at": 1_790_000_000, "status": "in_progress",
            "model": "gpt-5.5-2026-07-01", "output": [], "usage": None, "error": None, "service_tier": "auto",
        },
    },
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1"}},
    {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "delta": "Look at the **file**"},
    {"type": "response.output_item.done", "output_index": 0, "item": RESPONSES_OUTPUT[0]},
    {"type": "response.output_item.done", "output_index": 1, "item": RESPONSES_OUTPUT[1]},
    {"type": "response.output_item.done", "output_index": 2, "item": RESPONSES_OUTPUT[2]},
    {"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1", "delta": "await tools.x()"},
    {"type": "response.output_item.done", "output_index": 3, "item": RESPONSES_OUTPUT[3]},
]  # fmt: skip
RESPONSES_END: dict[str, Any] = {
    "type": "response.completed", "sequence_number": 9,
    "response": {
        "id": "resp_1", "object": "response", "created_at": 1_790_000_000, "status": "completed", "error": None,
        "model": "gpt-5.5-2026-07-01", "output": RESPONSES_OUTPUT, "usage": RESPONSES_USAGE, "service_tier": "priority",
    },
}  # fmt: skip
RESPONSES = named([*RESPONSES_OPENING, RESPONSES_END])


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-4o-2024-11-20",
        "service_tier": "default", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None,
        **more,
    }  # fmt: skip


CHAT_USAGE: dict[str, Any] = {
    "prompt_tokens": 1_000, "completion_tokens": 300, "total_tokens": 1_300,
    "prompt_tokens_details": {"cached_tokens": 640, "audio_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 120, "audio_tokens": 30, "accepted_prediction_tokens": 5},
}  # fmt: skip
CHAT_OPENING: list[dict[str, Any] | str] = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "hmm, 漢字"}),
    chunk({"content": "Writing \"it\"\n"}),
    chunk({"content": None, "tool_calls": [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "bash", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{\"command\":\"ls\"}"}}]}),
]  # fmt: skip
CHAT = bare(
    [*CHAT_OPENING, chunk({}, "tool_calls"), {**chunk({}), "choices": [], "usage": CHAT_USAGE}, "[DONE]"],
)

GEMINI_USAGE: dict[str, Any] = {
    "promptTokenCount": 5_000, "cachedContentTokenCount": 3_000, "candidatesTokenCount": 400,
    "thoughtsTokenCount": 250, "toolUsePromptTokenCount": 70, "totalTokenCount": 5_720,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 4_200}, {"modality": "AUDIO", "tokenCount": 500},
        {"modality": "IMAGE", "tokenCount": 300},
    ],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 2_900}, {"modality": "AUDIO", "tokenCount": 100}],
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 150}, {"modality": "IMAGE", "tokenCount": 250}],
}  # fmt: skip
GEMINI_CHUNKS: list[dict[str, Any]] = [
    {
        "candidates": [{
            "content": {"role": "model", "parts": [{"text": "Ich [lese] {das} \"hier\"", "thought": True}]},
        }],
        "usageMetadata": {"promptTokenCount": 5_000, "thoughtsTokenCount": 20, "totalTokenCount": 5_020},
        "modelVersion": "gemini-2.5-pro", "responseId": "r1",
    },
    {
        "candidates": [{"content": {"role": "model", "parts": [
            {"functionCall": {"name": "run", "args": {"command": "ls \\ }"}}, "thoughtSignature": "CqYB" * 30}]},
            "index": 0}],
        "usageMetadata": {"promptTokenCount": 5_000, "thoughtsTokenCount": 250, "totalTokenCount": 5_250},
        "modelVersion": "gemini-2.5-pro",
    },
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0,
                        "groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
        "usageMetadata": GEMINI_USAGE, "modelVersion": "gemini-2.5-pro",
    },
]  # fmt: skip
GEMINI_SSE = bare([*GEMINI_CHUNKS], b"\r\n")
GEMINI_ARRAY = b"[" + b",\r\n".join(json.dumps(each, indent=1).encode() for each in GEMINI_CHUNKS) + b"]\r\n"
