"""The compiled price list says what the price library says, and what an organization says instead."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from genai_prices import types as library
from genai_prices.data import providers
from genai_prices.units import _get_registry

from controlplane.providers.model_match import Patterns, Unclear, compact, patterns_of
from controlplane.providers.own_prices import OverrideError, OwnPrice
from controlplane.providers.price_compiler import FAMILIES, TOLD, compile_prices
from controlplane.providers.price_rates import SIBLINGS
from dataplane.core.money.prices import CALL_CLASSES, cost, dearest_in_family
from dataplane.core.usage import Usage, UsageClass, UsageSource

AT = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIBRARY = {provider.id: provider for provider in providers}
MODELS = [(family, model) for family in FAMILIES for model in LIBRARY[family].models]
C = UsageClass


@dataclass(frozen=True)
class Account:
    """As much of a provider as pricing looks at."""

    name: str = "ours"
    kind: str = "openai_compatible"
    price_provider: str = ""
    base_url: str = ""
    unpriced: str = "refuse"


ACCOUNTS = {family: Account(price_provider=family) for family in FAMILIES}


@pytest.fixture(scope="module")
def compiled():
    return compile_prices("price_1", AT)


@pytest.fixture(scope="module")
def prices(compiled):
    return compiled.prices


def ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def find(family: str, name: str):
    return LIBRARY[family].find_model(name, all_providers=providers)


def library_usage(units) -> library.Usage:
    """In the library's convention: totals, of which the special classes are parts."""
    values = {unit.usage_key: 0 for unit in _get_registry().units.values() if unit.dimensions["family"] == "tokens"}
    inputs = [unit for unit in units if unit.value.startswith(("input", "cache"))]
    outputs = [unit for unit in units if unit.value.startswith("output")]
    writes = [C.CACHE_WRITE, C.CACHE_WRITE_5M, C.CACHE_WRITE_1H]
    values |= {
        "input_tokens": sum(units[unit] for unit in inputs),
        "output_tokens": sum(units[unit] for unit in outputs),
        "cache_read_tokens": units.get(C.CACHE_READ, 0),
        "cache_write_tokens": sum(units.get(unit, 0) for unit in writes),
        "cache_write_5m_tokens": units.get(C.CACHE_WRITE_5M, 0),
        "cache_write_1h_tokens": units.get(C.CACHE_WRITE_1H, 0),
        "input_audio_tokens": units.get(C.INPUT_AUDIO, 0),
        "input_image_tokens": units.get(C.INPUT_IMAGE, 0),
        "output_reasoning_tokens": units.get(C.OUTPUT_REASONING, 0),
        "output_audio_tokens": units.get(C.OUTPUT_AUDIO, 0),
        "output_image_tokens": units.get(C.OUTPUT_IMAGE, 0),
        "web_searches": units.get(C.WEB_SEARCH, 0),
        "storage_searches": units.get(C.TOOL_CALL, 0),
    }
    return library.Usage(**values)


def nano(units, prices, account, model, at=NOW, **said) -> int:
    """Our cost of a model that has a price."""
    found = cost(Usage(units, UsageSource.PROVIDER, **said), prices, account, model, ms(at))
    assert found is not None
    return found.nano


def library_nano(family, model, units, at, context) -> int:
    price = model.calc_price(
        library_usage(units), LIBRARY[family], genai_request_timestamp=at, price_context=context
    ).total_price
    return int((price * 10**9).to_integral_value(ROUND_HALF_UP))


def periods(model) -> set[date]:
    constraints = [entry.constraint for entry in model.prices] if isinstance(model.prices, list) else []
    constraints += [variant.constraint for variant in model.price_variants or ()]
    return {constraint.start_date for constraint in constraints if constraint is not None}


def thresholds(model) -> set[int]:
    standing = [entry.prices for entry in model.prices] if isinstance(model.prices, list) else [model.prices]
    standing += [variant.prices for variant in model.price_variants or ()]
    return {tier.start for price in standing for value in vars(price).values() for tier in getattr(value, "tiers", ())}


