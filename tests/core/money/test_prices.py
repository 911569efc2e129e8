"""From usage to money."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money import prices as pricing
from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier, cost, cost_with, dearest_in_family
from dataplane.core.snapshot import ProviderKind
from dataplane.core.usage import INPUT_CLASSES, Usage, UsageClass
from tests.core import build

C = UsageClass
anthropic = build.provider()


def card(input=1, output=2, *, above=(), tier="", speed="", start=0, end=0):
    tiers = [RateTier(0, {C.INPUT: input, C.OUTPUT: output})]
    tiers += [RateTier(threshold, {C.INPUT: rate}) for threshold, rate in above]
    return RateCard(tier, speed, start, end, tuple(tiers))


def price(model, *cards, match=(), provider="anthropic"):
    return ModelPrice(provider, model, match or (model,), cards or (card(),))


def listed(*prices):
    return PriceList("price_1", "v1", prices)


def nano(usage, prices, model="m", at_ms=0, provider=anthropic):
    found = cost(usage, prices, provider, model, at_ms)
    return None if found is None else found.nano


# ---- arithmetic -----------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from(UsageClass), st.integers(0, 10**9)),
    st.fixed_dictionaries({unit: st.integers(0, 500 * 10**6) for unit in UsageClass}),
)
def test_a_cost_is_the_sum_of_all_classes_rounded_once(units, rates):
    prices = listed(price("m", RateCard("", "", 0, 0, (RateTier(0, rates),))))
    exact = sum((Decimal(count) * rates.get(unit, 0) for unit, count in units.items()), Decimal(0)) / 1000
    assert nano(Usage(units), prices) == int(exact.to_integral_value("ROUND_HALF_UP"))


@given(st.dictionaries(st.sampled_from(UsageClass), st.integers(0, 10**6)), st.integers(0, 10**6))
def test_a_threshold_counts_all_input_and_turns_the_whole_request(units, threshold):
    usage = Usage(units)
    total = sum(count for unit, count in units.items() if unit in INPUT_CLASSES)
    dear = total > threshold
    free = dict.fromkeys(UsageClass, 0)
    tiers = [RateTier(0, free | {C.INPUT: 1000})]
    tiers += [RateTier(threshold, free | {C.INPUT: 7000})] if threshold else []
    prices = listed(price("m", RateCard("", "", 0, 0, tuple(tiers))))
    assert nano(usage, prices) == units.get(C.INPUT, 0) * (7 if dear and threshold else 1)


def test_the_last_threshold_that_is_exceeded_applies():
    prices = listed(price("m", card(input=1000, above=[(10, 2000), (20, 3000)])))
    assert [nano(Usage({C.INPUT: count}), prices) for count in (10, 11, 20, 21)] == [10, 22, 40, 63]


# ---- which card -----------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "flex"]), st.sampled_from(["", "fast"]), st.integers(0, 6), st.integers(0, 6)),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.tuples(st.sampled_from(["", "flex", "FLEX"]), st.sampled_from(["", "fast"]), st.integers(0, 7))),
)
def test_what_is_remembered_of_earlier_requests_changes_no_price(conditions, requests):
    cards = [
        card(input=1000 * number, tier=tier, speed=speed, start=start, end=end)
        for number, (tier, speed, start, end) in enumerate(conditions, 1)
    ]
    used = listed(price("m", *cards))
    for tier, speed, at_ms in requests:
        usage = Usage({C.INPUT: 1}, service_tier=tier, speed=speed)
        assert cost(usage, used, anthropic, "m", at_ms) == cost_with(usage, used.prices[0], used, anthropic, at_ms)


def test_providers_of_different_prices_do_not_share_what_is_remembered():
    prices = listed(price("m", card(input=1000)), price("m", card(input=2000), provider="@mine"))
    usage, mine = Usage({C.INPUT: 1}), build.provider(name="mine")
    other = build.provider(price_provider="nobody")
    for _ in range(2):
        assert [nano(usage, prices, provider=provider) for provider in (anthropic, mine, other)] == [1, 2, None]


def test_the_first_card_whose_conditions_all_hold_applies():
    prices = listed(
        price(
            "m",
            card(input=5000, tier="flex", speed="fast"),
            card(input=4000, tier="flex"),
            card(input=3000, speed="fast"),
            card(input=2000, end=100),
            card(input=1000, start=100),
        )
    )

    def paid(at_ms, tier="", speed=""):
        return nano(Usage({C.INPUT: 1}, service_tier=tier, speed=speed), prices, at_ms=at_ms)

    assert paid(0, "flex", "fast") == 5
    assert paid(0, "flex") == paid(0, "FLEX", "standard") == 4
    assert paid(0, "default", "Fast") == 3
    assert [paid(at) for at in (0, 99, 100, 10**15)] == [2, 2, 1, 1]


# ---- which model ----------------------------------------------------------------------------------------------


def test_the_first_model_that_recognises_the_name_decides_in_any_casing():
    prices = listed(
        price("opus", card(3000), match=("claude-opus*", "!*-tts")), price("claude", card(1000), match=("claude*",))
    )
    usage = Usage({C.INPUT: 1})
    assert nano(usage, prices, "Claude-Opus-5") == 3
    assert nano(usage, prices, "claude-opus-tts") == 1
    assert nano(usage, prices, "gpt-5") is None


def test_a_model_that_is_recognised_without_a_price_has_none():
    prices = listed(ModelPrice("anthropic", "free", ("claude-free",), ()), price("claude", match=("claude*",)))
    assert nano(Usage({C.INPUT: 1}), prices, "claude-free") is None
    assert prices.models("anthropic") == ("claude",)
    assert dearest_in_family(prices, anthropic, "claude-free", 0).model == "claude"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        (ProviderKind.ANTHROPIC, "anthropic"),
        (ProviderKind.OPENAI, "openai"),
        (ProviderKind.AZURE_OPENAI, "azure"),
        (ProviderKind.GEMINI, "google"),
        (ProviderKind.OPENAI_COMPATIBLE, None),
        (ProviderKind.ANTHROPIC_COMPATIBLE, None),
    ],
)
def test_a_kind_has_the_prices_of_its_family_unless_the_provider_says_otherwise(kind, family):
    families = ("anthropic", "openai", "azure", "google", "groq")
    prices = listed(*(price("m", card(1000 * number), provider=name) for number, name in enumerate(families, start=1)))
    own = build.provider(kind=kind, name="openai")
    expected = None if family is None else families.index(family) + 1
    assert nano(Usage({C.INPUT: 1}), prices, provider=own) == expected
    assert nano(Usage({C.INPUT: 1}), prices, provider=build.provider(kind=kind, price_provider="groq")) == 5


def test_a_providers_own_prices_go_before_its_familys():
    prices = listed(price("m", card(9000), provider="@mine"), price("m", card(1000)))
    assert nano(Usage({C.INPUT: 1}), prices, provider=build.provider(name="mine")) == 9
    assert nano(Usage({C.INPUT: 1}), prices) == 1


def test_names_that_clients_invent_do_not_pile_up():
    prices = listed(price("m"))
    for number in range(pricing.REMEMBERED_NAMES + 10):
        nano(Usage(), prices, f"m{number}")
    nano(Usage(), prices, "m" * 10_000)
    assert len(prices._found) <= pricing.REMEMBERED_NAMES
    assert max(len(name) for _, name in prices._found) <= pricing.REMEMBERED_LENGTH


# ---- the dearest relative -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unknown", "relative"),
    [
        ("claude-opus-9", "claude-opus-5"),
        ("Claude-Opus-5-1", "claude-opus-5"),
        ("claude-nova-1", "claude-opus-5"),
        ("claude-haiku-9", "claude-haiku-4"),
        ("something-else", "gold-1"),
    ],
)
def test_an_unknown_model_is_charged_as_the_dearest_of_its_nearest_relatives(unknown, relative):
    prices = listed(
        price("claude-opus-4", card(10, 10)),
        price("claude-opus-5", card(10, 20)),
        price("claude-haiku-4", card(1, 1)),
        price("gold-1", card(100, 100)),
        price("gold-2", card(1000, 1000), provider="openai"),
    )
    found = dearest_in_family(prices, anthropic, unknown, 0)
    assert found is not None
    assert found.model == relative
    charged = cost_with(Usage({C.OUTPUT: 1000}), found, prices, anthropic, 0)
    assert (charged.nano, charged.model, charged.version) == (
        found.cards[0].tiers[0].rates_pico[C.OUTPUT],
        relative,
        "v1",
    )


def test_a_family_without_prices_has_no_dearest():
    assert dearest_in_family(listed(), anthropic, "m", 0) is None


def test_a_price_list_is_what_it_holds_not_what_it_remembers():
    first, second = listed(price("m")), listed(price("m"))
    nano(Usage(), first)
    assert first == second
    assert "_found" not in repr(first)
