"""What one attempt used, in disjoint classes that sum to the provider's own total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from dataplane.core.money.messages import AccountRef


class UsageClass(StrEnum):
    """A priced unit. Disjoint: cached input is not in INPUT, reasoning is not in OUTPUT."""

    INPUT = "input"
    CACHE_READ = "cache_read"
    CACHE_WRITE_5M = "cache_write_5m"
    CACHE_WRITE_1H = "cache_write_1h"
    CACHE_WRITE = "cache_write"  # where the provider names no lifetime
    INPUT_AUDIO = "input_audio"
    INPUT_IMAGE = "input_image"
    OUTPUT = "output"
    OUTPUT_REASONING = "output_reasoning"
    OUTPUT_AUDIO = "output_audio"
    OUTPUT_IMAGE = "output_image"
    WEB_SEARCH = "web_search"  # calls, not tokens
    MAPS = "maps"  # grounding with maps: prompts, or queries
    CONTAINER = "container"  # that code of the model ran in: each gigabyte of its memory
    TOOL_CALL = "tool_call"  # calls of other tools that the provider runs and bills


INPUT_CLASSES = frozenset(
    {
        UsageClass.INPUT,
        UsageClass.CACHE_READ,
        UsageClass.CACHE_WRITE_5M,
        UsageClass.CACHE_WRITE_1H,
        UsageClass.CACHE_WRITE,
        UsageClass.INPUT_AUDIO,
        UsageClass.INPUT_IMAGE,
    }
)

# Tokens. What else is used, searches and calls of tools, is neither input nor output.
OUTPUT_CLASSES = frozenset(
    {UsageClass.OUTPUT, UsageClass.OUTPUT_REASONING, UsageClass.OUTPUT_AUDIO, UsageClass.OUTPUT_IMAGE}
)


class UsageSource(StrEnum):
    """Who counted."""

    PROVIDER = "provider"
    METERED = "metered"  # the pod, from what it saw of an aborted stream
    ESTIMATED = "estimated"  # what nobody saw is in it: from an admission without an end, or as learnt for the model
    HELD = "held"  # nobody can know: charged with what was set aside for it
    NONE = "none"  # the provider was never reached, or does not bill it


class Why(StrEnum):
    """The reason that a figure is not the provider's."""

    NOTHING = ""  # it is, or nothing is owed
    NO_FIGURES = "no_figures"  # a complete answer that told none
    NOT_COUNTS = "not_counts"  # something else stood where counts belong
    IMPLAUSIBLE = "implausible"  # no answer of this kind can have used that
    UNREAD = "unread"  # too large, or coded so that it could not be read
    CLIENT_GONE = "client_gone"  # before the figures
    CUT = "cut"  # by us, before the figures
    BROKEN = "broken"  # by the provider, before the figures
    NO_ANSWER = "no_answer"  # it was asked, and nothing came
    RUNS_ON = "runs_on"  # a background job: its figures are seen later
    END_UNSEEN = "end_unseen"  # no pod reported how it ended


_NOTHING: Mapping[UsageClass, int] = MappingProxyType({})
NO_CALLS: Mapping[str, int] = MappingProxyType({})


class UsagePart(NamedTuple):
    """What of an attempt another model used than the one that answers: an advisor, a fallback, an image's model.

    Its units are beside those of `Usage.units`, not in them, and are priced at `model`'s own rates.
    """

    model: str
    units: Mapping[UsageClass, int]
    kind: str = ""  # the provider's word for it, such as `advisor_message`
    service_tier: str = ""
    speed: str = ""


class Usage(NamedTuple):
    """Units per class (tokens, or calls), non-negative; zero classes are absent.

    `service_tier`, `speed` and `geo` come from the response, since providers downgrade. `raw` is the provider's own
    usage object as JSON text, empty when it sent none.
    """

    units: Mapping[UsageClass, int] = _NOTHING
    source: UsageSource = UsageSource.NONE
    service_tier: str = ""
    speed: str = ""
    geo: str = ""
    raw: str = ""
    why: Why = Why.NOTHING
    parts: tuple[UsagePart, ...] = ()
    unknown_calls: Mapping[str, int] = NO_CALLS  # calls of tools that this version knows no price of, by their name
    outstanding: bool = False  # the content is complete, and figures are still to come; known to the pod only

    @property
    def doubted(self) -> bool:
        """The provider's figures were none, or cannot be: ours stand for them."""
        return self.why in _DOUBTED

    @property
    def input_tokens(self) -> int:
        """All input, cached or not: what a long-context threshold is compared with."""
        return self.tokens[0]

    @property
    def tokens(self) -> tuple[int, int]:
        """All input and all output."""
        incoming = outgoing = 0
        for unit, count in self.units.items():
            if unit in INPUT_CLASSES:
                incoming += count
            elif unit in OUTPUT_CLASSES:
                outgoing += count
        return incoming, outgoing


