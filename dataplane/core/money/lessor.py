"""`Lessor`: what the control plane decides about leases, on rows handed to it. Pure: the shell loads the rows that a
batch of messages is about (accounts locked in the order of their keys), asks, writes what `changed`, commits, and only
then answers.

`now` is in Unix milliseconds. In: `hello`, `ask`, `report`, `returned`, `charge`; from time to time `overdue`, then
`expire` and `close`. Two truths keep it right whatever is lost, repeated or reordered: counters of a session only grow,
and `held` of an account is the sum of what its leases hold, so that every change of a lease says how `held` changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dataplane.core.money.amounts import MOST_NANO, saturated
from dataplane.core.money.lease_rows import (
    AccountRow,
    Changed,
    LeaseRow,
    LessorRules,
    Recalls,
    SessionRow,
    SessionState,
)
from dataplane.core.money.leases import Leases
from dataplane.core.money.messages import (
    AccountRef,
    AccountReport,
    AccountState,
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

__all__ = ["AccountRow", "Changed", "LeaseRow", "Lessor", "LessorRules", "Recalls", "SessionRow", "SessionState"]


class Lessor:
    """One unit of work, or (in a simulation) all there is. Load, for the accounts in question, every lease of a session
    that is not closed: who else draws on an account decides how much one may have.

    `replies`: by (session, ask id); the shell stores new ones with the rows, and loads those that a batch may repeat.
    `pods`: alive, as the shell counts them; an outage allowance is split over them.
    """

    def __init__(
        self,
        accounts: Iterable[AccountRow] = (),
        leases: Iterable[LeaseRow] = (),
        sessions: Iterable[SessionRow] = (),
        rules: LessorRules | None = None,
    ) -> None:
        self.rules = rules or LessorRules()
        self.accounts: dict[AccountRef, AccountRow] = {}
        # Lease sessions, by id.
        self.sessions: dict[str, SessionRow] = {}
        self.leases = Leases(self.sessions)
        # By lease session and ask: an ask that comes again gets the same reply.
        self.replies: dict[tuple[str, int], Grant | Deny] = {}
        self.pods = 1
        # Rows to be written, by identity.
        self._touched: dict[int, AccountRow | LeaseRow | SessionRow] = {}
        self.load(accounts, leases, sessions)

    def load(
        self,
        accounts: Iterable[AccountRow] = (),
        leases: Iterable[LeaseRow] = (),
        sessions: Iterable[SessionRow] = (),
    ) -> None:
        """More rows, as they are stored."""
        self.accounts.update({row.ref: row for row in accounts})
        self.sessions.update({row.id: row for row in sessions})
        for lease in leases:
            self.leases.setdefault(lease.ref, {})[lease.session] = lease
        self.leases.forget_sums()

    def changed(self) -> Changed:
        """What has to be written since this was asked last."""
        rows = Changed()
        for row in self._touched.values():
            match row:
                case AccountRow():
                    rows.accounts.append(row)
                case LeaseRow():
                    rows.leases.append(row)
                case SessionRow():
                    rows.sessions.append(row)
        self._touched.clear()
        return rows

    # ---- messages of a pod -------------------------------------------------------------------------------------

    def hello(self, hello: Hello, now: int) -> Welcome:
        """A new session, or one that is back; what it says of its accounts counts as a report."""
        session = self.sessions.get(hello.session_id)
        if session is None:
            session = self.sessions[hello.session_id] = SessionRow(hello.session_id, 0)
        closed = session.state is SessionState.CLOSED
        leases: tuple[Granted, ...] = ()
        if not closed:
            if session.expires_ms:
                session.alone_ms = now  # its call was broken
            self._renew(session, now)
            for item in hello.accounts:
                self._note(session.id, item, now)
            refs = [item.account for item in hello.accounts if item.account in self.accounts]
            leases = tuple(self._granted(session.id, ref, 0) for ref in refs)
        return Welcome(self.rules.ttl_ms, self.rules.report_ms, closed, leases, self.pods)

    def ask(self, session_id: str, ask: Ask, now: int, recalls: int = 0) -> Grant | Deny | Recalls:
        """All items or none. `recalls`: how often the shell has come back after `Recalls`."""
        earlier = self.replies.get((session_id, ask.ask_id))
        if earlier is not None:
            return earlier
        reply = self._decide(session_id, ask, now, recalls)
        if not isinstance(reply, Recalls):
            self.replies[session_id, ask.ask_id] = reply
        return reply

    def report(self, session_id: str, report: Report, now: int) -> ReportAck | None:
        """Renews the session and tops up what is in use, while there is plenty. None: the session is closed."""
        session = self.sessions.get(session_id)
        if session is None or session.state is SessionState.CLOSED:
            return None
        self._renew(session, now)
        items = [item for item in report.accounts if item.account in self.accounts]
        for item in items:
            self._note(session_id, item, now)
        accounts = tuple(self._granted(session_id, item.account, self._top_up(session_id, item, now)) for item in items)
        return ReportAck(report.seq, accounts, self.pods)

    def returned(self, session_id: str, message: Return) -> None:
        """The answer to a recall, or given back unasked: nothing idles there any more."""
        lease = self.leases.get(message.account, {}).get(session_id)
        if lease is not None:
            self._move(lease, returned=max(0, message.returned_cum - lease.returned), free=0)

    # ---- what requests have cost -------------------------------------------------------------------------------

    def charge(self, session_id: str, refs: Iterable[AccountRef], amount: int) -> None:
        """Book one Charge on each account. The shell sees to it that each comes once; corrections are differences.

        `session_id`: whose leases it was held on (UsageRecord.hold_session); "" or an unknown one for nobody's.
        """
        for ref in refs:
            account = self.accounts.get(ref)
            if account is None:
                continue
            account.settled = saturated(account.settled + amount)
            if session_id in self.sessions:
                self._move(lease := self.leases.of(session_id, ref), consumed=amount)
                # Nobody asks on a budget that only warns: what it was charged counts as granted, so that no debt is
                # left for the day on which it blocks.
                if not account.blocks and lease.balance < 0:
                    self._move(lease, granted=-lease.balance)
            self._rebalanced(account)

    # ---- lease sessions that nothing comes from --------------------------------------------------------------------

    def overdue(self, now: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Sessions to `expire` and sessions to `close`."""
        rules = self.rules
        to_expire = [row.id for row in self.sessions.values() if row.state is SessionState.OPEN]
        to_close = [row.id for row in self.sessions.values() if row.state is SessionState.EXPIRED]
        return (
            tuple(id for id in to_expire if self.sessions[id].expires_ms + rules.grace_ms <= now),
            tuple(id for id in to_close if self.sessions[id].expires_ms + rules.grace_ms + rules.suspense_ms <= now),
        )

    def expire(self, session_id: str) -> None:
        """Its pod spends nothing any more by itself. Charge what its unfinished requests are known to have reserved
        (`charge`, as estimates); the rest stays held until `close`, or until the pod is back."""
        session = self.sessions[session_id]
        if session.state is SessionState.OPEN:
            session.state = SessionState.EXPIRED
            self._touch(session)

    def close(self, session_id: str) -> None:
        """Nothing is held for it any more. What still comes of it is settled without a lease."""
        session = self.sessions[session_id]
        leases = [leases[session_id] for leases in self.leases.values() if session_id in leases]
        before = {lease.ref: self.leases.holds(lease) for lease in leases}
        session.state = SessionState.CLOSED
        self.leases.forget_sums()
        self._touch(session)
        for ref, held in before.items():
            if (account := self.accounts.get(ref)) is not None:
                account.held -= held
                self._rebalanced(account)

    def set_limit(self, ref: AccountRef, limit: int, overdraft_limit: int, blocks: bool, epoch: int = 0) -> None:
        """As the budget says now. What is settled and held already stays, as `excess` where the limit is lower; what
        of it idles comes back from pods as soon as they hear of the epoch."""
        account = self.accounts[ref]
        account.epoch = epoch
        if (account.limit, account.overdraft_limit, account.blocks) != (limit, overdraft_limit, blocks):
            account.limit, account.overdraft_limit, account.blocks = limit, overdraft_limit, blocks
            self._rebalanced(account)

    def state(self, ref: AccountRef) -> AccountState:
        account = self.accounts[ref]
        idle = self.leases.idle(ref)
        return AccountState(account.limit, account.settled, account.held, min(idle, account.held))

    def problems(self) -> Iterator[str]:
        """I1 and I2, for accounts all of whose leases are loaded."""
        for account in self.accounts.values():
            held = sum(map(self.leases.holds, self.leases.get(account.ref, {}).values()))
            if account.held != held:
                yield f"{account.ref}: held {account.held}, its leases {held}"
            if account.settled + account.held > account.limit + account.overdraft_used + account.excess:
                yield f"{account.ref}: settled {account.settled} and held {account.held} of {account.limit}"
            if not 0 <= account.overdraft_used <= account.overdraft_limit:
                yield f"{account.ref}: overdraft {account.overdraft_used} of {account.overdraft_limit}"

    # ---- inside ------------------------------------------------------------------------------------------------

    def _decide(self, session_id: str, ask: Ask, now: int, recalls: int) -> Grant | Deny | Recalls:
        session = self.sessions.get(session_id)
        # The session was ended: its pod has to start another one first.
        if session is None or session.state is SessionState.CLOSED:
            return Deny(ask.ask_id, DenyReason.CLOSED, ask.items[0].account, AccountState(), 0)
        # The budget went away, or the pod's clock is off: the pod decides by its outage rule.
        for item in ask.items:
            if item.account not in self.accounts:
                return Deny(ask.ask_id, DenyReason.UNKNOWN, item.account, AccountState(), 0)
        # A pod that asks is alive, whatever became of its reports.
        if now >= session.expires_ms:
            self._renew(session, now)
        lacking = {
            item.account: item.need_nano - self._available(item.account, session_id)
            for item in ask.items
            if item.need_nano
        }
        short = [ref for ref, amount in lacking.items() if amount > 0]
        overdraft = ask.kind is AskKind.EXTEND
        # Too little is left, and other pods may have money lying idle: they are asked to give it back first.
        if short and recalls < (self.rules.recalls_running if overdraft else self.rules.recalls):
            elsewhere = self._idle_elsewhere(session_id, short, now)
            if elsewhere is None and not (recalls or overdraft) and self._held_elsewhere(session_id, short):
                elsewhere = {}  # what a request has just left there may be on its way back
            if elsewhere is not None:
                return Recalls(elsewhere, tuple(short))
        over = {
            ref: amount - (self.accounts[ref].overdraft_limit if overdraft else 0) for ref, amount in lacking.items()
        }
        less = max(0, max(over.values(), default=0))
        # Not even the minimum is left, with the overdraft where that may be used: refused.
        if less and any(item.need_nano - less < item.minimum_nano for item in ask.items if item.need_nano):
            tightest = max(over, key=lambda ref: over[ref])
            account = self.accounts[tightest]
            return Deny(ask.ask_id, DenyReason.EXHAUSTED, tightest, self.state(tightest), account.resets_at_ms)
        # There is enough, or enough to start with; and more than that where there is plenty.
        amounts = []
        for item in ask.items:
            amounts.append(max(0, item.need_nano - less) + (0 if short else self._extra(session_id, item, now)))
            lease = self.leases.of(session_id, item.account)
            self.leases.use(lease, now)
            self._move(lease, granted=amounts[-1])
        granted = zip(ask.items, amounts, strict=True)
        return Grant(ask.ask_id, tuple(self._granted(session_id, item.account, amount) for item, amount in granted))

    def _available(self, ref: AccountRef, session_id: str) -> int:
        """To one session: its own debt is a part of what it asks for."""
        account = self.accounts[ref]
        room = MOST_NANO - account.held
        if not account.blocks:
            return room
        return min(account.limit - account.settled - account.held - self.leases.owed(ref, session_id), room)

    def _extra(self, session_id: str, item: AskItem, now: int) -> int:
        """Beyond the need: a share of what is left, while that is plenty."""
        left = self._available(item.account, session_id) - item.need_nano
        pods = self.leases.pods_on(item.account, session_id, now, self.rules.active_ms)
        if left <= self.rules.plenty * item.need_nano * pods:
            return 0
        return min(item.want_nano, left // (self.rules.share * pods))

    def _top_up(self, session_id: str, item: AccountReport, now: int) -> int:
        """What a report gets: nothing where that is less than a quarter of what is wanted; requests ask instead."""
        if item.want_nano <= 0:
            return 0
        left = max(0, self._available(item.account, session_id))
        amount = min(
            item.want_nano,
            left // (self.rules.share * self.leases.pods_on(item.account, session_id, now, self.rules.active_ms)),
        )
        if amount * 4 < item.want_nano:
            return 0
        self._move(self.leases.of(session_id, item.account), granted=amount)
        return amount

    def _idle_elsewhere(
        self, session_id: str, refs: Iterable[AccountRef], now: int
    ) -> Mapping[str, tuple[AccountRef, ...]] | None:
        """What other pods are known to have lying idle and were not asked for since. None: nothing, or they do not
        answer. What a request leaves where nothing else runs comes back by itself."""
        idle: dict[str, tuple[AccountRef, ...]] = {}
        waiting = False
        for ref in refs:
            for lease in self.leases.get(ref, {}).values():
                session = self.sessions.get(lease.session)
                if lease.session == session_id or lease.free <= 0 or session is None or now >= session.expires_ms:
                    continue
                # Not asked for lately: now it is.
                if now - lease.recalled_ms >= self.rules.recall_again_ms:
                    lease.recalled_ms = now
                    self._touch(lease)
                    idle[lease.session] = (*idle.get(lease.session, ()), ref)
                # Asked for a moment ago: the answer may still come. Any later, and the pod is left alone.
                elif now - lease.recalled_ms < self.rules.answer_ms:
                    waiting = True
        return idle if idle or waiting else None

    def _held_elsewhere(self, session_id: str, refs: Iterable[AccountRef]) -> bool:
        leases = (lease for ref in refs for lease in self.leases.get(ref, {}).values())
        return any(self.leases.holds(lease) > 0 for lease in leases if lease.session != session_id)

    def _note(self, session_id: str, item: AccountReport, now: int) -> None:
        if item.account not in self.accounts:
            return
        lease = self.leases.of(session_id, item.account)
        if item.live_nano or item.want_nano:
            self.leases.use(lease, now)
        returned = max(0, item.returned_cum - lease.returned)
        self._move(lease, returned=returned, free=item.free_nano, live=item.live_nano)

    def _move(
        self,
        lease: LeaseRow,
        granted: int = 0,
        consumed: int = 0,
        returned: int = 0,
        free: int | None = None,
        live: int | None = None,
    ) -> None:
        """The one place where a lease changes what it holds, and what of it idles and runs."""
        before = self.leases.figures(lease)
        lease.granted = saturated(lease.granted + granted)
        lease.consumed = saturated(lease.consumed + consumed)
        lease.returned = saturated(lease.returned + returned)
        # A grant covers what was owed before it is free: so the pod will report it.
        lease.free = min(max(lease.free, 0), lease.free + granted) if free is None else saturated(free)
        lease.live = lease.live if live is None else saturated(live)
        self._touch(lease)
        more = self.leases.changed(lease, before)
        account = self.accounts.get(lease.ref)
        if account is not None:
            account.held += more
            self._rebalanced(account)

    def _granted(self, session_id: str, ref: AccountRef, amount: int) -> Granted:
        granted = self.leases.of(session_id, ref).granted
        return Granted(ref, granted, amount, self.state(ref), self.accounts[ref].epoch)

    def left_alone(self, session_id: str, now: int) -> None:
        """Its pod was not answered, and had to go by the budgets' outage rules."""
        if (session := self.sessions.get(session_id)) is not None:
            session.alone_ms = now
            self._touch(session)

    def _renew(self, session: SessionRow, now: int) -> None:
        session.state = SessionState.OPEN
        if 0 < session.expires_ms <= now + self.rules.ttl_ms - self.rules.silent_ms:
            session.alone_ms = now
        session.expires_ms = max(session.expires_ms, now + self.rules.ttl_ms)
        self._touch(session)

    def _rebalanced(self, account: AccountRow) -> None:
        account.rebalance()
        self._touch(account)

    def _touch(self, row: AccountRow | LeaseRow | SessionRow) -> None:
        self._touched[id(row)] = row
