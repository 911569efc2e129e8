"""What an edit of a budget does to money that is leased and to requests that run: stricter ones, and what goes away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataplane.core.money.accounts import Account, account_at
from dataplane.core.money.lease_book import Cut, Denied, Hold
from dataplane.core.money.lease_epochs import EPOCH_LAG_MS, epoch_at, stricter
from dataplane.core.money.lessor import AccountRow, LeaseRow, Lessor, SessionRow
from dataplane.core.money.messages import (
    AccountReport,
    Ask,
    AskItem,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Granted,
    Report,
    Return,
    Welcome,
)
from dataplane.core.money.windows import WindowKind
from dataplane.core.rows import OnBreach, OutageRule, Override
from tests.core.money.budget_world import EPOCH_MS, budget
from tests.core.money.test_lease_book import CENT, Talk

STRICTER: tuple[dict[str, Any], ...] = (
    {"limit_nano": 1},
    {"overdraft_nano": 0},
    {"on_breach": OnBreach.BLOCK},
    {"outage": OutageRule.STRICT},
    {"enabled": True},
    {"provider_id": ""},
    {"provider_id": "prv_2"},
    {"model_pattern": ""},
    {"model_pattern": "gpt-*"},
    {"window": WindowKind.DAY},
    {"timezone": "Europe/Berlin"},
    {"anchor": 5},
)
LENIENT: tuple[dict[str, Any], ...] = (
    {"limit_nano": 10**12},
    {"overdraft_nano": 10**12},
    {"outage": OutageRule.OPEN},
    {"name": "another"},
    {"thresholds": (50,)},
    {"contact": "somebody"},
    {"resets": 1},
)
LOOSE = budget(
    *("bud_1",),
    on_breach=OnBreach.WARN,
    overdraft_nano=5,
    enabled=False,
    provider_id="prv_1",
    model_pattern="claude-*",
    window=WindowKind.MONTH,
)


@pytest.mark.parametrize("changes", STRICTER, ids=str)
def test_an_edit_that_could_refuse_more_is_stricter(changes: dict[str, Any]):
    assert stricter(LOOSE, replace(LOOSE, **changes))


@pytest.mark.parametrize("changes", LENIENT, ids=str)
def test_any_other_edit_is_not(changes: dict[str, Any]):
    assert not stricter(LOOSE, replace(LOOSE, **changes))


def test_what_is_taken_away_or_narrowed_is_not_stricter():
    wide = replace(LOOSE, enabled=True, on_breach=OnBreach.BLOCK, provider_id="", model_pattern="")
    for changes in (
        {"enabled": False},
        {"on_breach": OnBreach.WARN},
        {"provider_id": "prv_1"},
        {"model_pattern": "gpt-*"},
    ):
        assert not stricter(wide, replace(wide, **changes))


def test_an_override_that_ends_opens_an_epoch_and_pods_open_it_a_little_later():
    row = budget(lease_epoch=3, overrides=(Override(CENT, EPOCH_MS), Override(CENT, 0)))
    assert [epoch_at(row, EPOCH_MS + at) for at in (-1, 0, 1)] == [3, 4, 4]
    moments = (-1, 0, EPOCH_LAG_MS - 1, EPOCH_LAG_MS)
    seen = [account_at(row, "", EPOCH_MS + at) for at in moments]
    assert [account.epoch for account in seen] == [3, 3, 3, 4]
    assert [account.limit_nano - row.limit_nano for account in seen] == [2 * CENT, CENT, CENT, CENT]
    assert [account.until_ms for account in seen] == [EPOCH_MS, EPOCH_MS + EPOCH_LAG_MS, EPOCH_MS + EPOCH_LAG_MS, 0]


class Edited(Talk):
    """A pod with one budget, under rules that change. `draws`: what a running request draws on now."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.row = budget(limit_nano=1_000 * CENT, **fields)
        self.drawn: tuple[Account, ...] = ()
        self.edit()

    def edit(self, **changes: Any) -> Account:
        self.now += 1
        self.row = replace(self.row, revision=self.row.revision + 1, **changes)
        self.drawn = (account_at(self.row, "", EPOCH_MS),)
        return self.drawn[0]

    def runs(self, **fields: Any) -> Hold:
        """A request that holds something and goes by the rules of now."""
        hold = self.held(self.drawn[0], **fields)
        hold.draws = lambda before: self.drawn
        return hold

    def grant(self, ask: Any, amount: int | None = None, state: Any = None) -> Any:
        (item,) = ask.items
        return self.says(ask, item.need_nano if amount is None else amount, self.row.lease_epoch)

    def part(self) -> Any:
        return self.slice(self.drawn[0])

    def says(self, ask: Any, amount: int, epoch: int) -> Any:
        """A grant that was made in this epoch."""
        assert isinstance(ask, Ask)
        (item,) = ask.items
        total = self.granted_cum[item.account] = self.granted_cum.get(item.account, 0) + amount
        self.now += 1
        granted = Granted(item.account, total, amount, self.part().state, epoch)
        return self.book.granted(Grant(ask.ask_id, (granted,)), self.now)


