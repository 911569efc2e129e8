"""The protocol of a channel: the event that it says, where to, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from django.core.exceptions import ValidationError

from controlplane.providers import gate, ssrf
from dataplane.core.secret import Secret

COVERED = "•••"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing to say. `what`: triggered, resolved or test. `id` is the same at every try, so a receiver can tell."""

    id: str
    what: str
    dedup_key: str  # the same for an alert's beginning and its end
    organization: str
    rule: str
    kind: str
    severity: str
    subject: str
    title: str
    happened_at: datetime
    facts: Sequence[tuple[str, str]] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    link: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """The channel's address and its secret, opened for this one use."""

    address: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """`again`: whether another try makes sense. `wait_s`: how long the receiver asked for."""

    ok: bool
    message: str
    status: int = 0
    again: bool = True
    wait_s: int = 0


class ChannelType(Protocol):
    """A slice: one folder, one line in the registry."""

    @property
    def kind(self) -> str:
        """As `ChannelKind` says it."""

    @property
    def help(self) -> str:
        """Tells whoever fills in the form what to get where."""

    @property
    def address_label(self) -> str:
        """Empty: it has no address."""

    @property
    def default_address(self) -> str: ...

    @property
    def secret_label(self) -> str:
        """Empty: it has no secret."""

    @property
    def says_resolved(self) -> bool:
        """True if it is told when an alert is over."""

    def check_address(self, address: str) -> str:
        """In the one form that is stored. Raises ValidationError with what would be right."""

    def check_secret(self, secret: Secret) -> Secret:
        """The same for the secret."""

    def deliver(self, event: Event, destination: Destination) -> DeliveryOutcome:
        """Say it now. Raises nothing for what the receiver or the network does."""


def checked_url(text: str, field_name: str) -> ssrf.BaseUrl:
    """A URL that may be connected to. Raises ValidationError."""
    try:
        return _parsed(text)
    except ssrf.UnsafeUrl as error:
        raise ValidationError({field_name: str(error).replace("base URL", "URL")}) from None


def post(
    url: str, content: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], path: str = ""
) -> DeliveryOutcome | gate.Answer:
    """POST through the gate: the answer, or the outcome of there being none. `secrets` are covered in every word."""
    try:
        return gate.call(
            "POST",
            _parsed(url),
            path=path,
            headers={"user-agent": "aigateway-alerts", **headers},
            content=content,
            switch=ssrf.WEBHOOKS,
        )
    except ssrf.UnsafeUrl as error:
        words = covered(str(error).replace("base URL", "URL"), secrets)
        # A name that has no address just now may have one later; an address that is refused stays refused.
        return DeliveryOutcome(False, f"The URL cannot be used: {words}.", again="has no address" in words)
    except gate.Unreachable as error:
        return DeliveryOutcome(False, covered(str(error), secrets))


def judged(answer: gate.Answer, *, final: frozenset[int]) -> DeliveryOutcome:
    """The outcome of an answer, by its status alone: what else it says may be an internal service's.

    Any 2xx is success; `final`: statuses after which no other try makes sense.
    """
    status = answer.status
    if 200 <= status < 300:
        return DeliveryOutcome(True, f"Accepted ({status}).", status)
    if 300 <= status < 400:
        return DeliveryOutcome(False, f"It redirects elsewhere ({status}), which is not followed.", status, again=False)
    wait = answer.headers.get("retry-after", "")
    wait_s = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 0
    return DeliveryOutcome(False, f"Refused ({status}).", status, again=status not in final, wait_s=wait_s)


def _parsed(url: str) -> ssrf.BaseUrl:
    return ssrf.parse(url, private_allowed=gate.private_allowed(ssrf.WEBHOOKS), switch=ssrf.WEBHOOKS)


def covered(text: str, secrets: Sequence[str]) -> str:
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, COVERED)
    return text


def cut(text: str, most: int) -> str:
    """Returns at most `most` characters, with an ellipsis where something is missing."""
    return text if len(text) <= most else text[: most - 1] + "…"
