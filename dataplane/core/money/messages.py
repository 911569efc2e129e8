"""What a pod and the control plane say to each other about money: the messages of the Hold call, as plain values.

Amounts are nano-dollars. Counters named `…_cum` only grow within a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class AccountRef(NamedTuple):
    """One budget, one member (group budgets; otherwise ""), one window. A request's accounts are fixed at admission."""

    budget_id: str
    member_id: str
    window_key: str


class AskKind(StrEnum):
    ADMIT = "admit"  # a request is about to start
    EXTEND = "extend"  # a running one needs more; may use the overdraft


class DenyReason(StrEnum):
    EXHAUSTED = "exhausted"
    UNKNOWN = "unknown"  # no such account: the budget went away, or the pod's clock is off
    CLOSED = "closed"  # the session was ended: start another one
    UNDECIDED = "undecided"  # it cannot be said now, the account is there


class AccountState(NamedTuple):
    """What the control plane knew of an account when it last answered."""

    limit_nano: int = 0  # with live overrides
    settled_nano: int = 0
    held_nano: int = 0
    idle_nano: int = 0  # the part of held_nano that pods have leased and no request uses

    @property
    def left(self) -> int:
        """Neither spent nor held by any pod."""
        return self.limit_nano - self.settled_nano - self.held_nano

    @property
    def used(self) -> int:
        """Spent, or set aside for running requests."""
        return self.settled_nano + self.held_nano - self.idle_nano

    @property
    def percent(self) -> int:
        """Of the limit, used."""
        return max(0, self.used) * 100 // self.limit_nano if self.limit_nano > 0 else 100


@dataclass(frozen=True, slots=True)
class AskItem:
    account: AccountRef
    need_nano: int  # 0: enough is there, more is welcome
    minimum_nano: int  # less than the need, if there is not more; negative: what the pod has would do
    want_nano: int  # beyond the need, if there is plenty


@dataclass(frozen=True, slots=True)
class Ask:
    """All items are granted or none. `ask_id` is unique within the session; asked again, it gets the same answer."""

    ask_id: int
    kind: AskKind
    request_id: str
    attempt: int
    items: tuple[AskItem, ...]


@dataclass(frozen=True, slots=True)
class Granted:
    account: AccountRef
    granted_cum: int
    amount_nano: int  # what this answer added
    state: AccountState
    lease_epoch: int = 0  # of the budget when this was decided


@dataclass(frozen=True, slots=True)
class Grant:
    ask_id: int
    items: tuple[Granted, ...]


@dataclass(frozen=True, slots=True)
class Deny:
    ask_id: int
    reason: DenyReason
    account: AccountRef
    state: AccountState
    resets_at_ms: int  # 0: not by itself


@dataclass(frozen=True, slots=True)
class Recall:
    accounts: tuple[AccountRef, ...]


@dataclass(frozen=True, slots=True)
class Return:
    account: AccountRef
    returned_cum: int


@dataclass(frozen=True, slots=True)
class AccountReport:
    account: AccountRef
    free_nano: int  # negative: spent beyond what was leased
    live_nano: int  # held by running requests
    granted_cum: int  # as far as the pod knows
    consumed_cum: int  # settled by the pod
    returned_cum: int
    want_nano: int  # a top-up that would be welcome


@dataclass(frozen=True, slots=True)
class LiveHold:
    request_id: str
    attempt: int
    reserved_nano: int


@dataclass(frozen=True, slots=True)
class Report:
    """`grown`: running requests that hold more than their ADMITTED record says."""

    seq: int
    accounts: tuple[AccountReport, ...]
    grown: tuple[LiveHold, ...]


@dataclass(frozen=True, slots=True)
class ReportAck:
    """Of every account reported, topped up or not. `gone`: those that there are no more, to be forgotten."""

    seq: int
    accounts: tuple[Granted, ...]
    pods: int
    gone: tuple[AccountRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Hello:
    session_id: str
    accounts: tuple[AccountReport, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    """`closed`: the session was ended, its leases are void, another one has to be started."""

    ttl_ms: int
    report_ms: int
    closed: bool
    accounts: tuple[Granted, ...]
    pods: int
    server_time_ms: int = 0  # 0: not said
    gone: tuple[AccountRef, ...] = ()  # of those that the hello named: there are no such accounts any more
