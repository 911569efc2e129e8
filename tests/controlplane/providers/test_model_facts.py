"""Pods learn of each model since when it is sold, and which to name in no list."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from controlplane.providers.own_prices import OwnPrice
from controlplane.providers.price_compiler import FAMILIES, compile_prices
from dataplane.core.usage import UsageClass

AT = date(2026, 11, 23)


@pytest.fixture(scope="module")
def prices():
    return compile_prices("price_1", AT).prices


def entries(prices, family):
    return {price.model: price for price in prices.prices if price.provider == family}


def day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat() if ms else ""


def newest_first(prices, family, word):
    found = [(-entry.released_ms, name) for name, entry in entries(prices, family).items() if not entry.unlisted]
    return [name for at, name in sorted(found) if at and word in name]


@pytest.mark.parametrize(
    ("family", "model", "expected"),
    [
        ("anthropic", "claude-sonnet-5-5", "2026-09-28"),  # by the name that another seller gives it
        ("anthropic", "claude-haiku-4-5", "2025-10-01"),
        ("openai", "gpt-5-mini", "2025-08-07"),  # by its own dated name
        ("openai", "gpt-4o", "2024-08-06"),  # of several the earliest
        ("openai", "gpt-6-sol", "2026-09-22"),  # by the table
        ("google", "gemini-4-argon", "2026-10-13"),
        ("azure", "o3-mini", "2025-01-31"),
        ("azure", "gpt-6-sol", "2026-09-22"),  # as its maker's
    ],
)
def test_models_have_their_dates(prices, family, model, expected):
    assert day(entries(prices, family)[model].released_ms) == expected


def test_the_current_models_of_a_line_come_before_their_predecessors(prices):
    assert newest_first(prices, "anthropic", "sonnet") == [
        "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5",
    ]  # fmt: skip
    assert newest_first(prices, "openai", "gpt-6")[0] == "gpt-6.1-terra"


def test_nearly_every_model_that_is_offered_has_a_date(prices):
    """What has none is listed last: if a new library brings many of these, the table wants a look."""
    offered = [entry for family in ("anthropic", "openai") for entry in entries(prices, family).values()
               if not entry.unlisted and entry.cards]  # fmt: skip
    assert sum(1 for entry in offered if entry.released_ms) > 0.7 * len(offered)


@pytest.mark.parametrize(
    ("family", "model"),
    [
        ("anthropic", "claude-v1"),
        ("anthropic", "claude-2"),
        ("anthropic", "claude-3-5-sonnet"),
        ("openai", "gpt-4o-mini-2024-07-18.ft-"),
        ("openai", "ft:gpt-3.5-turbo-"),
        ("openai", "gpt-4o:extended"),
        ("openai", "gpt-3.5-0301"),
        ("openai", "computer-use"),
        ("openai", "gpt-oss-120b"),
        ("openai", "gpt-realtime"),
        ("openai", "tts-1"),
        ("openai", "whisper-1"),
        ("google", "gemini-2.0-flash"),
        ("google", "gemini-2.5-flash-image"),
    ],
)
def test_what_is_withdrawn_misspelt_or_of_no_use_here_is_priced_but_not_listed(prices, family, model):
    assert entries(prices, family)[model].unlisted
    assert model not in prices.models(family)


def test_what_can_be_asked_for_is_listed(prices):
    assert {"claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-4-5"} <= set(prices.models("anthropic"))
    assert {"gpt-6-sol", "gpt-5.5", "gpt-4o", "o3", "text-embedding-3-large"} <= set(prices.models("openai"))
    assert {"gemini-4-argon", "gemini-2.5-pro", "gemini-embedding-001"} <= set(prices.models("google"))


def test_every_list_fits_on_one_page(prices):
    for family in FAMILIES:
        assert len(prices.models(family)) < 100


def test_an_organizations_own_price_is_listed_with_the_models_date():
    rates = {UsageClass.INPUT: Decimal(1), UsageClass.OUTPUT: Decimal(2)}
    own = [OwnPrice("openai", "gpt-4", rates=rates), OwnPrice("openai", "gpt-6-sol", rates=rates)]
    prices = compile_prices("price_1", AT, own).prices
    assert {"gpt-4", "gpt-6-sol"} <= set(prices.models("openai"))
    first = next(price for price in prices.prices if price.model == "gpt-6-sol")
    assert day(first.released_ms) == "2026-09-22"


def test_a_discount_keeps_the_dates():
    own = [OwnPrice("anthropic", "claude-*", discount_percent=Decimal(10))]
    prices = compile_prices("price_1", AT, own).prices
    assert day(entries(prices, "anthropic")["claude-sonnet-5-5"].released_ms) == "2026-09-28"
