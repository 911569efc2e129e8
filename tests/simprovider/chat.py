"""OpenAI Chat Completions, Azure's included, and the Responses-shaped bodies that Cursor posts on the same route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tests.simprovider import responses
from tests.simprovider.conversation import Conversation, Tool, Turn, text_of
from tests.simprovider.render import SSE, Event, Misuse, Rendered, Saying, cut, sse, whole
from tests.simprovider.script import Call

STOPS = {"end": "stop", "tool": "tool_calls", "length": "length", "filter": "content_filter"}


def read(body: dict[str, Any], *, cursor: bool = False) -> Conversation:
    """`cursor`: this base URL takes Responses-shaped bodies, as providers with a Cursor endpoint do."""
    shaped_as_responses = cursor and "input" in body and "messages" not in body
    conversation = responses.read(body) if shaped_as_responses else _read(body)
    options = body.get("stream_options") or {}
    conversation.include_usage = bool(options.get("include_usage"))
    return conversation


def _read(body: dict[str, Any]) -> Conversation:
    for name in ("model", "messages"):
        if name not in body:
            raise Misuse(
                "invalid_request",
                f"Missing required parameter: '{name}'.",
                param=name,
                code="missing_required_parameter",
            )
    if "stream_options" in body and body["stream_options"] and not body.get("stream"):
        raise Misuse(
            "invalid_request",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    wanted = body.get("response_format") or {}
    conversation = Conversation(
        model=str(body["model"]),
        stream=bool(body.get("stream")),
        tools=[_tool(tool) for tool in body.get("tools") or []],
        schema=(wanted.get("json_schema") or {}).get("schema"),
        wants_json=wanted.get("type") == "json_object",
        thinks=False,
        service_tier=_tier(body),
        max_output=int(body.get("max_completion_tokens") or body.get("max_tokens") or 0),
    )
    systems = []
    for message in body["messages"]:
        role = message.get("role", "user")
        text = text_of(message.get("content") or "")
        if role in ("system", "developer"):
            systems.append(text)
        elif role == "tool":
            conversation.turns.append(Turn("tool", results=[text]))
        else:
            conversation.turns.append(Turn(role, text, calls=len(message.get("tool_calls") or [])))
    conversation.system = "\n".join(systems)
    return conversation.settle()


def _tier(body: dict[str, Any]) -> str:
    asked = body.get("service_tier") or "auto"
    return "default" if asked == "auto" else str(asked)


def _tool(tool: dict[str, Any]) -> Tool:
    """Nested function and custom tools, and the flat ones that Cursor mixes in."""
    inner = tool.get(tool.get("type", "function")) or tool
    schema = inner.get("parameters") or {}
    return Tool(inner.get("name", ""), schema, inner.get("description") or "", custom=tool.get("type") == "custom")


def usage(saying: Saying) -> dict[str, Any]:
    """`prompt_tokens` and `completion_tokens` include their details."""
    n = saying.n
    prompt = n("input", "cache_read", "cache_write", "input_audio", "input_image")
    completion = n("output", "output_reasoning", "output_audio")
    details = {"cached_tokens": n("cache_read"), "audio_tokens": n("input_audio")}
    if n("cache_write"):
        details["cache_write_tokens"] = n("cache_write")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": n("output_reasoning"),
            "audio_tokens": n("output_audio"),
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call(saying: Saying, at: int, call: Call) -> dict[str, Any]:
    """Function-shaped for custom tools too: what Cursor needs and other clients of these routes accept."""
    arguments = call.input if call.custom else msgspec.json.encode(call.arguments).decode()
    return {
        "id": saying.identity("call_", at),
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def render(saying: Saying) -> Rendered:
    """One completion object, or chunks closed by `[DONE]`; usage in a chunk of its own when it was asked for."""
    reply = saying.reply
    calls = [_call(saying, at, call) for at, call in enumerate(reply.calls)]
    base: dict[str, Any] = {
        "id": saying.identity("chatcmpl-"),
        "object": "chat.completion.chunk" if saying.conversation.stream else "chat.completion",
        "created": saying.created,
        "model": saying.model,
        "service_tier": saying.tier,
        "system_fingerprint": "fp_simulator",
    }
    stop = STOPS.get(reply.stop, reply.stop)
    if not saying.conversation.stream:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text or None,
            "refusal": None,
            "annotations": [],
        }
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": stop}
        return whole(base | {"choices": [choice], "usage": usage(saying)})
    return Rendered(SSE, _stream(saying, base, calls, stop))


def _stream(saying: Saying, base: dict[str, Any], calls: list[dict[str, Any]], stop: str) -> Iterator[Event]:
    asked = saying.conversation.include_usage

    def chunk(delta: dict[str, Any], finish: str | None = None, chars: int = 0) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        data = base | {"choices": [choice]}
        if asked:
            data["usage"] = None
        return sse("", data, chars)

    yield from [(b": keepalive\n\n", 0, False)] * saying.script.pings
    yield chunk({"role": "assistant", "content": "" if saying.reply.deltas else None, "refusal": None})
    for piece in saying.reply.deltas:
        yield chunk({"content": piece}, chars=len(piece))
    for at, call in enumerate(calls):
        first = call | {"index": at, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield chunk({"tool_calls": [first]})
        for piece in cut(call["function"]["arguments"], 32):
            yield chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}, chars=len(piece))
    yield chunk({}, stop)
    if asked:
        yield sse("", base | {"choices": [], "usage": usage(saying)}, last=True)
    yield b"data: [DONE]\n\n", 0, False


def error_event(status: int, body: bytes) -> bytes:
    """A native error in the middle of a stream."""
    return b"data: " + body + b"\n\n"
