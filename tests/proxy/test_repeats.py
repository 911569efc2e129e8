"""Loops are answered from memory, others are not."""

from __future__ import annotations

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.core.money.accounts import account_at
from dataplane.proxy.repeats import MOST, REMEMBERED, WAIT_S, WITHIN_S, Repeats
from tests.proxy.fake_holds import budget

SESSION = ("vk_1", "ses_1")
THIS_MONTH = (account_at(budget(), "", 0),)
NEXT_MONTH = (account_at(budget(), "", 40 * 86_400_000),)


SPENT = Refusal(Code.BUDGET_EXCEEDED, "spent", meta={"budget": "mine", "budget_id": "bud_1"})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def looping(repeats: Repeats, times: int = MOST, body: bytes = b"{}") -> None:
    for _ in range(times):
        repeats.check(SESSION, body, THIS_MONTH)
        repeats.remember(SESSION, body, THIS_MONTH, SPENT)


def test_the_sixth_time_is_refused_in_the_same_words_with_a_wait():
    repeats = Repeats(Clock())
    looping(repeats)
    with pytest.raises(Refusal) as refused:
        repeats.check(SESSION, b"{}", THIS_MONTH)
    assert (refused.value.code, refused.value.message) == (Code.RATE_LIMITED, "spent")
    assert (refused.value.retry_after, refused.value.budget_id) == (WAIT_S, "bud_1")


@pytest.mark.parametrize(
    ("session", "body", "accounts"),
    [(("vk_1", "ses_2"), b"{}", THIS_MONTH), (SESSION, b"{ }", THIS_MONTH), (SESSION, b"{}", NEXT_MONTH)],
)
def test_another_session_another_request_and_another_window_are_not_the_loop(session, body, accounts):
    repeats = Repeats(Clock())
    looping(repeats)
    repeats.check(session, body, accounts)


def test_a_loop_that_goes_on_stays_refused_and_one_that_stopped_is_forgiven():
    clock = Clock()
    repeats = Repeats(clock)
    looping(repeats)
    for _ in range(20):
        clock.now += WITHIN_S / 5
        with pytest.raises(Refusal):
            repeats.check(SESSION, b"{}", THIS_MONTH)
    clock.now += WITHIN_S + 1
    repeats.check(SESSION, b"{}", THIS_MONTH)


def test_memory_is_bounded():
    repeats = Repeats(Clock())
    for number in range(REMEMBERED + 10):
        repeats.remember(("vk_1", str(number)), b"{}", THIS_MONTH, SPENT)
    assert len(repeats._answers) == REMEMBERED
