"""What the control plane keeps of budgets: the rows that `Lessor` decides on and changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dataplane.core.money.messages import AccountRef


@dataclass(frozen=True, slots=True)
class LessorRules:
    """Durations in milliseconds."""

    ttl_ms: int = 60_000  # how long a pod may spend a lease after its last acknowledged report
    report_ms: int = 5_000
    grace_ms: int = 10_000  # clocks run at different rates, messages take time: we wait longer than the pod
    # A pod that is cut off may have spent its leases without having told us, and its streams may still run: what is not
    # known to be reserved stays held for as long as a stream may last, and only then is free for others.
    suspense_ms: int = 900_000
    recalls: int = 8  # before a refusal, other pods are asked to give back what idles, or waited for, so often, …
    recalls_running: int = 1  # … for a stream that runs only once: its pod takes 500 ms of silence for a lost contact
    answer_ms: int = 250  # they have that long to answer, for a refusal ends somebody's work, …
    recall_again_ms: int = 1_000  # … and who has not is left alone for so long
    plenty: int = 8  # times the need, for each pod that draws on the account: enough to lease more than is needed
    share: int = 4  # at most a quarter of what is left, split over the pods, is leased beyond need
    silent_ms: int = 7_500  # without a word, reports coming every 5 s: its pod may have had to decide by itself
    active_ms: int = 60_000  # a lease used within this counts as a pod that draws on the account


@dataclass(slots=True)
class AccountRow:
    """`settled + held <= limit + overdraft_used + excess` and `overdraft_used <= overdraft_limit`, always.

    Grants never make `excess`: it is what facts have brought about (a request that cost more than it held, a limit that
    was lowered, an outage allowance, a warn budget that goes on).
    """

    ref: AccountRef
    limit: int  # with live overrides
    overdraft_limit: int
    blocks: bool
    resets_at_ms: int = 0
    settled: int = 0
    held: int = 0  # the sum of what the leases still hold
    overdraft_used: int = 0
    excess: int = 0
    epoch: int = 0  # the budget's lease epoch of now

    def rebalance(self) -> None:
        over = max(0, self.settled + self.held - self.limit)
        self.overdraft_used = min(over, self.overdraft_limit)
        self.excess = over - self.overdraft_used


class SessionState(StrEnum):
    OPEN = "open"
    EXPIRED = "expired"  # nothing came for ttl + grace: known reservations were charged, the rest is still held
    CLOSED = "closed"  # nothing is held any more; it never opens again


@dataclass(slots=True)
class SessionRow:
    """One lease session: what one pod has leased, from its hello to its end."""

    id: str
    expires_ms: int
    state: SessionState = SessionState.OPEN
    alone_ms: int = 0  # when it was back after its pod had to decide by itself, by its budgets' outage rules


@dataclass(slots=True)
class LeaseRow:
    """What one session was granted of one account. Counters only grow; `free` and `live` are as last reported."""

    session: str  # the lease session's id
    ref: AccountRef
    granted: int = 0
    consumed: int = 0  # booked from usage records, or from estimates where those never came
    returned: int = 0
    free: int = 0
    live: int = 0
    used_ms: int = 0  # when it was last drawn on
    recalled_ms: int = 0  # when it was asked for what idles

    @property
    def balance(self) -> int:
        """What it holds; below zero: the pod owes that much, its next grant repays it."""
        return self.granted - self.consumed - self.returned


@dataclass(frozen=True, slots=True)
class Recalls:
    """Before a refusal: send each session a `Recall`, wait for a return to what is lacking, ask the lessor again."""

    accounts: Mapping[str, tuple[AccountRef, ...]]  # session → what it should give back; empty: all have been asked
    lacking: tuple[AccountRef, ...]


@dataclass(slots=True)
class Changed:
    """Rows to be written."""

    accounts: list[AccountRow] = field(default_factory=list)
    leases: list[LeaseRow] = field(default_factory=list)
    sessions: list[SessionRow] = field(default_factory=list)
