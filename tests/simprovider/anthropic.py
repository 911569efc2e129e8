"""Anthropic Messages: `/v1/messages`, its event sequence, `count_tokens` and the model list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tests.simprovider.conversation import Conversation, Mark, Tool, Turn, text_of
from tests.simprovider.render import SSE, Event, Misuse, Rendered, Saying, cut, sse, whole
from tests.simprovider.seal import sign

STOPS = {"end": "end_turn", "tool": "tool_use", "length": "max_tokens", "filter": "refusal", "pause": "pause_turn"}


def read(body: dict[str, Any]) -> Conversation:
    """Raises Misuse for what the real API refuses, changed thinking signatures included."""
    for name in ("model", "messages", "max_tokens"):
        if name not in body and not (name == "max_tokens" and "__count" in body):
            raise Misuse("invalid_request", f"{name}: Field required")
    thinking = body.get("thinking") or {}
    conversation = Conversation(
        model=str(body["model"]),
        stream=bool(body.get("stream")),
        system=text_of(body.get("system", "")),
        tools=[_tool(tool) for tool in body.get("tools", []) if "name" in tool and not tool.get("defer_loading")],
        schema=_schema(body),
        thinks=thinking.get("type") in ("enabled", "adaptive"),
        service_tier="standard",
        max_output=int(body.get("max_tokens", 0)),
    )
    conversation.turns = [_turn(message, at) for at, message in enumerate(body["messages"])]
    conversation.marks = _marks(body)
    return conversation.settle()


def _tool(tool: dict[str, Any]) -> Tool:
    return Tool(tool["name"], tool.get("input_schema") or {}, tool.get("description", ""))


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    found = wanted.get("schema")
    return found if isinstance(found, dict) else None


def _turn(message: dict[str, Any], at: int) -> Turn:
    content = message.get("content", "")
    if isinstance(content, str):
        return Turn(message["role"], content)
    turn = Turn(message["role"])
    words = []
    for n, block in enumerate(content):
        kind = block.get("type")
        if kind == "text":
            words.append(block["text"])
        elif kind == "tool_use":
            turn.calls += 1
        elif kind == "tool_result":
            turn.results.append(text_of(block.get("content", "")))
        elif kind == "thinking" and block.get("signature") != sign("thinking", block.get("thinking", "")):
            raise Misuse("invalid_request", f"messages.{at}.content.{n}: Invalid `signature` in `thinking` block")
    turn.text = "\n".join(words)
    return turn


def _marks(body: dict[str, Any]) -> list[Mark]:
    """Breakpoints in the order in which the API builds its prefix: tools, system, messages."""
    marks = []
    chars = 0
    digest = hashlib.sha256(str(body["model"]).encode())
    system = body.get("system") or []
    blocks = list(body.get("tools") or []) + (system if isinstance(system, list) else [{"text": system}])
    for message in body["messages"]:
        content = message.get("content", "")
        blocks += content if isinstance(content, list) else [{"text": content}]
    for block in blocks:
        control = block.get("cache_control")
        encoded = msgspec.json.encode({key: value for key, value in block.items() if key != "cache_control"})
        chars += len(encoded)
        digest.update(encoded)
        if control:
            marks.append(Mark(chars, digest.hexdigest(), control.get("ttl", "5m")))
    return marks


def usage(saying: Saying, output: int) -> dict[str, Any]:
    """The provider's own usage object. A count without a lifetime has no `cache_creation` breakdown beside it."""
    n = saying.n
    found: dict[str, Any] = {
        "input_tokens": n("input"),
        "cache_creation_input_tokens": n("cache_write", "cache_write_5m", "cache_write_1h"),
        "cache_read_input_tokens": n("cache_read"),
        "output_tokens": output,
        "service_tier": saying.tier,
    }
    if not n("cache_write"):
        found["cache_creation"] = {
            "ephemeral_5m_input_tokens": n("cache_write_5m"),
            "ephemeral_1h_input_tokens": n("cache_write_1h"),
        }
    if n("web_search"):
        found["server_tool_use"] = {"web_search_requests": n("web_search")}
    return found


def _blocks(saying: Saying) -> list[dict[str, Any]]:
    reply = saying.reply
    blocks: list[dict[str, Any]] = []
    if reply.thinking:
        blocks.append({"type": "thinking", "thinking": reply.thinking, "signature": sign("thinking", reply.thinking)})
    if reply.text or not reply.calls:
        blocks.append({"type": "text", "text": reply.text})
    for at, call in enumerate(reply.calls):
        identity = saying.identity("toolu_", at)
        blocks.append({"type": "tool_use", "id": identity, "name": call.name, "input": call.arguments})
    return blocks


def render(saying: Saying) -> Rendered:
    """The message as one object, or as the event sequence of a stream."""
    if saying.operation == "count_tokens":
        return whole(
            {"input_tokens": saying.n("input", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write")}
        )
    output = saying.n("output", "output_reasoning")
    message: dict[str, Any] = {
        "id": saying.identity("msg_"),
        "type": "message",
        "role": "assistant",
        "model": saying.model,
        "content": _blocks(saying),
        "stop_reason": STOPS.get(saying.reply.stop, saying.reply.stop),
        "stop_sequence": None,
        "usage": usage(saying, output),
    }
    if not saying.conversation.stream:
        return whole(message)
    stop = message["stop_reason"]
    started = message | {"content": [], "stop_reason": None, "usage": usage(saying, min(output, 1))}
    last = {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": None},
        "usage": usage(saying, output),
    }
    return Rendered(SSE, _events(saying, started, message["content"], last))


def _events(
    saying: Saying, started: dict[str, Any], blocks: list[dict[str, Any]], last: dict[str, Any]
) -> Iterator[Event]:
    yield sse("message_start", {"type": "message_start", "message": started})
    for index, block in enumerate(blocks):
        steps = _block_events(index, block, saying)
        yield next(steps)
        if index == 0:
            yield from [sse("ping", {"type": "ping"})] * (1 + saying.script.pings)
        yield from steps
    yield sse("message_delta", last, last=True)
    yield sse("message_stop", {"type": "message_stop"})


def _block_events(index: int, block: dict[str, Any], saying: Saying) -> Iterator[Event]:
    def delta(kind: str, key: str, value: str) -> Event:
        return sse(
            "content_block_delta",
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: value}},
            len(value) if kind != "signature_delta" else 0,
        )

    kind = block["type"]
    deltas: Iterable[Event]
    if kind == "thinking":
        empty: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = (delta("thinking_delta", "thinking", piece) for piece in cut(block["thinking"], 24))
    elif kind == "text":
        empty = {"type": "text", "text": ""}
        deltas = (delta("text_delta", "text", piece) for piece in saying.reply.deltas)
    else:
        empty = block | {"input": {}}
        text = msgspec.json.encode(block["input"]).decode() if block["input"] else ""
        deltas = (delta("input_json_delta", "partial_json", piece) for piece in ["", *cut(text, 32)])
    yield sse("content_block_start", {"type": "content_block_start", "index": index, "content_block": empty})
    yield from deltas
    if kind == "thinking":
        yield delta("signature_delta", "signature", block["signature"])
    yield sse("content_block_stop", {"type": "content_block_stop", "index": index})


def error_event(status: int, body: bytes) -> bytes:
    """A native error in the middle of a stream."""
    return b"event: error\ndata: " + body + b"\n\n"