def test_after_a_stricter_edit_nothing_is_admitted_on_what_was_leased_before():
    talk = Edited()
    talk.runs(lease=100 * CENT)
    ask = talk.hold(talk.edit(lease_epoch=1))
    assert isinstance(ask, Ask)
    assert talk.book.withdrawn(ask) == (Return(talk.drawn[0].ref, 90 * CENT),)
    assert talk.book.withdrawn(ask) == ()
    assert (talk.part().free, talk.part().live) == (0, 10 * CENT)
    assert isinstance(talk.says(ask, 10 * CENT, 1), Hold)
    assert talk.fine()


def test_a_running_request_finishes_what_it_holds_and_asks_for_more_in_the_new_epoch():
    talk = Edited()
    hold = talk.runs(lease=100 * CENT)
    talk.edit(lease_epoch=1)
    assert talk.book.accrue(hold, 2 * CENT, talk.now) is None
    asked = talk.book.accrue(hold, 9 * CENT, talk.now)
    assert isinstance(asked, Ask)
    assert talk.part().free == 0
    assert talk.deny(asked) is None
    assert hold.charged == 10 * CENT
    assert talk.fine()


def test_what_a_request_of_an_older_epoch_leaves_goes_back_and_what_a_newer_one_leaves_is_free():
    talk = Edited()
    old = talk.runs(lease=10 * CENT)
    ask = talk.hold(talk.edit(lease_epoch=1))
    talk.now += 1
    new = talk.says(ask, 10 * CENT, 1)
    talk.book.settle(old, 4 * CENT, talk.now)
    assert (talk.part().free, talk.part().returned) == (0, 6 * CENT)
    assert talk.book.surplus(old) == (Return(talk.drawn[0].ref, 6 * CENT),)
    talk.book.settle(new, 4 * CENT, talk.now)
    assert (talk.part().free, talk.part().returned) == (6 * CENT, 6 * CENT)
    assert talk.fine()


def test_a_grant_that_was_made_before_the_edit_and_comes_after_it_is_given_back_and_asked_for_anew():
    talk = Edited()
    ask = talk.hold(talk.drawn[0])
    account = talk.edit(lease_epoch=1)
    other = talk.hold(account, need=1 * CENT)
    again = talk.says(ask, 50 * CENT, 0)
    assert isinstance(again, Ask)
    assert (talk.part().free, talk.part().returned) == (0, 50 * CENT)
    assert isinstance(talk.says(again, 10 * CENT, 1), Hold)
    assert isinstance(other, Ask)
    assert talk.fine()


def test_of_a_grant_that_tells_of_an_older_one_only_its_own_money_is_spent():
    talk = Edited()
    talk.runs(lease=10 * CENT)
    late = talk.hold(talk.drawn[0])
    ask = talk.hold(talk.edit(lease_epoch=1))
    talk.granted_cum[talk.drawn[0].ref] += 30 * CENT  # decided before the edit, and still on its way
    assert isinstance(talk.says(ask, 10 * CENT, 1), Hold)
    assert (talk.part().free, talk.part().returned) == (0, 30 * CENT)
    assert isinstance(late, Ask)
    assert talk.fine()


def test_a_pod_that_has_not_got_the_edit_hears_of_it_with_a_grant():
    talk = Edited()
    talk.runs(lease=50 * CENT)
    ask = talk.hold(talk.drawn[0], need=60 * CENT, minimum=60 * CENT)
    assert isinstance(ask, Ask)
    again = talk.says(ask, 20 * CENT, 1)
    assert isinstance(again, Ask)
    assert [item.need_nano for item in again.items] == [40 * CENT]
    assert talk.part().returned == 40 * CENT
    assert talk.fine()