def moments(model) -> list[datetime]:
    found = [datetime(2020, 1, 1, tzinfo=UTC), NOW, datetime(2035, 1, 1, tzinfo=UTC)]
    for day in periods(model):
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        found += [midnight - timedelta(milliseconds=1), midnight]
    return found


def contexts(model) -> list[dict[str, str]]:
    own = [variant.when for variant in model.price_variants or () if set(variant.when) <= TOLD]
    tiers = {when["service_tier"] for when in own if "service_tier" in when}
    speeds = {when["speed"] for when in own if "speed" in when} | {"standard"}
    both = [{"service_tier": tier, "speed": speed} for tier in sorted(tiers) for speed in sorted(speeds)]
    return [{}, {"service_tier": "default"}, {"speed": "standard"}, *both, *own]


CALL_KEYS = {C.WEB_SEARCH: "web_searches_kcount", C.TOOL_CALL: "storage_searches_kcount"}


def of_the_library(model) -> list[UsageClass]:
    """The classes that it has a price for: what calls cost otherwise, our own table says."""
    standing = [entry.prices for entry in model.prices] if isinstance(model.prices, list) else [model.prices]
    calls = {unit for unit, key in CALL_KEYS.items() if all(getattr(price, key) is not None for price in standing)}
    return [unit for unit in C if unit in calls or unit not in CALL_CLASSES]


def usages(model, alone: bool):
    """All classes together, every threshold from both sides, and each class alone where that is asked for."""
    classes = of_the_library(model)
    yield {unit: 10_000 + 7 * number * number for number, unit in enumerate(classes)}
    for threshold in thresholds(model):
        for total in (threshold, threshold + 1):
            yield {C.INPUT: total - 3_000, C.CACHE_READ: 2_000, C.CACHE_WRITE_5M: 1_000, C.OUTPUT: 3}
    if alone:
        yield from ({unit: 12_345} for unit in classes)


def test_the_compiled_cost_is_the_librarys_for_every_model_class_threshold_tier_and_date(compiled, prices):
    left_out = {(out.family, out.model) for out in compiled.left_out}
    compared = 0
    for family, model in MODELS:
        if (family, model.id) in left_out or find(family, model.id) is not model:
            continue
        for context, at in itertools.product(contexts(model), moments(model)):
            for units in usages(model, alone=at is NOW and not context):
                usage = Usage(units, UsageSource.PROVIDER, context.get("service_tier", ""), context.get("speed", ""))
                ours = cost(usage, prices, ACCOUNTS[family], model.id, ms(at))
                assert ours is not None
                expected = library_nano(family, model, units, at, context)
                assert (ours.nano, ours.model) == (expected, model.id), (family, model.id, context, at, units)
                compared += 1
    assert compared > 7_000


def test_only_what_has_no_price_per_token_is_left_out(compiled):
    own = [out for out in compiled.left_out if out.model in {m.id for f, m in MODELS if f == out.family}]
    assert own
    for out in own:
        model = next(model for family, model in MODELS if (family, model.id) == (out.family, out.model))
        standing = [entry.prices for entry in model.prices] if isinstance(model.prices, list) else [model.prices]
        assert not any(key.endswith("_mtok") for price in standing for key in vars(price)), out
        assert out.why == "it has no price per token"


# ---- names ----------------------------------------------------------------------------------------------------


def texts(clause):
    for part in getattr(clause, "or_", None) or getattr(clause, "and_", None) or []:
        yield from texts(part)
    for name in ("equals", "starts_with", "ends_with", "contains"):
        if hasattr(clause, name):
            yield getattr(clause, name)


ENDINGS = ("-20250101", "@20250101", "-2025-01-01", "-tts", "-x", "-001")
NAMES = sorted(
    {
        name
        for _, model in MODELS
        for text in (model.id, *texts(model.match))
        for name in (
            text,
            text.upper(),
            f"{text}-20250101",
            f"{text}-2025-01-01",
            f"{text}-tts",
            f"x/{text}",
            f"{text}-x",
        )
    }
    | {name.replace("-", "") for name in ("-2024-08-06",)}
    | {"gpt-4o-20240806", "gpt-5.6-sol-20260101", "claude-opus-5@20260101", "", "gpt", "nothing-of-the-kind"}
)


