"""What a running window had cost before its budget counted it: taken over from the ledger.

A budget that is made, switched on, or given another window, provider or models in mid-window would otherwise know
nothing of what was spent in it, and a limit of $100 a month let pass twice that. Where it is to `count_earlier`, its
account begins with what the ledger has of the window's requests that it covers and that did not draw on it, less what
it was charged for others: `Account.earlier_nano`, a part of what is settled.

That is added up before the change, so that nobody draws on an account that is still empty, and again afterwards as
often as `AGAIN_AFTER` says: requests run on that were admitted before, pods learn of the change a moment later, figures
are corrected. Each time the whole is found anew and the difference is booked, so that no record counts twice: it has a
charge on the account, and then it names the account, or it is a part of this sum.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final, Protocol

from django.db import transaction
from django.utils import timezone

from controlplane.budgets.former_rules import BEHIND_MS
from controlplane.budgets.models import Account, Budget, Crossing, EarlierCount, Window
from controlplane.budgets.statements import Locks, UnlessLocked, insert_crossings, wait_no_longer
from controlplane.budgets.unit_of_work import UnitOfWork, reached
from controlplane.budgets.values import core_budget, moment, ms
from controlplane.changes.models import AuditEvent
from dataplane.core import rows
from dataplane.core.money.accounts import limit_at
from dataplane.core.money.amounts import saturated
from dataplane.core.money.lease_rows import AccountRow
from dataplane.core.money.messages import AccountRef
from dataplane.core.money.windows import Window as MoneyWindow
from dataplane.core.money.windows import window_at

log = logging.getLogger(__name__)

# What is not added up within this time is left to the sweep: whoever makes the change waits for it.
FIRST_LOOK_S: Final = 3.0
SWEEP_S: Final = 120.0
BUDGETS_AT_A_TIME: Final = 50
# After the change: running requests end, pods hear of it, the slowest of which are an hour behind; what providers say
# later of an answer is mostly said within a day.
AGAIN_AFTER: Final = tuple(timedelta(seconds=s) for s in (5, 20, 70, 300, 1_200, 4_200, 90_000))
# Records of requests that began later than this name the account, if they draw on it.
UNTIL: Final = timedelta(milliseconds=BEHIND_MS)


@dataclass(frozen=True, slots=True)
class Question:
    """What did requests cost that a budget covers, and that began in [since, until), but for those that name the
    account of the window? `since`: None for the ledger's first. `changed_at`: what came later is believed less."""

    budget: rows.Budget
    window_key: str
    since: datetime | None
    until: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class MemberSpend:
    """Nano-dollars: of records that were there before the change, and of those that pods have sent since."""

    before: int = 0
    since: int = 0

    def of(self, limit: int) -> int:
        """What counts: a pod that makes requests up can fill an account, which it could by asking, and no more."""
        return saturated(self.before + min(self.since, limit))


@dataclass(frozen=True, slots=True)
class EarlierSpend:
    """By member: "" but for a group's budget. `whole`: False where the time was over before all was added up."""

    by_member: Mapping[str, MemberSpend]
    whole: bool = True


class Ledger(Protocol):
    def __call__(self, question: Question, deadline: float) -> EarlierSpend:
        """`deadline`: by `time.monotonic`; the newest records are looked at first."""


_ledgers: list[Ledger] = []


