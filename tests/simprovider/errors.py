"""Native error bodies: what each provider really answers, by kind, for a test to see that it arrives unchanged."""

from __future__ import annotations

from typing import Any

from tests.simprovider.render import encode

# kind: (Anthropic status, type), (OpenAI status, type, code), (Google status, status name), default words
KINDS: dict[str, tuple[tuple[int, str], tuple[int, str, str | None], tuple[int, str], str]] = {
    "invalid_request": (
        (400, "invalid_request_error"),
        (400, "invalid_request_error", None),
        (400, "INVALID_ARGUMENT"),
        "The request is not valid.",
    ),
    "context_length": (
        (400, "invalid_request_error"),
        (400, "invalid_request_error", "context_length_exceeded"),
        (400, "INVALID_ARGUMENT"),
        "prompt is too long: 210000 tokens > 200000 maximum",
    ),
    "content_filter": (
        (400, "invalid_request_error"),
        (400, "invalid_request_error", "content_policy_violation"),
        (400, "INVALID_ARGUMENT"),
        "Output blocked by content filtering policy",
    ),
    "authentication": (
        (401, "authentication_error"),
        (401, "invalid_request_error", "invalid_api_key"),
        (400, "INVALID_ARGUMENT"),
        "invalid x-api-key",
    ),
    "billing": (
        (402, "billing_error"),
        (429, "insufficient_quota", "insufficient_quota"),
        (429, "RESOURCE_EXHAUSTED"),
        "Your credit balance is too low to access the API.",
    ),
    "permission": (
        (403, "permission_error"),
        (403, "invalid_request_error", "unsupported_country_region_territory"),
        (403, "PERMISSION_DENIED"),
        "Your API key does not have permission to use the specified resource.",
    ),
    "not_found": (
        (404, "not_found_error"),
        (404, "invalid_request_error", "model_not_found"),
        (404, "NOT_FOUND"),
        "The model does not exist or you do not have access to it.",
    ),
    "timeout_408": ((408, "timeout_error"), (408, "timeout", None), (408, "CANCELLED"), "Request timed out."),
    "conflict": (
        (409, "invalid_request_error"),
        (409, "invalid_request_error", None),
        (409, "ABORTED"),
        "The request conflicts with the state of the resource.",
    ),
    "too_large": (
        (413, "request_too_large"),
        (413, "invalid_request_error", None),
        (413, "INVALID_ARGUMENT"),
        "Request exceeds the maximum size",
    ),
    "unprocessable": (
        (422, "invalid_request_error"),
        (422, "invalid_request_error", None),
        (422, "INVALID_ARGUMENT"),
        "Unprocessable.",
    ),
    "rate_limit": (
        (429, "rate_limit_error"),
        (429, "requests", "rate_limit_exceeded"),
        (429, "RESOURCE_EXHAUSTED"),
        "This request would exceed your organization's rate limit.",
    ),
    "quota": (
        (429, "rate_limit_error"),
        (429, "insufficient_quota", "insufficient_quota"),
        (429, "RESOURCE_EXHAUSTED"),
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "server": ((500, "api_error"), (500, "server_error", None), (500, "INTERNAL"), "Internal server error"),
    "bad_gateway": ((502, "api_error"), (502, "server_error", None), (502, "UNAVAILABLE"), "Bad gateway"),
    "unavailable": (
        (503, "api_error"),
        (503, "server_error", "server_is_overloaded"),
        (503, "UNAVAILABLE"),
        "The model is overloaded. Please try again later.",
    ),
    "timeout": (
        (504, "timeout_error"),
        (504, "server_error", "timeout"),
        (504, "DEADLINE_EXCEEDED"),
        "The request timed out.",
    ),
    "overloaded": (
        (529, "overloaded_error"),
        (503, "service_unavailable_error", "server_is_overloaded"),
        (503, "UNAVAILABLE"),
        "Overloaded",
    ),
}
HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>\r\n"
BY_STATUS = {
    400: "invalid_request",
    401: "authentication",
    402: "billing",
    403: "permission",
    404: "not_found",
    408: "timeout_408",
    409: "conflict",
    413: "too_large",
    422: "unprocessable",
    429: "rate_limit",
    500: "server",
    502: "bad_gateway",
    503: "unavailable",
    504: "timeout",
    529: "overloaded",
}

Headers = dict[str, str]


def kind_for(status: int) -> str:
    return BY_STATUS.get(status, "server" if status >= 500 else "invalid_request")


def native(
    vendor: str, kind: str, request_id: str, *, message: str = "", status: int = 0, retry_after: int = 0, **more: Any
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of one kind of error. `html` and `empty` come from proxies."""
    headers = {"content-type": "application/json"}
    if retry_after:
        headers["retry-after"] = str(retry_after)
    if kind == "html":
        return status or 502, headers | {"content-type": "text/html"}, HTML
    if kind == "empty":
        return status or 500, headers, b""
    anthropic, openai, google, words = KINDS[kind]
    words = message or words
    body: dict[str, Any]
    if vendor == "anthropic":
        code = status or anthropic[0]
        body = {"type": "error", "error": {"type": anthropic[1], "message": words}, "request_id": request_id}
        if code in (429, 529) or code >= 500:
            headers["x-should-retry"] = "true"
    elif vendor == "gemini":
        code = status or google[0]
        body = {"error": {"code": code, "message": words, "status": google[1], "details": _details(kind, retry_after)}}
        if not body["error"]["details"]:
            del body["error"]["details"]
    elif vendor == "azure" and kind in ("authentication", "rate_limit"):
        code = status or openai[0]
        body = {"error": {"code": str(code), "message": message or _azure_words(kind)}}
    else:
        code = status or openai[0]
        body = {
            "error": {
                "message": words,
                "type": openai[1],
                "param": more.get("param"),
                "code": more.get("code", openai[2]),
            }
        }
    return code, headers, encode(body)


def _azure_words(kind: str) -> str:
    if kind == "authentication":
        return "Access denied due to invalid subscription key or wrong API endpoint."
    return "Requests to the ChatCompletions_Create Operation have exceeded the call rate limit."


def _details(kind: str, retry_after: int) -> list[dict[str, Any]]:
    info = "type.googleapis.com/google.rpc."
    if kind == "authentication":
        return [{"@type": info + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    if kind in ("rate_limit", "quota"):
        per = "PerDay" if kind == "quota" else "PerMinute"
        quota = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_requests",
            "quotaId": f"GenerateRequests{per}PerProject",
        }
        found: list[dict[str, Any]] = [{"@type": info + "QuotaFailure", "violations": [quota]}]
        if retry_after:
            found.append({"@type": info + "RetryInfo", "retryDelay": f"{retry_after}s"})
        return found
    return []
