"""The catalogue of the errors that we author. Errors of a provider are not in it: they keep their own bytes.

`Refusal` is raised by decisions and rendered by a dialect in the shape that the detected client understands. The table
of the documentation and the enum of the REST API are made from `CATALOGUE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Code(StrEnum):
    """Stable names: present in every envelope, log line, metric and usage record."""

    MISSING_API_KEY = "missing_api_key"
    INVALID_API_KEY = "invalid_api_key"
    VIRTUAL_KEY_REVOKED = "virtual_key_revoked"
    VIRTUAL_KEY_DISABLED = "virtual_key_disabled"
    VIRTUAL_KEY_EXPIRED = "virtual_key_expired"
    CONFLICTING_API_KEYS = "conflicting_api_keys"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    MODEL_NOT_RECOGNIZED = "model_not_recognized"
    MISSING_MODEL = "missing_model"
    PROVIDER_NOT_REACHABLE = "provider_not_reachable"
    NO_PROVIDER_CONFIGURED = "no_provider_configured"
    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    WRONG_BASE_URL = "wrong_base_url"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    UPGRADE_NOT_SUPPORTED = "upgrade_not_supported"
    BUDGET_EXCEEDED = "budget_exceeded"
    UNPRICED_MODEL = "unpriced_model"
    RATE_LIMITED = "rate_limited"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_CREDENTIAL_REFUSED = "provider_credential_refused"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    CONFIGURATION_STALE = "configuration_stale"
    NO_CONFIGURATION = "no_configuration"
    RULE_NOT_UNDERSTOOD = "rule_not_understood"
    SPOOL_FULL = "spool_full"
    DRAINING = "draining"
    ANSWER_CUT = "answer_cut"
    OVERLOADED = "overloaded"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue: HTTP status before client-specific shaping, whether a retry can help, and who can."""

    status: int
    retryable: bool
    meaning: str
    who_can_help: str


