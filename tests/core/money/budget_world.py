"""A small world around `LeaseBook` and `Lessor`: pods, one control plane, messages that a transport may lose, repeat or
reorder, usage records that arrive some time, and the oracle that says what must hold whatever happens.

The state machine drives it step by step, the simulator by the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from dataplane.core.money.accounts import Account, Accounts, account_at
from dataplane.core.money.lease_book import Cut, Denied, Hold, LeaseBook
from dataplane.core.money.lease_epochs import stricter
from dataplane.core.money.lessor import AccountRow, Lessor, LessorRules, Recalls, SessionState
from dataplane.core.money.messages import (
    AccountRef,
    AccountState,
    Ask,
    Deny,
    DenyReason,
    Grant,
    Hello,
    LiveHold,
    Recall,
    Report,
    ReportAck,
    Return,
    Welcome,
)
from dataplane.core.money.windows import WindowKind
from dataplane.core.rows import Budget, OnBreach, OutageRule, ScopeKind

EPOCH_MS = 1_800_000_000_000


def budget(id: str = "bud_1", **fields: Any) -> Budget:
    defaults: dict[str, Any] = {
        "organization_id": "org_1",
        "name": id,
        "scope_kind": ScopeKind.ORGANIZATION,
        "scope_id": "org_1",
        "scope_name": "Acme",
        "provider_id": "",
        "model_pattern": "",
        "window": WindowKind.TOTAL,
        "timezone": "UTC",
        "anchor": 0,
        "resets": 0,
        "limit_nano": 2_000_000_000,
        "overrides": (),
        "on_breach": OnBreach.BLOCK,
        "outage": OutageRule.STANDARD,
        "overdraft_nano": 0,
        "thresholds": (80, 100),
        "contact": "",
        "enabled": True,
        "revision": 1,
    }
    return Budget(id=id, **(defaults | fields))


class Transport(Protocol):
    """How messages travel. `connection` numbers a pod's connections: what was sent on a broken one never arrives."""

    def up(self, pod: Pod, connection: int, message: Any) -> None: ...
    def down(self, pod: Pod, connection: int, message: Any) -> None: ...
    def later(self, milliseconds: int, act: Callable[[], None]) -> None: ...


@dataclass(eq=False)
class Request:
    """One attempt: what its provider has really billed so far, and what has become of it."""

    id: str
    pod: Pod
    path: tuple[str, ...]  # the budgets that cover it
    member: str
    amounts: tuple[int, int]  # what it needs, and what will do
    accounts: tuple[Account, ...]
    hold: Hold | None = None
    ask_id: int = 0
    real: int = 0
    state: str = "waiting"  # running | refused | cut | done | dead
    reason: str = ""
    tag: Any = None

    @property
    def refs(self) -> tuple[AccountRef, ...]:
        return tuple(account.ref for account in self.accounts)


@dataclass(eq=False)
class Pod:
    name: str
    offset: int
    rate: int  # of its clock, in thousandths of the real one
    book: LeaseBook
    budgets: Mapping[str, Budget]  # as they are live here
    alive: bool = True
    connection: int = 0  # 0: none
    sessions: int = 1
    requests: dict[str, Request] = field(default_factory=dict)
    spool: list[Record] = field(default_factory=list)

    def clock(self, now: int) -> int:
        return self.offset + now * self.rate // 1000


@dataclass(frozen=True)
class Record:
    request: str
    session: str
    refs: tuple[AccountRef, ...]
    amount: int
    final: bool


@dataclass
class Booked:
    """What the control plane's tables say of one attempt."""

    session: str
    refs: tuple[AccountRef, ...]
    reserved: int
    state: str  # admitted | estimated | final
    charged: int = 0


