"""When it is no single budget that the control plane does not know, but every window of a kind."""

from __future__ import annotations

import pytest

from dataplane.core.money.unknown_windows import FORGOTTEN_MS, LONG_MS, OFTEN, UnknownWindows

MINUTE = "minute:2026-01-01T00:00Z@UTC"


def told(*at: int, key: str = MINUTE) -> UnknownWindows:
    windows = UnknownWindows()
    for now in at:
        windows.unknown(key, now)
    return windows


def test_long_and_often_is_a_problem_that_names_the_kind():
    assert "budget per minute is served" in told(0, 5_000, LONG_MS).problem(LONG_MS)


@pytest.mark.parametrize("at", [(0, 10, 20, 30, 40), (0, LONG_MS), (0, 1, FORGOTTEN_MS + 1)])
def test_a_budget_that_was_just_deleted_is_none(at: tuple[int, ...]):
    assert OFTEN > 2
    assert told(*at).problem(at[-1]) == ""


def test_a_budget_without_an_end_has_no_window_that_could_be_unknown():
    assert told(0, 5_000, LONG_MS, key="total").problem(LONG_MS) == ""


def test_another_kind_that_is_known_changes_nothing_and_the_same_kind_everything():
    windows = told(0, 5_000, LONG_MS)
    windows.served("day:2026-01-01@UTC")
    assert windows.problem(LONG_MS)
    windows.served("minute:2026-01-01T00:10Z@UTC")
    assert windows.problem(LONG_MS) == ""


def test_who_is_not_ready_is_not_asked_so_it_is_tried_again_after_a_while():
    windows = told(0, 5_000, LONG_MS)
    assert windows.problem(LONG_MS + FORGOTTEN_MS) == ""
    windows.unknown(MINUTE, LONG_MS + FORGOTTEN_MS)
    assert windows.problem(LONG_MS + FORGOTTEN_MS) == ""
