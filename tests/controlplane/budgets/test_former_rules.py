"""What began before a budget's windows were edited is booked in the window that it began in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.budgets import actions
from controlplane.budgets.charges import Cost, book_costs
from controlplane.budgets.models import Account, Budget
from controlplane.budgets.values import core_budget, moment, ms
from dataplane.core.money.messages import AccountRef
from dataplane.core.money.windows import window_at
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


def now_ms() -> int:
    return ms(timezone.now())


def charge(ref: AccountRef, started_ms: int, request: str = "req_1") -> None:
    book_costs([Cost(request, 0, "", (ref,), DOLLAR, started_ms)])


def settled() -> dict[str, int]:
    return dict(Account.objects.values_list("window_key", "settled_nano"))


def edited(**fields: Any) -> Callable[[Budget], Any]:
    return lambda budget: actions.update_budget(budget, by=factories.SYSTEM, **fields)


EDITS = {
    "window": edited(window="hour"),
    "timezone": edited(timezone="Pacific/Auckland"),
    "anchor": edited(anchor=5),
    "all of it": edited(window="month", timezone="Asia/Kolkata", anchor=31),
    "reset": lambda budget: actions.reset_budget(budget, by=factories.SYSTEM),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("on_breach", ["warn", "block"])
def test_the_first_charge_of_a_window_comes_after_the_edit(edit: Callable[[Budget], Any], on_breach: str) -> None:
    budget = factories.budget(on_breach=on_breach, window="day", timezone="Europe/Berlin")
    ref, started = ref_of(budget), now_ms()
    window = window_at(core_budget(budget, ()).rule, started)
    edit(budget)
    charge(ref, started)
    assert settled() == {ref.window_key: DOLLAR}
    after = AccountRef(budget.pk, "", window_at(core_budget(budget, ()).rule, now_ms()).key)
    charge(after, now_ms(), "req_2")
    assert settled() == {ref.window_key: DOLLAR, after.window_key: DOLLAR}
    stored = Account.objects.get(window_key=ref.window_key)
    assert (stored.starts_at, stored.ends_at) == (moment(window.starts_ms), moment(window.ends_ms))


def test_each_of_many_edits_has_its_window() -> None:
    budget = factories.budget(on_breach="warn", window="day")
    refs = []
    for window in ("week", "month", "hour", "total"):
        refs.append(ref_of(budget))
        actions.update_budget(budget, by=factories.SYSTEM, window=window)
        actions.update_budget(budget, by=factories.SYSTEM, name=f"by {window}")
    for number, ref in enumerate(refs):
        charge(ref, now_ms(), f"req_{number}")
    assert settled() == {ref.window_key: DOLLAR for ref in refs}


def test_no_window_is_opened_that_the_budget_never_had_or_had_too_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = factories.budget(on_breach="warn", window="day", timezone="Europe/Berlin")
    former, started = ref_of(budget), now_ms()
    edited(timezone="UTC")(budget)
    for wrong in (
        "day:2026-11-24@Mars",
        former.window_key.replace("Berlin", "Rome"),
        f"{former.window_key}#1",
        "total",
    ):
        charge(AccountRef(budget.pk, "", wrong), started)
    assert settled() == {}
    later = timezone.now() + timedelta(hours=3)
    monkeypatch.setattr(timezone, "now", lambda: later)
    charge(former, ms(later))
    assert settled() == {}
    charge(former, started)
    assert settled() == {former.window_key: DOLLAR}


def test_edits_are_read_once_however_many_windows_are_asked_for(
    django_assert_max_num_queries: Callable[[int], Any],
) -> None:
    budget = factories.budget(on_breach="warn", window="day")
    refs = tuple(AccountRef(budget.pk, "", f"day:{number}@UTC") for number in range(300))
    with django_assert_max_num_queries(15):
        book_costs([Cost("req_1", 0, "", refs, DOLLAR, now_ms())])
    assert settled() == {}
