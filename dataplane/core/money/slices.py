"""What a pod keeps of one account, and what it has set aside for one request: the nouns of `LeaseBook`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from dataplane.core.money.accounts import Account
from dataplane.core.money.messages import AccountReport, AccountState, AskKind, LiveHold
from dataplane.core.rows import OutageRule

NOTHING_KNOWN: Final = AccountState()

# Share of the newest interval in the rate of spending: 3 of 10.
NEW_SHARE: Final = 3
SHARES: Final = 10
# Grown holds in one report; the others are said in the next.
GROWN_AT_A_TIME: Final = 1_000


@dataclass(frozen=True, slots=True)
class HoldRules:
    """Durations in milliseconds, money in nano-dollars."""

    patience_ms: int = 5_000  # for an answer: a restart of the control plane takes less
    refusal_ms: int = 1_000  # a refusal is repeated from memory for so long, then the control plane is asked again
    slice_ms: int = 90_000  # of spending at the present rate, that a lease should last for
    idle_ms: int = 30_000  # without a request, after which a lease is given back
    recalled_ms: int = 10_000  # after a recall, during which no more than is needed is asked for
    step_nano: int = 10_000_000  # the smallest extension: about 1 s of a dear model's output
    ahead_nano: int = 30_000_000  # an extension is asked for when less than this (or 40 %) of the hold is left
    outage_percent: int = 5  # of the limit, over all pods


class Slice:
    """One account's lease: what the control plane granted, less what was spent and given back.

    `free + live + parked = granted - consumed - returned`, always; `live` is set aside for running requests, `parked`
    for those that wait for an answer. `free` below zero is a debt: spent beyond the lease, repaid by the next grant.
    """

    __slots__ = (
        *("account", "consumed", "denied_revision", "denied_short", "denied_until", "free", "granted", "last_need"),
        *("last_used", "live", "outage_used", "parked", "quiet_until", "rate", "returned", "spent", "state", "unsaid"),
    )

    def __init__(self, account: Account, now: int) -> None:
        self.account = account
        self.free = self.live = self.parked = 0
        self.granted = self.consumed = self.returned = 0
        self.state = NOTHING_KNOWN
        self.last_used = now
        self.last_need = 0
        self.spent = 0  # since the last report: set aside, less what came back
        self.rate = 0  # of spending: nano-dollars per second
        self.denied_until = 0  # a refusal to repeat, …
        self.denied_short = 0  # … for whoever lacks at least this much, …
        self.denied_revision = 0  # … unless the budget was changed
        self.quiet_until = 0  # no top-ups wanted: the control plane needed the money elsewhere
        self.outage_used = 0  # of this pod's share of the outage allowance
        self.unsaid = False  # something changed that no report has said

    def learn(self, granted_cum: int, state: AccountState) -> None:
        """What was granted so far: a late or repeated message says nothing new."""
        if granted_cum > self.granted:
            self.free += granted_cum - self.granted
            self.granted = granted_cum
        self.state = state

    def give_back(self, amount: int) -> None:
        self.free -= amount
        self.returned += amount
        self.unsaid = True

    def repeats_refusal(self, short: int, now: int) -> bool:
        """Whether somebody who lacks so much was refused a moment ago."""
        if now >= self.denied_until or short < self.denied_short:
            return False
        return self.account.budget.revision == self.denied_revision

    def remember_refusal(self, short: int, until: int) -> None:
        self.denied_until, self.denied_short, self.denied_revision = until, short, self.account.budget.revision

    def measure(self, elapsed_ms: int) -> None:
        self.rate = max(0, (self.rate * (SHARES - NEW_SHARE) + self.spent * 1000 // elapsed_ms * NEW_SHARE) // SHARES)
        self.spent = 0

    def want(self, rules: HoldRules, now: int) -> int:
        """Beyond what is needed now: to last for a while at the present rate; until that is known, eight times
        what went since the last report, so that a pod that starts cold asks seven times for 1,000 requests, not 33."""
        if now < self.quiet_until or now < self.denied_until:
            return 0
        lasting = self.rate * rules.slice_ms // 1000
        return max(0, max(8 * self.last_need, 8 * self.spent, lasting) - self.free)

    def give_back_idle(self, rules: HoldRules, active: bool) -> None:
        keep = max(2 * self.rate * rules.slice_ms // 1000, 4 * self.last_need) if active else 0
        if self.free > keep:
            self.give_back(self.free - keep)

    def said(self, want: int) -> AccountReport:
        live = self.live + max(0, self.parked)
        return AccountReport(self.account.ref, self.free, live, self.granted, self.consumed, self.returned, want)


class Hold:
    """What is set aside for one attempt: `charged` on every one of its accounts.

    `session`: whose leases it was taken from; goes into the usage record. `accrued`: what the attempt has cost so far.
    """

    __slots__ = (
        *("accrued", "asking", "attempt", "charged", "cut", "ended", "reported", "request_id", "retry_at", "session"),
        *("slices",),
    )

    def __init__(self, session: str, request_id: str, attempt: int, slices: tuple[Slice, ...]) -> None:
        self.session = session
        self.request_id = request_id
        self.attempt = attempt
        self.slices = slices
        self.charged = 0
        self.reported = 0  # what the control plane knows of it
        self.accrued = 0
        self.asking = 0  # id of the ask that it waits for
        self.retry_at = 0  # an extension was refused; do not ask before this
        self.cut = False
        self.ended = False

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple([slice.account for slice in self.slices])


class Pending:
    """An ask on its way, and what was taken for it from each of its hold's slices already."""

    __slots__ = ("hold", "kind", "minimum", "need", "parts", "repeats")

    def __init__(self, hold: Hold, kind: AskKind, need: int, minimum: int, repeats: int) -> None:
        self.hold = hold
        self.kind = kind
        self.need = need
        self.minimum = minimum
        self.repeats = repeats
        self.parts: list[int] = []

    def park(self, fenced: bool) -> None:
        """Take what is there, so that nobody else counts on it. A debt comes along: the answer has to cover it."""
        for slice in self.hold.slices:
            usable = min(slice.free, 0) if fenced else slice.free
            part = min(usable, self.need) if slice.account.blocks else self.need
            slice.free -= part
            slice.parked += part
            self.parts.append(part)

    def unpark(self) -> None:
        for slice, part in zip(self.hold.slices, self.parts, strict=True):
            slice.free += part
            slice.parked -= part
        self.parts = []