# Models that the library takes for others, and whose searches cost otherwise.
OWN_NAMES = tuple(pattern.rstrip("*") for sibling in SIBLINGS for pattern in sibling.match)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_name_means_the_same_model_as_in_the_library(family, compiled, prices):
    left_out = {out.model for out in compiled.left_out if out.family == family}
    differing = []
    for name in NAMES:
        theirs = find(family, name)
        if any(map(name.lower().startswith, OWN_NAMES)):
            continue
        expected = None if theirs is None or theirs.id in left_out else theirs.id
        ours = prices.find(ACCOUNTS[family], name)
        if (ours.model if ours else None) != expected:
            differing.append((name, ours and ours.model, expected))
    assert differing == []


def test_a_date_written_without_dashes_is_recognised_after_everything_else(prices):
    assert find("openai", "gpt-4o-20240806").id == prices.find(ACCOUNTS["openai"], "gpt-4o-20240806").model


CLAUSES = {"regex": "ClauseRegex", "equals": "ClauseEquals", "or_": "ClauseOr", "and_": "ClauseAnd"}


def clause(**fields):
    ((name, value),) = fields.items()
    return getattr(library, CLAUSES[name])(value)


@pytest.mark.parametrize(
    ("regex", "globs"),
    [
        (r"^gpt-5\.6-sol-\d{4}-\d{2}-\d{2}$", ("gpt-5.6-sol-20*-*-*",)),
        (
            r"^claude-opus-5[-@]\d{8}$",
            ("claude-opus-5-20*", "claude-opus-5@20*", "!claude-opus-5-20*-*", "!claude-opus-5@20*-*"),
        ),
        (r"^gemini-4-argon-\d", tuple(f"gemini-4-argon-{digit}*" for digit in range(10))),
    ],
)
def test_an_expression_becomes_globs(regex, globs):
    (way,) = patterns_of(clause(regex=regex))
    assert way.match() == globs


@pytest.mark.parametrize("regex", ["gpt", "^gpt.*", "^gpt$", "^(a|b)-\\d{8}$", "^a+\\d", "^[^a]\\d", "^gpt"])
def test_an_expression_of_another_form_is_reported_not_guessed(regex):
    with pytest.raises(Unclear):
        patterns_of(clause(regex=regex))


def test_a_name_with_a_wildcard_of_ours_is_reported():
    with pytest.raises(Unclear):
        patterns_of(clause(equals="gpt-*"))


def test_an_exclusion_binds_only_the_way_it_belongs_to():
    plain = clause(equals="gemini-2.5-pro-tts")
    guarded = clause(and_=[library.ClauseStartsWith("gemini-2.5-pro"), clause(regex="^(?!.*-[tT][tT][sS](?:$|-))")])
    assert [way.match() for way in patterns_of(clause(or_=[plain, guarded]))] == [
        ("gemini-2.5-pro-tts",),
        ("gemini-2.5-pro*", "!*-tts", "!*-tts-*"),
    ]


def test_a_date_is_also_written_without_dashes():
    dashed = Patterns(("gpt-4o-2024-08-06", "gpt-4o", "a-2024-13-01", "b-2024-08-06*", "c-20*-*-*"), ("*-tts",))
    assert compact(dashed) == Patterns(("gpt-4o-20240806", "b-20240806*", "c-20*"), ("*-tts", "c-20*-*"))
    assert compact(Patterns(("gpt-4o", "c-20*"))) is None


# ---- vectors: $ per million on 2026-11-23 ---------------------------------------------------------------------

