"""The verdict on an error of a provider: it is about the organization's own account (its credential was refused, or it
cannot pay), or about something else.

The former is not the engineer's to mend, and in the provider's words ("invalid x-api-key") it sends a CLI to its login.
Whatever else a provider says is for the client, byte for byte: a model or a region that the account does not have,
moderated content, limits, mistakes of the request.

The tables hold what providers were seen to answer and what their references say. The first row that fits decides, of
the dialect's own and then of those that all share; where none does, a 401 is about the credential (no client has one of
the provider's), a 402 about money, and everything else is not about the account.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from dataplane.dialects.dialect import DialectName
from dataplane.dialects.halves import with_whole_characters
from dataplane.dialects.scan import decoded

# Statuses whose body is worth a look. Billing and keys are refused with 400, 412 and 429 too.
SUSPECT: Final = frozenset({400, 401, 402, 403, 412, 429})
WORDS: Final = 300  # characters that are kept of what a provider says
_NAME: Final = 100  # characters of a type or code
_DETAILS: Final = 20


class Verdict(StrEnum):
    """About the account, or about something else."""

    CREDENTIAL = "credential"  # it was refused
    PAYMENT = "payment"  # the account that it belongs to cannot pay
    OTHER = "other"


class Failure(NamedTuple):
    """`words` are the provider's, cleaned of nothing but line breaks: they may repeat parts of the credential."""

    verdict: Verdict
    status: int  # as the provider says; 0 where it says none
    words: str


class _Error(NamedTuple):
    """An error, whoever's shape it has. `names`: its types, codes and reasons, in lower case."""

    status: int
    names: frozenset[str]
    message: str


class _Row(NamedTuple):
    """Fits an error of one of `statuses` (empty: of any) that has one of `names` (empty: any) and whose message begins
    so, or, for a pattern that begins with `.*`, holds that.

    A request's own words may stand in a message, so a row without names has a beginning that no request can write.
    """

    verdict: Verdict
    statuses: frozenset[int]
    names: frozenset[str]
    message: re.Pattern[str] | None


def _row(verdict: Verdict, *names: str, of: tuple[int, ...] = (), message: str = "") -> _Row:
    pattern = re.compile(message, re.IGNORECASE) if message else None
    return _Row(verdict, frozenset(of), frozenset(name.lower() for name in names), pattern)


_CREDENTIAL, _PAYMENT, _OTHER = Verdict.CREDENTIAL, Verdict.PAYMENT, Verdict.OTHER
_PLACES: Final = r".*\b(?:model|region|country|territory|location)s?\b"

# https://docs.claude.com/en/api/errors
_ANTHROPIC: Final = (
    _row(_OTHER, "permission_error", message=_PLACES),
    _row(_OTHER, "forbidden", of=(403,)),  # "Request not allowed": from where it was made
    _row(_CREDENTIAL, "authentication_error", of=(0, 401, 403)),
    _row(_CREDENTIAL, "permission_error", message=r"your api key|oauth authentication|.*\bthis organization\b"),
    _row(_PAYMENT, "billing_error"),
    _row(_PAYMENT, "invalid_request_error", message=r"your credit balance is too low to access"),
    _row(_CREDENTIAL, "invalid_request_error", message=r"this organization has been disabled"),
)

# https://platform.openai.com/docs/guides/error-codes, https://learn.microsoft.com/azure/ai-services/openai, and others
# who speak OpenAI's dialect: OpenRouter, xAI, Groq, DeepSeek, Mistral, Moonshot, Together, Fireworks, LiteLLM.
_OPENAI: Final = (
    # `OpenAI-Organization` and `OpenAI-Project` are the provider's row's to say, never a client's.
    _row(_CREDENTIAL, "invalid_organization", "mismatched_organization", "invalid_project", "mismatched_project"),
    _row(_OTHER, "unsupported_country_region_territory", "request_forbidden", "model_not_found"),
    _row(_OTHER, "model_permission_blocked_org", "model_permission_blocked_project"),
    _row(_OTHER, "content_filter", "content_policy_violation", "moderation_blocked"),
    _row(
        _PAYMENT, "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_limit_user_error"
    ),
    _row(_PAYMENT, "organization_spend_limit_exceeded", "exceeded_current_quota_error", "insufficient_balance"),
    _row(_PAYMENT, "budget_exceeded"),
    _row(_CREDENTIAL, "invalid_api_key", "invalid_authentication", "invalid_authentication_error"),
    _row(_CREDENTIAL, "authentication_error", "missing_scope", "insufficient_permissions", of=(0, 401, 403)),
    _row(_CREDENTIAL, "ip_not_authorized", "account_deactivated", "access_terminated", "organization_restricted"),
    _row(_CREDENTIAL, "authenticationtypedisabled", "token_not_found_in_db", "expired_key"),
    # Azure
    _row(
        _CREDENTIAL, of=(403,), message=r"access denied due to virtual network/firewall rules|public access is disabled"
    ),
    _row(_CREDENTIAL, of=(403,), message=r"key[- ]based authentication is (?:disabled|not permitted)"),
    _row(_PAYMENT, of=(403,), message=r"out of call volume quota"),
    # OpenAI's restricted keys; OpenRouter; xAI, which says so with 400, 403 and 429; Fireworks
    _row(_CREDENTIAL, of=(403,), message=r"you have insufficient permissions for this operation"),
    _row(_PAYMENT, of=(403,), message=r"key limit exceeded"),
    _row(_CREDENTIAL, of=(400, 403), message=r"(?:incorrect api key provided|api key is currently blocked)\b"),
    _row(_PAYMENT, of=(403, 429), message=r"your (?:newly created )?teams?\b.{0,80}\b(?:credits|spending limit)\b"),
    _row(_PAYMENT, of=(412,), message=r"account .{1,80} is suspended"),
)

