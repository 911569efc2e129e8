"""What a pod has leased: a `Slice` of each account that its requests draw on, and all of them by account, `Slices`.

A lease belongs to an epoch of its budget. Each edit that makes the budget stricter opens another one, and then what was
leased before is for the requests that run on it: the pod gives back what is free, what running requests leave, and what
comes in late of a grant that was made before the edit; and asks anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from dataplane.core.money.accounts import Account
from dataplane.core.money.messages import AccountRef, AccountReport, AccountState, Granted, Return

NOTHING_KNOWN: Final = AccountState()

# Share of the newest interval in the rate of spending: 3 of 10.
NEW_SHARE: Final = 3
SHARES: Final = 10
# Slices of windows that ended so long ago are forgotten once they are empty.
FORGET_MS: Final = 7_200_000
# When a slice's epoch was opened: it has had no other.
NEVER: Final = -1


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
        *("account", "consumed", "denied_revision", "denied_short", "denied_until", "epoch", "free", "granted"),
        *("last_need", "last_used", "live", "opened_at", "outage_used", "parked", "quiet_until", "rate", "returned"),
        *("spent", "state", "unsaid", "withdrawn"),
    )

    def __init__(self, account: Account, now: int) -> None:
        # As the newest request that draws on it found it.
        self.account = account
        # Of the leases that may be spent, and since when it is the one in force here.
        self.epoch = account.epoch
        self.opened_at = NEVER
        # Where the money of the lease is now: for the next request, held by running ones, promised to waiting ones.
        self.free = self.live = self.parked = 0
        # Counters of the lease session, which only grow: what came, what requests cost, what went back.
        self.granted = self.consumed = self.returned = 0
        # The account as the control plane knew it last.
        self.state = NOTHING_KNOWN
        # When a request last drew on it.
        self.last_used = now
        # What the newest request needed.
        self.last_need = 0
        # Since the last report: set aside, less what came back.
        self.spent = 0
        # Of spending: nano-dollars per second.
        self.rate = 0
        # Until when a refusal is repeated, …
        self.denied_until = 0
        # … to requests that lack at least this much, …
        self.denied_short = 0
        # … unless the budget was changed.
        self.denied_revision = 0
        # Until when no top-ups are wanted: the control plane needed the money elsewhere.
        self.quiet_until = 0
        # Of this pod's share of the outage allowance.
        self.outage_used = 0
        # Something changed that no report has said.
        self.unsaid = False
        # Some went back because of its epoch, and whoever asks for more has to say so first.
        self.withdrawn = False

    def follow(self, account: Account, now: int) -> None:
        """The budget's rules of now. `account`: of the same budget and member, perhaps of a later window."""
        before = self.account
        if account.ref != before.ref:
            if account.budget is before.budget:
                return
            account = replace(account, ref=before.ref, window=before.window)
        self.account = account
        # Lower than the account's before: the control plane's database is an older one now.
        if account.epoch > self.epoch or account.epoch < before.epoch:
            self.open(account.epoch, now)

    def open(self, epoch: int, now: int) -> None:
        """Another epoch: what is free of the leases so far goes back."""
        self.epoch, self.opened_at = epoch, now
        self.withdraw(self.free)

    def withdraw(self, amount: int) -> None:
        """Give back what may not be spent any more, but for what covers a debt."""
        amount = min(amount, self.free)
        if amount > 0:
            self.give_back(amount)
            self.withdrawn = True

    def notice(self) -> Return:
        """What has gone back so far, for whoever has to know before the next report."""
        self.withdrawn = False
        return Return(self.account.ref, self.returned)

    def put_back(self, amount: int, since: int) -> None:
        """What was taken at `since` and is not needed: free again, unless its epoch has ended."""
        self.free += amount
        if since <= self.opened_at:
            self.withdraw(amount)

    def credit(self, item: Granted, now: int) -> None:
        """Take what was granted so far: a late or repeated message adds nothing."""
        if item.lease_epoch > self.epoch:
            self.open(item.lease_epoch, now)
        more = item.granted_cum - self.granted
        if more > 0:
            self.free += more
            self.granted = item.granted_cum
            # Once there was an edit only what this very answer has added is sure to be of its epoch.
            if item.lease_epoch < self.epoch:
                self.withdraw(more)
            elif self.opened_at != NEVER:
                self.withdraw(more - item.amount_nano)
        self.state = item.state

    def adopt(self, item: Granted, now: int) -> None:
        """Take the control plane's counter for ours, also downwards: a database that was restored knows less."""
        epoch = max(item.lease_epoch, self.account.epoch)
        if epoch != self.epoch:
            self.open(epoch, now)
        more = item.granted_cum - self.granted
        self.free += more
        self.granted = item.granted_cum
        if self.opened_at != NEVER:
            self.withdraw(more)
        self.state = item.state

    def give_back(self, amount: int) -> None:
        self.free -= amount
        self.returned += amount
        self.unsaid = True

    def repeats_refusal(self, short: int, now: int) -> bool:
        """Whether a request that lacks this much was refused a moment ago."""
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

    def forgettable(self, at_ms: int) -> bool:
        """Whether its window ended long ago and nothing of it is open. `at_ms`: the control plane's clock."""
        ends = self.account.window.ends_ms
        return bool(ends) and at_ms > ends + FORGET_MS and not (self.free or self.live or self.parked or self.unsaid)

    def report(self, want: int) -> AccountReport:
        live = self.live + max(0, self.parked)
        return AccountReport(self.account.ref, self.free, live, self.granted, self.consumed, self.returned, want)


