"""What the control plane decides about leases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money.lessor import AccountRow, Lessor, LessorRules, Recalls, SessionState
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
    Hello,
    Report,
    Return,
)

CENT = 10_000_000
REF, OTHER = AccountRef("bud_1", "", "total"), AccountRef("bud_2", "", "total")
RULES = LessorRules()


class Books:
    """The books of two accounts, and some pods that have said hello."""

    def __init__(self, limit: int = 100 * CENT, *, overdraft: int = 0, blocks: bool = True, pods: int = 1) -> None:
        self.now = 1_000_000
        rows = [AccountRow(ref, limit, overdraft, blocks, 77) for ref in (REF, OTHER)]
        self.lessor = Lessor(rows)
        self.count = 0
        for number in range(1, pods + 1):
            self.lessor.hello(Hello(f"pod_{number}", ()), self.now)

    def ask(self, need: int, *, least: int | None = None, want: int = 0, pod: int = 1, **fields: Any) -> Any:
        self.count += 1
        refs = fields.get("refs", (REF,))
        items = tuple(AskItem(ref, need, need if least is None else least, want) for ref in refs)
        kind = fields.get("kind", AskKind.ADMIT)
        ask = Ask(fields.get("ask_id", self.count), kind, "req", 0, items)
        return self.lessor.ask(f"pod_{pod}", ask, self.now, fields.get("recalls", 0))

    def report(self, pod: int = 1, *, free: int = 0, live: int = 0, returned: int = 0, want: int = 0) -> Any:
        said = AccountReport(REF, free, live, 0, 0, returned, want)
        return self.lessor.report(f"pod_{pod}", Report(1, (said,), ()), self.now)

    @property
    def account(self) -> AccountRow:
        return self.lessor.accounts[REF]

    def fine(self) -> bool:
        return list(self.lessor.problems()) == []


def amounts(reply: Any) -> list[int]:
    assert isinstance(reply, Grant)
    return [item.granted_cum for item in reply.items]


def test_what_is_granted_is_held():
    books = Books()
    reply = books.ask(30 * CENT)
    assert amounts(reply) == [30 * CENT]
    assert reply.items[0].state == AccountState(100 * CENT, 0, 30 * CENT, 0)
    assert books.fine()


def test_the_same_ask_gets_the_same_answer_and_holds_once():
    books = Books()
    first, second = books.ask(60 * CENT, ask_id=5), books.ask(60 * CENT, ask_id=5)
    assert first is second
    assert books.account.held == 60 * CENT


def test_all_accounts_or_none():
    books = Books()
    books.lessor.set_limit(OTHER, 10 * CENT, 0, True)
    denied = books.ask(20 * CENT, refs=(REF, OTHER))
    assert isinstance(denied, Deny)
    assert (denied.account, denied.state.limit_nano, denied.resets_at_ms) == (OTHER, 10 * CENT, 77)
    assert books.account.held == 0


def test_the_last_of_it_goes_to_whoever_can_do_with_less():
    books = Books()
    books.ask(95 * CENT)
    assert isinstance(books.ask(20 * CENT, least=6 * CENT), Deny)
    assert amounts(books.ask(20 * CENT, least=5 * CENT)) == [100 * CENT]


def test_a_pod_that_has_some_itself_needs_less_than_its_minimum():
    books = Books()
    books.ask(100 * CENT)
    assert amounts(books.ask(20 * CENT, least=-1)) == [100 * CENT]  # a grant of nothing


def test_plenty_is_leased_generously_and_little_is_not():
    books = Books(10_000 * CENT)
    assert amounts(books.ask(10 * CENT, want=500 * CENT)) == [510 * CENT]
    scarce = Books(80 * CENT)
    assert amounts(scarce.ask(10 * CENT, want=500 * CENT)) == [10 * CENT]


def test_never_more_than_a_quarter_of_the_rest_split_over_its_pods():
    books = Books(1_010 * CENT, pods=2)
    assert amounts(books.ask(10 * CENT, want=5_000 * CENT)) == [260 * CENT]
    assert amounts(books.ask(10 * CENT, want=5_000 * CENT, pod=2)) == [10 * CENT + 740 * CENT // 8]


def test_a_running_stream_may_use_the_overdraft_and_a_new_request_may_not():
    books = Books(overdraft=10 * CENT)
    books.ask(95 * CENT)
    assert isinstance(books.ask(10 * CENT), Deny)
    assert amounts(books.ask(10 * CENT, kind=AskKind.EXTEND)) == [105 * CENT]
    assert (books.account.overdraft_used, books.account.excess) == (5 * CENT, 0)
    assert amounts(books.ask(10 * CENT, least=1, kind=AskKind.EXTEND)) == [110 * CENT]
    assert isinstance(books.ask(CENT, least=1, kind=AskKind.EXTEND), Deny)
    assert books.fine()


def test_a_warn_budget_grants_beyond_its_limit():
    books = Books(blocks=False)
    assert amounts(books.ask(500 * CENT)) == [500 * CENT]
    assert books.account.excess == 400 * CENT
    assert books.fine()


# ---- recalls ---------------------------------------------------------------------------------------------------


def test_before_a_refusal_others_are_asked_for_what_idles():
    books = Books(pods=2)
    books.ask(90 * CENT, pod=2)
    books.report(2, free=90 * CENT)
    recalls = books.ask(50 * CENT)
    assert recalls == Recalls({"pod_2": (REF,)}, (REF,))
    assert books.ask(50 * CENT, recalls=1) == Recalls({}, (REF,))  # wait for the answer
    books.lessor.returned("pod_2", Return(REF, 80 * CENT))
    assert amounts(books.ask(50 * CENT, recalls=2)) == [50 * CENT]
    assert books.account.held == 60 * CENT
    assert books.fine()


def test_a_stream_that_runs_is_answered_after_one_recall_whoever_has_not_said_anything():
    books = Books(pods=2)
    books.ask(90 * CENT, pod=2)
    assert isinstance(books.ask(50 * CENT, kind=AskKind.EXTEND), Deny)  # nobody has said that anything idles
    books.report(2, free=90 * CENT)
    assert isinstance(books.ask(50 * CENT, kind=AskKind.EXTEND), Recalls)
    assert isinstance(books.ask(50 * CENT, kind=AskKind.EXTEND, recalls=1), Deny)


def test_a_refusal_waits_once_for_what_others_may_just_have_left():
    books = Books(pods=2)
    books.ask(90 * CENT, pod=2)
    assert books.ask(50 * CENT) == Recalls({}, (REF,))
    books.lessor.returned("pod_2", Return(REF, 80 * CENT))
    assert amounts(books.ask(50 * CENT, recalls=1)) == [50 * CENT]
    assert isinstance(books.ask(50 * CENT, recalls=1), Deny)


def test_a_pod_that_does_not_answer_is_not_waited_for_again_at_once():
    books = Books(pods=2)
    books.ask(90 * CENT, pod=2)
    books.report(2, free=90 * CENT)
    assert isinstance(books.ask(50 * CENT), Recalls)
    books.now += RULES.answer_ms
    assert isinstance(books.ask(50 * CENT, recalls=1), Deny)
    books.now += RULES.recall_again_ms
    assert isinstance(books.ask(50 * CENT), Recalls)
    assert isinstance(books.ask(50 * CENT, recalls=RULES.recalls), Deny)


def test_what_is_given_back_counts_once():
    books = Books()
    books.ask(90 * CENT)
    for _ in range(3):
        books.lessor.returned("pod_1", Return(REF, 30 * CENT))
    books.lessor.returned("pod_1", Return(REF, 10 * CENT))  # late
    assert books.account.held == 60 * CENT
    assert books.fine()


# ---- reports ---------------------------------------------------------------------------------------------------


def test_a_report_is_topped_up_while_there_is_plenty():
    books = Books(1_000 * CENT)
    assert amounts_of(books.report(live=CENT, want=50 * CENT)) == [(50 * CENT, 50 * CENT)]
    assert amounts_of(Books(100 * CENT).report(live=CENT, want=500 * CENT)) == [(0, 0)]
    assert books.fine()


def amounts_of(ack: Any) -> list[tuple[int, int]]:
    return [(item.granted_cum, item.amount_nano) for item in ack.accounts]


def test_a_report_tells_how_much_idles_everywhere():
    books = Books(pods=2)
    books.ask(40 * CENT, pod=2)
    books.report(2, free=30 * CENT, live=10 * CENT)
    assert books.report().accounts[0].state == AccountState(100 * CENT, 0, 40 * CENT, 30 * CENT)


# ---- what requests cost ----------------------------------------------------------------------------------------


def test_a_charge_moves_from_held_to_settled():
    books = Books()
    books.ask(30 * CENT)
    books.lessor.charge("pod_1", (REF,), 20 * CENT)
    assert (books.account.settled, books.account.held) == (20 * CENT, 10 * CENT)
    books.lessor.charge("pod_1", (REF,), -5 * CENT)  # a correction
    assert (books.account.settled, books.account.held) == (15 * CENT, 15 * CENT)
    assert books.fine()


def test_what_cost_more_than_it_held_is_excess_and_repaid_by_the_next_grant():
    books = Books()
    books.ask(100 * CENT)
    books.lessor.charge("pod_1", (REF,), 130 * CENT)
    assert (books.account.settled, books.account.held, books.account.excess) == (130 * CENT, 0, 30 * CENT)
    books.lessor.set_limit(REF, 200 * CENT, 0, True)
    assert amounts(books.ask(35 * CENT)) == [135 * CENT]  # 5 cents and the debt
    assert (books.account.held, books.account.excess) == (5 * CENT, 0)
    assert books.fine()


@pytest.mark.parametrize("session", ["", "unknown"])
def test_a_charge_without_a_lease_is_settled_all_the_same(session):
    books = Books()
    books.lessor.charge(session, (REF, AccountRef("gone", "", "total")), 20 * CENT)
    assert (books.account.settled, books.account.held) == (20 * CENT, 0)


def test_a_lowered_limit_stops_new_grants_and_breaks_nothing():
    books = Books()
    books.ask(60 * CENT)
    books.lessor.set_limit(REF, 50 * CENT, 0, True)
    assert books.account.excess == 10 * CENT
    assert isinstance(books.ask(CENT), Deny)
    books.lessor.set_limit(REF, 70 * CENT, 0, True)
    assert amounts(books.ask(10 * CENT)) == [70 * CENT]
    assert books.fine()


# ---- sessions --------------------------------------------------------------------------------------------------


def test_a_silent_session_expires_after_its_ttl_and_grace_and_keeps_what_it_holds():
    books = Books()
    books.ask(60 * CENT)
    books.now += RULES.ttl_ms + RULES.grace_ms - 1
    assert books.lessor.overdue(books.now) == ((), ())
    books.now += 1
    assert books.lessor.overdue(books.now) == (("pod_1",), ())
    books.lessor.expire("pod_1")
    assert books.account.held == 60 * CENT
    assert books.lessor.overdue(books.now) == ((), ())


def test_a_session_that_is_back_before_its_end_goes_on():
    books = Books()
    books.ask(60 * CENT)
    books.lessor.expire("pod_1")
    welcome = books.lessor.hello(Hello("pod_1", (AccountReport(REF, 0, 0, 0, 0, 10 * CENT, 0),)), books.now)
    assert not welcome.closed
    assert [item.granted_cum for item in welcome.accounts] == [60 * CENT]
    assert books.lessor.sessions["pod_1"].state is SessionState.OPEN
    assert books.account.held == 50 * CENT
    assert books.fine()


def test_after_the_suspense_its_money_is_free_and_it_never_opens_again():
    books = Books(pods=2)
    books.ask(60 * CENT)
    books.lessor.expire("pod_1")
    books.now += RULES.ttl_ms + RULES.grace_ms + RULES.suspense_ms
    assert books.lessor.overdue(books.now)[1] == ("pod_1",)
    books.lessor.close("pod_1")
    assert books.account.held == 0
    assert books.lessor.hello(Hello("pod_1", ()), books.now).closed
    assert books.report() is None
    denied = books.ask(CENT)
    assert isinstance(denied, Deny)
    assert denied.reason is DenyReason.CLOSED
    books.lessor.charge("pod_1", (REF,), 7 * CENT)  # a record that came late
    assert (books.account.settled, books.account.held) == (7 * CENT, 0)
    assert books.fine()


def test_an_ask_renews_a_session_whose_reports_got_lost():
    books = Books()
    books.now += RULES.ttl_ms + 1
    assert isinstance(books.ask(CENT), Grant)
    assert books.lessor.overdue(books.now + RULES.grace_ms) == ((), ())


def test_an_account_that_nobody_knows_is_no_reason_to_refuse_for_good():
    denied = Books().ask(CENT, refs=(REF, AccountRef("bud_gone", "", "total")))
    assert isinstance(denied, Deny)
    assert denied.reason is DenyReason.UNKNOWN


def test_rows_are_told_once_they_changed_and_then_not_again():
    books = Books()
    books.lessor.changed()
    books.ask(CENT)
    changed = books.lessor.changed()
    assert ([row.ref for row in changed.accounts], [row.granted for row in changed.leases]) == ([REF], [CENT])
    again = books.lessor.changed()
    assert (again.accounts, again.leases, again.sessions) == ([], [], [])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "report", "owe", "return", "charge", "close"]),
            st.integers(1, 3),
            st.integers(0, 60),
        )
    )
)
def test_what_idles_and_what_is_owed_are_sums_over_the_leases_whatever_happened(steps: list[tuple[str, int, int]]):
    books = Books(1_000 * CENT, pods=3)
    for kind, pod, amount in steps:
        books.now += amount * 1_000
        match kind:
            case "ask":
                books.ask(amount * CENT, want=3 * amount * CENT, pod=pod, recalls=99)
            case "report":
                books.report(pod, free=amount * CENT, want=amount * CENT)
            case "owe":
                books.report(pod, free=-amount * CENT)
            case "return":
                books.lessor.returned(f"pod_{pod}", Return(REF, amount * CENT))
            case "charge":
                books.lessor.charge(f"pod_{pod}", [REF], amount * CENT)
            case "close":
                books.lessor.close(f"pod_{pod}")
        fresh = Lessor(
            books.lessor.accounts.values(), books.lessor.leases.get(REF, {}).values(), books.lessor.sessions.values()
        )
        assert books.lessor.state(REF) == fresh.state(REF)
        for name in ("pod_1", "pod_2", "pod_3"):
            sums = [
                (leases.pods_on(REF, name, books.now, RULES.active_ms), leases.owed(REF, name))
                for leases in (books.lessor.leases, fresh.leases)
            ]
            assert sums[0] == sums[1]
