"""Figures in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.console.usage.export import safe
from controlplane.pages import wording
from controlplane.pages.charts import HEIGHT, WIDTH, bar_chart
from controlplane.pages.recipes import RECIPES, CliTarget
from controlplane.pages.wording import age, count, dollars, exact_dollars, milliseconds, size
from dataplane.telemetry.metrics import CLIENTS


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "<$0.000001"),
        (1_500, "$0.000002"),
        (2_466_000, "$0.0025"),
        (9_999_999, "$0.0100"),
        (10_000_000, "$0.01"),
        (1_234_567_890_123, "$1,234.57"),
    ],
)
def test_money_shows_cents_and_below_them_what_says_something(nano: int, text: str):
    assert dollars(nano) == text


def test_amounts_of_one_sentence_have_one_precision():
    assert (dollars(0, 5), dollars(5, 5)) == ("$0.000000000", "$0.000000005")
    assert (dollars(3_100_000, 500 * 10**9), dollars(1_234, 0)) == ("$0.00", "$0.00")


@given(st.integers(0, 10**15))
def test_exact_money_loses_nothing(nano: int):
    assert Decimal(exact_dollars(nano)) * 10**9 == nano


def test_every_client_that_pods_tell_apart_has_a_name_and_no_other():
    assert set(wording.CLIENTS) == {*CLIENTS, "other"}


def test_the_recipe_for_cursor_says_what_is_not_served_and_what_works():
    (cursor,) = [recipe for recipe in RECIPES if recipe.slug == "cursor"]
    first, *_ = cursor.setup(CliTarget("https://gateway.example.com")).notes
    assert first.startswith("Ask mode and plain chat work. Agent mode is not served yet")


def test_counts_ages_times_and_sizes_are_short():
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    assert [count(n) for n in (0, 9_999, 12_345, 1_234_567, 5 * 10**9)] == ["0", "9,999", "12.3 k", "1.23 M", "5 B"]
    assert [age(now - timedelta(seconds=s), now) for s in (0, 5, 90, 7200, 200_000)] == [
        "now", "5 s ago", "1 min ago", "2 h ago", "2 d ago",
    ]  # fmt: skip
    assert age(None, now) == "never"
    assert [milliseconds(n) for n in (999, 1500)] == ["999 ms", "1.5 s"]
    assert [size(n) for n in (12, 2048, 3 * 1024**2)] == ["12 B", "2 KiB", "3 MiB"]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60))
def test_bars_stay_in_their_box_in_order_and_something_is_always_visible(values: list[int]):
    chart = bar_chart("Spend", "", [(str(number), value) for number, value in enumerate(values)])
    assert len(chart.bars) == len(values)
    for bar, value in zip(chart.bars, values, strict=True):
        assert 0 <= bar.y <= HEIGHT
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=0.02)
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert (bar.height > 0) == (value > 0)


@given(st.text(max_size=40))
def test_no_exported_text_begins_like_a_formula(text: str):
    assert not safe(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert safe(text).removeprefix("'") == text.removeprefix("'") or safe(text) == text


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.slug)
def test_every_recipe_names_the_gateway_and_the_key_and_only_the_key_that_it_was_given(recipe):
    said = " ".join(
        snippet.text for snippet in recipe.setup(CliTarget("https://gw.example", "lw_vk_live_KEY")).snippets
    )
    assert "https://gw.example" in said
    assert "lw_vk_live_KEY" in said
    bare = " ".join(snippet.text for snippet in recipe.setup(CliTarget("https://gw.example")).snippets)
    assert "lw_vk_live" not in bare


def test_a_recipe_takes_a_model_that_the_key_may_use():
    target = CliTarget("https://gw.example", models=("claude-*", "claude-haiku-5-5", "gpt-5.6-luna"))
    assert target.model("gpt*", "gpt-5.5") == "gpt-5.6-luna"
    assert target.model("claude*", "claude-sonnet-5-5") == "claude-haiku-5-5"
    assert CliTarget("https://gw.example", models=("gpt-*",)).model("gpt*", "gpt-5.5") == "gpt-5.5"