class Reason(StrEnum):
    EXHAUSTED = "exhausted"  # the account has no more
    UNREACHABLE = "unreachable"  # nobody could be asked, and the budget's outage rule says no


@dataclass(frozen=True, slots=True)
class Denied:
    """No hold. `account`: the one that stood in the way; `state`: as the control plane knew it last."""

    account: Account
    reason: Reason
    state: AccountState
    resets_at_ms: int  # 0: not by itself
    remembered: bool = False  # repeated from memory


@dataclass(frozen=True, slots=True)
class Cut:
    """The stream has to end now, in its dialect's own way: what it was allowed is used up."""

    hold: Hold
    account: Account
    reason: Reason
    state: AccountState
    resets_at_ms: int


def denial(slice: Slice, reason: Reason, *, remembered: bool = False) -> Denied:
    return Denied(slice.account, reason, slice.state, slice.account.window.ends_ms, remembered)


def spend_in_outage(hold: Hold, amount: int, fenced: bool, percent: int, pods: int) -> Slice | None:
    """Book what lacks on each account to this pod's share of its outage allowance.

    Returns the account whose rule refuses; then nothing is booked.
    """
    booked = []
    for slice in hold.slices:
        account = slice.account
        lacking = amount - (0 if fenced else max(0, slice.free))
        if not account.blocks or lacking <= 0 or account.budget.outage is OutageRule.OPEN:
            continue
        share = account.limit_nano * percent // 100 // pods
        if account.budget.outage is OutageRule.STRICT or slice.outage_used + lacking > share:
            return slice
        booked.append((slice, lacking))
    for slice, lacking in booked:
        slice.outage_used += lacking
    return None


def grown(live: Iterable[Hold]) -> tuple[LiveHold, ...]:
    """Those that hold more than was said of them; said from now on."""
    found = list(islice((hold for hold in live if hold.charged > hold.reported), GROWN_AT_A_TIME))
    for hold in found:
        hold.reported = hold.charged
    return tuple(LiveHold(hold.request_id, hold.attempt, hold.charged) for hold in found)


def fullest(slices: Iterable[Slice]) -> tuple[Account, int] | None:
    """The fullest account, if it has passed the first of its thresholds, and its per cent."""
    found: tuple[Account, int] | None = None
    for slice in slices:
        thresholds, state = slice.account.budget.thresholds, slice.state
        if not thresholds or not state.limit_nano or state.used * 100 < thresholds[0] * state.limit_nano:
            continue  # so much for nearly every request
        if found is None or state.percent > found[1]:
            found = slice.account, state.percent
    return found


def unbalanced(slices: Iterable[Slice], live: Iterable[Hold]) -> Iterator[str]:
    """What must never be: I3 (every cent of a lease is somewhere) and I5 (nothing runs on more than it holds)."""
    charged: dict[int, int] = {}
    for hold in live:
        for slice in hold.slices:
            charged[id(slice)] = charged.get(id(slice), 0) + hold.charged
        if hold.accrued > hold.charged and not hold.asking and not hold.cut:
            yield f"{hold.request_id} has cost {hold.accrued} and holds {hold.charged}"
    for slice in slices:
        held = charged.get(id(slice), 0)
        if slice.live != held:
            yield f"{slice.account.ref} holds {slice.live}, its requests {held}"
        if slice.free + slice.live + slice.parked != slice.granted - slice.consumed - slice.returned:
            yield f"{slice.account.ref} does not add up"
