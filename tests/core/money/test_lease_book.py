"""One pod's leases: what it may spend by itself, what it asks, and what it does when nobody answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataplane.core.money.accounts import Account, account_at
from dataplane.core.money.lease_book import Cut, Denied, Hold, LeaseBook, Reason
from dataplane.core.money.messages import (
    AccountState,
    Ask,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Granted,
    ReportAck,
    Return,
    Welcome,
)
from dataplane.core.money.slices import Slice
from dataplane.core.rows import OnBreach, OutageRule
from tests.core.money.budget_world import EPOCH_MS, budget

CENT = 10_000_000
TTL, PATIENCE = 60_000, 5_000


def account(id: str = "bud_1", **fields: Any) -> Account:
    return account_at(budget(id, limit_nano=1_000 * CENT, **fields), "", EPOCH_MS)


class Talk:
    """A pod and somebody who answers it. `now` moves by hand."""

    def __init__(self, pods: int = 1) -> None:
        self.now = 1_000
        self.book = LeaseBook("session_1", self.now)
        self.granted_cum: dict[Any, int] = {}
        self.book.hello(self.now)
        assert self.book.welcomed(Welcome(TTL, 5_000, False, (), pods), self.now)
        self.count = 0

    def hold(self, *accounts: Account, need: int = 10 * CENT, minimum: int = 2 * CENT) -> Hold | Ask | Denied:
        self.count += 1
        return self.book.hold(f"req_{self.count}", 0, accounts, need, minimum, self.now)

    def grant(self, ask: Any, amount: int | None = None, state: AccountState = AccountState()) -> Any:  # noqa: B008
        assert isinstance(ask, Ask)
        items = []
        for item in ask.items:
            more = item.need_nano if amount is None else amount
            total = self.granted_cum[item.account] = self.granted_cum.get(item.account, 0) + more
            items.append(Granted(item.account, total, more, state))
        return self.book.granted(Grant(ask.ask_id, tuple(items)), self.now)

    def deny(self, ask: Any, reason: DenyReason = DenyReason.EXHAUSTED, which: int = 0) -> Any:
        assert isinstance(ask, Ask)
        named = ask.items[which].account
        return self.book.denied(Deny(ask.ask_id, reason, named, AccountState(1_000 * CENT, 990 * CENT), 0), self.now)

    def held(self, *accounts: Account, lease: int = 100 * CENT, **fields: Any) -> Hold:
        found = self.hold(*accounts, **fields)
        if isinstance(found, Ask):
            found = self.grant(found, lease)
        assert isinstance(found, Hold)
        return found

    def slice(self, account: Account) -> Slice:
        found = self.book.slice_of(account.ref)
        assert found is not None
        return found

    def fine(self) -> bool:
        return self.book.problems() == []


def test_what_a_request_leaves_goes_back_at_once_where_little_is_left_for_others():
    scarce, plenty = AccountState(100 * CENT, 0, 90 * CENT), AccountState(1_000 * CENT, 0, 90 * CENT)
    talk, one = Talk(), account()
    hold = talk.grant(talk.hold(one), 90 * CENT, scarce)
    talk.book.settle(hold, 3 * CENT, talk.now)
    assert talk.book.surplus(hold) == (Return(one.ref, 87 * CENT),)
    assert talk.slice(one).free == 0
    assert talk.fine()
    rich = Talk()
    hold = rich.grant(rich.hold(one), 90 * CENT, plenty)
    rich.book.settle(hold, 3 * CENT, rich.now)
    assert rich.book.surplus(hold) == ()


def test_what_a_request_leaves_stays_where_another_runs_on_it():
    scarce = AccountState(100 * CENT, 0, 90 * CENT)
    talk, one = Talk(), account()
    first = talk.grant(talk.hold(one), 90 * CENT, scarce)
    second = talk.held(one)
    talk.book.settle(first, 3 * CENT, talk.now)
    assert talk.book.surplus(first) == ()
    talk.book.settle(second, 3 * CENT, talk.now)
    assert talk.book.surplus(second) == (Return(one.ref, 84 * CENT),)


def test_what_is_leased_is_spent_without_a_message():
    talk, one = Talk(), account()
    first = talk.held(one)
    second = talk.hold(one)
    assert isinstance(second, Hold)
    assert talk.slice(one).free == 80 * CENT
    talk.book.settle(first, 3 * CENT, talk.now)
    assert talk.slice(one).free == 87 * CENT
    assert talk.fine()


def test_all_accounts_or_none():
    talk, rich, poor = Talk(), account("bud_rich"), account("bud_poor")
    talk.book.settle(talk.held(rich), 0, talk.now)
    asked = talk.hold(rich, poor)
    assert isinstance(asked, Ask)
    assert [item.account for item in asked.items if item.need_nano] == [poor.ref]
    assert isinstance(talk.deny(asked), Denied)
    assert talk.slice(rich).free == 100 * CENT
    assert talk.book.live == {}
    assert talk.fine()


def test_what_waits_for_an_answer_is_nobody_elses_and_comes_back_with_a_refusal():
    talk, one = Talk(), account()
    talk.book.settle(talk.held(one, lease=15 * CENT), 0, talk.now)
    asked = talk.hold(one, need=20 * CENT)
    assert isinstance(asked, Ask)
    assert (asked.items[0].need_nano, asked.items[0].minimum_nano) == (5 * CENT, -13 * CENT)
    assert isinstance(talk.hold(one, need=1 * CENT), Ask)
    talk.book.abandon(asked.ask_id)
    assert talk.slice(one).free == 15 * CENT
    assert talk.fine()


def test_less_than_the_need_will_do_from_the_minimum_on():
    talk, one = Talk(), account()
    held = talk.grant(talk.hold(one, need=10 * CENT, minimum=4 * CENT), 6 * CENT)
    assert isinstance(held, Hold)
    assert held.charged == 6 * CENT
    assert talk.fine()


def test_a_grant_whose_money_another_request_took_is_asked_for_again():
    talk, one = Talk(), account()
    first, second = talk.hold(one, minimum=10 * CENT), talk.hold(one, minimum=10 * CENT)
    assert isinstance(talk.grant(second), Hold)  # overtook the first
    again = talk.grant(first, -0)  # its money was counted before: nothing new
    assert isinstance(again, Ask)
    assert again.ask_id != first.ask_id  # type: ignore[union-attr]
    assert isinstance(talk.grant(again), Hold)
    assert talk.fine()


def test_a_message_that_comes_twice_counts_once():
    talk, one = Talk(), account()
    asked = talk.hold(one)
    assert isinstance(talk.grant(asked), Hold)
    grant = Grant(1, (Granted(one.ref, 10 * CENT, 10 * CENT, AccountState()),))
    assert talk.book.granted(grant, talk.now) is None
    assert talk.slice(one).free == 0
    assert talk.fine()


def test_a_refusal_is_repeated_from_memory_for_a_second_to_whoever_needs_as_much():
    talk, one = Talk(), account()
    refused = talk.deny(talk.hold(one))
    assert isinstance(refused, Denied)
    assert (refused.account, refused.reason, refused.remembered) == (one, Reason.EXHAUSTED, False)
    again = talk.hold(one)
    assert isinstance(again, Denied)
    assert again.remembered
    assert again.state.settled_nano == 990 * CENT
    assert isinstance(talk.hold(one, minimum=CENT), Ask)  # who needs less may be luckier
    talk.now += 1_000
    assert isinstance(talk.hold(one), Ask)


def test_a_refusal_is_forgotten_when_the_budget_is_changed():
    talk, one = Talk(), account()
    talk.deny(talk.hold(one))
    raised = replace(one, budget=replace(one.budget, revision=2))
    assert isinstance(talk.hold(raised), Ask)


def test_a_running_answer_is_extended_ahead_of_need_from_the_leases_first():
    talk, one = Talk(), account()
    held = talk.held(one, lease=16 * CENT)
    assert talk.book.accrue(held, 6 * CENT, talk.now) is None
    assert held.charged == 10 * CENT
    assert talk.book.accrue(held, 8 * CENT, talk.now) is None  # 5 cents more were there
    assert held.charged == 15 * CENT
    asked = talk.book.accrue(held, 13 * CENT, talk.now)
    assert isinstance(asked, Ask)
    assert (asked.kind, asked.items[0].need_nano) == (AskKind.EXTEND, 7 * CENT + CENT // 2 - CENT)
    assert talk.book.accrue(held, 14 * CENT, talk.now) is None  # asked already
    assert talk.grant(asked) is held
    assert held.charged == 22 * CENT + CENT // 2
    assert talk.fine()


def test_a_denied_extension_ends_the_stream_when_the_hold_is_used_up_and_not_before():
    talk, one = Talk(), account()
    held = talk.held(one, lease=10 * CENT)
    assert talk.deny(talk.book.accrue(held, 8 * CENT, talk.now)) is None
    assert talk.book.accrue(held, 10 * CENT, talk.now) is None
    cut = talk.book.accrue(held, 10 * CENT + 1, talk.now)
    assert isinstance(cut, Cut)
    assert (cut.hold, cut.account, cut.reason) == (held, one, Reason.EXHAUSTED)
    assert talk.book.accrue(held, 11 * CENT, talk.now) is None  # told once
    talk.book.settle(held, 11 * CENT, talk.now)
    assert talk.slice(one).free == -CENT
    assert talk.fine()


def test_a_stream_that_used_up_its_hold_while_it_waited_is_cut_by_the_refusal():
    talk, one = Talk(), account()
    held = talk.held(one, lease=10 * CENT)
    asked = talk.book.accrue(held, 9 * CENT, talk.now)
    talk.book.accrue(held, 12 * CENT, talk.now)
    assert isinstance(talk.deny(asked), Cut)


def test_an_extension_is_asked_for_again_a_second_after_a_refusal():
    talk, one = Talk(), account()
    held = talk.held(one, lease=10 * CENT)
    talk.deny(talk.book.accrue(held, 8 * CENT, talk.now))
    talk.now += 1_000
    assert isinstance(talk.book.accrue(held, 9 * CENT, talk.now), Ask)


def test_a_debt_is_repaid_by_the_next_grant():
    talk, one = Talk(), account()
    talk.book.settle(talk.held(one, lease=10 * CENT), 13 * CENT, talk.now)
    asked = talk.hold(one)
    assert isinstance(asked, Ask)
    assert asked.items[0].need_nano == 13 * CENT
    assert talk.grant(asked).charged == 10 * CENT
    assert talk.fine()


def test_a_warn_budget_is_charged_and_never_stands_in_the_way():
    talk, warn = Talk(), account("bud_warn", on_breach=OnBreach.WARN)
    held = talk.hold(warn)
    assert isinstance(held, Hold)
    assert talk.book.accrue(held, 500 * CENT, talk.now) is None
    said = talk.book.report(talk.now, EPOCH_MS).accounts[0]
    assert said.free_nano < 0 < said.want_nano
    assert talk.fine()


def test_settling_twice_changes_nothing():
    talk, one = Talk(), account()
    held = talk.held(one)
    talk.book.settle(held, CENT, talk.now)
    talk.book.settle(held, 9 * CENT, talk.now)
    assert talk.slice(one).consumed == CENT
    assert talk.fine()


# ---- silence ---------------------------------------------------------------------------------------------------


def silent(talk: Talk, *accounts: Account, **fields: Any) -> Any:
    asked = talk.hold(*accounts, **fields)
    assert isinstance(asked, Ask)
    talk.now += PATIENCE
    return talk.book.unanswered(asked.ask_id, talk.now)


def test_a_strict_budget_refuses_when_nobody_can_be_asked():
    talk, strict = Talk(), account(outage=OutageRule.STRICT)
    refused = silent(talk, strict)
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.UNANSWERED
    assert isinstance(talk.hold(strict), Ask)  # nothing is remembered


def test_a_standard_budget_allows_its_share_of_five_per_cent_once():
    talk, one = Talk(pods=2), account()  # 5 % of $10, two pods: 25 cents
    assert isinstance(silent(talk, one), Hold)
    assert isinstance(silent(talk, one), Hold)
    assert isinstance(silent(talk, one, need=9 * CENT, minimum=6 * CENT), Denied)
    assert talk.slice(one).outage_used == 20 * CENT
    assert isinstance(silent(talk, one, need=9 * CENT, minimum=5 * CENT), Hold)
    assert talk.slice(one).outage_used == 25 * CENT
    assert talk.fine()


def test_an_open_budget_goes_on():
    talk, open = Talk(), account(outage=OutageRule.OPEN)
    for _ in range(20):
        assert isinstance(silent(talk, open), Hold)
    assert talk.fine()


def test_without_contact_for_long_nobody_waits_again():
    talk, one = Talk(), account()
    talk.book.lost_contact(talk.now)
    assert isinstance(talk.hold(one), Ask)
    talk.now += PATIENCE
    assert isinstance(talk.hold(one), Hold)  # of the allowance


def test_a_stream_in_an_outage_goes_on_as_its_budgets_say():
    talk, strict, lenient = Talk(), account("a", outage=OutageRule.STRICT), account("b")
    held, other = talk.held(strict, lease=10 * CENT), talk.held(lenient, lease=10 * CENT)
    talk.book.lost_contact(talk.now)
    talk.now += PATIENCE
    assert talk.book.accrue(other, 9 * CENT, talk.now) is None
    assert other.charged > 10 * CENT
    cut = talk.book.accrue(held, 11 * CENT, talk.now)
    assert isinstance(cut, Cut)
    assert cut.reason is Reason.UNREACHABLE


def test_a_pod_stops_spending_its_leases_before_anyone_else_may():
    talk, strict = Talk(), account(outage=OutageRule.STRICT)
    talk.held(strict)
    talk.now = 1_000 + TTL - 1
    assert isinstance(talk.hold(strict), Hold)
    talk.now += 1
    assert isinstance(talk.hold(strict), Ask)
    assert isinstance(silent(talk, strict), Denied)


def test_a_lease_lives_from_when_the_report_was_sent_not_from_when_the_answer_came():
    talk = Talk()
    report = talk.book.report(talk.now, EPOCH_MS)
    sent, talk.now = talk.now, talk.now + 30_000
    talk.book.acknowledged(ReportAck(report.seq, (), 1), talk.now)
    assert talk.book.contact.deadline == sent + TTL


# ---- giving back -----------------------------------------------------------------------------------------------


def test_what_idles_is_given_back():
    talk, one = Talk(), account()
    talk.book.settle(talk.held(one), 0, talk.now)
    talk.now += 31_000
    said = talk.book.report(talk.now, EPOCH_MS).accounts[0]
    assert (said.free_nano, said.returned_cum, said.want_nano) == (0, 100 * CENT, 0)
    assert talk.fine()


def test_a_recall_takes_what_is_free_and_stops_the_hoarding():
    talk, one = Talk(), account()
    held = talk.held(one)
    assert talk.book.recalled([one.ref], talk.now) == (Return(one.ref, 90 * CENT),)
    assert talk.book.recalled([one.ref], talk.now) == (Return(one.ref, 90 * CENT),)
    assert held.charged == 10 * CENT
    assert talk.book.report(talk.now, EPOCH_MS).accounts[0].want_nano == 0
    assert talk.fine()


def test_a_pod_that_shuts_down_gives_everything_back():
    talk, one, other = Talk(), account("a"), account("b")
    talk.book.settle(talk.held(one, other), CENT, talk.now)
    assert {returned.returned_cum for returned in talk.book.drained()} == {99 * CENT}


def test_money_that_got_lost_on_the_way_is_found_with_the_next_connection():
    talk, one = Talk(), account()
    talk.held(one, lease=10 * CENT)
    talk.book.lost_contact(talk.now)
    talk.book.hello(talk.now)
    talk.book.welcomed(Welcome(TTL, 5_000, False, (Granted(one.ref, 25 * CENT, 0, AccountState()),), 1), talk.now)
    assert talk.slice(one).free == 15 * CENT
    assert talk.fine()


def test_when_the_session_is_closed_its_leases_are_void_and_what_runs_goes_on():
    talk, one = Talk(), account()
    held = talk.held(one)
    waiting = talk.hold(account("other"))
    assert isinstance(waiting, Ask)
    talk.book.hello(talk.now)
    assert not talk.book.welcomed(Welcome(TTL, 5_000, True, (), 1), talk.now)
    talk.book.restart("session_2", talk.now)
    assert talk.fine()
    assert talk.slice(one).free == -10 * CENT
    assert held.session == "session_1"
    [again] = talk.book.unanswered_asks
    talk.granted_cum.clear()
    assert talk.grant(again).session == "session_2"
    talk.book.settle(held, 4 * CENT, talk.now)
    assert talk.slice(one).free == 0  # it is settled on the old lease, not on this one
    assert talk.slice(one).consumed == 0
    assert talk.fine()


def test_grown_holds_are_said_once():
    talk, one = Talk(), account()
    held = talk.held(one)
    assert talk.book.report(talk.now, EPOCH_MS).grown == ()
    talk.book.accrue(held, 9 * CENT, talk.now)
    [live] = talk.book.report(talk.now, EPOCH_MS).grown
    assert (live.request_id, live.reserved_nano) == (held.request_id, 15 * CENT)
    assert talk.book.report(talk.now, EPOCH_MS).grown == ()


def test_an_account_whose_window_is_long_over_is_forgotten():
    talk, one = Talk(), account()
    talk.book.settle(talk.held(one), 100 * CENT, talk.now)
    day = account_at(replace(one.budget, id="bud_day", window="hour"), "", EPOCH_MS)  # type: ignore[arg-type]
    talk.book.settle(talk.held(day), 100 * CENT, talk.now)
    for at in (EPOCH_MS, EPOCH_MS + 20 * 3_600_000):
        talk.now += 60_000
        report = talk.book.report(talk.now, at)
        talk.book.acknowledged(
            ReportAck(
                report.seq,
                tuple(Granted(said.account, said.granted_cum, 0, AccountState()) for said in report.accounts),
                1,
            ),
            talk.now,
        )
    talk.book.report(talk.now, EPOCH_MS + 40 * 3_600_000)
    assert talk.book.slice_of(day.ref) is None
    assert talk.book.slice_of(one.ref) is not None  # its window never ends: the counters have to stay


@pytest.mark.parametrize(("settled", "idle", "percent"), [(79, 0, None), (80, 0, 80), (90, 20, None), (100, 0, 100)])
def test_the_fullest_account_warns_from_its_first_threshold_on(settled, idle, percent):
    talk, one = Talk(), account()
    state = AccountState(100, settled - 10, 10 + idle - idle, idle)
    hold = talk.grant(talk.hold(one), 10 * CENT, state)
    assert isinstance(hold, Hold)
    assert talk.book.warning(hold) == (None if percent is None else (one, percent))


def test_an_account_that_is_gone_is_forgotten_as_soon_as_nothing_runs_on_it():
    talk, one, other = Talk(), account(), account("bud_2")
    hold = talk.held(one, other)
    report = talk.book.report(talk.now, EPOCH_MS)
    gone = (one.ref,)
    assert [item.account for item in report.accounts] == [one.ref, other.ref]
    talk.book.acknowledged(ReportAck(report.seq, (), 1, gone), talk.now)
    assert talk.book.slice_of(one.ref) is not None
    talk.book.settle(hold, CENT, talk.now)
    talk.book.acknowledged(ReportAck(report.seq, (), 1, gone), talk.now)
    assert talk.book.slice_of(one.ref) is None
    assert [item.account for item in talk.book.report(talk.now, EPOCH_MS).accounts] == [other.ref]
    assert talk.book.problems() == []
    assert talk.book.welcomed(Welcome(TTL, 5_000, False, (), 1, gone=(other.ref,)), talk.now)
    assert talk.book.hello(talk.now).accounts == ()
