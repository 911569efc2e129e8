"""One billed request per dialect, as data: what contract tests send through pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Ask:
    """`path` and `body` of a request; `dialect` as the ledger names it."""

    dialect: str
    streaming: bool
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.dialect}-{'stream' if self.streaming else 'whole'}"


def _json(body: dict[str, Any]) -> bytes:
    # Odd spacing and an unknown field on purpose: what is re-encoded on the way would not survive.
    return json.dumps(body | {"x_unknown": [1.50, None, "ä\u2028"]}, indent=1, ensure_ascii=False).encode()


def ask(dialect: str, *, streaming: bool, text: str = "Hello", model: str = "") -> Ask:
    content = [{"role": "user", "content": text}]
    match dialect:
        case "anthropic_messages":
            body = {"model": model or "claude-sonnet-5-5", "max_tokens": 512, "messages": content, "stream": streaming}
            headers = (("anthropic-version", "2023-06-01"), ("anthropic-beta", "unknown-beta-2027-01-01"))
            return Ask(dialect, streaming, "/v1/messages?beta=true", _json(body), headers)
        case "openai_responses":
            body = {"model": model or "gpt-5.5", "input": text, "stream": streaming, "store": False}
            return Ask(dialect, streaming, "/v1/responses", _json(body))
        case "openai_chat":
            body = {"model": model or "gpt-5.5", "messages": content, "stream": streaming}
            if streaming:
                body["stream_options"] = {"include_usage": True}
            return Ask(dialect, streaming, "/v1/chat/completions", _json(body))
        case "gemini":
            verb = "streamGenerateContent?alt=sse" if streaming else "generateContent"
            body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
            return Ask(dialect, streaming, f"/v1beta/models/{model or 'gemini-3.5-flash'}:{verb}", _json(body))
        case _:
            raise ValueError(dialect)


DIALECTS = ("anthropic_messages", "openai_responses", "openai_chat", "gemini")


def every_ask() -> Iterator[Ask]:
    for dialect in DIALECTS:
        for streaming in (False, True):
            yield ask(dialect, streaming=streaming)


def send(client: httpx.Client, asked: Ask, **more: str) -> httpx.Response:
    """Sends and reads to the end. `more`: header names with underscores."""
    headers = {"content-type": "application/json", **dict(asked.headers)}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    return client.post(asked.path, content=asked.body, headers=headers)
