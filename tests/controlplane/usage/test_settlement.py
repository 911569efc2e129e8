"""From usage records to budgets: each attempt once, whatever comes twice, late or never."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.budgets import answers, lease_sessions
from controlplane.budgets.answers import PodMessage
from controlplane.budgets.models import Account, Budget, Charge, Crossing, LeaseSession, ScopeKind
from controlplane.usage import ingest, lost
from controlplane.usage.models import DeadLetter, UsageRecord
from controlplane.usage.queries import charged_to
from dataplane.core.money.lease_rows import SessionState
from dataplane.core.money.messages import AccountRef, Ask, AskItem, AskKind, Hello, LiveHold
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.usage.records import admitted, booked, record

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
SCOPES = {kind: kind for kind in ScopeKind.values} | {"virtual_key": "key"}


def drawing(*refs: AccountRef, **fields: Any) -> dict[str, Any]:
    """Of a request whose key stands below these budgets."""
    accounts = [wire.AccountRef(budget_id=ref[0], member_id=ref[1], window_key=ref[2]) for ref in refs]
    owner: dict[str, str] = {}
    for budget in Budget.objects.filter(pk__in=[ref.budget_id for ref in refs]):
        owner |= {"organization_id": budget.organization_id, f"{SCOPES[budget.scope_kind]}_id": budget.scope_id}
    return {"accounts": accounts, "hold_session": "s1"} | owner | fields


def lease(*refs: AccountRef, amount: int = DOLLAR) -> None:
    items = tuple(AskItem(ref, amount, amount, 0) for ref in refs)
    ask = Ask(1, AskKind.ADMIT, "req_1", 0, items)
    answers.answer([PodMessage("s1", "p", "", Hello("s1", ())), PodMessage("s1", "p", "", ask)])


def standing(budget: Budget) -> tuple[int, int]:
    found = Account.objects.get(budget_id=budget.pk)
    return found.settled_nano, found.held_nano


def charges() -> list[tuple[int, int, bool]]:
    return list(Charge.objects.order_by("id").values_list("correction", "amount_nano", "estimated"))


def pass_time(seconds: float) -> None:
    """The session was heard of so long ago."""
    for session in LeaseSession.objects.all():
        session.expires_ms -= int(seconds * 1000)
        session.save()


def test_an_end_is_charged_once_on_every_account_and_what_was_held_goes_down_by_it() -> None:
    organization = factories.organization()
    budgets = [factories.budget(organization), factories.budget(organization)]
    refs = [ref_of(budget) for budget in budgets]
    lease(*refs)
    booked(admitted(**drawing(*refs, reserved_nano=DOLLAR)))
    assert charges() == []
    final = record(cost_nano=DOLLAR // 4, **drawing(*refs))
    for _ in range(3):
        booked(final, final, first=2)
    assert charges() == [(0, DOLLAR // 4, False)] * 2
    assert [standing(budget) for budget in budgets] == [(DOLLAR // 4, DOLLAR - DOLLAR // 4)] * 2
    assert lease_sessions.problems() == []
    account = Account.objects.get(budget_id=budgets[0].pk)
    assert [row.request_id for row in charged_to(UsageRecord.objects.all(), account.pk)] == ["req_1"]


def test_an_end_without_a_beginning_and_without_a_lease_counts_too() -> None:
    warn = factories.budget(on_breach="warn", limit_nano=10, thresholds=[50])
    booked(record(cost_nano=60, **drawing(ref_of(warn), hold_session="")))
    row = Account.objects.get()
    assert (row.settled_nano, row.held_nano, row.overdraft_used_nano, row.excess_nano) == (60, 0, 50, 0)
    assert list(Crossing.objects.values_list("threshold", flat=True)) == [50]


def test_thresholds_are_crossed_once_in_the_transaction_that_books() -> None:
    budget = factories.budget(limit_nano=1000, thresholds=[50, 80, 100], on_breach="warn")
    ref = ref_of(budget)
    told = []
    for number, cost in enumerate([490, 20, 300, 10, 500], 1):
        booked(record(f"req_{number}", cost_nano=cost, **drawing(ref)), first=number)
        told.append(list(Crossing.objects.order_by("id").values_list("threshold", flat=True)))
    assert told == [[], [50], [50, 80], [50, 80], [50, 80, 100]]
    crossing = Crossing.objects.earliest("id")
    assert (crossing.settled_nano, crossing.limit_nano, crossing.window_key) == (510, 1000, ref.window_key)


def test_a_dead_pods_requests_are_charged_what_they_held_and_a_late_end_corrects_that() -> None:
    budget = factories.budget()
    ref = ref_of(budget)
    lease(ref)
    booked(admitted(**drawing(ref, reserved_nano=DOLLAR // 2)))
    said = [LiveHold("req_1", 0, DOLLAR // 4), LiveHold("req_1", 0, 3 * DOLLAR // 4), LiveHold("req_9", 0, 5)]
    assert ingest.note_grown("s1", said) == [said[2]]  # of which nothing is known yet
    assert ingest.note_grown("s1", [LiveHold("req_1", 0, 1)]) == []
    assert lost.expire_silent() == 0
    pass_time(75)
    assert lost.expire_silent() == 1
    assert lost.expire_silent() == 0
    assert standing(budget) == (3 * DOLLAR // 4, DOLLAR // 4)
    assert UsageRecord.objects.get().cost_nano == 3 * DOLLAR // 4
    assert LeaseSession.objects.get().state == SessionState.EXPIRED
    booked(record(cost_nano=DOLLAR // 10, **drawing(ref)), first=2)
    booked(record(cost_nano=DOLLAR // 10, **drawing(ref)), first=2)
    assert charges() == [(0, 3 * DOLLAR // 4, True), (1, DOLLAR // 10 - 3 * DOLLAR // 4, False)]
    assert standing(budget) == (DOLLAR // 10, 9 * DOLLAR // 10)
    assert sum(UsageRecord.objects.values_list("cost_nano", flat=True)) == DOLLAR // 10
    pass_time(900)
    lost.expire_silent()
    assert standing(budget) == (DOLLAR // 10, 0)
    assert LeaseSession.objects.get().state == SessionState.CLOSED
    assert lease_sessions.problems() == []


def test_a_session_that_is_back_in_time_is_not_closed() -> None:
    ref = ref_of(factories.budget())
    lease(ref)
    pass_time(75)
    lost.expire_silent()
    answers.answer([PodMessage("s1", "p", "", Hello("s1", ()))])
    pass_time(60)
    lost.expire_silent()
    assert LeaseSession.objects.get().state == SessionState.OPEN
    assert Account.objects.get().held_nano == DOLLAR


def test_an_attempt_that_nobody_ends_is_estimated_in_the_books_of_its_budgets_too() -> None:
    budget = factories.budget()
    ref = ref_of(budget)
    lease(ref)
    booked(admitted(**drawing(ref, reserved_nano=7)))
    UsageRecord.objects.update(received_at=timezone.now() - timedelta(days=2))
    assert lost.estimate_lost() == 1
    assert standing(budget) == (7, DOLLAR - 7)


def test_what_costs_nothing_charges_nothing_and_a_forged_account_is_a_dead_letter() -> None:
    budget = factories.budget()
    ref = ref_of(budget)
    booked(record(cost_nano=0, **drawing(ref)))
    assert charges() == []
    booked(record("req_2", accounts=[wire.AccountRef(budget_id="b\x00", window_key="w")]), first=2)
    assert DeadLetter.objects.count() == 1


def test_a_deleted_budgets_requests_are_still_in_the_ledger() -> None:
    booked(record(**drawing(AccountRef("bud_gone", "", "total"))))
    assert UsageRecord.objects.get().cost_nano == 5_000
    assert charges() == []


def test_old_books_are_forgotten_with_the_records() -> None:
    budget = factories.budget(window="minute", thresholds=[1], on_breach="warn")
    booked(record(cost_nano=DOLLAR, started_at_ms=int(timezone.now().timestamp() * 1000), **drawing(ref_of(budget))))
    assert Charge.objects.count() == Crossing.objects.count() == 1
    lease_sessions.forget_old(timezone.now() + timedelta(hours=1))
    assert (Charge.objects.count(), Crossing.objects.count(), Account.objects.count()) == (0, 0, 0)
