"""Our words in Gemini's shapes: a refusal as an HTTP error, and the end of a running stream."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dataplane.core.errors import Refusal
from dataplane.dialects import clients, refusals
from dataplane.dialects.dialect import Client, ErrorResponse
from dataplane.dialects.endings import behind_text, boundary, data_event, has_no_room, money_has_run_out, truncated
from dataplane.dialects.gemini.meter import GeminiSent
from dataplane.dialects.sent import Form, SentSoFar, sent_as

_STATUSES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    426: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def refusal(refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
    status = 404 if refusal.code in refusals.MODEL_CODES else refusals.status(refusal, client)
    body = {"error": _error(refusal, status, refusals.named(refusal, client, request_id))}
    return ErrorResponse(status, refusals.headers(refusal), msgspec.json.encode(body))


def ending(refusal: Refusal, client: Client, request_id: str, sent: SentSoFar) -> bytes:
    """A bare error object in a write of its own: what Google's SDKs look for (they swallow one inside an event). The
    AI SDK overlooks that and opencode then asks again without pause, so these two get our words and a regular end."""
    answer = sent_as(GeminiSent, sent)
    if has_no_room(answer):
        return b""
    if money_has_run_out(refusal):
        return truncated(answer, lambda sent: _out_of_tokens(refusal, sent))
    error = msgspec.json.encode({"error": _error(refusal, refusal.status, {"request_id": request_id})})
    if answer.at.form is Form.ARRAY:
        return answer.at.joint + error + b"]"
    if client.name not in (clients.OPENCODE, clients.AI_SDK):
        return boundary(answer) + error + b"\n"
    words = {"role": "model", "parts": [{"text": f"\n\n{refusal.message}"}]}
    candidate = {"content": words, "finishReason": "STOP", "index": 0}
    return boundary(answer) + data_event({"candidates": [candidate], "modelVersion": answer.at.model})


def _error(refusal: Refusal, status: int, named: Mapping[str, str]) -> dict[str, object]:
    """Google's `Status` with ErrorInfo, which `named` becomes a part of; RetryInfo too when a retry makes sense (Gemini
    CLI ignores the HTTP header)."""
    metadata = {key: value if isinstance(value, str) else _json(value) for key, value in refusal.meta.items()}
    details: list[dict[str, object]] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": refusal.code.value.upper(),
            "domain": "aigateway",
            "metadata": {**metadata, "code": refusal.code.value, **named},
        }
    ]
    delay = refusals.retry_after(refusal)
    if delay:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{delay}s"})
    word = _STATUSES.get(status, "INVALID_ARGUMENT")
    return {"code": status, "message": refusal.message, "status": word, "details": details}


def _out_of_tokens(refusal: Refusal, sent: GeminiSent) -> bytes:
    content = {"role": "model", "parts": [{"text": behind_text(refusal, text=sent.at.events > 0)}]}
    chunk = {
        "candidates": [{"content": content, "finishReason": "MAX_TOKENS", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": sent.at.input_tokens,
            "candidatesTokenCount": sent.at.output_tokens,
            "totalTokenCount": sent.at.input_tokens + sent.at.output_tokens,
        },
        "modelVersion": sent.at.model,
    }
    if sent.at.form is Form.EVENTS:
        return data_event(chunk)
    if sent.at.mid_event:
        return b""  # nothing can end a half object; the broken connection says it
    return sent.at.joint + msgspec.json.encode(chunk) + b"]"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
