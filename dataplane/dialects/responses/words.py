"""Our words in the Responses API's shapes: a refusal as an HTTP error (as chat's), and the end of a running stream."""

from __future__ import annotations

from dataplane.core.errors import Refusal
from dataplane.dialects import clients
from dataplane.dialects.dialect import Client
from dataplane.dialects.endings import boundary, has_no_room, money_has_run_out, named_events, truncated
from dataplane.dialects.openai_refusals import openai_error
from dataplane.dialects.responses.meter import ResponsesSent
from dataplane.dialects.sent import SentSoFar, sent_as


def ending(refusal: Refusal, client: Client, request_id: str, sent: SentSoFar) -> bytes:
    """`response.failed`, which ends open items with it. Codex takes `invalid_prompt` as final and retries what it does
    not know; clients that overlook `response.failed` (AI SDK) or only raise on errors (OpenAI's SDKs) get `error`
    first."""
    response = sent_as(ResponsesSent, sent)
    if has_no_room(response):
        return b""
    if money_has_run_out(refusal):
        return truncated(response, lambda sent: _incomplete(refusal, request_id, sent))
    return boundary(response) + _failed(refusal, client, request_id, response)


def _failed(refusal: Refusal, client: Client, request_id: str, sent: ResponsesSent) -> bytes:
    codex = client.name == clients.CODEX
    code = "invalid_prompt" if codex and not refusal.retryable else refusal.code.value
    error = openai_error(refusal, refusal.status, code)
    number = sent.at.events
    events: list[dict[str, object]] = []
    if not codex:
        flat = {"code": code, "message": refusal.message, "param": None}
        events.append({"type": "error", "sequence_number": number, **flat, "error": error})
        number += 1
    response = {
        "id": sent.id or f"resp_{request_id}",
        "object": "response",
        "created_at": sent.created_at,
        "status": "failed",
        "error": error,
        "incomplete_details": None,
        "model": sent.at.model,
        "output": [],
        "usage": None,
    }
    events.append({"type": "response.failed", "sequence_number": number, "response": response})
    return named_events(events)


def _incomplete(refusal: Refusal, request_id: str, sent: ResponsesSent) -> bytes:
    id, index = f"msg_{request_id}", sent.items
    part: dict[str, object] = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    words = {**part, "text": refusal.message}
    item: dict[str, object] = {"id": id, "type": "message", "role": "assistant"}
    done = {**item, "status": "completed", "content": [words]}
    where = {"item_id": id, "output_index": index, "content_index": 0}
    input_tokens, output_tokens = sent.at.input_tokens, sent.at.output_tokens
    response = {
        "id": sent.id or f"resp_{request_id}",
        "object": "response",
        "created_at": sent.created_at,
        "status": "incomplete",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"},
        "model": sent.at.model,
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
        {"type": "response.content_part.done", **where, "part": words},
        {"type": "response.output_item.done", "output_index": index, "item": done},
        {"type": "response.incomplete", "response": response},
    ]
    return named_events([{**event, "sequence_number": sent.at.events + at} for at, event in enumerate(events)])