VECTORS: dict[str, Any] = {
    # model: input, cache read, write 5 m, write 1 h, output; beyond the threshold the same again
    "claude-fable-5-1": ("10 .25 12.5 20 50",),
    "claude-fable-5-2": ("8 .2 10 16 40",),
    "claude-haiku-4-5": ("1 .1 1.25 2 5",),
    "claude-haiku-5-5": (".1 .01 .125 .2 .5", 100_000, ".5 .05 .625 1 2.5"),
    "claude-opus-4-8": ("5 .5 6.25 10 25",),
    "claude-opus-5": ("5 .5 6.25 10 25",),
    "claude-opus-5-5": ("4 .2 5 8 20",),
    "claude-sonnet-4-5": ("3 .3 3.75 6 15", 200_000, "6 .6 7.5 12 22.5"),
    "claude-sonnet-5": ("2 .2 2.5 4 10",),
    "claude-sonnet-5-5": ("2 .1 2.5 4 10",),
    "gpt-5.1-codex-mini": (".25 .025 - - 2",),
    "gpt-5.3-codex": ("1.75 .175 - - 14",),
    "gpt-5.4": ("2.5 .25 - - 15", 272_000, "5 .5 - - 22.5"),
    "gpt-5.5": ("5 .5 - - 30", 272_000, "10 1 - - 45"),
    "gpt-5.6-luna": (".2 .02 .25 - 1.2", 272_000, ".4 .04 .5 - 1.8"),
    "gpt-5.6-sol": ("4 .4 5 - 20", 272_000, "8 .8 10 - 30"),
    "gpt-5.6-terra": ("2 .2 2.5 - 12", 272_000, "4 .4 5 - 18"),
    "gpt-6-luna": (".1 .01 .125 - .5", 272_000, ".2 .02 .25 - .75"),
    "gpt-6-sol": ("2 .2 2.5 - 10", 272_000, "4 .4 5 - 15"),
    "gpt-6.1-sol": ("2 .1 2.5 - 10", 272_000, "4 .2 5 - 15"),
    "gemini-2.5-pro": ("1.25 .125 - - 10", 200_000, "2.5 .25 - - 15"),
    "gemini-3.1-pro-preview": ("2 .2 - - 12", 200_000, "4 .4 - - 18"),
    "gemini-3.5-flash": ("1.5 .15 - - 9",),
    "gemini-3.8-flash": (".75 .075 - - 3.75",),
    "gemini-4-argon": ("2 .1 - - 10",),
}
COLUMNS = (C.INPUT, C.CACHE_READ, C.CACHE_WRITE_5M, C.CACHE_WRITE_1H, C.OUTPUT)


@pytest.mark.parametrize("model", VECTORS)
def test_the_published_rates_of_the_models_that_coding_clis_use(model, prices):
    account = ACCOUNTS[{"c": "anthropic", "gp": "openai", "ge": "google"}[model[: 1 if model[0] == "c" else 2]]]
    base, *beyond = VECTORS[model]
    threshold = beyond[0] if beyond else 10**9
    for row, size in ((base, min(threshold, 50_000)), *([(beyond[1], threshold + 1)] if beyond else [])):
        for unit, rate in zip(COLUMNS, row.split(), strict=True):
            if rate == "-":
                continue
            units: dict[UsageClass, int] = {C.INPUT: size, C.OUTPUT: 1000} if unit is C.OUTPUT else {unit: size}
            expected = Decimal(rate) * 1000 * units[unit]
            if unit is C.OUTPUT:
                expected += Decimal(row.split()[0]) * 1000 * size
            assert nano(units, prices, account, model) == expected, (unit, size)


def test_a_threshold_is_a_cliff_for_the_whole_request(prices):
    usages = [{C.INPUT: n, C.OUTPUT: 1000} for n in (272_000, 272_001)]
    found = [nano(units, prices, ACCOUNTS["openai"], "gpt-5.5") for units in usages]
    assert found == [1_390_000_000, 2_765_010_000]


def test_a_worked_example_with_caches(prices):
    units = {C.INPUT: 10_000, C.CACHE_READ: 120_000, C.CACHE_WRITE_5M: 5_000, C.CACHE_WRITE_1H: 15_000, C.OUTPUT: 2_000}
    assert nano(units, prices, ACCOUNTS["anthropic"], "claude-opus-5") == 341_250_000


def test_the_tier_and_the_speed_that_the_provider_answered_with_count(prices):
    def charged(family, model, **said):
        return nano({C.INPUT: 1000}, prices, ACCOUNTS[family], model, **said)

    assert charged("anthropic", "claude-opus-5", speed="fast") > charged("anthropic", "claude-opus-5", speed="standard")
    flex, plain, priority = (charged("openai", "gpt-5.5", service_tier=tier) for tier in ("flex", "", "priority"))
    assert flex < plain < priority
    assert charged("openai", "gpt-5.5", service_tier="Flex") == flex


VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "speed": {"fast": ("claude-fable-5-2", "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5")},
    "service_tier": {
        "priority": ("gpt-5.3-codex", "gpt-5.4", "gpt-5.5", "gpt-5.6-luna", "gpt-5.6-sol", "gpt-6-sol", "gpt-6.1-sol"),
        "flex": ("gpt-5.4", "gpt-5.5", "gpt-5.6-luna", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-6-luna", "gpt-6.1-sol"),
    },
}


@pytest.mark.parametrize(
    ("kind", "value", "model"),
    [(kind, value, model) for kind, by in VARIANTS.items() for value, models in by.items() for model in models],
)
def test_models_with_a_dearer_or_cheaper_way_have_a_price_for_it(kind, value, model, prices):
    """Rates by tier and speed themselves are compared with the library's in the grid."""
    account = ACCOUNTS["anthropic" if kind == "speed" else "openai"]
    plain = nano({C.INPUT: 1000, C.OUTPUT: 1000}, prices, account, model)
    varied = nano({C.INPUT: 1000, C.OUTPUT: 1000}, prices, account, model, **{kind: value})
    assert varied < plain if value == "flex" else varied > plain


def test_hidden_reasoning_costs_as_output_and_searches_by_the_call(prices):
    def charged(model, units):
        return nano(units, prices, ACCOUNTS["anthropic" if model.startswith("claude") else "openai"], model)

    assert charged("gpt-5.5", {C.OUTPUT_REASONING: 1000}) == charged("gpt-5.5", {C.OUTPUT: 1000}) == 30_000_000
    assert charged("claude-opus-5", {C.WEB_SEARCH: 3}) == 30_000_000


# ---- versions, unknown models ---------------------------------------------------------------------------------


def test_the_same_arguments_give_the_same_version_and_others_another(compiled):
    assert compile_prices("price_1", AT).prices == compiled.prices
    assert compiled.prices.version.startswith("genai-prices 0.2.3 2026-11-23 ")
    other = compile_prices("price_1", AT, [OwnPrice("openai", "mine", rates=rates("1", "2"))], ["openai"])
    assert other.prices.version != compile_prices("price_1", AT, [], ["openai"]).prices.version


def test_only_the_families_that_are_asked_for_are_in_the_list():
    assert {price.provider for price in compile_prices("p", AT, families=["anthropic"]).prices.prices} == {"anthropic"}
    with pytest.raises(OverrideError, match="no such price family"):
        compile_prices("p", AT, families=["acme"])


def test_a_price_that_depends_on_the_time_of_day_is_left_out_by_name():
    left_out = compile_prices("p", AT, families=["deepseek"]).left_out
    assert "its price depends on the time of day" in {out.why for out in left_out}


def test_an_unknown_model_has_no_cost_and_the_dearest_relative_is_named(prices):
    account = ACCOUNTS["anthropic"]
    assert cost(Usage({C.INPUT: 1}), prices, account, "claude-opus-99", ms(NOW)) is None
    dearest = dearest_in_family(prices, account, "claude-opus-99", ms(NOW))
    assert dearest is not None
    assert dearest.model.startswith("claude-opus")


# ---- overrides ------------------------------------------------------------------------------------------------


def rates(input, output, **others):
    return {C.INPUT: Decimal(input), C.OUTPUT: Decimal(output)} | {
        C(unit): Decimal(rate) for unit, rate in others.items()
    }


def priced(override, account, model, units, families=("openai",)):
    prices = compile_prices("p", AT, override if isinstance(override, list) else [override], families).prices
    found = cost(Usage(units), prices, account, model, ms(NOW))
    return None if found is None else found.nano


def test_rates_of_ones_own_go_before_the_librarys():
    own = OwnPrice("openai", "gpt-5.5", rates=rates("1", "2"))
    assert priced(own, ACCOUNTS["openai"], "gpt-5.5", {C.INPUT: 1_000_000, C.OUTPUT: 1_000_000}) == 3_000_000_000
    assert priced(own, ACCOUNTS["openai"], "gpt-5.4", {C.INPUT: 1_000}) == 2_500_000


