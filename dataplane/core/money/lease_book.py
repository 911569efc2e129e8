"""`LeaseBook`: the leases of one pod, and the holds of its requests on them. Pure: time is an argument, messages are
values, nothing blocks.

`now` is in milliseconds of a clock that only goes forward and counts suspend (CLOCK_BOOTTIME). The life of a request:

    hold() → Hold                  everything was leased already: no message at all
           → Ask                   send it; the answer goes to granted() or denied(), silence to unanswered()
           → Denied                refuse
    accrue(), while it runs → None | Ask (send it, the stream goes on) | Cut (end the stream)
    settle(), once, however it ended

and of the connection: hello() / welcomed() when it is there, report() / acknowledged() every few seconds, recalled()
when asked for money back, lost_contact() when it breaks; restart() when told that the session is closed. Asks without
an answer are in `unanswered_asks`: send them again, with their ids, over the next connection, until patience runs out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dataplane.core.money.accounts import Account, Accounts
from dataplane.core.money.contact import Contact
from dataplane.core.money.messages import (
    AccountRef,
    Ask,
    AskItem,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Granted,
    Hello,
    Report,
    ReportAck,
    Return,
    Welcome,
)
from dataplane.core.money.slices import (
    Cut,
    Denied,
    Hold,
    HoldRules,
    Pending,
    Reason,
    Slice,
    denial,
    fullest,
    grown,
    spend_in_outage,
    unbalanced,
)

__all__ = ["Cut", "Denied", "Hold", "HoldRules", "LeaseBook", "Reason"]

# Asked again when the money was taken by another request before the answer came.
REPEATS: Final = 3
# Slices of windows that ended so long ago are forgotten once they are empty.
FORGET_MS: Final = 7_200_000


class LeaseBook:
    """What one pod may spend without asking. `session` names its leases; another one is started by `restart`."""

    def __init__(self, session: str, now: int, rules: HoldRules | None = None) -> None:
        self.session = session
        self.rules = rules or HoldRules()
        self.contact = Contact(now)
        self.live: dict[tuple[str, int], Hold] = {}
        self.slices: dict[AccountRef, Slice] = {}
        self._pending: dict[int, tuple[Pending, Ask]] = {}
        self._last_ask = 0
        self._reported_at = now

    # ---- a request ---------------------------------------------------------------------------------------------

    def hold(
        self, request_id: str, attempt: int, accounts: Accounts, need: int, minimum: int, now: int
    ) -> Hold | Ask | Denied:
        """Set `need` aside on every account, or at least `minimum` where there is not more.

        `need`: input at its upper bound and the output to be expected; `minimum`: the input. Warn budgets are charged
        like the others and never stand in the way. With an `Ask`, the answer decides.
        """
        slices = tuple([self._slice(account, now) for account in accounts])
        hold = Hold(self.session, request_id, attempt, slices)
        fenced = self.contact.fenced(now)
        for slice in slices:
            slice.last_used = now
            slice.last_need = need
            if (slice.free < need or fenced) and slice.account.blocks:
                return self._ask_or_refuse(hold, need, minimum, now)
        return self._take(hold, need, now)

    def accrue(self, hold: Hold, accrued: int, now: int) -> Ask | Cut | None:
        """What the attempt has cost so far. Extends the hold ahead of need: from the leases, else by asking."""
        hold.accrued = accrued
        charged = hold.charged
        if accrued <= max(charged * 6 // 10, charged - self.rules.ahead_nano):
            return None
        if hold.asking or hold.ended or hold.cut:
            return None
        missing = max(0, accrued - charged)
        step = missing + max(self.rules.step_nano, charged // 2)
        if self._grow(hold, step, now):
            return None
        if now < hold.retry_at:
            return self._cut(hold, _tightest(hold), Reason.EXHAUSTED) if missing else None
        pending = Pending(hold, AskKind.EXTEND, step, missing + 1, 0)
        if self.contact.given_up(now, self.rules.patience_ms):
            return self._extend_in_outage(pending, now)
        return self._ask(pending, now)

    def settle(self, hold: Hold, actual: int, now: int) -> None:
        """The attempt has ended and cost `actual` (0 when the provider was never reached). Again: nothing."""
        if hold.ended:
            return
        hold.ended = True
        self.live.pop((hold.request_id, hold.attempt), None)
        charged = hold.charged
        left = charged - actual
        # What an ended session's leases were spent on is settled there; here it was only covered.
        freed, consumed = (left, actual) if hold.session == self.session else (charged, 0)
        for slice in hold.slices:
            slice.live -= charged
            slice.free += freed
            slice.consumed += consumed
            slice.spent -= left
            slice.last_used = now
            slice.unsaid = True

    def surplus(self, hold: Hold) -> tuple[Return, ...]:
        """What an ended request leaves behind where nothing else runs, given back at once if it is more than others
        have left to ask for: reports tell of it seconds later, and somebody is refused meanwhile."""
        given: list[Return] = []
        for slice in hold.slices:
            busy = slice.live > 0 or slice.parked > 0
            if slice.account.blocks and not busy and slice.free > max(0, slice.state.left):
                slice.give_back(slice.free)
                given.append(Return(slice.account.ref, slice.returned))
        return tuple(given)

    # ---- answers -----------------------------------------------------------------------------------------------

    def granted(self, grant: Grant, now: int) -> Hold | Ask | Denied | Cut | None:
        """The hold that now may go on (for an extension: the one that grew). None: nobody waits for it any more.

        An `Ask` (send it) when the money was gone to another request before this came.
        """
        self._learn(grant.items)
        found = self._pending.pop(grant.ask_id, None)
        if found is None:
            return None
        pending, _ = found
        hold = pending.hold
        pending.unpark()
        if hold.ended:
            return None
        blocking = [slice.free for slice in hold.slices if slice.account.blocks]
        there = min(pending.need, *blocking) if blocking else pending.need
        if there >= pending.minimum or (pending.kind is AskKind.EXTEND and there > 0):
            hold.asking = 0
            self._take(hold, there, now)
            if pending.kind is AskKind.ADMIT:
                return hold
            return self.accrue(hold, hold.accrued, now) or hold  # it went on while it waited
        if pending.repeats < REPEATS:
            again = Pending(hold, pending.kind, pending.need, pending.minimum, pending.repeats + 1)
            return self._ask(again, now)
        return self._refused(pending, _tightest(hold), Reason.EXHAUSTED, now)

    def denied(self, deny: Deny, now: int) -> Hold | Denied | Cut | None:
        """An admission is refused, from memory too for a second; an extension cuts once the hold is used up.

        CLOSED changes nothing here: `restart` asks anew. Where the account is unknown, its outage rule decides.
        """
        if deny.reason is DenyReason.CLOSED:
            return None
        if deny.reason is DenyReason.UNKNOWN:
            return self.unanswered(deny.ask_id, now)
        found = self._pending.pop(deny.ask_id, None)
        slice = self.slices.get(deny.account)
        if slice is not None:
            slice.state = deny.state
        if found is None:
            return None
        pending, ask = found
        pending.unpark()
        named = slice if slice is not None else pending.hold.slices[0]
        for item in ask.items:
            if slice is not None and item.account == deny.account and pending.kind is AskKind.ADMIT:
                slice.remember_refusal(item.minimum_nano, now + self.rules.refusal_ms)
        return self._refused(pending, named, Reason.EXHAUSTED, now)

    def unanswered(self, ask_id: int, now: int) -> Hold | Denied | Cut | None:
        """Patience has run out, or the control plane cannot say: each account's outage rule decides."""
        found = self._pending.pop(ask_id, None)
        if found is None:
            return None
        pending, _ = found
        pending.unpark()
        if pending.hold.ended:
            return None
        if pending.kind is AskKind.EXTEND:
            return self._extend_in_outage(pending, now) or pending.hold
        return self._admit_in_outage(pending, now)

    def abandon(self, ask_id: int) -> None:
        """Nobody waits for the answer any more: the client has left."""
        found = self._pending.pop(ask_id, None)
        if found is not None:
            found[0].unpark()
            found[0].hold.asking = 0

    @property
    def unanswered_asks(self) -> tuple[Ask, ...]:
        return tuple(ask for _, ask in self._pending.values())

    # ---- the connection ----------------------------------------------------------------------------------------

    def hello(self, now: int) -> Hello:
        self.contact.greets(now)
        for hold in self.live.values():
            hold.reported = 0  # whoever listens now may not have heard it
        return Hello(self.session, tuple(slice.said(0) for slice in self.slices.values()))

    def welcomed(self, welcome: Welcome, now: int) -> bool:
        """False: the session is closed; `restart` with another name and say hello again."""
        if welcome.closed:
            self.contact.back(welcome.pods)
            return False
        self.contact.welcomed(welcome.ttl_ms, welcome.pods)
        for item in welcome.accounts:
            slice = self.slices.get(item.account)
            if slice is not None:  # also downwards: a database that was restored knows less
                slice.free += item.granted_cum - slice.granted
                slice.granted = item.granted_cum
                slice.state = item.state
        return True

    def restart(self, session: str, now: int) -> None:
        """The old leases are void. What runs goes on, and the next grants have to cover it."""
        self.session = session
        self.contact.start_anew(now)
        for pending, _ in self._pending.values():
            pending.unpark()
        for slice in self.slices.values():
            slice.granted = slice.consumed = slice.returned = 0
            slice.free = -slice.live
            slice.unsaid = True
        waiting = [pending for pending, _ in self._pending.values()]
        self._pending.clear()
        for pending in waiting:
            if not pending.hold.charged:
                pending.hold.session = session
            self._ask(pending, now)

    def lost_contact(self, now: int) -> None:
        self.contact.lost(now)

    def report(self, now: int, at_ms: int) -> Report:
        """Every few seconds. Gives back what idles, says what would be welcome. `at_ms`: the control plane's clock."""
        seq = self.contact.reports(now)
        elapsed, self._reported_at = max(1, now - self._reported_at), now
        said = []
        for ref, slice in list(self.slices.items()):
            ends = slice.account.window.ends_ms
            if ends and at_ms > ends + FORGET_MS and not (slice.free or slice.live or slice.parked or slice.unsaid):
                del self.slices[ref]
                continue
            slice.measure(elapsed)
            active = now - slice.last_used <= self.rules.idle_ms and not (ends and at_ms >= ends)
            slice.give_back_idle(self.rules, active)
            if active or slice.unsaid or slice.live:
                said.append(slice.said(slice.want(self.rules, now) if active else 0))
        return Report(seq, tuple(said), grown(self.live.values()))

    def acknowledged(self, ack: ReportAck, now: int) -> None:
        self.contact.acknowledged(ack.seq, ack.pods)
        self._learn(ack.accounts)
        for item in ack.accounts:
            slice = self.slices.get(item.account)
            if slice is not None:
                slice.unsaid = False

    def recalled(self, accounts: Iterable[AccountRef], now: int) -> tuple[Return, ...]:
        """What idles of these is given back at once; an answer for each, also where nothing does."""
        given = []
        for ref in accounts:
            slice = self.slices.get(ref)
            if slice is not None:
                slice.quiet_until = now + self.rules.recalled_ms
                slice.give_back(max(0, slice.free))
                given.append(Return(ref, slice.returned))
        return tuple(given)

    def drained(self) -> tuple[Return, ...]:
        """The pod is shutting down and nothing runs: everything back."""
        for slice in self.slices.values():
            slice.give_back(max(0, slice.free))
        return tuple(Return(ref, slice.returned) for ref, slice in self.slices.items())

    # ---- what is known -----------------------------------------------------------------------------------------

    def slice_of(self, ref: AccountRef) -> Slice | None:
        return self.slices.get(ref)

    def warning(self, hold: Hold) -> tuple[Account, int] | None:
        """Of its accounts the one that is fullest, if it has passed the first of its thresholds, and its per cent."""
        return fullest(hold.slices)

    def problems(self) -> list[str]:
        """What must never be: I3 (every cent of a lease is somewhere) and I5 (nothing runs on more than it holds)."""
        return list(unbalanced(self.slices.values(), self.live.values()))

    # ---- inside ------------------------------------------------------------------------------------------------

    def _slice(self, account: Account, now: int) -> Slice:
        slice = self.slices.get(account.ref)
        if slice is None:
            slice = self.slices[account.ref] = Slice(account, now)
        slice.account = account
        return slice

    def _take(self, hold: Hold, amount: int, now: int) -> Hold:
        """From every account's free money: debts where the caller has decided so."""
        for slice in hold.slices:
            slice.free -= amount
            slice.live += amount
            slice.spent += amount
            slice.last_used = now
            slice.unsaid = True
        hold.charged += amount
        if not hold.reported:
            hold.reported = hold.charged
        self.live[hold.request_id, hold.attempt] = hold
        return hold

    def _ask_or_refuse(self, hold: Hold, need: int, minimum: int, now: int) -> Hold | Ask | Denied:
        fenced = self.contact.fenced(now)
        for slice in hold.slices:
            usable = min(slice.free, 0) if fenced else slice.free
            if usable < need and slice.account.blocks and slice.repeats_refusal(minimum - usable, now):
                return denial(slice, Reason.EXHAUSTED, remembered=True)
        pending = Pending(hold, AskKind.ADMIT, need, minimum, 0)
        if self.contact.given_up(now, self.rules.patience_ms):
            return self._admit_in_outage(pending, now)
        return self._ask(pending, now)

    def _ask(self, pending: Pending, now: int) -> Ask:
        self._last_ask += 1
        pending.park(self.contact.fenced(now))
        items = []
        for slice, part in zip(pending.hold.slices, pending.parts, strict=True):
            if slice.account.blocks and (part < pending.need or slice.free < pending.need):
                need, minimum = pending.need - part, pending.minimum - part
                items.append(AskItem(slice.account.ref, need, minimum, slice.want(self.rules, now)))
        hold = pending.hold
        ask = Ask(self._last_ask, pending.kind, hold.request_id, hold.attempt, tuple(items))
        hold.asking = ask.ask_id
        self._pending[ask.ask_id] = pending, ask
        return ask

    def _grow(self, hold: Hold, step: int, now: int) -> bool:
        fenced = self.contact.fenced(now)
        for slice in hold.slices:
            if (slice.free < step or fenced) and slice.account.blocks:
                return False
        self._take(hold, step, now)
        return True

    def _refused(self, pending: Pending, slice: Slice, reason: Reason, now: int) -> Denied | Cut | None:
        hold = pending.hold
        hold.asking = 0
        if pending.kind is AskKind.ADMIT:
            return None if hold.ended else denial(slice, reason)
        hold.retry_at = now + self.rules.refusal_ms
        return None if hold.ended or hold.accrued < hold.charged else self._cut(hold, slice, reason)

    def _cut(self, hold: Hold, slice: Slice, reason: Reason) -> Cut:
        hold.cut = True
        return Cut(hold, slice.account, reason, slice.state, slice.account.window.ends_ms)

    def _admit_in_outage(self, pending: Pending, now: int) -> Hold | Denied:
        pending.hold.asking = 0
        for amount in (pending.need, pending.minimum):
            refusing = self._spend_in_outage(pending.hold, amount, now)
            if refusing is None:
                return self._take(pending.hold, amount, now)
        return denial(refusing or pending.hold.slices[0], Reason.UNREACHABLE)

    def _extend_in_outage(self, pending: Pending, now: int) -> Cut | None:
        hold = pending.hold
        step = max(pending.need, hold.accrued - hold.charged + self.rules.step_nano)  # it went on while it waited
        refusing = self._spend_in_outage(hold, step, now)
        if refusing is not None:
            outcome = self._refused(pending, refusing, Reason.UNREACHABLE, now)
            return outcome if isinstance(outcome, Cut) else None
        hold.asking = 0
        self._take(hold, step, now)
        return None

    def _spend_in_outage(self, hold: Hold, amount: int, now: int) -> Slice | None:
        return spend_in_outage(hold, amount, self.contact.fenced(now), self.rules.outage_percent, self.contact.pods)

    def _learn(self, items: Iterable[Granted]) -> None:
        for item in items:
            slice = self.slices.get(item.account)
            if slice is not None:
                slice.learn(item.granted_cum, item.state)


def _tightest(hold: Hold) -> Slice:
    return min((slice for slice in hold.slices if slice.account.blocks), key=lambda slice: slice.free)