def register(ledger: Ledger) -> None:
    """Say who knows what was spent: the layer above, which the books know nothing of."""
    _ledgers[:] = [ledger]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What a budget, as it will be, begins with."""

    budget: rows.Budget
    question: Question
    spend: EarlierSpend
    now: datetime

    @property
    def counts_from(self) -> datetime:
        return self.question.since or self.now


def look(row: Budget) -> TakenOver | None:
    """What the budget as it is to be would begin with; None: it counts from now on. Takes seconds where there is much,
    so it is asked before the change set, beside which nobody writes."""
    if not (row.enabled and row.count_earlier and _ledgers):
        return None
    now = timezone.now()
    try:
        budget = core_budget(row, row.overrides.all() if not row._state.adding else ())
    except ValueError:
        return None  # it is about to be refused
    window = window_at(budget.rule, ms(now))
    since = _since(row, moment(window.starts_ms), now)
    question = Question(budget, window.key, since, _until(now, window), now)
    return TakenOver(budget, question, _ledgers[0](question, monotonic() + FIRST_LOOK_S), now)


def _until(changed_at: datetime, window: MoneyWindow) -> datetime:
    until = changed_at + UNTIL
    return min(until, moment(window.ends_ms) or until)


def _since(row: Budget, starts_at: datetime | None, now: datetime) -> datetime | None:
    """The window's beginning, but what a reset has left behind stays there."""
    reset = None
    if row.resets:
        resets = AuditEvent.objects.filter(target_kind="budget", target_id=row.pk, action="budget.reset")
        reset = resets.order_by("-pk").values_list("at", flat=True).first()
    if row.window == Window.MANUAL and reset is None:
        return now if row._state.adding else row.created_at
    return max(filter(None, (starts_at, reset)), default=None)


def take_over(row: Budget, found_before: TakenOver) -> None:
    """In the change set that makes the budget what it was asked about: accounts that nobody could draw on yet. One that
    there is, or that somebody opens meanwhile, is counted as soon as the change is committed."""
    question, spend = found_before.question, found_before.spend
    limit = saturated(limit_at(found_before.budget, ms(found_before.now)))
    amounts = {member: spent.of(limit) for member, spent in spend.by_member.items()}
    own = Account.objects.filter(budget_id=row.pk, window_key=question.window_key)
    Account.objects.bulk_create(
        [_opened(found_before, member, nano, limit) for member, nano in amounts.items() if nano > 0],
        ignore_conflicts=True,
    )
    fresh, others = [], False
    for account in own:
        if account.opened_at == found_before.now and account.settled_nano == amounts.get(account.member_id):
            fresh.append(account)
        else:
            others = True
    insert_crossings([crossing for account in fresh for crossing in _crossings(account, found_before)])
    at_once = others or not spend.whole
    EarlierCount.objects.update_or_create(
        budget_id=row.pk,
        defaults={
            "window_key": question.window_key,
            "since": question.since,
            "changed_at": found_before.now,
            "due_at": found_before.now if at_once else found_before.now + AGAIN_AFTER[0],
        },
    )
    if at_once:
        transaction.on_commit(lambda: _count_soon(row.pk), robust=True)


def _opened(found_before: TakenOver, member: str, nano: int, limit: int) -> Account:
    budget, question = found_before.budget, found_before.question
    window = window_at(budget.rule, ms(found_before.now))
    figures = AccountRow(
        AccountRef(budget.id, member, question.window_key), limit, budget.overdraft_nano, budget.blocks, settled=nano
    )
    figures.rebalance()
    return Account(
        organization_id=budget.organization_id,
        budget_id=budget.id,
        member_id=member,
        window_key=question.window_key,
        starts_at=moment(window.starts_ms),
        ends_at=moment(window.ends_ms),
        limit_nano=limit,
        settled_nano=nano,
        overdraft_used_nano=figures.overdraft_used,
        overdraft_limit_nano=figures.overdraft_limit,
        excess_nano=figures.excess,
        earlier_nano=nano,
        adding_up=not found_before.spend.whole,
        opened_at=found_before.now,
        drawn_at=found_before.now,
    )


def _crossings(account: Account, found_before: TakenOver) -> list[Crossing]:
    return [
        Crossing(
            account=account,
            organization_id=account.organization_id,
            budget_id=account.budget_id,
            member_id=account.member_id,
            window_key=account.window_key,
            threshold=threshold,
            limit_nano=account.limit_nano,
            settled_nano=account.settled_nano,
            at=found_before.now,
        )
        for threshold in found_before.budget.thresholds
        if reached(account.settled_nano, account.limit_nano, threshold)
    ]


