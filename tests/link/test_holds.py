"""Money over the wire: questions get their own answers, whatever happens to the connection they went out on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dataplane.core.money.accounts import Account, account_at
from dataplane.core.money.lease_book import Cut, Denied, Hold, HoldRules, Reason
from dataplane.core.money.messages import AccountRef
from dataplane.core.rows import OnBreach, OutageRule
from dataplane.link.holds import YOUNG_MS
from protos import fleet_pb2 as pb
from tests.link.bank import Banked, Till, banking
from tests.proxy.fake_holds import budget

NOW = 1_767_225_600_000
NEED, MINIMUM = 50_000_000, 10_000_000
IMPATIENT = HoldRules(patience_ms=150)


def account(id: str = "bud_1", **fields: Any) -> Account:
    return account_at(budget(id, **fields), "", NOW)


def asking(banked: Banked, *accounts: Account, request: str = "req_1") -> asyncio.Task[Hold | Denied]:
    return asyncio.ensure_future(banked.holds.hold(request, 0, accounts or (account(),), NEED, MINIMUM))


async def open_till(banked: Banked, **said: Any) -> Till:
    till = await banked.bank.till()
    await till.welcomes(**said)
    while banked.holds.at_ms() > NOW:  # the control plane's clock stands at 1
        await asyncio.sleep(0.001)
    return till


async def held(banked: Banked, till: Till, amount: int = 0, **more: Any) -> Hold:
    waiting = asking(banked, **more)
    await till.grants(await till.hears("ask"), amount)
    hold = await waiting
    assert isinstance(hold, Hold)
    return hold


def test_a_question_names_what_is_needed_and_its_grant_lets_the_request_go(on_loop):
    async def story():
        async with banking() as banked:
            till = await banked.bank.till()
            hello = await till.welcomes()
            assert (hello.pod_id, hello.session_id) == ("pod_1", "lse_1")
            waiting = asking(banked, account("bud_1"), account("bud_2"))
            ask = await till.hears("ask")
            assert (ask.kind, ask.request_id, ask.attempt) == (pb.ASK_KIND_ADMIT, "req_1", 0)
            assert [item.account.budget_id for item in ask.items] == ["bud_1", "bud_2"]
            assert {item.account.window_key for item in ask.items} == {"month:2026-01-01@UTC"}
            assert {(item.need_nano, item.minimum_nano) for item in ask.items} == {(NEED, MINIMUM)}
            await till.grants(ask)
            hold = await waiting
            assert isinstance(hold, Hold)
            assert (hold.charged, hold.session) == (NEED, "lse_1")
            assert banked.counted('budget_asks_total{kind="admit"}') == 1
            assert banked.counted("budget_messages_total") == 2
            assert banked.counted('budget_answers_total{answer="granted"}') == 1
            assert banked.counted("budget_holds") == 1

    on_loop(story())


def test_a_denial_names_the_account_and_is_repeated_from_memory_without_a_question(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked, report_ms=5_000)
            waiting = asking(banked)
            await till.denies(await till.hears("ask"))
            denied = await waiting
            assert isinstance(denied, Denied)
            assert (denied.account.budget.id, denied.reason) == ("bud_1", Reason.EXHAUSTED)
            assert denied.state.settled_nano == 1_900_000_000
            again = await asking(banked, request="req_2")
            assert isinstance(again, Denied)
            assert again.remembered
            assert till.has_heard("ask") == 0
            assert banked.counted('budget_refusals_total{reason="exhausted"}') == 1
            assert banked.counted('budget_refusals_total{reason="remembered"}') == 1

    on_loop(story())


def test_what_was_granted_beyond_the_need_is_spent_without_a_question(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            first = await held(banked, till, amount=2_000_000_000)
            for number in range(2, 1_002):
                hold = await asking(banked, request=f"req_{number}")
                assert isinstance(hold, Hold)
                banked.holds.settle(hold, 1_000_000)
            banked.holds.settle(first, 1_000_000)
            assert till.has_heard("ask") == 0
            assert till.has_heard("report") <= 20
            assert banked.holds.book.problems() == []

    on_loop(story())


def test_what_a_request_leaves_goes_back_unasked_where_others_have_less(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked, report_ms=5_000)
            hold = await held(banked, till, amount=1_500_000_000)
            banked.holds.settle(hold, 1_000_000)
            returned = await till.hears("returned")
            assert (returned.account.budget_id, returned.returned_cum) == ("bud_1", 1_499_000_000)
            assert banked.holds.book.problems() == []

    on_loop(story())


@pytest.mark.parametrize(
    ("outage", "passes"), [(OutageRule.OPEN, True), (OutageRule.STANDARD, True), (OutageRule.STRICT, False)]
)
def test_without_an_answer_the_budgets_own_rule_decides(on_loop, outage: OutageRule, passes: bool):
    async def story():
        async with banking(IMPATIENT) as banked:
            await open_till(banked)
            outcome = await asking(banked, account(outage=outage))
            assert isinstance(outcome, Hold) is passes
            if isinstance(outcome, Denied):
                assert outcome.reason is Reason.UNANSWERED
            assert banked.counted('budget_answers_total{answer="none"}') == 1
            assert banked.holds.book.problems() == []

    on_loop(story())


def test_a_question_outlives_its_connection_and_goes_out_again_with_its_number(on_loop):
    async def story():
        async with banking() as banked:
            first = await open_till(banked)
            waiting = asking(banked)
            ask = await first.hears("ask")
            first.hangs_up.set()
            second = await open_till(banked)
            again = await second.hears("ask")
            assert again.ask_id == ask.ask_id
            await second.grants(again)
            assert isinstance(await waiting, Hold)

    on_loop(story())


def test_a_question_asked_without_contact_goes_out_with_the_first_connection(on_loop):
    async def story():
        async with banking() as banked:
            waiting = asking(banked)
            till = await open_till(banked)
            await till.grants(await till.hears("ask"))
            assert isinstance(await waiting, Hold)

    on_loop(story())


def test_who_leaves_before_the_answer_holds_nothing_and_the_money_is_there_for_the_next(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            waiting = asking(banked)
            ask = await till.hears("ask")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await till.grants(ask)
            await till.hears("report")
            await till.hears("report")  # the grant was read before
            assert banked.holds.book.live == {}
            assert isinstance(await asking(banked, request="req_2"), Hold)
            assert till.has_heard("ask") == 0
            assert banked.holds.book.problems() == []

    on_loop(story())


def test_a_running_request_asks_for_more_and_is_cut_once_when_there_is_none(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            cuts: list[Cut] = []
            hold = await held(banked, till)
            banked.holds.watch(hold, cuts.append)
            banked.holds.accrue(hold, NEED - 1_000_000)
            ask = await till.hears("ask")
            assert ask.kind == pb.ASK_KIND_EXTEND
            banked.holds.accrue(hold, NEED + 1_000_000)
            assert cuts == []  # it is being asked
            await till.denies(ask)
            while not cuts:
                await asyncio.sleep(0)
            (cut,) = cuts
            assert cut.account.budget.id == "bud_1"
            banked.holds.accrue(hold, NEED + 2_000_000)
            assert len(cuts) == 1
            banked.holds.settle(hold, NEED + 2_000_000)
            assert banked.counted('budget_cuts_total{reason="exhausted"}') == 1
            assert banked.holds.book.problems() == []

    on_loop(story())


@pytest.mark.parametrize(("age_ms", "steps"), [(0, 1), (YOUNG_MS - 1, 1), (YOUNG_MS, 0), (60_000, 0)])
def test_a_running_request_goes_one_step_beyond_its_hold_while_its_question_is_young_and_no_further(
    on_loop, age_ms: int, steps: int
):
    async def story():
        late = 0
        async with banking(clock=lambda: 1_000_000 + late) as banked:
            till = await open_till(banked)
            cuts: list[Cut] = []
            strict = account(outage=OutageRule.STRICT)
            waiting = asking(banked, strict)
            await till.grants(await till.hears("ask"))
            hold = await waiting
            assert isinstance(hold, Hold)
            banked.holds.watch(hold, cuts.append)
            banked.holds.accrue(hold, NEED - 1_000_000)
            await till.hears("ask")
            late = age_ms
            most = NEED + steps * banked.holds.book.rules.step_nano
            banked.holds.accrue(hold, most)
            assert cuts == []
            banked.holds.accrue(hold, most + 1)
            (cut,) = cuts
            assert cut.reason is Reason.UNANSWERED
            banked.holds.settle(hold, most + 1)
            assert banked.holds.book.problems() == []

    on_loop(story())


def test_a_running_request_that_is_granted_more_goes_on(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            hold = await held(banked, till)
            banked.holds.accrue(hold, NEED - 1_000_000)
            ask = await till.hears("ask")
            (item,) = ask.items
            granted = pb.Granted(account=item.account, granted_cum=NEED + item.need_nano, amount_nano=item.need_nano)
            await till.says(grant=pb.Grant(ask_id=ask.ask_id, items=[granted]))
            while hold.charged == NEED:
                await asyncio.sleep(0)
            assert hold.charged == NEED + item.need_nano
            assert banked.counted('budget_extensions_total{from="asked"}') == 1

    on_loop(story())


def test_a_session_that_was_ended_begins_again_under_another_name_with_the_same_questions(on_loop):
    async def story():
        async with banking() as banked:
            first = await open_till(banked)
            waiting = asking(banked)
            await first.denies(await first.hears("ask"), pb.DENY_REASON_CLOSED)
            second = await banked.bank.till()
            hello = await second.welcomes()
            assert hello.session_id == "lse_2"
            await second.grants(await second.hears("ask"))
            hold = await waiting
            assert isinstance(hold, Hold)
            assert hold.session == "lse_2"

    on_loop(story())


def test_a_pod_that_is_told_at_the_door_that_its_session_is_over_takes_another(on_loop):
    async def story():
        async with banking() as banked:
            first = await banked.bank.till()
            await first.welcomes(closed=True)
            second = await banked.bank.till()
            assert (await second.welcomes()).session_id == "lse_2"

    on_loop(story())


def test_idle_money_is_given_back_when_somebody_else_needs_it(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            hold = await held(banked, till, amount=2 * NEED)
            (ref,) = banked.holds.book.slices
            wire = pb.AccountRef(budget_id=ref.budget_id, window_key=ref.window_key)
            await till.says(recall=pb.Recall(accounts=[wire]))
            returned = await till.hears("returned")
            assert (returned.account.budget_id, returned.returned_cum) == ("bud_1", NEED)
            assert hold.charged == NEED

    on_loop(story())


def test_reports_say_what_became_of_the_money_and_their_answers_what_is_known_of_the_accounts(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            hold = await held(banked, till)
            banked.holds.settle(hold, 7_000_000)
            while True:
                report = await till.hears("report")
                if report.accounts and report.accounts[0].consumed_cum:
                    break
            (said,) = report.accounts
            assert (said.granted_cum, said.consumed_cum, said.live_nano) == (NEED, 7_000_000, 0)
            state = pb.AccountState(limit_nano=2_000_000_000, settled_nano=1_700_000_000)
            known = pb.Granted(account=said.account, granted_cum=NEED, state=state)
            await till.says(report_ack=pb.HoldReportAck(seq=report.seq, accounts=[known], pods=3))
            ref = AccountRef("bud_1", "", said.account.window_key)
            while (found := banked.holds.state(ref)) is None or found.settled_nano != 1_700_000_000:
                await asyncio.sleep(0)
            assert banked.holds.book.contact.pods == 3
            warned = banked.holds.warning(hold)
            assert warned is not None
            assert warned[0].ref == ref

    on_loop(story())


def test_the_state_of_an_account_that_nobody_drew_on_can_be_asked_for(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked, report_ms=5_000)
            looking = asyncio.ensure_future(banked.holds.refresh([account()]))
            report = await till.hears("report")
            (said,) = report.accounts
            known = pb.Granted(account=said.account, state=pb.AccountState(limit_nano=2_000_000_000, settled_nano=5))
            await till.says(report_ack=pb.HoldReportAck(seq=report.seq, accounts=[known], pods=1))
            await looking
            state = banked.holds.state(account().ref)
            assert state is not None
            assert state.settled_nano == 5
            assert banked.holds.book.live == {}
            assert banked.holds.book.problems() == []

    on_loop(story())


def test_when_the_pod_ends_everything_goes_back(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            hold = await held(banked, till, amount=3 * NEED)
            banked.holds.settle(hold, 1_000_000)
            await banked.holds.close()
            assert (await till.hears("returned")).returned_cum == 3 * NEED - 1_000_000

    on_loop(story())


def test_windows_are_those_of_the_control_planes_clock(on_loop):
    async def story():
        async with banking() as banked:
            till = await banked.bank.till()
            await till.hears("hello")
            await till.says(welcome=pb.HoldWelcome(ttl_ms=60_000, report_ms=200, pods=1, server_time_ms=NOW))
            while not NOW <= banked.holds.at_ms() < NOW + 60_000:
                await asyncio.sleep(0.001)

    on_loop(story())


def test_an_account_that_the_control_plane_does_not_know_is_not_a_lost_contact(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked)
            waiting = asking(banked, account(outage=OutageRule.STRICT))
            await till.denies(await till.hears("ask"), pb.DENY_REASON_UNKNOWN)
            outcome = await waiting
            assert isinstance(outcome, Denied)
            assert outcome.reason is Reason.UNKNOWN
            assert banked.counted('budget_refusals_total{reason="unknown"}') == 1

    on_loop(story())


def test_what_went_back_because_of_an_edit_is_said_before_more_is_asked_for(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked, report_ms=5_000)
            await held(banked, till, 4 * NEED)
            stricter = account(lease_epoch=1)
            waiting = asking(banked, stricter, request="req_2")
            # Both in one message, of which the control plane takes what gives back first.
            assert (await till.hears("ask")).request_id == "req_2"
            assert (await till.hears("returned")).returned_cum == 3 * NEED
            waiting.cancel()

    on_loop(story())


def test_a_pod_that_is_told_of_no_window_of_a_kind_says_so_until_one_is_known(on_loop):
    now = 1_000_000

    async def story():
        nonlocal now
        async with banking(clock=lambda: now) as banked:
            till = await open_till(banked)
            strict = account(outage=OutageRule.STRICT)
            for number in range(3):
                assert banked.holds.problem() == ""
                waiting = asking(banked, strict, request=f"req_{number}")
                await till.denies(await till.hears("ask"), pb.DENY_REASON_UNKNOWN)
                await waiting
                now += 5_000
            assert "under a budget per month" in banked.holds.problem()
            await held(banked, till, request="req_9")
            assert banked.holds.problem() == ""

    on_loop(story())


def test_when_running_requests_go_by_other_rules_a_report_says_at_once_what_they_hold(on_loop):
    async def story():
        async with banking() as banked:
            till = await open_till(banked, report_ms=5_000)
            warns, blocks = account(on_breach=OnBreach.WARN), account(lease_epoch=1)
            hold = await asking(banked, warns)
            assert isinstance(hold, Hold)
            hold.draws = lambda before: (blocks,)
            banked.holds.configured()
            (said,) = (await till.hears("report")).accounts
            assert (said.free_nano, said.live_nano) == (-NEED, NEED)
            hold.draws = lambda before: before
            banked.holds.configured()
            assert not till.has_heard("report")

    on_loop(story())
