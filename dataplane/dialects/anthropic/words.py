"""Our words in Anthropic's shapes: a refusal as an HTTP error, and the end of a running stream."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dataplane.core.errors import Refusal
from dataplane.dialects import clients, refusals
from dataplane.dialects.anthropic.meter import AnthropicSent
from dataplane.dialects.dialect import Client, ErrorResponse
from dataplane.dialects.endings import (
    behind_text,
    boundary,
    has_no_room,
    money_has_run_out,
    named_events,
    truncated,
)
from dataplane.dialects.sent import SentSoFar, sent_as

_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def refusal(refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
    # Claude Code hides the text of a 404, so an unknown model is a 403 here
    status = 403 if refusal.code in refusals.MODEL_CODES else refusals.status(refusal, client)
    if client.name == clients.LITELLM and status in (402, 403):
        status = 400  # Aider, which speaks this dialect through it, tries a 402 or 403 eight times
    body = {"type": "error", "error": _error(refusal, status), **refusals.named(refusal, client, request_id)}
    return ErrorResponse(status, refusals.headers(refusal), msgspec.json.encode(body))


def ending(refusal: Refusal, client: Client, request_id: str, sent: SentSoFar) -> bytes:
    """`event: error` is legal while a block is open. Claude Code then asks again without streaming, and shows that
    answer."""
    message = sent_as(AnthropicSent, sent)
    if has_no_room(message):
        return b""
    if money_has_run_out(refusal):
        return truncated(message, lambda sent: _out_of_tokens(refusal, client, request_id, sent))
    error = {"type": "error", "error": _error(refusal, refusal.status), "request_id": request_id}
    return boundary(message) + named_events([error])


def _error(refusal: Refusal, status: int) -> dict[str, object]:
    """The inner object, also of `event: error`."""
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return refusals.with_meta({"type": kind, "message": refusal.message, "code": refusal.code.value}, refusal)


def _out_of_tokens(refusal: Refusal, client: Client, request_id: str, sent: AnthropicSent) -> bytes:
    events: list[dict[str, object]] = []
    if not sent.started:
        message: dict[str, object] = {
            "id": f"msg_{request_id}",
            "type": "message",
            "role": "assistant",
            "model": sent.at.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": sent.at.input_tokens, "output_tokens": 0},
        }
        events.append({"type": "message_start", "message": message})
    if not sent.stopping:
        inside = sent.open_block == "text"
        index = sent.blocks - 1 if inside else sent.blocks
        if not inside:
            events.append(
                {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
            )
        words = {"type": "text_delta", "text": behind_text(refusal, text=inside)}
        events.append({"type": "content_block_delta", "index": index, "delta": words})
        events.append({"type": "content_block_stop", "index": index})
        end = {"stop_reason": _stop_reason(client), "stop_sequence": None}
        events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": sent.at.output_tokens}})
    events.append({"type": "message_stop"})
    return named_events(events)


def _stop_reason(client: Client) -> str:
    """Claude Code 2.0 shows words of its own, and nothing of the answer, when the tokens are used up."""
    return "end_turn" if client.name == clients.CLAUDE_CODE and client.version.startswith("2.0.") else "max_tokens"
