"""OpenAI Responses: `/v1/responses`, its event sequence, `compact`, `input_tokens` and stored responses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tests.simprovider.conversation import Conversation, Tool, Turn, text_of
from tests.simprovider.render import SSE, Event, Misuse, Rendered, Saying, cut, encode, sse, whole
from tests.simprovider.script import Call
from tests.simprovider.seal import opened, seal

CALLS = ("function_call", "custom_tool_call", "local_shell_call")


def read(body: dict[str, Any]) -> Conversation:
    """Raises Misuse for what the real API refuses, foreign encrypted reasoning included."""
    if "model" not in body:
        raise Misuse(
            "invalid_request", "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
        )
    wanted = (body.get("text") or {}).get("format") or {}
    asked = body.get("service_tier") or "auto"
    conversation = Conversation(
        model=str(body["model"]),
        stream=bool(body.get("stream")),
        system=str(body.get("instructions") or ""),
        tools=_tools(body.get("tools") or []),
        schema=wanted.get("schema"),
        wants_json=wanted.get("type") == "json_object",
        thinks="reasoning.encrypted_content" in (body.get("include") or []),
        service_tier="default" if asked == "auto" else str(asked),
        max_output=int(body.get("max_output_tokens") or 0),
        raw=body,
    )
    items = body.get("input") or []
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    for item in items:
        _item(conversation, item)
    return conversation.settle()


def _item(conversation: Conversation, item: dict[str, Any]) -> None:
    kind = item.get("type", "message")
    if kind == "additional_tools":
        conversation.tools += _tools(item.get("tools") or [])
    elif kind in CALLS:
        conversation.turns.append(Turn("assistant", calls=1))
    elif kind.endswith("_output"):
        conversation.turns.append(Turn("tool", results=[text_of(item.get("output") or "")]))
    elif kind == "reasoning":
        sealed = item.get("encrypted_content")
        if sealed and opened("reasoning", sealed) is None:
            raise Misuse(
                "invalid_request",
                f"The encrypted content for item {item.get('id', 'rs_unknown')} could not be verified.",
                code="invalid_encrypted_content",
            )
    elif kind == "message":
        role = item.get("role", "user")
        text = text_of(item.get("content") or "")
        if role in ("system", "developer"):
            conversation.system += "\n" + text
        else:
            conversation.turns.append(Turn(role, text))


def _tools(listed: list[dict[str, Any]], namespace: str = "") -> list[Tool]:
    found = []
    for tool in listed:
        kind = tool.get("type")
        if kind == "namespace":
            found += _tools(tool.get("tools") or [], tool.get("name", ""))
        elif kind in ("function", "custom", None) and "name" in tool:
            schema = tool.get("parameters") or {}
            custom = kind == "custom"
            found.append(Tool(tool["name"], schema, tool.get("description") or "", namespace, custom))
    return found


def usage(saying: Saying) -> dict[str, Any]:
    """`input_tokens` and `output_tokens` include their details."""
    n = saying.n
    into = n("input", "cache_read", "cache_write", "input_audio", "input_image")
    out = n("output", "output_reasoning", "output_audio")
    details = {"cached_tokens": n("cache_read")}
    if n("cache_write"):
        details["cache_write_tokens"] = n("cache_write")
    return {
        "input_tokens": into,
        "input_tokens_details": details,
        "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": n("output_reasoning")},
        "total_tokens": into + out,
    }


def _output(saying: Saying) -> list[dict[str, Any]]:
    reply = saying.reply
    items: list[dict[str, Any]] = []
    if reply.thinking:
        identity = saying.identity("rs_")
        summary = [{"type": "summary_text", "text": reply.thinking}]
        reasoning = {"id": identity, "type": "reasoning", "summary": summary}
        if saying.conversation.thinks:
            reasoning["encrypted_content"] = seal("reasoning", identity)
        items.append(reasoning)
    if reply.text or not reply.calls:
        content = [{"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}]
        items.append(
            {
                "id": saying.identity("msg_"),
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": content,
            }
        )
    return items + [_call(saying, at, call) for at, call in enumerate(reply.calls)]


def _call(saying: Saying, at: int, call: Call) -> dict[str, Any]:
    item: dict[str, Any] = {"status": "completed", "call_id": saying.identity("call_", at), "name": call.name}
    if call.namespace:
        item["namespace"] = call.namespace
    if call.custom:
        return item | {"id": saying.identity("ctc_", at), "type": "custom_tool_call", "input": call.input}
    arguments = msgspec.json.encode(call.arguments).decode()
    return item | {"id": saying.identity("fc_", at), "type": "function_call", "arguments": arguments}


def response(saying: Saying, output: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """The response object; `usage` is null until it is completed."""
    body = saying.conversation.raw
    return {
        "id": saying.identity("resp_"),
        "object": "response",
        "created_at": saying.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": saying.model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": "auto" if status == "in_progress" else saying.tier,
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if status == "in_progress" else usage(saying),
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def render(saying: Saying) -> Rendered:
    """One response object, or the event sequence that ends with `response.completed`."""
    if saying.operation == "responses_input_tokens":
        return whole({"object": "response.input_tokens", "input_tokens": usage(saying)["input_tokens"]})
    if saying.operation == "responses_compact":
        compacted = {
            "id": saying.identity("cmp_"),
            "type": "compaction",
            "encrypted_content": seal("reasoning", "compacted"),
        }
        return whole(
            {
                "id": saying.identity("resp_"),
                "object": "response.compaction",
                "created_at": saying.created,
                "output": [compacted],
                "usage": usage(saying),
            }
        )
    output = _output(saying)
    status = "incomplete" if saying.reply.stop in ("length", "filter") else "completed"
    if not saying.conversation.stream:
        return whole(response(saying, output, status))
    return Rendered(SSE, _events(saying, output, status))


def _events(saying: Saying, output: list[dict[str, Any]], status: str) -> Iterator[Event]:
    numbered = _Numbered()
    started = response(saying, [], "in_progress")
    yield numbered.event("response.created", {"response": started})
    yield numbered.event("response.in_progress", {"response": started})
    yield from [(b": keepalive\n\n", 0, False)] * saying.script.pings
    for index, item in enumerate(output):
        yield from _item_events(numbered, index, item, saying)
    yield numbered.event(f"response.{status}", {"response": response(saying, output, status)}, last=True)


class _Numbered:
    """Gives events their `sequence_number`."""

    def __init__(self) -> None:
        self.next = 0

    def event(self, name: str, data: dict[str, Any], chars: int = 0, last: bool = False) -> Event:
        numbered = {"type": name, "sequence_number": self.next} | data
        self.next += 1
        return sse(name, numbered, chars, last)


def _item_events(numbered: _Numbered, index: int, item: dict[str, Any], saying: Saying) -> Iterator[Event]:
    where = {"item_id": item["id"], "output_index": index}

    def deltas(name: str, pieces: Sequence[str], more: dict[str, Any]) -> Iterator[Event]:
        for piece in pieces:
            yield numbered.event(f"{name}.delta", where | more | {"delta": piece}, len(piece))

    def added(**begun: Any) -> Event:
        started = item | {"status": "in_progress"} | begun
        return numbered.event("response.output_item.added", {"output_index": index, "item": started})

    kind = item["type"]
    if kind == "reasoning":
        text = item["summary"][0]["text"]
        at = {"summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        yield added(summary=[])
        yield numbered.event("response.reasoning_summary_part.added", where | at | {"part": part})
        yield from deltas("response.reasoning_summary_text", cut(text, 24), at)
        yield numbered.event("response.reasoning_summary_text.done", where | at | {"text": text})
        yield numbered.event("response.reasoning_summary_part.done", where | at | {"part": part | {"text": text}})
    elif kind == "message":
        part = item["content"][0]
        at = {"content_index": 0}
        yield added(content=[])
        yield numbered.event("response.content_part.added", where | at | {"part": part | {"text": ""}})
        yield from deltas("response.output_text", saying.reply.deltas, at | {"logprobs": []})
        yield numbered.event("response.output_text.done", where | at | {"text": part["text"], "logprobs": []})
        yield numbered.event("response.content_part.done", where | at | {"part": part})
    else:
        custom = kind == "custom_tool_call"
        key = "input" if custom else "arguments"
        name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        yield added(**{key: ""})
        yield from deltas(name, cut(item[key], 32), {})
        yield numbered.event(f"{name}.done", where | {key: item[key]})
    yield numbered.event("response.output_item.done", {"output_index": index, "item": item})


def error_event(status: int, body: bytes) -> bytes:
    """A native failure in the middle of a stream: `response.failed` carrying the error's code and message."""
    error = msgspec.json.decode(body)["error"]
    failed = {
        "type": "response.failed",
        "sequence_number": 999,
        "response": {
            "id": "resp_simfailed",
            "object": "response",
            "status": "failed",
            "output": [],
            "usage": None,
            "error": {"code": error.get("code") or error.get("type"), "message": error.get("message")},
        },
    }
    return b"event: response.failed\ndata: " + encode(failed) + b"\n\n"