CATALOGUE: Mapping[Code, Entry] = MappingProxyType(
    {
        Code.MISSING_API_KEY: Entry(
            401, False, "The request carries no credential.", "the engineer: set the key in the CLI"
        ),
        Code.INVALID_API_KEY: Entry(
            401, False, "The virtual key is malformed or unknown.", "the engineer, or an admin who mints a key"
        ),
        Code.VIRTUAL_KEY_REVOKED: Entry(
            401, False, "The virtual key was revoked for good.", "an admin: mint a new key"
        ),
        Code.VIRTUAL_KEY_DISABLED: Entry(401, False, "The virtual key is disabled.", "an admin: enable it"),
        Code.VIRTUAL_KEY_EXPIRED: Entry(
            401, False, "The virtual key passed its expiry date or its rotation grace.", "an admin: extend or rotate it"
        ),
        Code.CONFLICTING_API_KEYS: Entry(
            400, False, "Two different virtual keys came in one request.", "the engineer: send one"
        ),
        Code.MODEL_NOT_ALLOWED: Entry(
            403, False, "The key may not use this model.", "an admin: the key's allowed models"
        ),
        Code.MODEL_NOT_RECOGNIZED: Entry(
            404,
            False,
            "No provider of the organization serves this model.",
            "the engineer: a model of the list; an admin: an alias",
        ),
        Code.MISSING_MODEL: Entry(400, False, "The request names no model.", "the engineer"),
        Code.PROVIDER_NOT_REACHABLE: Entry(
            400,
            False,
            "The named provider is not available to this key or does not speak this API.",
            "an admin: the key's providers",
        ),
        Code.NO_PROVIDER_CONFIGURED: Entry(
            400, False, "The organization has no provider that this key may use.", "an admin: add a provider"
        ),
        Code.BAD_REQUEST: Entry(400, False, "The request cannot be read.", "the engineer"),
        Code.NOT_FOUND: Entry(404, False, "No such route.", "the engineer: the path"),
        Code.WRONG_BASE_URL: Entry(
            400,
            False,
            "The path ends in a route's words, after a base URL with a part too many or too few.",
            "the engineer: the base URL, as the message has it",
        ),
        Code.METHOD_NOT_ALLOWED: Entry(405, False, "The route exists, the method does not.", "the engineer"),
        Code.PAYLOAD_TOO_LARGE: Entry(
            413, False, "The body is larger than the pod accepts.", "the platform team: the body limit"
        ),
        Code.UNSUPPORTED_ENCODING: Entry(
            415, False, "The body's content coding is unknown or stacked.", "the engineer"
        ),
        Code.UPGRADE_NOT_SUPPORTED: Entry(
            426, False, "WebSocket is not served here; use HTTP.", "nobody: clients fall back by themselves"
        ),
        Code.BUDGET_EXCEEDED: Entry(
            402,
            False,
            "A budget above the key has nothing left in its window. Codex gets 429, the one that it stops on.",
            "the contact that the budget names: raise it; or wait for its reset",
        ),
        Code.UNPRICED_MODEL: Entry(
            403,
            False,
            "A blocking budget covers the key, the model has no price, and its provider says to refuse such models.",
            "an admin: a price for the model, or the provider's rule for models without one",
        ),
        Code.RATE_LIMITED: Entry(
            429,
            True,
            "A request that was refused for a spent budget came again, unchanged, more than five times in ten seconds.",
            "the engineer: stop the client that repeats it; the contact that the budget names: raise it",
        ),
        Code.PROVIDER_ERROR: Entry(
            502, True, "The provider could not be reached or broke off before answering.", "wait; the platform team"
        ),
        Code.PROVIDER_CREDENTIAL_REFUSED: Entry(
            502,
            False,
            "The provider refused the organization's own credential, or its account cannot pay. The key is fine. "
            "Clients that try a 502 again without a word get 400.",
            "an admin: the provider's credential or account",
        ),
        Code.UPSTREAM_TIMEOUT: Entry(
            504,
            True,
            "The provider did not answer in time. Where it has the request and may be working on it, asking again "
            "would be billed again: then the answer says not to.",
            "wait; the platform team: timeouts",
        ),
        Code.CONFIGURATION_STALE: Entry(
            503, True, "The pod has not heard from the control plane for too long.", "the platform team: the link"
        ),
        Code.NO_CONFIGURATION: Entry(
            503, True, "The pod has no configuration yet.", "wait; the platform team: the link"
        ),
        Code.RULE_NOT_UNDERSTOOD: Entry(
            503,
            True,
            "The pod is older than a rule that covers the key, or than what the request would go to.",
            "the platform team: upgrade the pod",
        ),
        Code.SPOOL_FULL: Entry(
            503, True, "Usage records cannot be delivered and the spool is full.", "the platform team: the link"
        ),
        Code.DRAINING: Entry(503, True, "The pod is shutting down.", "nobody: retry reaches another pod"),
        Code.ANSWER_CUT: Entry(
            503, True, "An admin ended the answers that were running; the key itself still works.", "nobody: ask again"
        ),
        Code.OVERLOADED: Entry(503, True, "The pod is at its limit.", "wait; the platform team: add pods"),
        Code.INTERNAL_ERROR: Entry(500, True, "A defect of the gateway.", "the platform team: the request id"),
    }
)


# Seconds. Above it opencode and others sit silent instead of showing the message.
LONGEST_RETRY_AFTER: Final = 20


# In a refusal's `meta`: the provider may be working on the request, so that asking again would be billed again.
WORKS_ON: Final = "provider_works_on"


class Refusal(Exception):
    """We say no.

    `message` is short and shown by CLIs as it is; `meta` holds facts for programs: JSON values, no secrets.
    `retry_after` in seconds, only for retryable codes and never above 20: several CLIs sleep silently for as long as
    it says.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        meta: Mapping[str, object] | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.meta: Mapping[str, object] = meta or {}
        self.retry_after = min(retry_after, LONGEST_RETRY_AFTER) if self.retryable else 0

    @property
    def status(self) -> int:
        return CATALOGUE[self.code].status

    @property
    def budget_id(self) -> str:
        """Of the budget that stands in the way; "": none does."""
        return str(self.meta.get("budget_id", ""))

    @property
    def retryable(self) -> bool:
        return CATALOGUE[self.code].retryable and WORKS_ON not in self.meta


def render_table() -> str:
    """The catalogue as a Markdown table, for the documentation."""
    rows = [
        f"| `{code.value}` | {entry.status} | {'yes' if entry.retryable else 'no'} "
        f"| {entry.meaning} | {entry.who_can_help} |"
        for code, entry in CATALOGUE.items()
    ]
    head = ["| code | status | retry helps | when | who can help |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"