_DOUBTED = frozenset({Why.NOT_COUNTS, Why.IMPLAUSIBLE})
NO_USAGE = Usage()


class RecordStatus(StrEnum):
    ADMITTED = "admitted"  # about to connect to the provider
    FINAL = "final"  # ended, however


class Outcome(StrEnum):
    OK = "ok"
    PROVIDER_ERROR = "provider_error"  # the provider answered with an error, forwarded unless it is about our account
    REFUSED = "refused"  # by us, before the provider was reached
    CLIENT_GONE = "client_gone"
    CUT = "cut"  # by us, after the first byte
    FAILED = "failed"  # no answer of the provider, or it broke off


@dataclass(slots=True, kw_only=True)
class UsageRecord:
    """One attempt of one exchange, as the ledger keeps it. Keyed by (request_id, attempt, status).

    Times are Unix milliseconds, durations milliseconds, money nano-dollars, sizes bytes. No prompt, no key.
    Its exchange fills it in until it is settled, then nobody does: it is not frozen by its type, because a frozen one
    costs 7 µs to make, one such for every change, and this one is on every request's path.
    """

    request_id: str
    attempt: int = 0
    status: RecordStatus = RecordStatus.FINAL
    started_at_ms: int = 0
    ended_at_ms: int = 0
    organization_id: str = ""
    team_id: str = ""
    project_id: str = ""
    principal_id: str = ""
    key_id: str = ""
    provider_id: str = ""
    provider_kind: str = ""
    dialect: str = ""
    operation: str = ""
    model_requested: str = ""
    model: str = ""
    model_reported: str = ""
    client: str = ""
    client_version: str = ""
    session: str = ""
    streaming: bool = False
    outcome: Outcome = Outcome.OK
    refusal_code: str = ""
    http_status: int = 0
    usage: Usage = NO_USAGE
    cost_nano: int = 0
    priced: bool = False
    price_version: str = ""
    first_byte_ms: int = 0
    duration_ms: int = 0
    revision: int = 0
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    request_bytes: int = 0
    response_bytes: int = 0
    events: int = 0
    provider_request_id: str = ""
    provider_error: str = ""  # why it refused the organization's credential, in its own words without any secret
    tags: tuple[str, ...] = ()
    metadata: str = ""
    end_user_id: str = ""
    estimated_input_tokens: int = 0
    accounts: tuple[AccountRef, ...] = ()
    reserved_nano: int = 0  # ADMITTED: held on each of the accounts
    hold_session: str = ""
    refusal_budget_id: str = ""  # of the budget that refused or cut it
    kept_id: str = ""  # under which the provider keeps the answer, where its figures may be seen later, or were now
    goes_on: bool = False  # the provider works on: its figures are seen later
    seen: Usage = NO_USAGE  # of an answer made earlier that this request looked at: what that cost

    def for_attempt(self, number: int, started_at_ms: int) -> UsageRecord:
        """The beginning of a further attempt's: what is known of the request, and nothing of the attempt before."""
        return UsageRecord(
            attempt=number,
            started_at_ms=started_at_ms,
            **{name: getattr(self, name) for name in OF_THE_REQUEST},
        )


# What every attempt's record says alike.
OF_THE_REQUEST: Final = (
    *("request_id", "trace_id", "span_id", "parent_span_id", "revision"),
    *("organization_id", "team_id", "project_id", "principal_id", "key_id"),
    *("dialect", "operation", "model_requested", "streaming", "request_bytes", "estimated_input_tokens"),
    *("client", "client_version", "session", "tags", "metadata", "end_user_id"),
)
