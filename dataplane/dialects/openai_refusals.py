"""Our refusals in OpenAI's envelope, for chat completions and the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import clients, refusals
from dataplane.dialects.dialect import Client, ErrorResponse

_KEY_CODES: Final = frozenset({Code.MISSING_API_KEY, Code.INVALID_API_KEY})
_FORBIDDEN: Final = frozenset({Code.UNPRICED_MODEL})

# What Codex stops on at once, showing the header's words; a 402 it tries six times.
_CODEX_LIMIT: Final = "usage_limit_reached"
_CODEX_WORDS: Final = "x-codex-promo-message"

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "budget_exceeded",
    403: "permission_error",
    429: "rate_limit_error",
    500: "internal_error",
    502: "provider_error",
    503: "service_unavailable",
    504: "upstream_timeout",
}


def openai_refusal(refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
    status, code = _shape(refusal, client)
    error, headers = openai_error(refusal, status, code), refusals.headers(refusal)
    if refusal.code is Code.BUDGET_EXCEEDED:
        if client.name == clients.CODEX:
            error["type"] = _CODEX_LIMIT
            if resets_at := _epoch(refusal.meta.get("resets_at")):
                error["resets_at"] = resets_at
            headers = (*headers, (_CODEX_WORDS, refusals.one_line(refusal.message)))
        elif client.name == clients.OPENAI_PYTHON:
            # Aider tries everything again that does not hold these words
            error["message"] = f'{refusal.message} (insufficient credits) {{"code":402}}'
    body = {"error": error, **refusals.named(refusal, client, request_id)}
    return ErrorResponse(status, headers, msgspec.json.encode(body))


def openai_error(refusal: Refusal, status: int, code: str) -> dict[str, object]:
    """The inner object, also of an error frame. Never of type `server_error`: opencode retries on that word alone."""
    kind = "invalid_api_key" if refusal.code in _KEY_CODES else _TYPES.get(status, "invalid_request_error")
    error: dict[str, object] = {"message": refusal.message, "type": kind, "code": code, "param": None}
    if code != refusal.code:
        error["reason"] = refusal.code.value
    return refusals.with_meta(error, refusal)


def _shape(refusal: Refusal, client: Client) -> tuple[int, str]:
    """Status and `error.code`."""
    own = refusal.code.value
    if client.name == clients.CODEX:
        if refusal.code in refusals.MODEL_CODES:
            return 404, "model_not_found"
        if refusal.code is Code.BUDGET_EXCEEDED:
            return 429, own
        if refusal.code in _FORBIDDEN:
            return 403, "inference_hook_denied"  # the one 403 that it takes as final
        if refusals.status(refusal, client) == 400:
            return 400, "invalid_prompt"  # else it prints the raw body
        if refusal.status >= 500:
            return 503, "server_is_overloaded"  # 5 requests instead of 30
        return refusal.status, own
    if refusal.code in _FORBIDDEN and client.name == clients.OPENAI_PYTHON:
        return 400, own  # Aider tries a 403 eight times
    return (404 if refusal.code in refusals.MODEL_CODES else refusals.status(refusal, client)), own


def _epoch(moment: object) -> int:
    """Seconds of an ISO 8601 text; 0 for none."""
    try:
        return int(datetime.fromisoformat(moment).timestamp()) if isinstance(moment, str) and moment else 0
    except ValueError:
        return 0
