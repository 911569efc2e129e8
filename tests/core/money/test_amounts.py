"""Money as integers."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money.amounts import dollars, nano_from_pico


@given(st.integers(0, 10**24))
def test_a_cost_is_rounded_half_up(pico):
    assert nano_from_pico(pico) == int((Decimal(pico) / 1000).quantize(Decimal(1), ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (3_100, "$0.0000031"),
        (500_000_000, "$0.50"),
        (12_500_000_000, "$12.50"),
        (-1_234_000_000, "-$1.234"),
    ],
)
def test_money_reads_as_money(nano, text):
    assert dollars(nano) == text


@given(st.integers(-(10**18), 10**18))
def test_no_digit_is_lost(nano):
    assert Decimal(dollars(nano).replace("$", "")) * 10**9 == nano
