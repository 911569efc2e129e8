"""Our refusals as HTTP answers: three envelopes, and per client the status and words that make it stop and show the
message.

Our stable code is in every one: `error.code`; where a client wants a code of its own there, `error.reason` holds ours;
Google's envelope has it in `details[].reason` (upper case) and `details[].metadata.code`. Sources: runs of the clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import clients
from dataplane.dialects.dialect import Client, ErrorResponse
from dataplane.dialects.finality import takes_ids_for_troubles

_DEFAULT_RETRY_AFTER = 2

_JSON = ("content-type", "application/json")
_KEY_CODES = frozenset({Code.MISSING_API_KEY, Code.INVALID_API_KEY})
_MODEL_CODES = frozenset({Code.MODEL_NOT_ALLOWED, Code.MODEL_NOT_RECOGNIZED})
_FORBIDDEN = frozenset({Code.UNPRICED_MODEL})
# They try a 502 again, ten times or for minutes and without showing it, whatever its headers say; a 400 they stop on.
_STOP_AT_400 = frozenset(
    {
        *(clients.CODEX, clients.GEMINI_CLI, clients.OPENCODE, clients.QWEN_CODE),
        *(clients.OPENAI_PYTHON, clients.OPENAI_JS, clients.CONTINUE, clients.AI_SDK, clients.LITELLM),
    }
)

# What Codex stops on at once, showing the header's words; a 402 it tries six times.
CODEX_LIMIT: Final = "usage_limit_reached"
_CODEX_WORDS = "x-codex-promo-message"
WARNING_HEADER: Final = "x-langwatch-budget-warning"

_ANTHROPIC_TYPES: Mapping[int, str] = {
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
_OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "budget_exceeded",
    403: "permission_error",
    429: "rate_limit_error",
    500: "internal_error",
    502: "provider_error",
    503: "service_unavailable",
    504: "upstream_timeout",
}
_GOOGLE_STATUSES: Mapping[int, str] = {
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


def anthropic_refusal(refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
    # Claude Code hides the text of a 404, so an unknown model is a 403 here
    status = 403 if refusal.code in _MODEL_CODES else _status(refusal, client)
    if client.name == clients.LITELLM and status in (402, 403):
        status = 400  # Aider, which speaks this dialect through it, tries a 402 or 403 eight times
    body = {"type": "error", "error": anthropic_error(refusal, status), **_named(refusal, client, request_id)}
    return ErrorResponse(status, _headers(refusal), msgspec.json.encode(body))


def anthropic_error(refusal: Refusal, status: int) -> dict[str, object]:
    """The inner object, also of `event: error`."""
    kind = _ANTHROPIC_TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return _with_meta({"type": kind, "message": refusal.message, "code": refusal.code.value}, refusal)


def openai_refusal(refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
    status, code = _openai_shape(refusal, client)
    error, headers = openai_error(refusal, status, code), _headers(refusal)
    if refusal.code is Code.BUDGET_EXCEEDED:
        if client.name == clients.CODEX:
            error["type"] = CODEX_LIMIT
            if resets_at := _epoch(refusal.meta.get("resets_at")):
                error["resets_at"] = resets_at
            headers = (*headers, (_CODEX_WORDS, _one_line(refusal.message)))
        elif client.name == clients.OPENAI_PYTHON:
            # Aider tries everything again that does not hold these words
            error["message"] = f'{refusal.message} (insufficient credits) {{"code":402}}'
    body = {"error": error, **_named(refusal, client, request_id)}
    return ErrorResponse(status, headers, msgspec.json.encode(body))


def openai_error(refusal: Refusal, status: int, code: str) -> dict[str, object]:
    """The inner object, also of an error frame. Never of type `server_error`: opencode retries on that word alone."""
    kind = "invalid_api_key" if refusal.code in _KEY_CODES else _OPENAI_TYPES.get(status, "invalid_request_error")
    error: dict[str, object] = {"message": refusal.message, "type": kind, "code": code, "param": None}
    if code != refusal.code:
        error["reason"] = refusal.code.value
    return _with_meta(error, refusal)


def gemini_refusal(refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
    status = 404 if refusal.code in _MODEL_CODES else _status(refusal, client)
    body = {"error": gemini_error(refusal, status, _named(refusal, client, request_id))}
    return ErrorResponse(status, _headers(refusal), msgspec.json.encode(body))


def gemini_error(refusal: Refusal, status: int, named: Mapping[str, str]) -> dict[str, object]:
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
    delay = retry_after(refusal)
    if delay:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{delay}s"})
    word = _GOOGLE_STATUSES.get(status, "INVALID_ARGUMENT")
    return {"code": status, "message": refusal.message, "status": word, "details": details}


def retry_after(refusal: Refusal) -> int:
    """Seconds to tell; 0: say nothing."""
    if not refusal.retryable:
        return 0
    if refusal.retry_after > 0:
        return refusal.retry_after
    return _DEFAULT_RETRY_AFTER if refusal.status in (429, 503) else 0


def _named(refusal: Refusal, client: Client, request_id: str) -> dict[str, str]:
    return {} if takes_ids_for_troubles(client, refusal) else {"request_id": request_id}


def _openai_shape(refusal: Refusal, client: Client) -> tuple[int, str]:
    """Status and `error.code`."""
    own = refusal.code.value
    if client.name == clients.CODEX:
        if refusal.code in _MODEL_CODES:
            return 404, "model_not_found"
        if refusal.code is Code.BUDGET_EXCEEDED:
            return 429, own
        if refusal.code in _FORBIDDEN:
            return 403, "inference_hook_denied"  # the one 403 that it takes as final
        if _status(refusal, client) == 400:
            return 400, "invalid_prompt"  # else it prints the raw body
        if refusal.status >= 500:
            return 503, "server_is_overloaded"  # 5 requests instead of 30
        return refusal.status, own
    if refusal.code in _FORBIDDEN and client.name == clients.OPENAI_PYTHON:
        return 400, own  # Aider tries a 403 eight times
    return (404 if refusal.code in _MODEL_CODES else _status(refusal, client)), own


def _status(refusal: Refusal, client: Client) -> int:
    """Where a table of its own does not say otherwise."""
    final = refusal.code is Code.PROVIDER_CREDENTIAL_REFUSED and client.name in _STOP_AT_400
    return 400 if final else refusal.status


def _epoch(said: object) -> int:
    """Seconds of an ISO 8601 text; 0 for none."""
    try:
        return int(datetime.fromisoformat(said).timestamp()) if isinstance(said, str) and said else 0
    except ValueError:
        return 0


def _one_line(text: str) -> str:
    """Fit for a header."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _headers(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    if not refusal.retryable:
        # without it Claude Code asks eleven times in three minutes
        return (_JSON, ("x-should-retry", "false"), *_required(refusal))
    delay = retry_after(refusal)
    return (_JSON, ("retry-after", str(delay))) if delay else (_JSON,)


def _required(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    """What RFC 9110 wants beside a 405 (§15.5.6) and a 426 (§15.5.22, §7.8)."""
    if refusal.code is Code.METHOD_NOT_ALLOWED and "allow" in refusal.meta:
        return (("allow", str(refusal.meta["allow"])),)
    if refusal.code is Code.BUDGET_EXCEEDED and "scope" in refusal.meta:
        return ((WARNING_HEADER, _one_line(f"{refusal.meta['scope']}:100")),)
    if refusal.code is Code.UPGRADE_NOT_SUPPORTED:
        return (("upgrade", "websocket"), ("connection", "upgrade"))
    return ()


def _with_meta(error: dict[str, object], refusal: Refusal) -> dict[str, object]:
    if refusal.meta:
        error["meta"] = dict(refusal.meta)
    return error


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