# https://ai.google.dev/gemini-api/docs/troubleshooting, google.api.ErrorReason. A 429 with "You exceeded your current
# quota" is a limit per minute or day here, whatever OpenAI means by the same words.
_GEMINI: Final = (
    _row(_CREDENTIAL, "API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_ANDROID_APP_BLOCKED"),
    _row(_CREDENTIAL, "API_KEY_IOS_APP_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED"),
    _row(_CREDENTIAL, "SERVICE_DISABLED", "CONSUMER_SUSPENDED", "ACCOUNT_STATE_INVALID", "ACCESS_TOKEN_EXPIRED"),
    _row(_CREDENTIAL, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    _row(_PAYMENT, "BILLING_DISABLED"),
    _row(_CREDENTIAL, of=(400, 403), message=r"api key (?:not valid|expired)\b|your api key was reported as leaked"),
    _row(
        _CREDENTIAL, of=(403,), message=r"your project has been denied access|method doesn't allow unregistered callers"
    ),
    _row(_PAYMENT, of=(429,), message=r"your (?:prepayment|prepaid) credits are depleted"),
    _row(_PAYMENT, "RESOURCE_EXHAUSTED", message=r".*\bspending cap\b"),
)

_SHARED: Final = (
    _row(
        _CREDENTIAL, of=(403,), message=r"(?:your|the|this) api key (?:does not have permission|is (?:not|disabled|in))"
    ),
    _row(_PAYMENT, of=(400, 403, 429), message=r"your credit balance is too low\b"),
    # AWS, which answers 403 for what is a 401 elsewhere
    _row(_CREDENTIAL, "unrecognizedclientexception", "expiredtokenexception", "invalidsignatureexception"),
    _row(_CREDENTIAL, of=(403,), message=r"the security token included in the request is (?:invalid|expired)"),
    _row(_CREDENTIAL, of=(403,), message=r"user: \S{1,200} is not authorized to perform: bedrock"),
    # An error inside a stream, where no status says what kind it is
    _row(_CREDENTIAL, "unauthenticated", of=(0, 401)),
)

_TABLES: Final[Mapping[DialectName, tuple[_Row, ...]]] = {
    DialectName.ANTHROPIC: (*_ANTHROPIC, *_SHARED),
    DialectName.RESPONSES: (*_OPENAI, *_GEMINI, *_SHARED),  # Google speaks OpenAI's dialect too, in its own words
    DialectName.CHAT: (*_OPENAI, *_GEMINI, *_SHARED),
    DialectName.GEMINI: (*_GEMINI, *_SHARED),
}
_BY_STATUS: Final[Mapping[int, Verdict]] = {401: _CREDENTIAL, 402: _PAYMENT}


def judge(dialect: DialectName, status: int, body: bytes, model: str = "") -> Failure:
    """`body` as far as it is known, decoded; `status` 0: an event inside a stream. `model` is what the provider was
    asked for: a message that begins with it was not written by the provider alone. Never raises."""
    error = _read(status, body)
    forged = bool(model) and error.message.lower().startswith(model.lower())
    for row in _TABLES[dialect]:
        if _fits(row, error, forged):
            return Failure(row.verdict, error.status, error.message)
    return Failure(_BY_STATUS.get(error.status, _OTHER), error.status, error.message)


def _fits(row: _Row, error: _Error, forged: bool) -> bool:
    if row.statuses and error.status not in row.statuses:
        return False
    if row.names and row.names.isdisjoint(error.names):
        return False
    return row.message is None or (not forged and row.message.match(error.message) is not None)


def _read(status: int, body: bytes) -> _Error:
    value = decoded(body)
    if value is None:
        value = decoded(with_whole_characters(body))
    if isinstance(value, list):  # Gemini's streams that are arrays fail in one
        value = value[0] if value else None
    if not isinstance(value, dict):
        return _Error(status, frozenset(), "")
    outer, error = value, value.get("error")
    if error is None and isinstance(response := value.get("response"), dict):  # `response.failed`
        error = response.get("error")
    inner = error if isinstance(error, dict) else {}
    names = frozenset(name.lower() for name in _names(outer, inner))
    message = error if isinstance(error, str) else inner.get("message") or _plain_message(outer)
    return _Error(status or _status_in(names), names, _one_line(message))


def _names(outer: Mapping[str, object], inner: Mapping[str, object]) -> Iterator[str]:
    names = [*(inner.get(key) for key in ("type", "code", "status")), outer.get("code"), outer.get("__type")]
    details = inner.get("details")
    some = details[:_DETAILS] if isinstance(details, list) else ()
    names += [detail.get("reason") for detail in some if isinstance(detail, dict)]
    for name in names:
        if isinstance(name, str):
            yield name[:_NAME]
        elif isinstance(name, int) and 0 < name < 1000:
            yield str(name)


def _plain_message(outer: Mapping[str, object]) -> object:
    return next((outer[key] for key in ("message", "Message", "detail") if isinstance(outer.get(key), str)), "")


def _status_in(names: frozenset[str]) -> int:
    """Finds the status of an error that came without one: some write it where its code stands."""
    return next((int(name) for name in sorted(names) if name in ("400", "401", "402", "403", "412", "429")), 0)


def _one_line(message: object) -> str:
    if not isinstance(message, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in message.strip()[:WORDS])
