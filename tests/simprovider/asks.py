"""Requests in every dialect, for the simulator's own tests."""

from __future__ import annotations

import json
from typing import Any

DIALECTS = ("anthropic_messages", "openai_responses", "openai_chat", "gemini")


def ask(dialect: str, text: str = "Hello", *, stream: bool = False, **more: Any) -> tuple[str, dict[str, Any]]:
    """Path and body."""
    said = [{"role": "user", "content": text}]
    if dialect == "anthropic_messages":
        return "/v1/messages", {
            "model": "claude-haiku-5-5",
            "max_tokens": 64,
            "messages": said,
            "stream": stream,
        } | more
    if dialect == "openai_responses":
        return "/v1/responses", {"model": "gpt-5.5", "input": text, "stream": stream} | more
    if dialect == "openai_chat":
        return "/v1/chat/completions", {"model": "gpt-4o", "messages": said, "stream": stream} | more
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/gemini-2.5-flash:{verb}", {"contents": [{"role": "user", "parts": [{"text": text}]}]} | more


def events_of(raw: str) -> list[dict[str, Any]]:
    """The data of server-sent events, `[DONE]` left out."""
    lines = [line[6:] for line in raw.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
