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
from dataplane.core.money.asks import Asks, Pending
from dataplane.core.money.contact import Contact
from dataplane.core.money.holds import (
    Cut,
    Denied,
    Hold,
    Reason,
    denial,
    fullest,
    grown,
    spend_in_outage,
    tightest,
    unbalanced,
)
from dataplane.core.money.messages import (
    AccountRef,
    Ask,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Hello,
    Report,
    ReportAck,
    Return,
    Welcome,
)
from dataplane.core.money.slices import HoldRules, Slice, Slices

__all__ = ["Cut", "Denied", "Hold", "HoldRules", "LeaseBook", "Reason"]

# Asked again when the money was taken by another request before the answer came.
REPEATS: Final = 3


class LeaseBook:
    """What one pod may spend without asking. `session` names its leases; another one is started by `restart`."""

    def __init__(self, session: str, now: int, rules: HoldRules | None = None) -> None:
        self.session = session
        self.rules = rules or HoldRules()
        # Whether the control plane can be reached, and until when its leases may be spent.
        self.contact = Contact(now)
        # The holds of running attempts, by request and attempt.
        self.live: dict[tuple[str, int], Hold] = {}
        # The leases, by account.
        self.slices = Slices()
        # What was asked and has no answer yet.
        self._asks = Asks()
        # When the last report was made.
        self._reported_at = now

    # ---- a request ---------------------------------------------------------------------------------------------

    def hold(
        self, request_id: str, attempt: int, accounts: Accounts, need: int, minimum: int, now: int
    ) -> Hold | Ask | Denied:
        """Set `need` aside on every account, or at least `minimum` where there is not more.

        `need`: input at its upper bound and the output to be expected; `minimum`: the input. Warn budgets are charged
        like the others and never stand in the way. With an `Ask`, the answer decides.
        """
        slices = tuple([self.slices.of(account, now) for account in accounts])
        hold = Hold(self.session, request_id, attempt, slices, accounts)
        fenced = self.contact.fenced(now)
        for part in slices:
            part.last_used = now
            part.last_need = need
            if (part.free < need or fenced) and part.account.blocks:
                return self._ask_or_refuse(hold, need, minimum, now)
        return self._take(hold, need, now)

    def accrue(self, hold: Hold, accrued: int, now: int) -> Ask | Cut | None:
        """What the attempt has cost so far. Extends the hold ahead of need: from the leases, else by asking."""
        hold.accrued = accrued
        charged = hold.charged
        # Enough is left: nearly every call ends here.
        if accrued <= max(charged * 6 // 10, charged - self.rules.ahead_nano):
            return None
        # Its answer is on the way, or nothing is waited for any more.
        if hold.asking or hold.ended or hold.cut:
            return None
        hold.look(now)
        missing = max(0, accrued - charged)
        step = missing + max(self.rules.step_nano, charged // 2)
        # The leases have it: no message at all.
        if self._grow(hold, step, now):
            return None
        # Refused a moment ago: what is held may be used up, no more.
        if now < hold.retry_at:
            return self._cut(hold, tightest(hold), Reason.EXHAUSTED) if missing else None
        pending = Pending(hold, AskKind.EXTEND, step, missing + 1, 0)
        # Contact has been lost for long: the outage rules decide at once, nobody would answer.
        if self.contact.given_up(now, self.rules.patience_ms):
            return self._extend_in_outage(pending, now, self._no_answer)
        return self._ask(pending, now)

    def settle(self, hold: Hold, actual: int, now: int) -> None:
        """The attempt has ended and cost `actual` (0 when the provider was never reached). Again: nothing."""
        if hold.ended:
            return
        self.live.pop((hold.request_id, hold.attempt), None)
        hold.end(actual, self.session, now)

    def surplus(self, hold: Hold) -> tuple[Return, ...]:
        """What an ended request leaves behind where nothing else runs, given back at once if it is more than others
        have left to ask for: reports tell of it seconds later, and somebody is refused meanwhile."""
        returns: list[Return] = []
        for part in hold.slices:
            busy = part.live > 0 or part.parked > 0
            left = part.account.blocks and not busy and part.free > max(0, part.state.left)
            if left:
                part.give_back(part.free)
            if left or part.withdrawn:
                returns.append(part.notice())
        return tuple(returns)

    def withdrawn(self, ask: Ask) -> tuple[Return, ...]:
        """What went back of the accounts of its hold as their epoch has ended: said before it is asked, since the
        control plane decides by what it believes to be held."""
        hold = self._asks.hold_of(ask.ask_id)
        return tuple([part.notice() for part in hold.slices if part.withdrawn]) if hold is not None else ()

    # ---- answers -----------------------------------------------------------------------------------------------

    def granted(self, grant: Grant, now: int) -> Hold | Ask | Denied | Cut | None:
        """The hold that now may go on (for an extension: the one that grew). None: nobody waits for it any more.

        An `Ask` (send it) when the money was gone to another request before this came.
        """
        self.slices.credit(grant.items, now)
        entry = self._asks.take(grant.ask_id)
        return None if entry is None else self._resumed(entry[0], now)

    def _resumed(self, pending: Pending, now: int) -> Hold | Ask | Denied | Cut | None:
        hold = pending.hold
        if hold.ended:
            return None
        hold.look(now)
        there = min([pending.need, *[part.free for part in hold.binding()]])
        # Enough came; a running stream takes whatever there is.
        if there >= pending.minimum or (pending.kind is AskKind.EXTEND and there > 0):
            hold.asking = 0
            self._take(hold, there, now)
            if pending.kind is AskKind.ADMIT:
                return hold
            return self.accrue(hold, hold.accrued, now) or hold  # it went on while it waited
        # It went to another request first: once more, …
        if pending.repeats < REPEATS:
            again = Pending(hold, pending.kind, pending.need, pending.minimum, pending.repeats + 1)
            return self._ask(again, now)
        # … but not for ever.
        return self._refused(pending, tightest(hold), Reason.EXHAUSTED, now)

    def denied(self, deny: Deny, now: int) -> Hold | Ask | Denied | Cut | None:
        """An admission is refused, from memory too for a second; an extension cuts once the hold is used up. Neither,
        where the account that stands in the way does not bind it any more.

        CLOSED changes nothing here: `restart` asks anew. Where the account is unknown: see `_unknown`.
        """
        if deny.reason is DenyReason.CLOSED:
            return None
        if deny.reason is DenyReason.UNDECIDED:
            return self.unanswered(deny.ask_id, now, Reason.UNDECIDED)
        if deny.reason is DenyReason.UNKNOWN:
            return self._unknown(deny, now)
        entry = self._asks.take(deny.ask_id)
        part = self.slices.get(deny.account)
        if part is not None:
            part.state = deny.state
        if entry is None:
            return None
        pending, ask = entry
        obstacle = part if part is not None else pending.hold.slices[0]
        pending.hold.look(now)
        if not pending.hold.binds(obstacle):
            return self._resumed(pending, now)
        for item in ask.items:
            if part is not None and item.account == deny.account and pending.kind is AskKind.ADMIT:
                part.remember_refusal(item.minimum_nano, now + self.rules.refusal_ms)
        return self._refused(pending, obstacle, Reason.EXHAUSTED, now)

    def _unknown(self, deny: Deny, now: int) -> Hold | Ask | Denied | Cut | None:
        """The control plane has no such account. What it knew before is gone, and does not cut what runs; else this
        pod's clock may be off, and the account's outage rule decides."""
        hold = self._asks.hold_of(deny.ask_id)
        for part in hold.slices if hold is not None else ():
            familiar = part.granted > 0 or part.state.limit_nano > 0
            if hold is not None and part.account.ref == deny.account and hold.charged and familiar:
                hold.release(part)
                entry = self._asks.take(deny.ask_id)
                return None if entry is None else self._resumed(entry[0], now)
        return self.unanswered(deny.ask_id, now, Reason.UNKNOWN)

    def unanswered(self, ask_id: int, now: int, why: Reason | None = None) -> Hold | Denied | Cut | None:
        """Patience has run out, or (`why`) the control plane cannot say: each account's outage rule decides."""
        entry = self._asks.take(ask_id)
        if entry is None:
            return None
        pending, _ = entry
        if pending.hold.ended:
            return None
        pending.hold.look(now)
        if pending.kind is AskKind.EXTEND:
            return self._extend_in_outage(pending, now, why or self._no_answer) or pending.hold
        return self._admit_in_outage(pending, now, why or self._no_answer)

    def abandon(self, ask_id: int) -> None:
        """Nobody waits for the answer any more: the client has left."""
        entry = self._asks.take(ask_id)
        if entry is not None:
            pending, _ = entry
            pending.hold.asking = 0

    @property
    def unanswered_asks(self) -> tuple[Ask, ...]:
        return tuple(self._asks)

    # ---- the connection ----------------------------------------------------------------------------------------

    def hello(self, now: int) -> Hello:
        self.contact.greets(now)
        for hold in self.live.values():
            hold.reported = 0  # another fleet server may listen now
        return Hello(self.session, self.slices.introduce())

    def welcomed(self, welcome: Welcome, now: int) -> bool:
        """False: the session is closed; `restart` with another name and say hello again."""
        if welcome.closed:
            self.contact.back(welcome.pods)
            return False
        self.contact.welcomed(welcome.ttl_ms, welcome.pods)
        self.slices.adopt(welcome.accounts, now)
        self.slices.forget(welcome.gone)
        return True

    def restart(self, session: str, now: int) -> None:
        """The old leases are void. What runs goes on, and the next grants have to cover it."""
        self.session = session
        self.contact.start_anew(now)
        waiting = self._asks.take_all()
        self.slices.void()
        for pending in waiting:
            if not pending.hold.charged:
                pending.hold.session = session
            self._ask(pending, now)

    def configured(self, now: int) -> bool:
        """The configuration may be another one. True: running requests are under other rules now, and a report is due:
        what they hold beyond their leases is what the control plane has to know before it grants more to anybody."""
        changed = [hold for hold in self.live.values() if hold.look(now)]
        return bool(changed)

    def lost_contact(self, now: int) -> None:
        self.contact.lost(now)

    def report(self, now: int, at_ms: int) -> Report:
        """Every few seconds. Gives back what idles, says what would be welcome. `at_ms`: the control plane's clock."""
        self.configured(now)  # what is of an older epoch goes back with this report
        seq = self.contact.reports(now)
        elapsed, self._reported_at = max(1, now - self._reported_at), now
        reports = self.slices.report(self.rules, now, elapsed, at_ms)
        return Report(seq, reports, grown(self.live.values()))

    def acknowledged(self, ack: ReportAck, now: int) -> None:
        self.contact.acknowledged(ack.seq, ack.pods)
        self.slices.credit(ack.accounts, now)
        self.slices.acknowledge(ack.accounts)
        self.slices.forget(ack.gone)

    def recalled(self, accounts: Iterable[AccountRef], now: int) -> tuple[Return, ...]:
        """What idles of these is given back at once; an answer for each, also where nothing does."""
        return self.slices.give_back(accounts, quiet_until=now + self.rules.recalled_ms)

    def drained(self) -> tuple[Return, ...]:
        """The pod is shutting down and nothing runs: everything back."""
        return self.slices.drain()

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

    def _take(self, hold: Hold, amount: int, now: int) -> Hold:
        """From every account's free money: debts where the caller has decided so."""
        hold.take(amount, now)
        self.live[hold.request_id, hold.attempt] = hold
        return hold

    def _ask_or_refuse(self, hold: Hold, need: int, minimum: int, now: int) -> Hold | Ask | Denied:
        fenced = self.contact.fenced(now)
        # The same was refused a moment ago: nobody is asked again so soon.
        for part in hold.slices:
            usable = min(part.free, 0) if fenced else part.free
            if usable < need and part.account.blocks and part.repeats_refusal(minimum - usable, now):
                return denial(part, Reason.EXHAUSTED, remembered=True)
        pending = Pending(hold, AskKind.ADMIT, need, minimum, 0)
        # Contact has been lost for long: nobody would answer.
        if self.contact.given_up(now, self.rules.patience_ms):
            return self._admit_in_outage(pending, now, self._no_answer)
        return self._ask(pending, now)

    def _ask(self, pending: Pending, now: int) -> Ask:
        return self._asks.add(pending, self.contact.fenced(now), self.rules, now)

    def _grow(self, hold: Hold, step: int, now: int) -> bool:
        fenced = self.contact.fenced(now)
        for part in hold.slices:
            if (part.free < step or fenced) and hold.binds(part):
                return False
        self._take(hold, step, now)
        return True

    def _refused(self, pending: Pending, part: Slice, reason: Reason, now: int) -> Denied | Cut | None:
        hold = pending.hold
        hold.asking = 0
        if pending.kind is AskKind.ADMIT:
            return None if hold.ended else denial(part, reason)
        hold.retry_at = now + self.rules.refusal_ms
        return None if hold.ended or hold.accrued < hold.charged else self._cut(hold, part, reason)

    def _cut(self, hold: Hold, part: Slice, reason: Reason) -> Cut:
        hold.cut = True
        return Cut(hold, part.account, reason, part.state, part.account.window.ends_ms)

    @property
    def _no_answer(self) -> Reason:
        return Reason.UNANSWERED if self.contact.lost_at is None else Reason.UNREACHABLE

    def _admit_in_outage(self, pending: Pending, now: int, why: Reason) -> Hold | Denied:
        pending.hold.asking = 0
        # All that is needed, or at least the input.
        for amount in (pending.need, pending.minimum):
            refusing = self._spend_in_outage(pending.hold, amount, now)
            if refusing is None:
                return self._take(pending.hold, amount, now)
        return denial(refusing or pending.hold.slices[0], why)

    def _extend_in_outage(self, pending: Pending, now: int, why: Reason) -> Cut | None:
        hold = pending.hold
        step = max(pending.need, hold.accrued - hold.charged + self.rules.step_nano)  # it went on while it waited
        refusing = self._spend_in_outage(hold, step, now)
        if refusing is not None:
            outcome = self._refused(pending, refusing, why, now)
            return outcome if isinstance(outcome, Cut) else None
        hold.asking = 0
        self._take(hold, step, now)
        return None

    def _spend_in_outage(self, hold: Hold, amount: int, now: int) -> Slice | None:
        return spend_in_outage(hold, amount, self.contact.fenced(now), self.rules.outage_percent, self.contact.pods)
