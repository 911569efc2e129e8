"""What a request may cost, before it has cost anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money import estimates
from dataplane.core.money.estimates import FIRST_GUESS, LEAST, OutputEstimates, hides_reasoning, need
from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier, cost_with
from dataplane.core.usage import Usage, UsageClass
from tests.core import build

C = UsageClass
PICO = 1_000_000  # pico-dollars per token: a dollar per million


def tier(above: int = 0, *, input: int = 3, read: int = 1, write_1h: int = 6, output: int = 15) -> RateTier:
    rates = {C.INPUT: input, C.CACHE_READ: read, C.CACHE_WRITE_1H: write_1h, C.OUTPUT: output}
    return RateTier(above, {unit: rate * PICO for unit, rate in rates.items()})


def card(*tiers: RateTier, service_tier: str = "", speed: str = "", start: int = 0, end: int = 0) -> RateCard:
    return RateCard(service_tier, speed, start, end, tiers or (tier(),))


def price(*cards: RateCard) -> ModelPrice:
    return ModelPrice("anthropic", "m", ("m",), (*cards, card()))


# ---- output that is to be expected ----------------------------------------------------------------------------


def test_nothing_is_known_at_first():
    assert OutputEstimates().expect("m", "ada") == FIRST_GUESS * 3 // 2


def test_one_and_a_half_times_what_it_was_lately():
    learnt = OutputEstimates()
    for _ in range(60):
        learnt.learn("m", "ada", 4_000)
    assert learnt.expect("m", "ada") == pytest.approx(6_000, rel=0.01)
    for _ in range(60):
        learnt.learn("m", "ada", 400)
    assert learnt.expect("m", "ada") == pytest.approx(600, rel=0.01)


def test_of_somebody_new_what_the_others_with_the_model_write_is_expected():
    learnt = OutputEstimates()
    for _ in range(60):
        learnt.learn("m", "ada", 4_000)
    assert learnt.expect("m", "bob") == pytest.approx(6_000, rel=0.01)
    assert learnt.expect("another", "ada") == FIRST_GUESS * 3 // 2
    learnt.learn("m", "bob", 4_000)
    assert learnt.expect("m", "bob") == pytest.approx(6_000, rel=0.01)


def test_never_more_than_the_ceiling_and_never_too_little_to_be_worth_a_message():
    learnt = OutputEstimates()
    assert learnt.expect("m", "ada", 300) == 300
    for _ in range(60):
        learnt.learn("m", "ada", 0)
    assert learnt.expect("m", "ada") == LEAST
    assert learnt.expect("m", "ada", 1) == 1


@given(st.lists(st.integers(0, 200_000), max_size=30))
def test_an_expectation_lies_within_what_was_seen(tokens):
    learnt = OutputEstimates()
    for count in tokens:
        learnt.learn("m", "ada", count)
    seen = [FIRST_GUESS, *tokens]
    assert min(LEAST, min(seen)) <= learnt.expect("m", "ada") <= max(seen) * 3 // 2 + LEAST


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(estimates, "REMEMBERED", 10)
    learnt = OutputEstimates()
    for number in range(1_000):
        learnt.learn(f"m-{number}", "ada", 5_000)
    assert len(learnt._means) <= 11


@pytest.mark.parametrize(
    ("kind", "model", "hides"),
    [
        ("openai", "gpt-5.3-codex", True),
        ("openai", "o3-mini", True),
        ("openai", "gpt-4.1", False),
        ("azure_openai", "gpt-6-sol", True),
        ("openai_compatible", "openai/gpt-5", True),
        ("gemini", "gemini-3.8-flash", True),
        ("gemini", "gemini-2.0-flash", False),
        ("anthropic", "claude-opus-5", False),
        ("anthropic_compatible", "gpt-5", False),
    ],
)
def test_models_that_bill_what_they_do_not_show(kind, model, hides):
    assert hides_reasoning(kind, model) is hides


# ---- what to hold ---------------------------------------------------------------------------------------------


def test_input_at_its_dearest_and_output_as_expected():
    found = need(price(), 0, 1_000, 200)
    assert (found.minimum, found.need, found.output_pico) == (3_000_000, 6_000_000, 15 * PICO)


def test_a_cache_write_that_is_asked_for_is_counted():
    assert need(price(), 0, 1_000, 0, marked=[C.CACHE_WRITE_1H]).minimum == 6_000_000
    assert need(price(), 0, 1_000, 0, marked=[C.OUTPUT_AUDIO]).minimum == 3_000_000


def test_a_threshold_turns_the_whole_request():
    cliff = ModelPrice("a", "m", ("m",), (card(tier(), tier(1_000, input=6, output=22)),))
    assert need(cliff, 0, 1_000, 100).need == 3_000_000 + 1_500_000
    assert need(cliff, 0, 1_001, 100).need == 6_006_000 + 2_200_000


def test_the_dearest_card_that_the_answer_may_come_under_counts():
    tiered = price(
        card(tier(input=6, output=30), service_tier="priority"),
        card(tier(input=30, output=150), speed="fast"),
        card(tier(input=1, output=5), service_tier="flex"),
        card(tier(input=99, output=99), start=10, end=20),
    )
    assert need(tiered, 0, 1_000, 0).minimum == 3_000_000
    assert need(tiered, 0, 1_000, 0, service_tier="priority").minimum == 6_000_000
    assert need(tiered, 0, 1_000, 0, service_tier="flex").minimum == 3_000_000  # it may be answered as usual
    assert need(tiered, 0, 1_000, 0, service_tier="auto").minimum == 3_000_000
    assert need(tiered, 0, 1_000, 0, speed="Fast").minimum == 30_000_000
    assert need(tiered, 15, 1_000, 0).minimum == 99_000_000


def test_what_was_remembered_of_a_price_ends_with_the_card():
    seasonal = price(card(tier(input=99, output=99), start=10, end=20))
    minima = [need(seasonal, at_ms, 1_000, 0).minimum for at_ms in (0, 9, 10, 19, 20, 15, 5)]
    assert minima == [3_000_000, 3_000_000, 99_000_000, 99_000_000, 3_000_000, 99_000_000, 3_000_000]


def test_ways_of_asking_are_remembered_apart_and_not_without_bound():
    tiered = price(card(tier(input=6, output=30), service_tier="priority"))
    for number in range(1_000):
        assert need(tiered, 0, 1_000, 0, service_tier=f"tier-{number}").minimum == 6_000_000  # whatever it is
        assert need(tiered, 0, 1_000, 0).minimum == 3_000_000
        assert need(tiered, 0, 1_000, 0, service_tier="priority").minimum == 6_000_000
        assert need(tiered, 0, 1_000, 0, marked=[C.CACHE_WRITE_1H]).minimum == 6_000_000
    assert len(tiered.ceilings) <= estimates.CEILINGS


THRESHOLDS = st.lists(st.integers(0, 50), max_size=3, unique=True).map(sorted)
RATES = st.integers(0, 9)


@st.composite
def cards(draw: st.DrawFn) -> RateCard:
    above = [0, *draw(THRESHOLDS)]
    tiers = [tier(each, input=draw(RATES), read=draw(RATES), output=draw(RATES)) for each in above]
    start, end = draw(st.integers(0, 10)), draw(st.integers(0, 10))
    names = {"service_tier": draw(st.sampled_from(["", "flex"])), "speed": draw(st.sampled_from(["", "fast"]))}
    return card(*tiers, start=start, end=end, **names)


@given(
    st.lists(cards(), max_size=4),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60), st.booleans()), min_size=1, max_size=12),
)
def test_whatever_was_asked_before_the_dearest_reachable_rate_of_each_kind_counts(some, asked):
    remembering = price(*some)
    for at_ms, tokens, flexible in asked:
        tiers = {"", "default", "flex"} if flexible else {"", "default"}
        reachable = [remembering.card("", "", at_ms), remembering.card("flex" if flexible else "", "", at_ms)]
        reachable += [
            each
            for each in remembering.cards
            if each.service_tier in tiers and each.speed == "" and each.applies(each.service_tier, each.speed, at_ms)
        ]
        rates = [each.tier(tokens).rates_pico for each in reachable]
        dearest = max(max(rate[C.INPUT], rate[C.CACHE_READ]) for rate in rates)
        found = need(remembering, at_ms, tokens, 7, service_tier="flex" if flexible else "")
        assert found.output_pico == max(rate[C.OUTPUT] for rate in rates)
        assert found.minimum == (tokens * dearest + 500) // 1_000
        assert found.need == (tokens * dearest + 7 * found.output_pico + 500) // 1_000


def test_what_is_not_counted_in_tokens_is_held_too():
    assert need(price(), 0, 0, 0, extra_pico=10_000_000_000).minimum == 10_000_000


@given(
    input=st.integers(0, 300_000),
    output=st.integers(0, 100_000),
    split=st.lists(st.integers(0, 100), min_size=3, max_size=3),
    said=st.sampled_from(["", "priority", "default"]),
)
def test_nobody_costs_more_than_was_held_who_stays_below_what_was_expected(input, output, split, said):
    tiered = price(
        card(tier(input=6, output=30), tier(200_000, input=12, output=45), service_tier="priority"),
        card(tier(), tier(200_000, input=6, output=22)),
    )
    held = need(tiered, 0, input, output, service_tier="priority", marked=[C.CACHE_WRITE_1H])
    classes = (C.INPUT, C.CACHE_READ, C.CACHE_WRITE_1H)
    units = {unit: input * share // 300 for unit, share in zip(classes, split, strict=True)}
    usage = Usage({**units, C.OUTPUT: output}, service_tier=said)
    assert cost_with(usage, tiered, PriceList("price_1", "v1", ()), build.provider(), 0).nano <= held.need + 1


def test_images_are_held_at_their_models_rate_or_the_dearest_that_is_published():
    drawn = {C.OUTPUT_IMAGE: 32 * PICO, C.OUTPUT: 10 * PICO}
    known = ModelPrice("openai", "gpt-image-1", ("gpt-image-1",), (card(RateTier(0, drawn)),))
    text = ModelPrice("openai", "gpt-5", ("gpt-5",), (card(RateTier(0, {C.OUTPUT: 30 * PICO})),))
    prices = PriceList("p", "v", (known, text), revision=1)
    provider = build.provider(kind="openai", name="ours")
    for images, dollars in (
        ((("gpt-image-1", 1000),), 32),
        ((("gpt-image-9", 1000),), 40),
        ((("gpt-5", 1000),), 30),
        ((("gpt-image-1", 1000), ("gpt-image-9", 1000)), 72),
        ((), 0),
    ):
        assert estimates.images_pico(prices, provider, images, 0) == dollars * 1000 * PICO
