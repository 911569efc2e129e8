"""Loops are answered from memory, others are not."""

from __future__ import annotations

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.proxy.repeats import MOST, REMEMBERED, WAIT_S, WITHIN_S, Repeats

SESSION = ("vk_1", "ses_1")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def looping(repeats: Repeats, times: int = MOST, body: bytes = b"{}") -> None:
    for _ in range(times):
        repeats.check(SESSION, body, 1)
        repeats.told(SESSION, body, 1, "spent")


def test_the_sixth_time_is_refused_in_the_same_words_with_a_wait():
    repeats = Repeats(Clock())
    looping(repeats)
    with pytest.raises(Refusal) as refused:
        repeats.check(SESSION, b"{}", 1)
    assert (refused.value.code, refused.value.message) == (Code.RATE_LIMITED, "spent")
    assert refused.value.retry_after == WAIT_S


@pytest.mark.parametrize(
    ("session", "body", "revision"), [(("vk_1", "ses_2"), b"{}", 1), (SESSION, b"{ }", 1), (SESSION, b"{}", 2)]
)
def test_another_session_another_request_and_a_new_configuration_are_not_the_loop(session, body, revision):
    repeats = Repeats(Clock())
    looping(repeats)
    repeats.check(session, body, revision)


def test_a_loop_that_goes_on_stays_refused_and_one_that_stopped_is_forgiven():
    clock = Clock()
    repeats = Repeats(clock)
    looping(repeats)
    for _ in range(20):
        clock.now += WITHIN_S / 5
        with pytest.raises(Refusal):
            repeats.check(SESSION, b"{}", 1)
    clock.now += WITHIN_S + 1
    repeats.check(SESSION, b"{}", 1)


def test_memory_is_bounded():
    repeats = Repeats(Clock())
    for number in range(REMEMBERED + 10):
        repeats.told(("vk_1", str(number)), b"{}", 1, "spent")
    assert len(repeats._told) == REMEMBERED
