"""What differs between vendors around the body: where the credential stands, which headers an answer has."""

from __future__ import annotations

from tests.simprovider.record import Recorded
from tests.simprovider.render import Misuse
from tests.simprovider.wire import Headers, Request

PLACES = {
    "anthropic": ("x-api-key", "authorization"),
    "openai": ("authorization",),
    "azure": ("api-key", "authorization"),
    "gemini": ("x-goog-api-key", "authorization"),
}


def presented(request: Request, vendor: str) -> tuple[str, str]:
    """Where this vendor looks for a credential, and what is there."""
    for name in PLACES[vendor]:
        value = request.header(name)
        if name == "authorization" and value:
            scheme, _, value = value.partition(" ")
            value = value.strip() if scheme.lower() == "bearer" else ""
        if value:
            return name, value
    if vendor == "gemini" and request.query.get("key"):
        return "?key", request.query["key"]
    return "", ""


def credential(expected: str, value: str, vendor: str) -> None:
    """Misuse when there is none, or when it is not the expected one. No expectation: any will do."""
    if value and expected in ("", value):
        return
    words = {
        "anthropic": "invalid x-api-key" if value else "x-api-key header is required",
        "gemini": "API key not valid. Please pass a valid API key.",
        "azure": "",
    }
    shown = f"{value[:4]}***" if value else ""
    default = (
        f"Incorrect API key provided: {shown}. You can find your API key in the provider's console."
        if value
        else "You didn't provide an API key."
    )
    raise Misuse("authentication", words.get(vendor, default))


def headers_of(vendor: str, record: Recorded) -> Headers:
    """As the vendor sends them, cookies included: which of them reach a client is the gateway's business."""
    identity = record.request_id
    common = [("date", "Mon, 23 Nov 2026 12:00:00 GMT"), ("x-sim-number", str(record.number))]
    if vendor == "anthropic":
        return [
            *common,
            ("request-id", identity),
            ("anthropic-organization-id", "7a5b1c1e-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-11-23T12:00:01Z"),
            ("anthropic-ratelimit-input-tokens-limit", "2000000"),
            ("anthropic-ratelimit-input-tokens-remaining", "1990000"),
            ("set-cookie", "__cf_bm=sim; path=/; HttpOnly"),
            ("server", "simulator"),
        ]
    if vendor == "gemini":
        return [
            *common,
            ("x-request-id", identity),
            ("server-timing", "gfet4t7; dur=42"),
            ("vary", "Origin, X-Origin, Referer"),
            ("server", "scaffolding on HTTPServer2"),
        ]
    found = [
        *common,
        ("x-request-id", identity),
        ("openai-processing-ms", "42"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-limit-tokens", "2000000"),
        ("x-ratelimit-remaining-tokens", "1999000"),
        ("x-ratelimit-reset-requests", "6ms"),
    ]
    if vendor == "azure":
        return [*found, ("apim-request-id", identity), ("x-ms-region", "Sweden Central")]
    return [*found, ("openai-organization", "org-simulator"), ("set-cookie", "__cf_bm=sim; path=/; HttpOnly")]
