"""An organization's own factors for places and tiers: what its contract says instead of the list."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from controlplane.providers.own_prices import MOST_FACTORS, OverrideError, OwnPrice
from controlplane.providers.price_compiler import compile_prices
from dataplane.core.money.charges import charge
from dataplane.core.usage import Usage, UsageClass
from tests.core import build

C = UsageClass
DAY = date(2026, 12, 1)
AT_MS = 1_796_083_200_000
RATES = {C.INPUT: Decimal(2), C.OUTPUT: Decimal(4)}


def charged(own: OwnPrice, model: str, *, base_url: str = "", **said: Any) -> tuple[int, str]:
    prices = compile_prices("p", DAY, [own], ["anthropic"]).prices
    usage = Usage({C.INPUT: 1000, C.WEB_SEARCH: 1}, **said)
    found = charge(usage, prices, build.provider(base_url=base_url), (model,), AT_MS)
    assert found is not None
    return found.nano - 10_000_000, found.guess


@pytest.mark.parametrize(
    ("own", "said", "nano"),
    [
        ({"geo_percent": {"us": 105}}, {"geo": "us"}, 3_150),
        ({"geo_percent": {"eu": 120}}, {"geo": "eu"}, 3_600),
        ({"geo_percent": {"eu": 120}}, {"geo": "us"}, 3_300),
        ({"geo_percent": {"us": 100}, "discount_percent": Decimal(20)}, {"geo": "us"}, 2_400),
        ({"tier_percent": {"priority": 70}}, {"service_tier": "priority"}, 2_100),
        ({"tier_percent": {"priority": 70}}, {"service_tier": "batch"}, 1_500),
        ({"tier_percent": {"priority": 70}}, {"service_tier": "priority", "geo": "us"}, 2_310),
        ({"tier_percent": {"priority": 70}}, {}, 3_000),
        ({"rates": RATES, "geo_percent": {"us": 105}, "tier_percent": {"reserved": 50}}, {"geo": "us"}, 2_100),
        ({"rates": RATES, "tier_percent": {"reserved": 50}}, {"service_tier": "Reserved"}, 1_000),
        (
            {"rates": RATES, "geo_percent": {".internal.example": 90}},
            {"base_url": "https://llm.internal.example"},
            1_800,
        ),
    ],
)
def test_a_contract_says_what_a_place_or_a_tier_costs(own, said, nano):
    searches = 10_000_000 if own.get("discount_percent") else 0
    found = charged(OwnPrice("anthropic", "claude-sonnet-4-6", **own), "claude-sonnet-4-6", **said)
    assert found[1] == ""
    assert found[0] + (searches // 5 if searches else 0) == nano * 1_000


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"geo_percent": {"us": 0}}, "between 1 and 1000"),
        ({"tier_percent": {"flex": 1001}}, "between 1 and 1000"),
        ({"geo_percent": {"US": 110}}, "lower case"),
        ({"geo_percent": {"": 110}}, "lower case"),
        ({"geo_percent": {"u" * 65: 110}}, "lower case"),
        ({"tier_percent": {"default": 110}}, "usual tier"),
        ({"geo_percent": {f"p{number}": 110 for number in range(MOST_FACTORS + 1)}}, "at most 20"),
    ],
)
def test_a_factor_that_cannot_be_meant_is_refused_in_words(own, words):
    with pytest.raises(OverrideError, match=words):
        OwnPrice("anthropic", "claude-*", **own).check()
