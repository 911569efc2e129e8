"""The money of a scene: a real lease book, and behind it a control plane that has so much left on each budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from dataplane.core.money.accounts import Account, Accounts
from dataplane.core.money.lease_book import Cut, Denied, Hold, LeaseBook
from dataplane.core.money.messages import (
    AccountRef,
    AccountState,
    Ask,
    Deny,
    DenyReason,
    Grant,
    Granted,
    Welcome,
)
from dataplane.core.money.windows import WindowKind
from dataplane.core.rows import Budget, OnBreach, OutageRule, ScopeKind

ORGANIZATION = "org_1"
DOLLAR = 1_000_000_000
FOR_EVER = 10**12


def budget(id: str = "bud_1", **fields: object) -> Budget:
    """$2 a month on the organization, without overdraft unless said otherwise."""
    values: dict[str, object] = {
        "organization_id": ORGANIZATION,
        "name": "the team's",
        "scope_kind": ScopeKind.ORGANIZATION,
        "scope_id": ORGANIZATION,
        "scope_name": "Acme",
        "provider_id": "",
        "model_pattern": "",
        "window": WindowKind.MONTH,
        "timezone": "UTC",
        "anchor": 0,
        "resets": 0,
        "limit_nano": 2 * DOLLAR,
        "overrides": (),
        "on_breach": OnBreach.BLOCK,
        "outage": OutageRule.STANDARD,
        "overdraft_nano": 0,
        "thresholds": (80, 100),
        "contact": "ops@acme.test",
        "enabled": True,
        "revision": 1,
    }
    return Budget(id=id, **values | fields)  # type: ignore[arg-type]


class FakeHolds:
    """Implements the proxy's Holds. `left`: nano-dollars by budget id; `answers`: cleared, questions wait;
    `unreachable`: nobody answers."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self.book = LeaseBook("lse_scene", 0)
        self.book.hello(0)
        self.book.welcomed(Welcome(FOR_EVER, 5_000, False, (), 1), 0)
        self.left: dict[str, int] = {}
        self.limit = 2 * DOLLAR
        self.granted: dict[AccountRef, int] = {}
        self.asks: list[Ask] = []
        self.looked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.unreachable = False
        self.cuts: dict[Hold, Callable[[Cut], None]] = {}
        self.settled: list[tuple[str, int]] = []
        self.at_ms = wall_ms
        self.problem = lambda: ""

    async def hold(
        self,
        request_id: str,
        attempt: int,
        accounts: Accounts,
        need: int,
        minimum: int,
    ) -> Hold | Denied:
        outcome = self.book.hold(request_id, attempt, accounts, need, minimum, 0)
        while isinstance(outcome, Ask):
            await self.answers.wait()
            answered = self._answer(outcome)
            assert isinstance(answered, Ask | Hold | Denied)
            outcome = answered
        return outcome

    def watch(self, hold: Hold, on_cut: Callable[[Cut], None]) -> None:
        self.cuts[hold] = on_cut

    def accrue(self, hold: Hold, accrued: int) -> None:
        outcome = self.book.accrue(hold, accrued, 0)
        if isinstance(outcome, Ask):
            asyncio.get_running_loop().call_soon(self._extend, outcome)
        elif isinstance(outcome, Cut):
            self.cuts.pop(hold)(outcome)

    def settle(self, hold: Hold, actual: int) -> None:
        self.settled.append((hold.request_id, actual))
        self.book.settle(hold, actual, 0)

    def warning(self, hold: Hold) -> tuple[Account, int] | None:
        return self.book.warning(hold)

    def state(self, account: AccountRef) -> AccountState | None:
        slice = self.book.slice_of(account)
        return slice.state if slice is not None and slice.state.limit_nano else None

    async def refresh(self, accounts: Iterable[Account]) -> None:
        self.looked += [account.budget.id for account in accounts]

    def knows(self, account: AccountRef, state: AccountState) -> None:
        """As if the control plane had told it."""
        slice = self.book.slice_of(account)
        assert slice is not None
        slice.state = state

    @property
    def in_flight(self) -> int:
        return sum(slice.live for slice in self.book.slices.values())

    def _extend(self, ask: Ask) -> None:
        outcome = self._answer(ask)
        if isinstance(outcome, Ask):
            self._extend(outcome)
        elif isinstance(outcome, Cut):
            self.cuts.pop(outcome.hold)(outcome)

    def _answer(self, ask: Ask) -> Hold | Ask | Denied | Cut | None:
        self.asks.append(ask)
        if self.unreachable:
            return self.book.unanswered(ask.ask_id, 0)
        for item in ask.items:
            if self.left.get(item.account.budget_id, 0) < item.minimum_nano:
                deny = Deny(ask.ask_id, DenyReason.EXHAUSTED, item.account, self._state(item.account), 0)
                return self.book.denied(deny, 0)
        items = []
        for item in ask.items:
            amount = max(0, min(item.need_nano, self.left.get(item.account.budget_id, 0)))
            self.left[item.account.budget_id] = self.left.get(item.account.budget_id, 0) - amount
            self.granted[item.account] = self.granted.get(item.account, 0) + amount
            items.append(Granted(item.account, self.granted[item.account], amount, self._state(item.account)))
        return self.book.granted(Grant(ask.ask_id, tuple(items)), 0)

    def _state(self, account: AccountRef) -> AccountState:
        return AccountState(self.limit, self.limit - self.left.get(account.budget_id, 0), 0)
