"""What the mock provider says, per dialect: a whole answer, and a stream's opening, deltas and closing.

`~t0000000000000000~` in a delta is where the mock writes when the event left; `~end~` is the last thing that a right
answer says. Both are text of the answer, so that they survive systems that re-encode. Events have the sizes that the
providers' have: 120 to 330 bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STAMP = "~t0000000000000000~"
END = "~end~"
WORDS = ("then some", "few other", "some more")  # a system in between may take the same text again for a loop
OUTPUT_TOKENS = 200
INPUT_TOKENS = 400

JSON_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _named(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\n".encode() + _data(value)


def _filled(make: Any, size: int = 1000) -> bytes:
    """A whole answer of `size` bytes."""
    return _json(make("x" * (size - len(_json(make(END)))) + END))


# ---- chat completions ----------------------------------------------------------------------------------------------

_CHAT = {"id": "chatcmpl-bench", "created": 1_790_000_000, "model": "gpt-5.5", "service_tier": "default"}
_CHAT_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


def _chat_whole(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return _CHAT | {"object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE}


def _chat_event(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return _data(_CHAT | {"object": "chat.completion.chunk", "choices": choices} | more)


def chat() -> dict[str, bytes]:
    return {
        "whole": _filled(_chat_whole),
        "opening": _chat_event({"role": "assistant", "content": ""}),
        "delta": b"".join(_chat_event({"content": f" and {word} words{STAMP}"}) for word in WORDS),
        "closing": _chat_event({"content": END})
        + _chat_event({}, "stop")
        + _chat_event(None, usage=_CHAT_USAGE)
        + b"data: [DONE]\n\n",
    }


# ---- Anthropic messages --------------------------------------------------------------------------------------------


def _message(content: list[dict[str, Any]], stop: str | None) -> dict[str, Any]:
    usage = {
        "input_tokens": INPUT_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 20_000,
        "output_tokens": OUTPUT_TOKENS if stop else 1,
        "service_tier": "standard",
    }
    return {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


def _block_delta(index: int, kind: str, field: str, text: str) -> bytes:
    delta = {"type": kind, field: text}
    return _named({"type": "content_block_delta", "index": index, "delta": delta})


def messages() -> dict[str, bytes]:
    """A Claude Code turn: some thinking, then text; the last block is the call of a tool."""
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    tool = {"type": "tool_use", "id": "toolu_bench", "name": "Bash", "input": {}}
    usage = {"output_tokens": OUTPUT_TOKENS}
    return {
        "whole": _filled(lambda text: _message([{"type": "text", "text": text}], "end_turn")),
        "opening": _named({"type": "message_start", "message": _message([], None)})
        + _named(text)
        + _named({"type": "ping"}),
        "delta": _block_delta(0, "text_delta", "text", f" then{STAMP}")
        + _block_delta(0, "text_delta", "text", f" and some more words of it{STAMP}"),
        "closing": _block_delta(0, "text_delta", "text", END)
        + _named({"type": "content_block_stop", "index": 0})
        + _named({"type": "content_block_start", "index": 1, "content_block": tool})
        + _block_delta(1, "input_json_delta", "partial_json", '{"command":"make test"}')
        + _named({"type": "content_block_stop", "index": 1})
        + _named({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": usage})
        + _named({"type": "message_stop"}),
    }


def count_tokens() -> dict[str, bytes]:
    answer = {"input_tokens": 21_000, "context_management": {"original_input_tokens": 21_000, "note": END}}
    return {"whole": _json(answer), "opening": b"", "delta": b"", "closing": b""}


# ---- OpenAI Responses ----------------------------------------------------------------------------------------------


def _response(status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "resp_bench",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": status,
        "model": "gpt-5.5",
        "output": output,
        "parallel_tool_calls": True,
        "store": False,
        "usage": usage,
    }


def responses() -> dict[str, bytes]:
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 300},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    place = {"item_id": "msg_bench", "output_index": 0, "content_index": 0}
    item = {"id": "msg_bench", "type": "message", "status": "in_progress", "role": "assistant", "content": []}

    def message(text: str) -> dict[str, Any]:
        return item | {"status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]}

    def delta(text: str) -> bytes:
        event = {"type": "response.output_text.delta", "sequence_number": 4, "delta": text, "obfuscation": "Zk3u8wQ1"}
        return _named(event | place)

    return {
        "whole": _filled(lambda text: _response("completed", [message(text)], usage), 1400),
        "opening": _named({"type": "response.created", "response": _response("in_progress", [], None)})
        + _named({"type": "response.in_progress", "response": _response("in_progress", [], None)})
        + _named({"type": "response.output_item.added", "output_index": 0, "item": item}),
        "delta": delta(f" then{STAMP}") + delta(f" and some more words of it{STAMP}"),
        "closing": delta(END)
        + _named({"type": "response.output_text.done", "text": "words " * 400} | place)
        + _named({"type": "response.output_item.done", "output_index": 0, "item": message("words " * 400)})
        + _named({"type": "response.completed", "response": _response("completed", [message("words " * 400)], usage)}),
    }


DIALECTS = {"chat": chat, "messages": messages, "count_tokens": count_tokens, "responses": responses}


def write(directory: Path) -> None:
    """The files that both mocks read: heads and chunking are in them, but for deltas, which are bare events."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in DIALECTS.items():
        parts = make()
        whole = JSON_HEAD.format(length=len(parts["whole"])).encode() + parts["whole"]
        (directory / f"{name}.whole").write_bytes(whole)
        (directory / f"{name}.delta").write_bytes(parts["delta"])
        if parts["opening"]:
            (directory / f"{name}.opening").write_bytes(STREAM_HEAD + chunk(parts["opening"]))
            (directory / f"{name}.closing").write_bytes(chunk(parts["closing"]) + LAST_CHUNK)