def test_the_other_classes_follow_from_input_and_output():
    own = OwnPrice("@ours", "Llama", match=("llama-*",), rates=rates("1", "2", cache_read="0.1", web_search="10000"))
    account = Account(name="ours")
    for units, expected in (
        ({C.CACHE_WRITE_1H: 1_000_000}, 10**9),
        ({C.CACHE_READ: 1_000_000}, 10**8),
        ({C.OUTPUT_REASONING: 1_000_000}, 2 * 10**9),
        ({C.WEB_SEARCH: 1}, 10**7),
        ({C.TOOL_CALL: 1}, 35_000_000),
    ):
        assert priced(own, account, "LLAMA-3", units) == expected
    assert priced(own, account, "mistral", {C.INPUT: 1}) is None
    assert priced(own, Account(name="theirs"), "llama-3", {C.INPUT: 1}) is None


def test_a_name_goes_before_a_glob_and_a_long_glob_before_a_short_one():
    own = [
        OwnPrice("@ours", "any", match=("*",), rates=rates("9", "9")),
        OwnPrice("@ours", "some", match=("llama-3*",), rates=rates("8", "8")),
        OwnPrice("@ours", "llama-3.3", rates=rates("7", "7")),
    ]
    account = Account(name="ours")
    assert [priced(own, account, name, {C.INPUT: 1000}) for name in ("x", "llama-3.1", "llama-3.3")] == [
        9_000_000,
        8_000_000,
        7_000_000,
    ]


def test_a_discount_lowers_the_librarys_prices_in_their_places():
    own = OwnPrice("openai", "gpt-5.5*", discount_percent=Decimal("12.5"))
    assert priced(own, ACCOUNTS["openai"], "gpt-5.5", {C.INPUT: 272_001}) == 2_720_010_000 * 7 // 8
    assert priced(own, ACCOUNTS["openai"], "gpt-5.4", {C.INPUT: 1_000}) == 2_500_000


def test_a_discount_may_be_one_providers_alone():
    own = OwnPrice("@ours", "*", discount_percent=Decimal(50), family="openai")
    assert priced(own, Account(name="ours"), "gpt-5.5", {C.INPUT: 1000}, families=()) == 2_500_000
    assert priced(own, Account(name="theirs", price_provider="openai"), "gpt-5.5", {C.INPUT: 1000}) == 5_000_000


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (OwnPrice("", "m", rates=rates("1", "1")), "names a provider"),
        (OwnPrice("@", "m", rates=rates("1", "1")), "names a provider"),
        (OwnPrice("openai", "", rates=rates("1", "1")), "names a provider"),
        (OwnPrice("openai", "m"), "either rates or a discount"),
        (OwnPrice("openai", "m", rates=rates("1", "1"), discount_percent=Decimal(5)), "either rates or a discount"),
        (OwnPrice("openai", "m", rates={C.INPUT: Decimal(1)}), "input and output"),
        (OwnPrice("openai", "m", rates=rates("0", "1")), "above 0"),
        (OwnPrice("openai", "m", rates=rates("-1", "1")), "above 0"),
        (OwnPrice("openai", "m", rates=rates("NaN", "1")), "above 0"),
        (OwnPrice("openai", "m", rates=rates("1", "500.000001")), "at most 500"),
        (OwnPrice("openai", "m", discount_percent=Decimal(100)), "between 0 and 100"),
        (OwnPrice("openai", "m", discount_percent=Decimal(-5)), "between 0 and 100"),
        (OwnPrice("@ours", "m", discount_percent=Decimal(5)), "names the family"),
        (OwnPrice("acme", "m", discount_percent=Decimal(5)), "no such price family"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused_with_what_to_correct(override, words):
    with pytest.raises(OverrideError, match=words):
        compile_prices("p", AT, [override], ["openai"])


def test_the_dearest_price_that_is_allowed_is_allowed():
    own = OwnPrice("openai", "m", rates=rates("0.000001", "500"))
    assert priced(own, ACCOUNTS["openai"], "m", {C.OUTPUT: 1000, C.INPUT: 1000}) == 500_000_000 + 1
