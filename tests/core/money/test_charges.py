"""What is charged for what the list has a figure for, and for what it has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money.charges import charge
from dataplane.core.money.estimates import need
from dataplane.core.money.prices import (
    CALL_CLASSES,
    DEAREST_CALL_PICO,
    Guess,
    ModelPrice,
    PriceList,
    RateCard,
    RateTier,
)
from dataplane.core.snapshot import Unpriced
from dataplane.core.usage import Usage, UsageClass, UsagePart
from tests.core import build

C = UsageClass
M = 1_000_000  # pico-dollars per token: a dollar per million
anthropic = build.provider()


def card(dollars: int, *, tier: str = "", speed: str = "", **others: int) -> RateCard:
    rates = {C.INPUT: dollars * M, C.OUTPUT: dollars * M} | {C(name): rate * M for name, rate in others.items()}
    return RateCard(tier, speed, 0, 0, (RateTier(0, rates),))


def price(model: str, *cards: RateCard, places: dict[str, int] | None = None) -> ModelPrice:
    return ModelPrice("anthropic", model, (model,), cards, geo_percent=places or {})


def listed(*prices: ModelPrice) -> PriceList:
    return PriceList("price_1", "v1", prices)


LIST = listed(
    price("small", card(1, web_search=10_000), places={"us": 110}),
    price("large", card(5), card(5), places={"us": 110}),
    price("tiered", card(9, tier="priority"), card(2, tier="flex"), card(30, speed="fast"), card(4)),
)


def charged(
    usage: Usage, *models: str, unpriced: Unpriced = Unpriced.REFUSE, **fields: str
) -> tuple[int, Guess] | None:
    found = charge(usage, LIST, build.provider(unpriced=unpriced, **fields), models or ("small",), 0)
    return None if found is None else (found.nano, found.guess)


def of(tokens: int, model: str = "", **said: str) -> UsagePart:
    return UsagePart(model, {C.INPUT: tokens}, **said)


def test_what_another_model_used_is_charged_at_its_own_rates():
    assert charged(Usage({C.INPUT: 1000}, parts=(of(1000, "large"), of(1000, "small")))) == (7_000_000, "")


def test_the_tier_and_the_speed_of_a_part_are_its_own():
    parts = (of(1000, "tiered", speed="fast"), of(1000, "tiered", service_tier="flex"))
    assert charged(Usage({C.INPUT: 1000}, service_tier="", parts=parts)) == (33_000_000, "")


def test_the_place_of_the_answer_is_that_of_all_its_parts():
    assert charged(Usage({C.INPUT: 1000, C.WEB_SEARCH: 1}, geo="us", parts=(of(1000, "large"),))) == (16_600_000, "")


@given(st.lists(st.integers(0, 3000), max_size=5), st.sampled_from(["", "us", "global", "mars"]))
def test_a_cost_with_parts_is_rounded_once(tokens, geo):
    odd = listed(ModelPrice("anthropic", "odd", ("odd",), (RateCard("", "", 0, 0, (RateTier(0, {C.INPUT: 333}),)),)))
    found = charge(Usage({}, geo=geo, parts=tuple(of(count, "odd") for count in tokens)), odd, anthropic, ("odd",), 0)
    assert found is not None
    assert found.nano == (sum(tokens) * 333 + 500) // 1000


@pytest.mark.parametrize(
    ("tier", "speed", "nano", "guess"),
    [
        ("", "", 4, ""), ("default", "", 4, ""), ("STANDARD", "", 4, ""), ("service_tier_priority", "", 9, ""),
        ("flex", "", 2, ""), ("turbo", "", 9, "tier"), ("turbo", "fast", 30, "tier"), ("", "fast", 30, ""),
        ("", "warp", 30, "tier"), ("flex", "warp", 30, "tier"), ("turbo", "warp", 30, "tier"), ("", "Standard", 4, ""),
    ],
)  # fmt: skip
def test_a_tier_without_a_card_costs_the_dearest_that_it_may(tier, speed, nano, guess):
    assert charged(Usage({C.INPUT: 1000}, service_tier=tier, speed=speed), "tiered") == (nano * 1_000_000, guess)


@pytest.mark.parametrize(
    ("geo", "nano", "guess"),
    [("", 1000, ""), ("us", 1100, ""), ("US", 1100, ""), ("global", 1000, ""), ("not_available", 1000, ""),
     ("eu", 1100, "geo")],
)  # fmt: skip
def test_a_place_that_the_list_does_not_know_costs_the_dearest_that_it_may(geo, nano, guess):
    assert charged(Usage({C.INPUT: 1000}, geo=geo)) == (nano * 1_000, guess)


@pytest.mark.parametrize(
    ("base_url", "percent"),
    [
        ("https://eu.api.openai.com/v1", 110), ("https://US.API.openai.com:443/v1", 110), ("", 100), ("http://[", 100),
        ("https://api.openai.com/v1", 100), ("https://eu.api.openai.com.evil.example/v1", 100),
    ],
)  # fmt: skip
def test_the_host_that_was_asked_may_cost_more(base_url, percent):
    prices = listed(price("m", card(1), places={".api.openai.com": 110}))
    provider = build.provider(base_url=base_url)
    found = charge(Usage({C.INPUT: 1000}), prices, provider, ("m",), 0)
    assert found is not None
    assert (found.nano, found.guess) == (percent * 10_000, "")
    assert need(prices.prices[0], 0, 1000, 0, base_url=base_url).need == percent * 10_000


def test_what_is_held_covers_an_account_that_chose_its_place_itself():
    assert need(LIST.prices[0], 0, 1000, 0).need == 1_100_000


@given(st.sampled_from(UsageClass), st.integers(1, 1000))
def test_a_class_without_a_rate_is_never_free(unit, count):
    found = charged(Usage({unit: count}), "large")
    assert found is not None
    rate = DEAREST_CALL_PICO if unit in CALL_CLASSES else 5 * M
    assert found == (count * rate // 1000, "" if unit in (C.INPUT, C.OUTPUT) else "class")


def test_a_part_whose_model_has_no_price_follows_the_providers_rule():
    usage = Usage({C.INPUT: 1000}, parts=(of(1000, "unheard-of"),))
    assert charged(usage, unpriced=Unpriced.FREE) == (1_000_000, "")
    for rule in (Unpriced.REFUSE, Unpriced.DEAREST_IN_FAMILY):
        assert charged(usage, unpriced=rule) == (6_000_000, "model")  # the dearest is `large`


def test_a_part_is_charged_though_the_model_that_answered_has_no_price():
    usage = Usage({C.INPUT: 1000}, parts=(of(1000, "large"),))
    assert charged(usage, "unheard-of") == (5_000_000, "model")
    assert charged(usage, "unheard-of", unpriced=Unpriced.FREE) == (5_000_000, "")
    assert charged(Usage({C.INPUT: 1000}), "unheard-of") is None
    assert charged(Usage({C.INPUT: 1000}), "unheard-of", unpriced=Unpriced.FREE) == (0, "")


def test_what_is_remembered_of_one_place_is_not_taken_for_another():
    for geo, nano in (("", 1_000_000), ("us", 1_100_000)) * 2:
        assert charged(Usage({C.INPUT: 1000}, geo=geo)) == (nano, "")