def test_after_a_reconnect_what_the_pod_had_not_heard_of_is_of_the_older_epoch():
    talk = Edited()
    talk.runs(lease=10 * CENT)
    talk.hold(talk.edit(lease_epoch=1))
    talk.book.lost_contact(talk.now)
    talk.book.hello(talk.now)
    granted = Granted(talk.drawn[0].ref, 40 * CENT, 0, talk.part().state, 1)
    assert talk.book.welcomed(Welcome(60_000, 5_000, False, (granted,), 1), talk.now)
    assert (talk.part().free, talk.part().returned) == (0, 30 * CENT)
    assert talk.fine()


def test_after_the_database_was_restored_its_older_epoch_holds():
    talk = Edited(lease_epoch=4)
    talk.runs(lease=10 * CENT)
    talk.hold(talk.edit(lease_epoch=5))
    account = talk.edit(lease_epoch=2)
    ask = talk.hold(account)
    assert isinstance(ask, Ask)
    assert isinstance(talk.says(ask, 10 * CENT, 2), Hold)
    assert talk.fine()


def test_what_waits_for_an_answer_keeps_nothing_of_an_older_epoch():
    talk = Edited()
    talk.book.settle(talk.runs(lease=10 * CENT), 0, talk.now)
    ask = talk.hold(talk.drawn[0], need=30 * CENT, minimum=30 * CENT)
    assert isinstance(ask, Ask)
    assert talk.part().parked == 10 * CENT
    talk.edit(lease_epoch=1)
    assert isinstance(talk.hold(talk.drawn[0]), Ask)
    again = talk.says(ask, 20 * CENT, 1)
    assert isinstance(again, Ask)
    assert [item.need_nano for item in again.items] == [10 * CENT]
    assert talk.fine()


def test_a_budget_that_begins_to_block_tells_at_once_what_its_requests_hold_beyond_their_leases():
    talk = Edited(on_breach=OnBreach.WARN)
    hold = talk.hold(talk.drawn[0])
    assert isinstance(hold, Hold)
    hold.draws = lambda before: talk.drawn
    talk.book.configured(talk.now)
    assert not talk.book.configured(talk.now)
    talk.edit(on_breach=OnBreach.BLOCK, lease_epoch=1)
    assert talk.book.configured(talk.now)
    (report,) = talk.book.report(talk.now, EPOCH_MS).accounts
    assert (report.free_nano, report.live_nano) == (-10 * CENT, 10 * CENT)


def test_what_requests_of_one_pod_hold_beyond_their_leases_is_not_granted_to_another():
    row = account_at(budget(), "", EPOCH_MS)
    lessor = Lessor(
        [AccountRow(row.ref, 20 * CENT, 0, True, epoch=4)],
        [LeaseRow("pod_1", row.ref)],
        [SessionRow(name, EPOCH_MS + 60_000) for name in ("pod_1", "pod_2")],
    )
    owed = AccountReport(row.ref, -15 * CENT, 15 * CENT, 0, 0, 0, 0)
    lessor.report("pod_1", Report(1, (owed,), ()), EPOCH_MS)

    def asks(number: int, pod: str, need: int) -> Any:
        ask = Ask(number, AskKind.ADMIT, f"req_{number}", 0, (AskItem(row.ref, need, need, 0),))
        return lessor.ask(pod, ask, EPOCH_MS, recalls=99)

    assert isinstance(asks(1, "pod_2", 10 * CENT), Deny)
    granted = asks(2, "pod_1", 18 * CENT)  # its own debt, and 3 more
    assert isinstance(granted, Grant)
    assert (granted.items[0].amount_nano, granted.items[0].lease_epoch) == (18 * CENT, 4)
    assert isinstance(asks(3, "pod_2", 2 * CENT), Grant)
    assert list(lessor.problems()) == []


# ---- what is taken away -------------------------------------------------------------------------------------------


def gone(talk: Edited) -> None:
    talk.edit()
    talk.drawn = ()


GONE = {
    "deleted, disabled or narrowed": gone,
    "only warns": lambda talk: talk.edit(on_breach=OnBreach.WARN),
    "reset": lambda talk: talk.edit(resets=1),
}


