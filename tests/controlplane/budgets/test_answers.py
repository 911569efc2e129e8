"""What pods are answered, and that the tables say the same afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import IntegrityError
from django.utils import timezone

from controlplane.budgets import actions, alarms, answers, cache, lease_sessions
from controlplane.budgets.answers import Ended, NotYours, PodMessage
from controlplane.budgets.models import Account, AskReply, Budget, Crossing, Lease, LeaseSession
from controlplane.budgets.tasks import check
from controlplane.budgets.unit_of_work import UnitOfWork
from controlplane.budgets.values import core_budget, ms
from dataplane.core.money.accounts import account_at
from dataplane.core.money.lessor import Recalls
from dataplane.core.money.messages import (
    AccountRef,
    AccountReport,
    Ask,
    AskItem,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Hello,
    Report,
    Return,
)
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


def ref_of(budget: Budget, member: str = "") -> AccountRef:
    return account_at(core_budget(budget, budget.overrides.all()), member, ms(timezone.now())).ref


def say(message: Any, session: str = "s1", identity: str = "") -> Any:
    (answer,) = answers.answer([PodMessage(session, f"pod-{session}", identity, message)])
    return answer


def hello(session: str = "s1", identity: str = "") -> wire.HoldWelcome:
    return wire.HoldDown.FromString(say(Hello(session, ()), session, identity)).welcome


def ask(
    *refs: AccountRef, id: int = 1, need: int = DOLLAR, want: int = 0, session: str = "s1", extend: bool = False
) -> Grant | Deny | Recalls:
    kind = AskKind.EXTEND if extend else AskKind.ADMIT
    answer = say(Ask(id, kind, f"r{id}", 0, tuple(AskItem(ref, need, need, want) for ref in refs)), session)
    return answer if isinstance(answer, Recalls) else answers.reply_from(answer)


def test_a_grant_is_held_on_every_account_or_on_none() -> None:
    team = factories.team()
    wide, narrow = factories.budget(team.organization), factories.budget(team, limit_nano=3 * DOLLAR)
    refs = ref_of(wide), ref_of(narrow)
    assert hello().ttl_ms > 0
    assert isinstance(ask(*refs, need=2 * DOLLAR), Grant)
    assert {row.budget_id: row.held_nano for row in Account.objects.all()} == dict.fromkeys(
        (wide.pk, narrow.pk), 2 * DOLLAR
    )
    denied = ask(*refs, id=2, need=2 * DOLLAR)
    assert isinstance(denied, Deny)
    assert (denied.reason, denied.account, denied.state.held_nano) == (DenyReason.EXHAUSTED, refs[1], 2 * DOLLAR)
    assert denied.resets_at_ms == ms(Account.objects.get(budget_id=narrow.pk).ends_at)
    assert set(Account.objects.values_list("held_nano", flat=True)) == {2 * DOLLAR}
    assert set(Lease.objects.values_list("granted_nano", flat=True)) == {2 * DOLLAR}
    assert lease_sessions.problems() == []


def test_an_ask_that_comes_again_gets_the_answer_that_it_got() -> None:
    ref = ref_of(factories.budget())
    hello()
    first = ask(ref)
    assert ask(ref) == first
    twice = answers.answer(
        [PodMessage("s1", "p", "", Ask(2, AskKind.ADMIT, "r", 0, (AskItem(ref, DOLLAR, DOLLAR, 0),)))] * 2
    )
    assert twice[0] == twice[1]
    assert Account.objects.get().held_nano == 2 * DOLLAR
    assert AskReply.objects.count() == 2


def test_what_is_no_account_is_unknown_and_without_a_hello_the_session_is_closed() -> None:
    budget = factories.budget()
    ref = ref_of(budget)
    denied = ask(ref)
    assert isinstance(denied, Deny)
    assert denied.reason is DenyReason.CLOSED
    assert isinstance(say(Report(1, (), ())), Ended)
    hello()
    far, member, nobody = (
        ref._replace(window_key="month:2030-01-01@UTC"),
        ref._replace(member_id="prin_x"),
        ref._replace(budget_id="bud_x"),
    )
    for id, wrong in enumerate((far, member, nobody), 10):
        found = ask(ref, wrong, id=id)
        assert isinstance(found, Deny)
        assert (found.reason, found.account) == (DenyReason.UNKNOWN, wrong)
    assert Account.objects.get().held_nano == 0
    actions.disable_budget(budget, by=SYSTEM)
    gone = ask(ref, id=20)
    assert isinstance(gone, Deny)
    assert gone.reason is DenyReason.UNKNOWN


def test_a_raised_limit_counts_from_the_next_ask_on_and_a_lowered_one_takes_nothing_back() -> None:
    budget = factories.budget(limit_nano=DOLLAR)
    ref = ref_of(budget)
    hello()
    assert isinstance(ask(ref), Grant)
    assert isinstance(ask(ref, id=2), Deny)
    until = timezone.now() + timedelta(hours=1)
    more = actions.override_budget(budget, by=SYSTEM, extra_nano=DOLLAR, until=until, reason="r")
    assert isinstance(ask(ref, id=3), Grant)
    actions.withdraw_override(more, by=SYSTEM)
    actions.update_budget(budget, by=SYSTEM, limit_nano=DOLLAR // 2, overdraft_nano=DOLLAR // 4)
    assert isinstance(ask(ref, id=4), Deny)
    row = Account.objects.get()
    assert (row.limit_nano, row.held_nano, row.overdraft_used_nano) == (DOLLAR // 2, 2 * DOLLAR, DOLLAR // 4)
    assert row.excess_nano == 2 * DOLLAR - DOLLAR // 2 - DOLLAR // 4


def test_only_a_running_request_may_use_the_overdraft() -> None:
    ref = ref_of(factories.budget(limit_nano=DOLLAR, overdraft_nano=DOLLAR // 2))
    hello()
    assert isinstance(ask(ref), Grant)
    assert isinstance(ask(ref, id=2, need=DOLLAR // 2), Deny)
    assert isinstance(ask(ref, id=3, need=DOLLAR // 2, extend=True), Grant)
    assert isinstance(ask(ref, id=4, need=1, extend=True), Deny)
    assert Account.objects.get().overdraft_used_nano == DOLLAR // 2


def test_what_idles_elsewhere_is_recalled_before_anybody_is_refused() -> None:
    ref = ref_of(factories.budget(limit_nano=DOLLAR))
    hello("s1")
    hello("s2")
    assert isinstance(ask(ref), Grant)
    report = AccountReport(ref, DOLLAR, 0, DOLLAR, 0, 0, 0)
    say(Report(1, (report,), ()))
    found = ask(ref, session="s2")
    assert isinstance(found, Recalls)
    assert dict(found.accounts) == {"s1": (ref,)}
    say(Return(ref, DOLLAR))
    assert isinstance(ask(ref, session="s2"), Grant)
    assert Account.objects.get().held_nano == DOLLAR
    assert lease_sessions.problems() == []


def test_reports_count_whatever_order_they_come_in() -> None:
    ref = ref_of(factories.budget())
    hello()
    ask(ref, need=4 * DOLLAR)
    for returned in (DOLLAR, 3 * DOLLAR, 2 * DOLLAR, 3 * DOLLAR):
        say(Report(1, (AccountReport(ref, 0, 0, 4 * DOLLAR, 0, returned, 0),), ()))
    assert Account.objects.get().held_nano == DOLLAR
    assert hello().accounts[0:] == []
    back = wire.HoldDown.FromString(say(Hello("s1", (AccountReport(ref, 0, 0, 0, 0, 3 * DOLLAR, 0),)))).welcome
    assert back.accounts[0].granted_cum == 4 * DOLLAR


def test_a_session_belongs_to_the_pod_that_opened_it() -> None:
    hello(identity="pod-a")
    assert isinstance(say(Hello("s1", ()), identity="pod-b"), NotYours)
    assert isinstance(say(Report(1, (), ()), identity="pod-b"), NotYours)
    assert LeaseSession.objects.get().identity == "pod-a"


def test_a_refusal_of_a_budget_that_is_as_good_as_spent_crosses_its_hundred_per_cent_once() -> None:
    budget = factories.budget(limit_nano=100 * DOLLAR)
    ref = ref_of(budget)
    hello()
    ask(ref, need=1)
    Account.objects.update(settled_nano=98 * DOLLAR)
    for id in (2, 3):
        assert isinstance(ask(ref, id=id, need=5 * DOLLAR), Deny)
    assert list(Crossing.objects.values_list("threshold", "settled_nano")) == [(100, 98 * DOLLAR)]


def test_one_letter_that_breaks_the_books_spoils_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = ref_of(factories.budget()), ref_of(factories.budget())
    hello()
    ask(bad, need=1)
    Account.objects.filter(budget_id=bad.budget_id).update(settled_nano=0, held_nano=0)  # behind everybody's back
    letters = [
        PodMessage("s1", "p", "", Return(bad, 1)),
        PodMessage("s1", "p", "", Ask(7, AskKind.ADMIT, "r", 0, (AskItem(good, 1, 1, 0),))),
    ]
    returned, granted = answers.answer(letters)
    assert returned is None
    assert isinstance(granted, bytes)
    assert isinstance(answers.reply_from(granted), Grant)
    assert "budget_message_refused_by_database" in caplog.text


def test_a_running_request_whose_message_breaks_the_books_is_not_told_that_its_budget_is_gone() -> None:
    ref = ref_of(factories.budget())
    hello()
    with patch.object(answers, "_answered", side_effect=IntegrityError):
        running, coming = ask(ref, id=8, extend=True), ask(ref, id=9)
    assert isinstance(running, Deny)
    assert isinstance(coming, Deny)
    assert running.reason is coming.reason is DenyReason.UNDECIDED
    # Its pod goes by the outage rule now, and may book what that lends.
    assert LeaseSession.objects.get(session_id="s1").alone_ms > 0


def test_what_a_pod_lent_by_itself_while_a_row_was_held_may_be_booked_afterwards() -> None:
    ref = ref_of(factories.budget())
    hello()
    hello("s2")
    message = PodMessage("s1", "p", "", Ask(7, AskKind.ADMIT, "r", 0, (AskItem(ref, 1, 1, 0),)))
    answers.answer([message], alone={"s1", "s9"})
    alone = dict(LeaseSession.objects.values_list("session_id", "alone_ms"))
    assert alone["s1"] > 0
    assert alone["s2"] == 0


def test_books_that_do_not_add_up_raise_an_alarm_and_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    ref = ref_of(factories.budget())
    hello()
    ask(ref)
    assert check() == 0
    Account.objects.update(held_nano=5)
    answers._checked_at = float("-inf")
    heard: list[bool] = []
    with alarms.alarms_to(lambda: heard.append(True)):
        assert isinstance(ask(ref, id=2), Grant)
    assert heard == [True]
    assert "budget_books_do_not_add_up" in caplog.text
    assert check() == 1


def test_an_account_that_is_remembered_but_gone_is_opened_again() -> None:
    ref = ref_of(factories.budget())
    hello()
    cache.remember({ref: 987654})
    assert isinstance(ask(ref), Grant)
    Lease.objects.all().delete()
    Account.objects.all().delete()
    assert isinstance(ask(ref, id=2), Grant)


def test_answers_and_ended_sessions_are_forgotten() -> None:
    ref = ref_of(factories.budget())
    hello()
    ask(ref)
    assert lease_sessions.forget_replies() == 0
    later = timezone.now() + timedelta(hours=2)
    assert lease_sessions.forget_replies(later) == 1
    LeaseSession.objects.update(state="closed")
    assert lease_sessions.forget_replies(later + timedelta(days=2)) == 1
    assert not Lease.objects.exists()


@pytest.mark.parametrize("kind", ["minute", "hour", "day"])
@pytest.mark.parametrize("off_ms", [-600_000, -61_000, -1_000, 61_000, 600_000])
def test_a_window_is_granted_on_however_little_its_pods_clock_or_its_question_is_off(kind: str, off_ms: int) -> None:
    budget = factories.budget(factories.team(), window=kind)
    rows = core_budget(budget, budget.overrides.all())
    hello()
    assert isinstance(ask(account_at(rows, "", ms(timezone.now()) + off_ms).ref), Grant)


def test_a_grant_says_in_which_lease_epoch_it_was_made_whichever_fleet_server_makes_it() -> None:
    budget = factories.budget(on_breach="warn")
    ref = ref_of(budget)
    hello()
    first = ask(ref)
    assert isinstance(first, Grant)
    assert [(item.amount_nano, item.lease_epoch) for item in first.items] == [(DOLLAR, 0)]
    actions.update_budget(budget, by=SYSTEM, on_breach="block", limit_nano=3 * DOLLAR)
    second = ask(ref, id=2)
    assert isinstance(second, Grant)
    assert [(item.amount_nano, item.lease_epoch) for item in second.items] == [(DOLLAR, 1)]
    assert ask(ref) == first  # a pod that asks once more hears that it was made before the edit
    report = Report(1, (AccountReport(ref, 0, 2 * DOLLAR, 0, 0, 0, 0),), ())
    ack = wire.HoldDown.FromString(say(report)).report_acks[0]
    assert [item.lease_epoch for item in ack.accounts] == [1]


def test_when_an_override_has_ended_grants_are_of_another_lease_epoch() -> None:
    budget = factories.budget(limit_nano=DOLLAR)
    actions.override_budget(
        budget, by=SYSTEM, extra_nano=DOLLAR, until=timezone.now() + timedelta(minutes=1), reason="r"
    )
    ref = ref_of(budget)
    hello()
    for later, epoch in ((timedelta(), 0), (timedelta(minutes=1), 1)):
        unit = UnitOfWork([ref], ["s1"], now=timezone.now() + later)
        assert unit.lessor.accounts[ref].epoch == epoch


def test_what_requests_hold_beyond_their_leases_when_a_budget_begins_to_block_is_granted_to_nobody() -> None:
    budget = factories.budget(on_breach="warn", limit_nano=2 * DOLLAR, overdraft_nano=0)
    ref = ref_of(budget)
    hello()
    hello("s2")
    say(Report(1, (AccountReport(ref, -DOLLAR - 1, DOLLAR + 1, 0, 0, 0, 0),), ()))
    actions.update_budget(budget, by=SYSTEM, on_breach="block")
    assert isinstance(ask(ref, session="s2"), Deny | Recalls)
    assert isinstance(ask(ref, id=2, need=DOLLAR + 1), Grant)