class Slices(dict[AccountRef, Slice]):
    """Every slice of one pod by its account: what reports say of them, what grants add, what goes back."""

    __slots__ = ()

    def of(self, account: Account, now: int) -> Slice:
        part = self.get(account.ref)
        if part is None:
            part = self[account.ref] = Slice(account, now)
        elif part.account is not account:
            part.follow(account, now)
        return part

    def credit(self, items: Iterable[Granted], now: int) -> None:
        """Take what an answer to an ask, or to a report, has granted."""
        for item in items:
            part = self.get(item.account)
            if part is not None:
                part.credit(item, now)

    def adopt(self, items: Iterable[Granted], now: int) -> None:
        """Take what the control plane knows of each, after a hello."""
        for item in items:
            part = self.get(item.account)
            if part is not None:
                part.adopt(item, now)

    def void(self) -> None:
        """The lease session has ended: nothing is leased, and what runs is a debt."""
        for part in self.values():
            part.granted = part.consumed = part.returned = 0
            part.free = -part.live
            part.opened_at = NEVER  # whatever will be granted is of no older epoch
            part.unsaid = True

    def introduce(self) -> tuple[AccountReport, ...]:
        """All of them, for a hello."""
        return tuple(part.report(0) for part in self.values())

    def report(self, rules: HoldRules, now: int, elapsed_ms: int, at_ms: int) -> tuple[AccountReport, ...]:
        """What has changed or is in use, after giving back what idles. `at_ms`: the control plane's clock."""
        reports = []
        for ref, part in list(self.items()):
            if part.forgettable(at_ms):
                del self[ref]
                continue
            ends = part.account.window.ends_ms
            part.measure(elapsed_ms)
            active = now - part.last_used <= rules.idle_ms and not (ends and at_ms >= ends)
            part.give_back_idle(rules, active)
            if active or part.unsaid or part.live:
                reports.append(part.report(part.want(rules, now) if active else 0))
        return tuple(reports)

    def forget(self, refs: Iterable[AccountRef]) -> None:
        """There are no such accounts any more, nor will there be: those on which nothing runs are dropped, the others
        when they are named again."""
        for ref in refs:
            part = self.get(ref)
            if part is not None and not (part.live or part.parked):
                del self[ref]

    def acknowledge(self, items: Iterable[Granted]) -> None:
        """The control plane has the report of these accounts."""
        for item in items:
            part = self.get(item.account)
            if part is not None:
                part.unsaid = False

    def give_back(self, refs: Iterable[AccountRef], quiet_until: int) -> tuple[Return, ...]:
        """What idles of these, at once; an answer for each, also where nothing does."""
        returns = []
        for ref in refs:
            part = self.get(ref)
            if part is not None:
                part.quiet_until = quiet_until
                part.give_back(max(0, part.free))
                returns.append(Return(ref, part.returned))
        return tuple(returns)

    def drain(self) -> tuple[Return, ...]:
        """Everything that idles: the pod is shutting down and nothing runs."""
        for part in self.values():
            part.give_back(max(0, part.free))
        return tuple(Return(ref, part.returned) for ref, part in self.items())
