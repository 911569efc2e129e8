"""One unit of work on accounts and leases: the rows that a batch of messages is about go into a `Lessor`, what it
changed goes back. Everything inside the caller's transaction.

Everybody locks in the same order, so that no two wait for each other: lease sessions by id, then accounts by id. The
row lock of an account guards its leases too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from controlplane.budgets import cache, statements
from controlplane.budgets.former_rules import Edit, edits_of, former_rules
from controlplane.budgets.models import Account, Crossing, LeaseSession
from controlplane.budgets.models import Budget as BudgetRow
from controlplane.budgets.statements import Locks, StoredRows, UnlessLocked, Writes, insert_crossings
from controlplane.budgets.values import moment, ms
from dataplane.core.money.accounts import limit_at
from dataplane.core.money.amounts import saturated
from dataplane.core.money.lease_epochs import epoch_at
from dataplane.core.money.lease_rows import AccountRow, LeaseRow, SessionRow, SessionState
from dataplane.core.money.lessor import Lessor
from dataplane.core.money.messages import AccountRef
from dataplane.core.money.windows import Window, WindowRule, window_named
from dataplane.core.rows import Budget, ScopeKind

# Requests that begin around the end of a window, clocks that differ: which windows an account may be opened for.
SLACK_MS = 900_000
# For accounts that somebody else is opening, in one unit of work: 50 ms each (`statements.AGAIN_MS`).
WAITS_IN_VAIN = 12


class UnitOfWork:
    """Rows of some accounts and lease sessions, locked. `near`: when an account's window must have been, if not now."""

    def __init__(
        self,
        refs: Iterable[AccountRef],
        sessions: Iterable[str],
        *,
        near: Mapping[AccountRef, int] | None = None,
        now: datetime | None = None,
        locks: Locks = Locks.WAIT,
    ) -> None:
        self.now = now or timezone.now()
        self.now_ms = ms(self.now)
        # Decides, on the rows that were loaded.
        self.lessor = Lessor()
        # What exists and somebody else holds, where those are skipped: it is as if it was not loaded.
        self.locked_accounts: set[AccountRef] = set()
        self.locked_sessions: set[str] = set()
        # They count, and are not written: by lease session and account.
        self.locked_leases: set[tuple[str, AccountRef]] = set()
        # Of each lease session, the name in the certificate of the pod that opened it.
        self.identities: dict[str, str] = {}
        # By id: those that exist now.
        self.budgets: dict[str, Budget] = {}
        # Pod and identity of each lease session that this unit opens.
        self._pods: dict[str, tuple[str, str]] = {}
        # Primary keys of the accounts.
        self._ids: dict[AccountRef, int] = {}
        # Of each account as it was loaded: what was settled, and its limit.
        self._before: dict[AccountRef, tuple[int, int]] = {}
        # Of budgets that some window's name is not of, as they are now.
        self._edits: dict[str, list[Edit]] = {}
        self._locks = locks
        self._load(set(refs), set(sessions), near or {})
        self._apply_limits()

    def locked_for(self, session_id: str) -> frozenset[AccountRef]:
        """Accounts about which nothing can be decided for this session now."""
        return frozenset(self.locked_accounts).union(ref for id, ref in self.locked_leases if id == session_id)

    def usable(self, ref: AccountRef) -> bool:
        """Whether requests may still be admitted on it."""
        budget = self.budgets.get(ref.budget_id)
        return ref in self._ids and budget is not None and budget.enabled

    def gone(self, refs: Iterable[AccountRef]) -> tuple[AccountRef, ...]:
        """Those whose budget was deleted: nobody draws on them any more, and no budget has that id again."""
        missing = {ref.budget_id for ref in refs if ref.budget_id not in self.budgets}
        if missing:  # one that this version cannot read is not gone
            missing -= set(BudgetRow.objects.filter(pk__in=missing).values_list("pk", flat=True))
        return tuple(ref for ref in refs if ref.budget_id in missing)

    def open_session(self, session_id: str, pod_id: str, identity: str) -> None:
        """A pod says hello with a lease session that is new."""
        if session_id not in self.lessor.sessions:
            self._pods[session_id] = (pod_id, identity)
            self.identities[session_id] = identity

    def account_id(self, ref: AccountRef) -> int | None:
        return self._ids.get(ref)

    def store(self, refused: Iterable[AccountRef] = (), replies: Sequence[tuple[str, int, bytes]] = ()) -> None:
        """Write what has changed. `refused`: accounts on which a request was refused because they are exhausted.

        Raises IntegrityError for a reply to an ask that has one.
        """
        changed = self.lessor.changed()
        for session in sorted(changed.sessions, key=lambda row: row.id):
            self._store_session(session)
        accounts = [(self._ids[row.ref], row) for row in changed.accounts]
        free = (row for row in changed.leases if (row.session, row.ref) not in self.locked_leases)
        leases = [(self._ids[row.ref], row) for row in free if row.ref in self._ids]
        Writes(self.now, accounts, leases, replies).run()
        crossed = [crossing for row in changed.accounts for crossing in self._crossed(row)]
        crossed += [crossing for ref in set(refused) for crossing in self._as_good_as_spent(ref)]
        insert_crossings(crossed)

    # ---- loading -----------------------------------------------------------------------------------------------

    def _load(self, wanted: set[AccountRef], sessions: set[str], near: Mapping[AccountRef, int]) -> None:
        ids = cache.account_ids(wanted)
        if missing := wanted - ids.keys():
            ids |= self._found_or_opened(missing, near)
        rows = statements.read(sessions, ids.values(), self._locks)
        there = {AccountRef(*row[1:4]) for row in rows.accounts}
        lost = ids.keys() - there
        if self._locks is Locks.SKIP:
            self.locked_sessions = statements.session_ids(sessions) - {row[0] for row in rows.sessions}
            self.locked_accounts |= statements.account_ids(lost).keys()
            lost -= self.locked_accounts
        # Remembered, but of a transaction that was taken back, or forgotten with the past.
        if lost:
            cache.forget(lost)
            ids |= self._found_or_opened(lost, near)
            rows = statements.read(sessions, ids.values(), self._locks)
        self.budgets = cache.budgets({ref.budget_id for ref in wanted}, rows.revision)
        self._take_sessions(rows)
        self._take_accounts(rows)
        self._take_leases(rows)

    def _found_or_opened(self, refs: Iterable[AccountRef], near: Mapping[AccountRef, int]) -> dict[AccountRef, int]:
        """The ids of those that exist now."""
        refs = set(refs)
        statements.wait_no_longer(self._locks)
        ids = statements.account_ids(refs)
        if fresh := refs - ids.keys():
            self.budgets = cache.budgets({ref.budget_id for ref in fresh})
            self._open(fresh, near)
            ids |= statements.account_ids(fresh)
        cache.remember(ids)
        return ids

    def _take_sessions(self, rows: StoredRows) -> None:
        for id, expires, state, identity, alone in rows.sessions:
            self.lessor.load(sessions=[SessionRow(id, expires, SessionState(state), alone)])
            self.identities[id] = identity

    def _take_accounts(self, rows: StoredRows) -> None:
        for pk, budget, member, key, ends_ms, *amounts in rows.accounts:
            ref = AccountRef(budget, member, key)
            # SQLite gives a sum that went beyond 64 bits back as a float.
            limit, settled, held, used, most, excess = map(saturated, amounts)
            rule = self.budgets.get(budget)
            epoch = 0 if rule is None else epoch_at(rule, self.now_ms)
            row = AccountRow(
                *(ref, limit, most, rule is None or rule.blocks, ends_ms or 0, settled, held, used, excess, epoch)
            )
            self._ids[ref] = pk
            self._before[ref] = (settled, limit)
            self.lessor.load(accounts=[row])

    def _take_leases(self, rows: StoredRows) -> None:
        """Of every session that may still hold something, and of our own."""
        refs = {pk: ref for ref, pk in self._ids.items()}
        sessions = self.lessor.sessions
        others: dict[str, SessionRow] = {}
        leases = []
        for session, account, *figures, expires, state in rows.leases:
            if account not in refs:
                continue  # somebody else holds the account
            if session not in sessions and session not in others:
                others[session] = SessionRow(session, expires, SessionState(state))
            leases.append(LeaseRow(session, refs[account], *map(saturated, figures)))
        self.lessor.load(leases=leases, sessions=others.values())
        if self._locks is Locks.SKIP:
            held = statements.held_leases((row.session, self._ids[row.ref]) for row in leases)
            self.locked_leases = {(session, refs[account]) for session, account in held}

    def _open(self, refs: Iterable[AccountRef], near: Mapping[AccountRef, int]) -> None:
        """Accounts that nobody has drawn on yet. What no budget has is left out."""
        fresh = []
        for ref in sorted(refs):
            budget = self.budgets.get(ref.budget_id)
            if budget is None or bool(ref.member_id) != (budget.scope_kind is ScopeKind.GROUP):
                continue
            window = self._window(budget, ref.window_key, near.get(ref))
            if window is not None:
                fresh.append(self._new_account(ref, budget, window))
        if fresh and self._locks is not Locks.SKIP:
            Account.objects.bulk_create(fresh, ignore_conflicts=True)
        elif fresh:
            self._insert_what_can_be(fresh, WAITS_IN_VAIN)

    def _insert_what_can_be(self, accounts: Sequence[Account], waits: int) -> int:
        """Where somebody else has inserted one, and did not commit, the insert waits: it is found by halves, and counts
        as locked, as all the rest does after `waits` waits in vain. Returns how many are left of these."""
        if waits and _inserted(accounts):
            return waits
        if not waits or len(accounts) == 1:
            self.locked_accounts.update(AccountRef(row.budget_id, row.member_id, row.window_key) for row in accounts)
            return max(0, waits - 1)
        middle = len(accounts) // 2
        return self._insert_what_can_be(accounts[middle:], self._insert_what_can_be(accounts[:middle], waits - 1))

    def _window(self, budget: Budget, key: str, near_ms: int | None) -> Window | None:
        window = window_named(budget.rule, key, self.now_ms, SLACK_MS)
        if window is not None or near_ms is None:
            return window
        windows = (window_named(rule, key, near_ms, SLACK_MS) for rule in self._rules(budget, near_ms))
        return next((window for window in windows if window is not None), None)

    def _rules(self, budget: Budget, near_ms: int) -> Iterator[WindowRule]:
        """As it is, then as it was."""
        yield budget.rule
        if budget.id not in self._edits:
            self._edits[budget.id] = edits_of(budget.id)
        yield from former_rules(budget, self._edits[budget.id], near_ms)

    def _new_account(self, ref: AccountRef, budget: Budget, window: Window) -> Account:
        return Account(
            organization_id=budget.organization_id,
            budget_id=ref.budget_id,
            member_id=ref.member_id,
            window_key=ref.window_key,
            starts_at=moment(window.starts_ms),
            ends_at=moment(window.ends_ms),
            limit_nano=saturated(limit_at(budget, self.now_ms)),
            overdraft_limit_nano=budget.overdraft_nano,
            opened_at=self.now,
            drawn_at=self.now,
        )

    def _apply_limits(self) -> None:
        for ref, account in self.lessor.accounts.items():
            budget = self.budgets.get(ref.budget_id)
            if budget is None or (account.resets_at_ms and account.resets_at_ms <= self.now_ms):
                continue  # a window that has ended keeps the limit that it had
            limit = saturated(limit_at(budget, self.now_ms))
            self.lessor.set_limit(ref, limit, budget.overdraft_nano, budget.blocks, epoch_at(budget, self.now_ms))

    # ---- storing -----------------------------------------------------------------------------------------------

    def _store_session(self, session: SessionRow) -> None:
        changes = {"expires_ms": session.expires_ms, "state": session.state.value, "alone_ms": session.alone_ms}
        opener = self._pods.pop(session.id, None)
        if opener is not None:
            pod_id, identity = opener
            LeaseSession.objects.create(pk=session.id, pod_id=pod_id, identity=identity, opened_at=self.now, **changes)
        else:
            LeaseSession.objects.filter(pk=session.id).update(**changes)

    def _crossed(self, account: AccountRow) -> list[Crossing]:
        budget = self.budgets.get(account.ref.budget_id)
        settled, limit = self._before[account.ref]
        return [
            self._crossing(account, threshold)
            for threshold in (budget.thresholds if budget is not None and budget.enabled else ())
            if reached(account.settled, account.limit, threshold) and not reached(settled, limit, threshold)
        ]

    def _as_good_as_spent(self, ref: AccountRef) -> list[Crossing]:
        """Where requests are refused although some cents are left, 100 % is reached for all practical purposes."""
        budget, account = self.budgets.get(ref.budget_id), self.lessor.accounts[ref]
        spent = budget is not None and 100 in budget.thresholds and reached(account.settled, account.limit, 95)
        crossing = (ref, account.limit)
        if not spent or crossing in cache.exhausted:  # a loop that is refused again and again is no news
            return []
        transaction.on_commit(lambda: cache.remember_exhausted(crossing))
        return [self._crossing(account, 100)]

    def _crossing(self, account: AccountRow, threshold: int) -> Crossing:
        return Crossing(
            account_id=self._ids[account.ref],
            organization_id=self.budgets[account.ref.budget_id].organization_id,
            budget_id=account.ref.budget_id,
            member_id=account.ref.member_id,
            window_key=account.ref.window_key,
            threshold=threshold,
            limit_nano=account.limit,
            settled_nano=account.settled,
            at=self.now,
        )


def _inserted(accounts: Sequence[Account]) -> bool:
    """False: somebody holds the name of one of them. Raises any other database error."""
    with UnlessLocked(), transaction.atomic():
        Account.objects.bulk_create(accounts, ignore_conflicts=True)
        return True
    return False


def reached(settled: int, limit: int, threshold: int) -> bool:
    """Whether spending has come to so many per cent of the limit."""
    return settled > 0 and settled * 100 >= threshold * limit
