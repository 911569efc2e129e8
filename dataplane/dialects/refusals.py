"""Our refusals as HTTP answers: what the dialects' envelopes have in common, and per client the status and words that
make it stop and show the message.

Our stable code is in every one: `error.code`; where a client wants a code of its own there, `error.reason` holds ours;
Google's envelope has it in `details[].reason` (upper case) and `details[].metadata.code`. Sources: runs of the clients.
"""

from __future__ import annotations

from typing import Final

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import clients
from dataplane.dialects.dialect import Client
from dataplane.dialects.finality import takes_ids_for_troubles

MODEL_CODES: Final = frozenset({Code.MODEL_NOT_ALLOWED, Code.MODEL_NOT_RECOGNIZED})

_DEFAULT_RETRY_AFTER = 2

_JSON = ("content-type", "application/json")
# They try a 502 again, ten times or for minutes and without showing it, whatever its headers say; a 400 they stop on.
_STOP_AT_400 = frozenset(
    {
        *(clients.CODEX, clients.GEMINI_CLI, clients.OPENCODE, clients.QWEN_CODE),
        *(clients.OPENAI_PYTHON, clients.OPENAI_JS, clients.CONTINUE, clients.AI_SDK, clients.LITELLM),
    }
)
_WARNING_HEADER: Final = "x-langwatch-budget-warning"


def status(refusal: Refusal, client: Client) -> int:
    """The HTTP status, where a dialect's own table does not say otherwise."""
    final = refusal.code is Code.PROVIDER_CREDENTIAL_REFUSED and client.name in _STOP_AT_400
    return 400 if final else refusal.status


def headers(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    if not refusal.retryable:
        # without it Claude Code asks eleven times in three minutes
        return (_JSON, ("x-should-retry", "false"), *_required(refusal))
    delay = retry_after(refusal)
    return (_JSON, ("retry-after", str(delay))) if delay else (_JSON,)


def retry_after(refusal: Refusal) -> int:
    """Seconds to tell; 0: say nothing."""
    if not refusal.retryable:
        return 0
    if refusal.retry_after > 0:
        return refusal.retry_after
    return _DEFAULT_RETRY_AFTER if refusal.status in (429, 503) else 0


def named(refusal: Refusal, client: Client, request_id: str) -> dict[str, str]:
    """The request's id, for a client that does not take it for a trouble."""
    return {} if takes_ids_for_troubles(client, refusal) else {"request_id": request_id}


def with_meta(error: dict[str, object], refusal: Refusal) -> dict[str, object]:
    """An error that holds the refusal's facts, too."""
    if refusal.meta:
        error["meta"] = dict(refusal.meta)
    return error


def one_line(text: str) -> str:
    """Fit for a header."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _required(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    """The fields that RFC 9110 wants beside a 405 (§15.5.6) and a 426 (§15.5.22, §7.8)."""
    if refusal.code is Code.METHOD_NOT_ALLOWED and "allow" in refusal.meta:
        return (("allow", str(refusal.meta["allow"])),)
    if refusal.code is Code.BUDGET_EXCEEDED and "scope" in refusal.meta:
        return ((_WARNING_HEADER, one_line(f"{refusal.meta['scope']}:100")),)
    if refusal.code is Code.UPGRADE_NOT_SUPPORTED:
        return (("upgrade", "websocket"), ("connection", "upgrade"))
    return ()