def leave(budget_id: str) -> None:
    """What is still to be added up is of a window that nobody draws on any more."""
    if EarlierCount.objects.filter(budget_id=budget_id).delete()[0]:
        Account.objects.filter(budget_id=budget_id, adding_up=True).update(adding_up=False)


# ---- again -----------------------------------------------------------------------------------------------------------


def count_due(now: datetime | None = None) -> int:
    """Add up again where that is due. Returns for how many budgets."""
    now = now or timezone.now()
    due = EarlierCount.objects.filter(due_at__lte=now).order_by("due_at")[:BUDGETS_AT_A_TIME]
    return sum(_count(count, now) for count in due)


def _count_soon(budget_id: str) -> None:
    """Right after the change; what fails is left to the sweep."""
    now = timezone.now()
    for count in EarlierCount.objects.filter(budget_id=budget_id, due_at__lte=now):
        _count(count, now, FIRST_LOOK_S)


def _count(count: EarlierCount, now: datetime, seconds: float = SWEEP_S) -> bool:
    question = _question(count)
    if question is None:
        leave(count.budget_id)
        return False
    spend = _ledgers[0](question, monotonic() + seconds)
    with UnlessLocked():
        return _booked(count, question, spend, now)
    log.warning("budget_rows_locked budget=%s", count.budget_id)  # the next look finds it again
    return False


def _question(count: EarlierCount) -> Question | None:
    """None: nobody draws on that account any more."""
    row = Budget.objects.filter(pk=count.budget_id, enabled=True).prefetch_related("overrides").first()
    try:
        budget = None if row is None else core_budget(row, row.overrides.all())
    except ValueError:  # of another version
        return None
    window = None if budget is None else window_at(budget.rule, ms(count.changed_at))
    if budget is None or window is None or window.key != count.window_key:
        return None
    return Question(budget, window.key, count.since, _until(count.changed_at, window), count.changed_at)


def _booked(count: EarlierCount, question: Question, spend: EarlierSpend, now: datetime) -> bool:
    """The difference to what was taken over before. False: somebody was quicker, or the budget has changed again."""
    with transaction.atomic():
        wait_no_longer(Locks.SHORT)
        same = EarlierCount.objects.select_for_update().filter(
            pk=count.pk, changed_at=count.changed_at, due_at=count.due_at
        )
        if not same.exists():
            return False
        _book_differences(question, spend)
        _schedule(count, spend.whole, now)
    return True


def _book_differences(question: Question, spend: EarlierSpend) -> None:
    own = Account.objects.filter(budget_id=question.budget.id, window_key=question.window_key)
    counted = dict(own.exclude(earlier_nano=0, adding_up=False).values_list("member_id", "earlier_nano"))
    drawn = counted.keys() | {member for member, spent in spend.by_member.items() if spent != MemberSpend()}
    refs = {member: AccountRef(question.budget.id, member, question.window_key) for member in drawn}
    # An account is opened for a window that has ended meanwhile, too.
    unit = UnitOfWork(refs.values(), (), near=dict.fromkeys(refs.values(), ms(question.changed_at)))
    for member, ref in refs.items():
        pk, account = unit.account_id(ref), unit.lessor.accounts.get(ref)
        if pk is None or account is None:
            continue
        spent = spend.by_member.get(member, MemberSpend()).of(account.limit)
        before = counted.get(member, 0)
        # Of a part of the records nothing can be said but that it was so much at least.
        after = spent if spend.whole else max(before, spent)
        if after != before:
            unit.lessor.charge("", [ref], after - before)
        own.filter(pk=pk).update(earlier_nano=after, adding_up=not spend.whole)
    unit.store()


def _schedule(count: EarlierCount, whole: bool, now: datetime) -> None:
    later = [count.changed_at + after for after in AGAIN_AFTER if count.changed_at + after > now]
    if not whole:
        later = [now + AGAIN_AFTER[0]]
    if later:
        EarlierCount.objects.filter(pk=count.pk).update(due_at=later[0])
    else:
        EarlierCount.objects.filter(pk=count.pk).delete()
