"""What one attempt has set aside, a `Hold`; and how a pod refuses one (`Denied`) or ends its stream (`Cut`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final, TypeAlias

from dataplane.core.money.accounts import Account, Accounts
from dataplane.core.money.messages import AccountState, LiveHold
from dataplane.core.money.slices import Slice
from dataplane.core.rows import OutageRule

# Grown holds in one report; the others are said in the next.
GROWN_AT_A_TIME: Final = 1_000


# What a request draws on by the rules of now. Its argument: what it drew on when that was asked last.
Draws: TypeAlias = Callable[[Accounts], Accounts]


def as_admitted(before: Accounts) -> Accounts:
    """The rules do not change, for all that anybody knows."""
    return before


class Hold:
    """What is set aside for one attempt: `charged` on every one of its accounts.

    These are fixed when it is admitted, and all are charged to its end. Which of them may stop it is asked anew before
    it takes more: a budget that was taken away, or does not cover it any more, does not.
    """

    __slots__ = (
        *("accrued", "asking", "attempt", "charged", "cut", "draws", "drawn", "ended", "released", "reported"),
        *("request_id", "retry_at", "session", "since", "slices"),
    )

    def __init__(self, session: str, request_id: str, attempt: int, slices: tuple[Slice, ...], drawn: Accounts) -> None:
        # The lease session that it was taken from; goes into the usage record.
        self.session = session
        self.request_id = request_id
        self.attempt = attempt
        # One for each account that the attempt draws on.
        self.slices = slices
        # The accounts by the rules of now, as they were when that was asked last; and who knows them.
        self.drawn = drawn
        self.draws: Draws = as_admitted
        # Of the slices those that do not stop it any more.
        self.released: tuple[Slice, ...] = ()
        # When the first of what it holds was taken.
        self.since = 0
        # Set aside on each of them.
        self.charged = 0
        # How much of that the control plane knows.
        self.reported = 0
        # What the attempt has cost so far.
        self.accrued = 0
        # The id of the ask that it waits for; 0: none.
        self.asking = 0
        # An extension was refused: when it may ask again.
        self.retry_at = 0
        # Its stream was told to end.
        self.cut = False
        # Its attempt has ended, and it is settled.
        self.ended = False

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple([part.account for part in self.slices])

    def look(self, now: int) -> bool:
        """Go by the rules of now from here on. False: they are as they were."""
        drawn = self.draws(self.drawn)
        if drawn is self.drawn:
            return False
        self.drawn = drawn
        present = {account.ref[:2]: account for account in drawn}
        released = []
        for part in self.slices:
            account = present.get(part.account.ref[:2])
            # Disabled, deleted, narrowed; or reset, when everything begins to count anew.
            if account is None or account.budget.resets != part.account.budget.resets:
                released.append(part)
            else:
                part.follow(account, now)
        self.released = tuple(released)
        return True

    def take(self, amount: int, now: int) -> None:
        """From every slice's free money; what is not there is a debt."""
        for part in self.slices:
            part.free -= amount
            part.live += amount
            part.spent += amount
            part.last_used = now
            part.unsaid = True
        if not self.charged:
            self.since = now
        self.charged += amount
        if not self.reported:
            self.reported = self.charged

    def end(self, actual: int, session: str, now: int) -> None:
        """It has cost `actual`; the rest goes back. `session`: the pod's lease session of now."""
        self.ended = True
        charged = self.charged
        left = charged - actual
        # What an ended session's leases were spent on is settled there; here it was only covered.
        freed, consumed = (left, actual) if self.session == session else (charged, 0)
        for part in self.slices:
            part.live -= charged
            part.put_back(freed, self.since)
            part.consumed += consumed
            part.spent -= left
            part.last_used = now
            part.unsaid = True

    def release(self, part: Slice) -> None:
        """The control plane has no such account any more."""
        self.released = (*self.released, part)

    def binds(self, part: Slice) -> bool:
        """Whether that slice may stop it."""
        return part.account.blocks and part not in self.released

    def binding(self) -> tuple[Slice, ...]:
        return tuple([part for part in self.slices if self.binds(part)])


class Reason(StrEnum):
    """Why a hold was denied, or its stream cut."""

    EXHAUSTED = "exhausted"  # the account has no more
    # The budget's outage rule says no, since
    UNREACHABLE = "unreachable"  # … contact was lost
    UNANSWERED = "unanswered"  # … the control plane did not answer in time
    UNDECIDED = "undecided"  # … it could not decide
    UNKNOWN = "unknown"  # … it does not know the account


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


def denial(part: Slice, reason: Reason, *, remembered: bool = False) -> Denied:
    return Denied(part.account, reason, part.state, part.account.window.ends_ms, remembered)


def tightest(hold: Hold) -> Slice:
    """Of the slices that may stop it, the one that has the least left."""
    return min(hold.binding(), key=lambda part: part.free)


def spend_in_outage(hold: Hold, amount: int, fenced: bool, percent: int, pods: int) -> Slice | None:
    """Book what lacks on each account to this pod's share of its outage allowance.

    Returns the slice whose rule refuses; then nothing is booked.
    """
    debts = []
    for part in hold.slices:
        account = part.account
        lacking = amount - (0 if fenced else max(0, part.free))
        # A budget that only warns, one that has enough here, and one that goes on without a bound need no allowance.
        if not hold.binds(part) or lacking <= 0 or account.budget.outage is OutageRule.OPEN:
            continue
        allowance = account.limit_nano * percent // 100 // pods
        # A strict budget allows nothing unasked; any other, no more than this pod's share.
        if account.budget.outage is OutageRule.STRICT or part.outage_used + lacking > allowance:
            return part
        debts.append((part, lacking))
    for part, lacking in debts:
        part.outage_used += lacking
    return None


def grown(live: Iterable[Hold]) -> tuple[LiveHold, ...]:
    """Those that hold more than was said of them; said from now on."""
    holds = list(islice((hold for hold in live if hold.charged > hold.reported), GROWN_AT_A_TIME))
    for hold in holds:
        hold.reported = hold.charged
    return tuple(LiveHold(hold.request_id, hold.attempt, hold.charged) for hold in holds)


def fullest(slices: Iterable[Slice]) -> tuple[Account, int] | None:
    """The fullest account, if it has passed the first of its thresholds, and its per cent."""
    warning: tuple[Account, int] | None = None
    for part in slices:
        thresholds, state = part.account.budget.thresholds, part.state
        if not thresholds or not state.limit_nano or state.used * 100 < thresholds[0] * state.limit_nano:
            continue  # so much for nearly every request
        if warning is None or state.percent > warning[1]:
            warning = part.account, state.percent
    return warning


def unbalanced(slices: Iterable[Slice], live: Iterable[Hold]) -> Iterator[str]:
    """What must never be: I3 (every cent of a lease is somewhere) and I5 (nothing runs on more than it holds)."""
    charged: dict[int, int] = {}
    for hold in live:
        for part in hold.slices:
            charged[id(part)] = charged.get(id(part), 0) + hold.charged
        if hold.accrued > hold.charged and not hold.asking and not hold.cut:
            yield f"{hold.request_id} has cost {hold.accrued} and holds {hold.charged}"
    for part in slices:
        held = charged.get(id(part), 0)
        if part.live != held:
            yield f"{part.account.ref} holds {part.live}, its requests {held}"
        if part.free + part.live + part.parked != part.granted - part.consumed - part.returned:
            yield f"{part.account.ref} does not add up"
