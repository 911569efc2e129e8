"""What people and programs are told of a budget."""

from __future__ import annotations

import pytest

from dataplane.core.errors import Code
from dataplane.core.money import words as budget_words
from dataplane.core.money.accounts import account_at
from dataplane.core.money.messages import AccountState
from dataplane.core.money.windows import WindowKind
from dataplane.core.snapshot import Snapshot
from tests.core import build
from tests.proxy.fake_holds import DOLLAR, budget

NOW = 1_767_225_600_000
VIEW = Snapshot.EMPTY.apply(1, [build.organization(contact="it@acme.test")]).view("org_1")


@pytest.mark.parametrize(
    ("nano", "said"),
    [
        (0, "$0.00"), (1, "$0.000000001"), (1_500, "$0.000001"), (9_990_000, "$0.0099"), (10_000_000, "$0.01"),
        (2 * DOLLAR, "$2.00"), (1_234_567 * DOLLAR + 999_999_999, "$1,234,567.99"),
    ],
)  # fmt: skip
def test_money_reads_as_money(nano: int, said: str):
    assert budget_words.cents(nano) == said


def test_the_amounts_of_a_sentence_are_as_precise_as_its_limit():
    tiny = budget_words.exhausted(VIEW, account_at(budget(limit_nano=5), "", NOW), AccountState(5), NOW)
    assert "$0.000000000 of $0.000000005 spent" in tiny.message
    assert (tiny.meta["spent"], tiny.meta["limit"]) == ("$0.000000000", "$0.000000005")
    account = account_at(budget(), "", NOW)
    assert "$0.00 of $2.00 spent" in budget_words.exhausted(VIEW, account, AccountState(2 * DOLLAR, 5), NOW).message
    assert budget_words.standing(account, AccountState(2 * DOLLAR, 5), NOW)["spent"] == "$0.00"


def test_a_refusal_names_budget_scope_window_spent_limit_reset_and_contact():
    account = account_at(budget(), "", NOW)
    refusal = budget_words.exhausted(VIEW, account, AccountState(2 * DOLLAR, 1_900_000_000, 90_000_000), NOW)
    assert refusal.code is Code.BUDGET_EXCEEDED
    assert refusal.message == (
        "Budget 'the team's' (organization Acme, monthly) is used up: $1.90 of $2.00 spent, $0.09 set aside for "
        "running requests; resets 2026-02-01 00:00 UTC. Ask ops@acme.test to raise it."
    )


def test_a_limit_that_was_lowered_below_what_is_spent_explains_the_figures():
    account = account_at(budget(overdraft_nano=DOLLAR // 10), "", NOW)
    lowered = budget_words.exhausted(VIEW, account, AccountState(2 * DOLLAR, 3 * DOLLAR), NOW).message
    assert "$3.00 of $2.00 spent (above the limit, which was lowered, or stopped nothing, before); resets" in lowered
    overdrawn = budget_words.exhausted(VIEW, account, AccountState(2 * DOLLAR, 2 * DOLLAR + DOLLAR // 10), NOW).message
    assert "$2.10 of $2.00 spent; resets" in overdrawn


def test_without_a_contact_of_its_own_a_budget_names_the_organizations_and_a_total_never_resets():
    account = account_at(budget(contact="", window=WindowKind.TOTAL), "", NOW)
    refusal = budget_words.exhausted(VIEW, account, AccountState(2 * DOLLAR, 2 * DOLLAR), NOW)
    assert refusal.message.endswith("is used up: $2.00 of $2.00 spent. Ask it@acme.test to raise it.")
    assert refusal.meta["resets_at"] == ""


def test_names_are_fit_for_a_terminal():
    account = account_at(budget(name="a\x1b[31m" + "b" * 500), "", NOW)
    message = budget_words.exhausted(VIEW, account, AccountState(), NOW).message
    assert message.isprintable()
    assert len(message) < 400


def test_idle_leases_are_not_said_to_be_spent():
    account = account_at(budget(), "", NOW)
    said = budget_words.standing(account, AccountState(2 * DOLLAR, DOLLAR, 500_000_000, 400_000_000), NOW)
    assert (said["spent"], said["held"], said["remaining"], said["percent"]) == ("$1.00", "$0.10", "$0.90", 55)