class World:
    """`now` in milliseconds; the control plane's clock is EPOCH_MS + now. `on_change` hears what a request becomes."""

    def __init__(
        self,
        budgets: Iterable[Budget],
        pods: int,
        transport: Transport,
        rules: LessorRules | None = None,
        on_change: Callable[[Request], None] = lambda request: None,
        clocks: Callable[[int], tuple[int, int]] = lambda number: (1_000 * number, 1000),
    ) -> None:
        self.now = 0
        self.budgets = {budget.id: budget for budget in budgets}
        self.transport = transport
        self.lessor = Lessor(rules=rules)
        self.lessor.pods = pods
        self.usage: dict[str, Booked] = {}
        self.requests: dict[str, Request] = {}
        self.on_change = on_change
        self.clocks = clocks
        self.pods: list[Pod] = []
        self.asks = self.messages = 0
        self.allowed: dict[AccountRef, int] = {}  # beyond limit and overdraft: what the bound's other terms permit
        self.spent: dict[AccountRef, int] = {}  # by the providers' own count
        self.highest: dict[AccountRef, int] = {}  # limit and overdraft, or what was spent and held when they came
        self.edited: set[str] = set()  # budgets that are not live on every pod as they are now
        self.connections = 0
        for _ in range(pods):
            self.add_pod()

    # ---- pods --------------------------------------------------------------------------------------------------

    def add_pod(self) -> Pod:
        number = len(self.pods)
        offset, rate = self.clocks(number)
        name = f"pod_{number}"
        book = LeaseBook(f"{name}.1", offset + self.now * rate // 1000)
        pod = Pod(name, offset, rate, book, dict(self.budgets))
        self.pods.append(pod)
        return pod

    def connect(self, pod: Pod) -> None:
        self.connections += 1
        pod.connection = self.connections
        self._up(pod, pod.book.hello(pod.clock(self.now)))

    def disconnect(self, pod: Pod) -> None:
        pod.connection = 0
        pod.book.lost_contact(pod.clock(self.now))

    def crash(self, pod: Pod, *, disk: bool) -> None:
        """Its streams end where they are; what is in its spool is lost unless there is a disk."""
        pod.alive, pod.connection = False, 0
        self._live_everywhere()
        if not disk:
            pod.spool.clear()
        reported = {id for id, booked in self.usage.items() if booked.state != "final"}
        spooled = {record.request for record in pod.spool}
        for request in pod.requests.values():
            known = request.id in reported | spooled
            if request.state in ("running", "cut"):
                request.state = "dead"
                booked = self.usage.get(request.id)
                sure = booked.reserved if booked is not None else request.hold.reported if known else 0  # type: ignore[union-attr]
                self._allow(request, max(0, request.real - sure))
            elif request.state == "done" and request.id not in spooled and not self._final(request.id):
                booked = self.usage.get(request.id)
                self._allow(request, max(0, request.real - (booked.reserved if booked is not None else 0)))
        for ref, slice in pod.book.slices.items():
            self.allowed[ref] = self.allowed.get(ref, 0) + slice.outage_used

    def _final(self, id: str) -> bool:
        return id in self.usage and self.usage[id].state == "final"

    def _allow(self, request: Request, amount: int) -> None:
        for ref in request.refs:
            self.allowed[ref] = self.allowed.get(ref, 0) + amount

    # ---- requests ----------------------------------------------------------------------------------------------

    def admit(
        self, pod: Pod, budgets: Iterable[str], need: int, minimum: int, member: str = "", tag: Any = None
    ) -> Request:
        path = tuple(budgets)
        accounts = self._drawn(pod, path, member)
        request = Request(f"req_{len(self.requests)}", pod, path, member, (need, minimum), accounts, tag=tag)
        self.requests[request.id] = pod.requests[request.id] = request
        self._hold(pod, request)
        return request

    def _hold(self, pod: Pod, request: Request) -> None:
        outcome = pod.book.hold(request.id, 0, request.accounts, *request.amounts, pod.clock(self.now))
        self._settle_outcome(pod, request, outcome)

    def _changed_meanwhile(self, pod: Pod, request: Request) -> bool:
        """The rules are others than when it was asked."""
        before, request.accounts = request.accounts, self._drawn(pod, request.path, request.member, request.accounts)
        return request.accounts is not before

    def _drawn(self, pod: Pod, path: Iterable[str], member: str, before: Accounts = ()) -> Accounts:
        """What a request draws on by the rules that are live on its pod."""
        at = EPOCH_MS + self.now
        rows = [pod.budgets[id] for id in path if id in pod.budgets and pod.budgets[id].enabled]
        accounts = tuple(account_at(row, member if row.id.startswith("grp") else "", at) for row in rows)
        same = [(account.ref, account.budget) for account in accounts] == [(old.ref, old.budget) for old in before]
        return before if same else accounts

    def accrue(self, request: Request, amount: int) -> None:
        """Its provider bills more; the pod sees it."""
        assert request.hold is not None
        request.real += amount
        self._spend(request, amount)
        outcome = request.pod.book.accrue(request.hold, request.real, request.pod.clock(self.now))
        self._settle_outcome(request.pod, request, outcome)

    def finish(self, request: Request, more: int = 0) -> None:
        """Its end is reported; `more`: what the provider's own usage says beyond what was seen."""
        assert request.hold is not None
        request.real += more
        self._spend(request, more)
        pod, hold = request.pod, request.hold
        self._allow(request, max(0, request.real - hold.charged))
        pod.book.settle(hold, request.real, pod.clock(self.now))
        for returned in pod.book.surplus(hold):
            self._up(pod, returned)
        pod.spool.append(Record(request.id, hold.session, request.refs, request.real, True))
        if request.state != "cut":
            request.reason = "finished"
        request.state = "done"

    def unanswered(self, request: Request) -> None:
        pod = request.pod
        if request.ask_id:
            ask_id, request.ask_id = request.ask_id, 0
            self._settle_outcome(pod, request, pod.book.unanswered(ask_id, pod.clock(self.now)))

    def leave(self, request: Request) -> None:
        """The client goes while its request waits for an answer."""
        request.pod.book.abandon(request.ask_id)
        request.ask_id, request.state, request.reason = 0, "refused", "left"

    def _spend(self, request: Request, amount: int) -> None:
        for ref in request.refs:
            self.spent[ref] = self.spent.get(ref, 0) + amount

    def _settle_outcome(self, pod: Pod, request: Request, outcome: Hold | Ask | Denied | Cut | None) -> None:
        match outcome:
            case Ask():
                request.ask_id = outcome.ask_id
                self.asks += 1
                for returned in pod.book.withdrawn(outcome):
                    self._up(pod, returned)
                self._up(pod, outcome)
            case Hold():
                request.ask_id = 0
                if request.state == "waiting" and self._changed_meanwhile(pod, request):
                    pod.book.settle(outcome, 0, pod.clock(self.now))
                    self._hold(pod, request)
                elif request.state == "waiting":
                    request.hold, request.state = outcome, "running"
                    outcome.draws = partial(self._drawn, pod, request.path, request.member)
                    record = Record(request.id, outcome.session, request.refs, outcome.charged, False)
                    pod.spool.append(record)
                    self.on_change(request)
            case Denied() if self._changed_meanwhile(pod, request):
                self._hold(pod, request)
            case Denied():
                request.ask_id, request.state, request.reason = 0, "refused", str(outcome.reason)
                self.on_change(request)
            case Cut():
                request.ask_id, request.state, request.reason = 0, "cut", str(outcome.reason)
                self.on_change(request)

    # ---- the wire ----------------------------------------------------------------------------------------------

    def _up(self, pod: Pod, message: Any) -> None:
        if pod.connection:
            self.messages += 1
            self.transport.up(pod, pod.connection, message)

    def _down(self, pod: Pod, message: Any) -> None:
        if pod.connection:
            self.messages += 1
            self.transport.down(pod, pod.connection, message)

    def report(self, pod: Pod) -> None:
        self._up(pod, pod.book.report(pod.clock(self.now), EPOCH_MS + self.now))

    def arrive_up(self, pod: Pod, connection: int, message: Any, session: str) -> None:
        """At the control plane. `session`: the one of the connection when the message was sent."""
        if connection != pod.connection:
            return
        now = EPOCH_MS + self.now
        match message:
            case Hello():
                self._accounts([said.account for said in message.accounts])
                self._down(pod, self.lessor.hello(message, now))
            case Ask():
                self._decide(pod, connection, session, message, 0)
            case Return():
                self.lessor.returned(session, message)
            case Report():
                self._accounts([said.account for said in message.accounts])
                self._grow(message.grown)
                ack = self.lessor.report(session, message, now)
                if ack is None:
                    self._down(pod, Welcome(0, 0, True, (), 1))
                else:
                    self._down(pod, ack)

    def arrive_down(self, pod: Pod, connection: int, message: Any) -> None:
        """At the pod."""
        if connection != pod.connection or not pod.alive:
            return
        now = pod.clock(self.now)
        match message:
            case Welcome():
                if pod.book.welcomed(message, now):
                    for ask in pod.book.unanswered_asks:
                        for returned in pod.book.withdrawn(ask):
                            self._up(pod, returned)
                        self._up(pod, ask)
                else:
                    self._restart(pod)
            case Deny(reason=DenyReason.CLOSED):
                self._restart(pod)
            case Grant() | Deny():
                request = self._asking(pod, message.ask_id)
                book = pod.book
                outcome = book.granted(message, now) if isinstance(message, Grant) else book.denied(message, now)
                if request is not None:
                    request.ask_id = 0
                    self._settle_outcome(pod, request, outcome)
            case ReportAck():
                pod.book.acknowledged(message, now)
            case Recall():
                for returned in pod.book.recalled(message.accounts, now):
                    self._up(pod, returned)

    def _restart(self, pod: Pod) -> None:
        pod.sessions += 1
        pod.book.restart(f"{pod.name}.{pod.sessions}", pod.clock(self.now))
        for ask in pod.book.unanswered_asks:
            pod.requests[ask.request_id].ask_id = ask.ask_id
        self.connect(pod)

    def _asking(self, pod: Pod, ask_id: int) -> Request | None:
        for ask in pod.book.unanswered_asks:
            if ask.ask_id == ask_id:
                return pod.requests[ask.request_id]
        return None

    def _decide(self, pod: Pod, connection: int, session: str, ask: Ask, recalls: int) -> None:
        if connection != pod.connection:
            return
        self._accounts([item.account for item in ask.items])
        for item in ask.items:
            if item.account.budget_id not in self.budgets or not self.budgets[item.account.budget_id].enabled:
                self._down(pod, Deny(ask.ask_id, DenyReason.UNKNOWN, item.account, AccountState(), 0))
                return
        rows = [row for item in ask.items if (row := self.lessor.accounts.get(item.account)) and row.blocks]
        before = [row.excess for row in rows]
        reply = self.lessor.ask(session, ask, EPOCH_MS + self.now, recalls)
        assert all(row.excess <= was for row, was in zip(rows, before, strict=True)), "a grant went beyond the limit"
        if isinstance(reply, Recalls):
            for other in self.pods:
                if other.book.session in reply.accounts:
                    self._down(other, Recall(reply.accounts[other.book.session]))
            self.transport.later(5, lambda: self._decide(pod, connection, session, ask, recalls + 1))
        else:
            self._down(pod, reply)

    def _accounts(self, refs: Iterable[AccountRef]) -> None:
        """As the shell does it: rows are made when they are first drawn on, limits are as the budget says now."""
        for ref in refs:
            found = self.budgets.get(ref.budget_id)
            if found is None:
                continue
            if ref not in self.lessor.accounts:
                account = account_at(found, ref.member_id, EPOCH_MS + self.now)
                row = AccountRow(ref, found.limit_nano, found.overdraft_nano, found.blocks, account.window.ends_ms)
                self.lessor.load([row])
            self.lessor.set_limit(ref, found.limit_nano, found.overdraft_nano, found.blocks, found.lease_epoch)
            self.highest[ref] = max(self.highest.get(ref, 0), found.limit_nano + found.overdraft_nano)

    # ---- usage records -----------------------------------------------------------------------------------------

    def deliver(self, pod: Pod, count: int = 1, *, again: bool = False) -> None:
        """The first of its spool reach the ledger, perhaps twice."""
        records = pod.spool[:count]
        for record in records * (2 if again else 1):
            self._book(record)
        del pod.spool[:count]

    def _book(self, record: Record) -> None:
        self._accounts(record.refs)
        known = self.usage.get(record.request)
        if not record.final:
            if known is None:
                self.usage[record.request] = Booked(record.session, record.refs, record.amount, "admitted")
                if self._silent(record.session):
                    self._estimate(self.usage[record.request])
            return
        if known is None:
            known = self.usage[record.request] = Booked(record.session, record.refs, 0, "admitted")
        if known.state != "final":
            self.lessor.charge(record.session, record.refs, record.amount - known.charged)
            known.state, known.charged = "final", record.amount

    def _silent(self, session: str) -> bool:
        row = self.lessor.sessions.get(session)
        return row is None or row.state is not SessionState.OPEN

    def _estimate(self, booked: Booked) -> None:
        self.lessor.charge(booked.session, booked.refs, booked.reserved)
        booked.state, booked.charged = "estimated", booked.reserved

    def _grow(self, grown: Iterable[LiveHold]) -> None:
        for live in grown:
            booked = self.usage.get(live.request_id)
            if booked is not None and booked.state == "admitted":
                booked.reserved = max(booked.reserved, live.reserved_nano)

    # ---- time --------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Sessions that fell silent."""
        expired, closed = self.lessor.overdue(EPOCH_MS + self.now)
        for id in expired:
            self._demand_fenced(id)
            self.lessor.expire(id)
            for booked in self.usage.values():
                if booked.session == id and booked.state == "admitted":
                    self._estimate(booked)
        for id in closed:
            self._demand_fenced(id)
            self._released(id)
            self.lessor.close(id)

    def _demand_fenced(self, session: str) -> None:
        """I9: the pod has stopped spending before the control plane gives its money to others."""
        for pod in self.pods:
            if pod.alive and pod.book.session == session:
                assert pod.book.contact.fenced(pod.clock(self.now)), "a lease ended while its pod may spend it"

    def _released(self, session: str) -> None:
        """A pod that is silent for so long may still hold, or have spent, what is free for others now."""
        for pod in self.pods:
            if pod.name != session.rsplit(".", 1)[0]:
                continue
            for request in pod.requests.values():
                booked = self.usage.get(request.id)
                if request.hold is not None and request.hold.session == session and not self._final(request.id):
                    self._allow(request, max(request.hold.charged, request.real) - (booked.charged if booked else 0))

    # ---- edits ------------------------------------------------------------------------------------------------

    def edit(self, id: str, **changes: Any) -> None:
        """It is committed; pods go by it when they are told (`publish`)."""
        before = self.budgets[id]
        after = replace(before, **changes)
        epoch = before.lease_epoch + stricter(before, after)
        self.budgets[id] = replace(after, revision=before.revision + 1, lease_epoch=epoch)
        self.edited.add(id)
        self._accounts([ref for ref in self.lessor.accounts if ref.budget_id == id])

    def publish(self, pod: Pod) -> None:
        """The newest configuration is live on the pod."""
        pod.budgets = dict(self.budgets)
        if pod.book.configured(pod.clock(self.now)):
            self.report(pod)
        self._live_everywhere()

    def _live_everywhere(self) -> None:
        """The bound of an edited budget starts now: with what is spent, and what running requests hold."""
        for id in sorted(self.edited):
            found = self.budgets[id]
            if any(pod.alive and pod.budgets.get(id) is not found for pod in self.pods):
                continue
            self.edited.discard(id)
            drawn = {ref for pod in self.pods for ref in pod.book.slices}
            for ref in drawn | self.spent.keys() | self.lessor.accounts.keys():
                if ref.budget_id == id:
                    self._start_bound(ref, found.limit_nano + found.overdraft_nano)

    def _start_bound(self, ref: AccountRef, most: int) -> None:
        before = self.bound(ref) - self.highest.get(ref, 0)
        held = owed = 0
        for pod in self.pods:
            slice = pod.book.slices.get(ref) if pod.alive else None
            if slice is None:
                continue
            held += sum(
                max(0, request.hold.charged - request.real)
                for request in pod.requests.values()
                if request.hold is not None and not request.hold.ended and ref in request.refs
            )
            # Nobody has heard yet of what is held beyond the lease.
            lease = self.lessor.leases.get(ref, {}).get(pod.book.session)
            owed += max(0, -slice.free + min(0, lease.free if lease is not None else 0))
        self.highest[ref] = max(most, self.spent.get(ref, 0) + held - before)
        self.allowed[ref] = self.allowed.get(ref, 0) + owed

    # ---- the oracle --------------------------------------------------------------------------------------------

    def bound(self, ref: AccountRef) -> int:
        """Limit and overdraft, outage allowances, and what requests cost beyond what they held."""
        total = self.highest.get(ref, 0) + self.allowed.get(ref, 0)
        for pod in self.pods:
            if not pod.alive:
                continue
            slice = pod.book.slices.get(ref)
            if slice is not None:
                total += slice.outage_used
            for hold in pod.book.live.values():
                if any(slice.account.ref == ref for slice in hold.slices):
                    total += max(0, hold.accrued - hold.charged)
        return total

    def problems(self) -> Iterator[str]:
        yield from self.lessor.problems()
        for pod in self.pods:
            if pod.alive:
                yield from pod.book.problems()
        for ref, spent in self.spent.items():
            found = self.budgets[ref.budget_id]
            if found.id in self.edited or not found.enabled:
                continue
            if found.blocks and found.outage is not OutageRule.OPEN and spent > self.bound(ref):
                yield f"{ref}: spent {spent} of at most {self.bound(ref)}"
