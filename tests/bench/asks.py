"""What clients ask: whole HTTP requests, of plain chat completions and of real coding CLIs' turns.

Sizes, headers and fields of the CLIs' requests are those measured with the published clients.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages?beta=true"
COUNT_TOKENS = "/v1/messages/count_tokens?beta=true"
RESPONSES = "/v1/responses"

Headers = Mapping[str, str]


def wish(events: int = 0, pace_ms: int = 0, wait_ms: int = 0) -> str:
    """What the mock should do: a whole answer, or that many events, in bursts or one every `pace_ms`."""
    return f"~bench {events} {pace_ms} {wait_ms}~"


def request(path: str, headers: Headers, body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _prose(size: int, seed: int) -> str:
    """Text as conversations have it: words, code, line breaks and quotes that JSON has to escape."""
    pick = random.Random(seed)
    words = (
        "the",
        "file",
        "return",
        '"value"',
        "if x is None:",
        "test_",
        "\n    ",
        "request",
        "changed",
        "→",
        "def f(x):",
    )
    text = " ".join(pick.choices(words, k=max(size, 0) // 4))
    while text and len(_json(text)) > size:
        text = text[: -max(1, (len(_json(text)) - size) // 2)]
    return text


def chat(credentials: Headers, size: int, wished: str, *, stream: bool) -> bytes:
    """A chat completion with a body of about `size` bytes: one long message, as most clients have it."""
    body: dict[str, Any] = {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": wished}, {"role": "user", "content": ""}],
        "max_tokens": 512,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    body["messages"][1]["content"] = _prose(max(size - len(_json(body)), 10), size)
    return request(CHAT, {**credentials, "user-agent": "bench"}, _json(body))


def _tools(count: int, size: int) -> list[dict[str, Any]]:
    schema = {
        "type": "object",
        "properties": {"command": {"type": "string", "description": "What to run"}, "timeout": {"type": "number"}},
        "required": ["command"],
    }
    return [
        {"name": f"Tool{index}", "description": _prose(size // count - 220, index), "input_schema": schema}
        for index in range(count)
    ]


def _claude_headers(credentials: Headers) -> Headers:
    return {
        **credentials,
        "user-agent": "claude-cli/2.1.330 (external, cli)",
        "x-app": "cli",
        "accept": "application/json",
        "accept-encoding": "gzip, deflate, br, zstd",
        "x-claude-code-session-id": "5a2c5dc8-7a30-4b5c-8a3c-8cf0e8f3a001",
        "anthropic-version": "2023-06-01",
        "anthropic-dangerous-direct-browser-access": "true",
        "anthropic-beta": "interleaved-thinking-2025-05-14,context-management-2025-06-27,claude-code-20250219,"
        "thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,effort-2025-11-24",
        "x-stainless-arch": "x64",
        "x-stainless-lang": "js",
        "x-stainless-os": "Linux",
        "x-stainless-package-version": "0.128.0",
        "x-stainless-retry-count": "0",
        "x-stainless-runtime": "node",
        "x-stainless-timeout": "600",
    }


def claude_code(credentials: Headers, size: int, wished: str, *, path: str = MESSAGES) -> bytes:
    """A turn in the middle of a session: tools and system of 45 KB at most, then a history of tool calls."""
    cached = {"cache_control": {"type": "ephemeral"}}
    tools = _tools(12, min(30_000, size // 3))
    body: dict[str, Any] = {
        "model": "claude-sonnet-5-5",
        "messages": [{"role": "user", "content": [{"type": "text", "text": wished}]}],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.a1b; cc_entrypoint=cli;"},
            {"type": "text", "text": _prose(min(15_000, size // 5), 1)} | cached,
        ],
        "tools": tools,
    }
    if path == MESSAGES:
        session = "5a2c5dc8-7a30-4b5c-8a3c-8cf0e8f3a001"
        user = _json({"device_id": "0" * 64, "account_uuid": "", "session_id": session}).decode()
        body |= {
            "metadata": {"user_id": user},
            "max_tokens": 32_000,
            "thinking": {"type": "adaptive"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
            "stream": True,
        }
    left, turn = size - len(_json(body)), 0
    while left > 600:
        part, turn = min(left - 400, 6_000), turn + 1
        call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "Tool1", "input": {"command": "make test"}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": _prose(part, turn)}
        body["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        left = size - len(_json(body))
    return request(path, _claude_headers(credentials), _json(body))


def codex(credentials: Headers, size: int, wished: str) -> bytes:
    """A turn of Codex: instructions as a developer message, tools, the conversation as input items."""
    session = "0199f3a1-52cc-7d10-9f3e-7be1a2c3d4e5"
    tools = [
        {"type": "function", "strict": False, "parameters": tool.pop("input_schema")} | tool
        for tool in _tools(9, 12_000)
    ]
    body: dict[str, Any] = {
        "model": "gpt-5.5",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": wished}]},
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": _prose(14_000, 2)}]},
        ],
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": session,
        "text": {"verbosity": "low"},
    }
    left, turn = size - len(_json(body)), 0
    while left > 600:
        part, turn = min(left - 400, 4_000), turn + 1
        arguments = '{"cmd":"make test"}'
        call = {"type": "function_call", "call_id": f"call_{turn}", "name": "exec_command", "arguments": arguments}
        output = {"type": "function_call_output", "call_id": f"call_{turn}", "output": _prose(part, turn)}
        body["input"] += [call, output]
        left = size - len(_json(body))
    headers = {
        **credentials,
        "accept": "text/event-stream",
        "originator": "codex-tui",
        "user-agent": "codex-tui/0.169.0 (Debian 12.0.0; x86_64) xterm (codex-tui; 0.169.0)",
        "session-id": session,
        "thread-id": session,
        "x-client-request-id": session,
        "x-codex-window-id": session,
        "x-codex-turn-metadata": '{"turn_id":"1","sandbox_mode":"workspace-write","request_kind":"turn"}',
    }
    return request(RESPONSES, headers, _json(body))


def coding_mix(credentials: Headers, *, pace_ms: int = 0) -> Sequence[bytes]:
    """Twenty requests of a busy hour: Claude Code and Codex turns, a title call, a few token counts."""
    turns = [
        claude_code(credentials, size, wish(events, pace_ms))
        for size, events in ((52_000, 60), (70_000, 120), (88_000, 300))
    ]
    sessions = [
        codex(credentials, size, wish(events, pace_ms)) for size, events in ((38_000, 80), (47_000, 40), (56_000, 200))
    ]
    title = claude_code(credentials, 4_000, wish(12, pace_ms))
    count = claude_code(credentials, 30_000, wish(), path=COUNT_TOKENS)
    mixed = [*turns * 3, *sessions * 2, title, *[count] * 4]
    random.Random(20).shuffle(mixed)
    return mixed