@pytest.mark.parametrize("how", GONE.values(), ids=GONE)
def test_a_budget_that_is_taken_away_does_not_cut_what_runs(how: Any):
    talk = Edited(outage=OutageRule.STRICT)
    hold = talk.runs(lease=10 * CENT)
    how(talk)
    for accrued in (9, 50, 500):
        assert talk.book.accrue(hold, accrued * CENT, talk.now) is None
        assert hold.charged > accrued * CENT
    part = hold.slices[0]
    talk.book.settle(hold, 500 * CENT, talk.now)
    assert (part.consumed, part.live) == (500 * CENT, 0)
    assert talk.fine()


@pytest.mark.parametrize("how", GONE.values(), ids=GONE)
def test_a_refusal_that_comes_after_the_edit_does_not_cut_either(how: Any):
    talk = Edited()
    hold = talk.runs(lease=10 * CENT)
    ask = talk.book.accrue(hold, 10 * CENT, talk.now)
    assert isinstance(ask, Ask)
    how(talk)
    assert talk.deny(ask) is hold
    assert hold.charged > 10 * CENT
    assert talk.fine()


@pytest.mark.parametrize("how", GONE.values(), ids=GONE)
def test_without_contact_the_new_rules_decide(how: Any):
    talk = Edited(outage=OutageRule.STRICT)
    hold = talk.runs(lease=10 * CENT)
    talk.book.lost_contact(talk.now)
    how(talk)
    talk.now += 200_000
    assert talk.book.accrue(hold, 20 * CENT, talk.now) is None
    assert hold.charged > 20 * CENT


def test_without_contact_a_stricter_outage_rule_that_was_heard_of_decides():
    talk = Edited(outage=OutageRule.OPEN)
    hold = talk.runs(lease=10 * CENT)
    talk.edit(outage=OutageRule.STRICT, lease_epoch=1)
    talk.book.lost_contact(talk.now)
    talk.now += 200_000
    assert isinstance(talk.book.accrue(hold, 20 * CENT, talk.now), Cut)


def test_the_control_plane_has_no_such_account_any_more_and_the_pod_has_not_heard_of_it():
    talk = Edited(outage=OutageRule.STRICT)
    hold = talk.runs(lease=10 * CENT)
    ask = talk.book.accrue(hold, 10 * CENT, talk.now)
    assert talk.deny(ask, DenyReason.UNKNOWN) is hold
    assert talk.book.accrue(hold, 90 * CENT, talk.now) is None
    assert talk.fine()


def test_an_account_that_the_control_plane_never_knew_is_left_to_the_outage_rule():
    talk = Edited(outage=OutageRule.STRICT)
    ask = talk.hold(talk.drawn[0])
    assert isinstance(talk.deny(ask, DenyReason.UNKNOWN), Denied)


def test_the_other_budgets_of_the_request_still_cut_it():
    talk = Edited()
    other = account_at(budget("bud_2", limit_nano=1_000 * CENT), "", EPOCH_MS)
    hold = Talk.grant(talk, talk.hold(*talk.drawn, other), 10 * CENT)
    hold.draws = lambda before: (other,)
    ask = talk.book.accrue(hold, 10 * CENT, talk.now)
    assert isinstance(ask, Ask)
    assert [item.account for item in ask.items] == [other.ref]
    assert isinstance(talk.deny(ask), Cut)


def test_a_budget_that_is_there_again_cuts_again():
    talk = Edited()
    hold = talk.runs(lease=10 * CENT)
    drawn, talk.drawn = talk.drawn, ()
    assert talk.book.accrue(hold, 20 * CENT, talk.now) is None
    talk.drawn = drawn
    assert isinstance(talk.book.accrue(hold, 200 * CENT, talk.now), Ask)


def test_when_its_window_ends_a_request_stays_on_the_account_of_its_window_under_the_rules_of_now():
    talk = Edited(window=WindowKind.MINUTE)
    hold = talk.runs(lease=10 * CENT)
    ref = hold.slices[0].account.ref
    later = account_at(replace(talk.row, limit_nano=1, lease_epoch=1), "", EPOCH_MS + 60_000)
    talk.drawn = (later,)
    ask = talk.book.accrue(hold, 20 * CENT, talk.now)
    assert isinstance(ask, Ask)
    assert [item.account for item in ask.items] == [ref]
    assert hold.slices[0].account.limit_nano == 1
