"""What is charged, against what providers publish: models × places, tiers, speeds, caches, thresholds, tools and second
models.

The rates stand here as vendors' pages show them, dollars per million tokens, and are multiplied by the few lines of
`owed`, not by our code. Where two public lists differ, the vendor's own page is followed, and the line says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from controlplane.providers.price_compiler import compile_prices
from controlplane.providers.price_modifiers import PLACES, SPEEDS, TIERS
from controlplane.providers.price_rates import RATES
from dataplane.core.money.charges import charge
from dataplane.core.usage import Usage, UsageClass, UsagePart

C = UsageClass
DAY = date(2026, 12, 1)
AT_MS = int(datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp() * 1000)

ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing (2026-12-01)"
FAST = "https://platform.claude.com/docs/en/build-with-claude/fast-mode (2026-12-01)"
OPENAI = "https://developers.openai.com/api/docs/pricing (2026-12-01)"
RESIDENCY = "https://developers.openai.com/api/docs/models/gpt-5.4-pro (2026-12-01)"
ULTRAFAST = "https://developers.openai.com/api/docs/guides/ultrafast-mode (2026-12-01)"
GOOGLE = "https://ai.google.dev/gemini-api/docs/pricing (2026-12-01)"

# model: input, cache read, write 5 m, write 1 h, output
CLAUDE = {
    "claude-haiku-4-5": "1 .1 1.25 2 5",
    "claude-opus-4-1": "15 1.5 18.75 30 75",
    "claude-opus-4-5": "5 .5 6.25 10 25",
    "claude-sonnet-4-5": "3 .3 3.75 6 15",
    "claude-fable-5": "10 1 12.5 20 50",
    "claude-fable-5-1": "10 .25 12.5 20 50",
    "claude-fable-5-2": "8 .2 10 16 40",
    "claude-opus-4-6": "5 .5 6.25 10 25",
    "claude-opus-4-7": "5 .5 6.25 10 25",
    "claude-opus-4-8": "5 .5 6.25 10 25",
    "claude-opus-5": "5 .5 6.25 10 25",
    "claude-opus-5-5": "4 .2 5 8 20",
    "claude-sonnet-4-6": "3 .3 3.75 6 15",
    "claude-sonnet-5": "2 .2 2.5 4 10",
    "claude-sonnet-5-5": "2 .1 2.5 4 10",
}
BEFORE_4_6 = ("claude-haiku-4-5", "claude-opus-4-1", "claude-opus-4-5", "claude-sonnet-4-5")
TWICE = ("claude-fable-5-2", "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5")
SIX_TIMES = ("claude-opus-4-6", "claude-opus-4-7")
# model: input, cache read, output
GPT = {
    "gpt-5": "1.25 .125 10", "gpt-5-mini": ".25 .025 2", "gpt-5.2": "1.75 .175 14", "o3": "2 .5 8",
    "gpt-5.4": "2.5 .25 15", "gpt-5.5": "5 .5 30", "gpt-5.6-sol": "4 .4 20", "gpt-6-sol": "2 .2 10",
    "gpt-6-astra": "10 1 50", "gpt-6.1-sol": "2 .1 10", "gpt-6.1-terra": "1 .05 5", "gpt-6-luna": ".1 .01 .5",
}  # fmt: skip
LONG = ("gpt-5.4", "gpt-5.5", "gpt-5.6-sol", "gpt-6-sol", "gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-luna")
# model: input, cache read, output; beyond 200,000 tokens the same again
GEMINI = {
    "gemini-2.5-pro": ("1.25 .125 10", "2.5 .25 15"),
    "gemini-2.5-flash": (".3 .03 2.5", ""),
    "gemini-2.5-flash-lite": (".1 .01 .4", ""),
    "gemini-3-pro-preview": ("2 .2 12", "4 .4 18"),
    "gemini-3-flash-preview": (".5 .05 3", ""),
    "gemini-3.1-pro-preview": ("2 .2 12", "4 .4 18"),
    "gemini-3.1-flash-lite": (".25 .025 1.5", ""),
    "gemini-3.5-flash": ("1.5 .15 9", ""),
    "gemini-3.8-flash": (".75 .075 3.75", ""),
    "gemini-4-argon": ("4 .2 20", ""),
}


@dataclass(frozen=True)
class Account:
    kind: str
    base_url: str = ""
    name: str = "ours"
    price_provider: str = ""
    unpriced: str = "refuse"


@dataclass(frozen=True)
class Line:
    """`terms`: (count, dollars per million) as the bill has them; `percent`: of each of them."""

    name: str
    source: str
    kind: str
    model: str
    units: Mapping[UsageClass, int]
    terms: tuple[tuple[int, str], ...]
    percent: Decimal = Decimal(100)
    calls: tuple[tuple[int, str], ...] = ()  # (count, dollars per thousand): no factor holds for them
    said: Mapping[str, Any] = field(default_factory=dict)
    base_url: str = ""
    why: str = ""  # two public lists differ here


def owed(line: Line) -> Decimal:
    tokens = sum((Decimal(count) * Decimal(rate) * 1_000 for count, rate in line.terms), Decimal(0))
    calls = sum((Decimal(count) * Decimal(rate) * 1_000_000 for count, rate in line.calls), Decimal(0))
    return (tokens * line.percent / 100 + calls).quantize(Decimal(1))


def claude_lines() -> Iterator[Line]:
    caches = {C.INPUT: 1000, C.CACHE_READ: 20_000, C.CACHE_WRITE_5M: 3_000, C.CACHE_WRITE_1H: 500, C.OUTPUT: 700}
    for model, row in CLAUDE.items():
        rates = row.split()
        terms = tuple(zip(caches.values(), rates, strict=True))
        plain = ((1000, rates[0]), (100, rates[-1]))
        little = {C.INPUT: 1000, C.OUTPUT: 100}
        up = Decimal(100) if model in BEFORE_4_6 else Decimal(110)
        ways: list[tuple[str, str, Decimal, dict[str, str]]] = [
            ("base", ANTHROPIC, Decimal(100), {}),
            ("standard", ANTHROPIC, Decimal(100), {"service_tier": "standard", "speed": "standard"}),
            ("global", ANTHROPIC, Decimal(100), {"geo": "global"}),
            ("us", ANTHROPIC, up, {"geo": "us"}) if model not in BEFORE_4_6 else
            ("not_available", ANTHROPIC, Decimal(100), {"geo": "not_available"}),
            ("batch", ANTHROPIC, Decimal(50), {"service_tier": "batch"}),
        ]  # fmt: skip
        if times := 2 if model in TWICE else 6 if model in SIX_TIMES else 0:
            ways += [
                ("fast", FAST, Decimal(100 * times), {"speed": "fast"}),
                ("fast, us", FAST, Decimal(110 * times), {"speed": "fast", "geo": "us"}),
            ]
        for name, source, percent, said in ways:
            yield Line(f"{model} {name}", source, "anthropic", model, little, plain, percent, said=said)
            yield Line(f"{model} {name}, caches", source, "anthropic", model, caches, terms, percent, said=said)
        yield Line(
            f"{model} searches, us", ANTHROPIC, "anthropic", model, {**little, C.WEB_SEARCH: 3}, plain, up,
            calls=((3, "10"),), said={"geo": "us"},
        )  # fmt: skip
    beyond = {C.INPUT: 150_000, C.CACHE_READ: 50_001, C.OUTPUT: 10}
    yield Line("sonnet-4-5 long", ANTHROPIC, "anthropic", "claude-sonnet-4-5", beyond,
               ((150_000, "6"), (50_001, ".6"), (10, "22.5")))  # fmt: skip


def gpt_lines() -> Iterator[Line]:
    for model, row in GPT.items():
        rates = row.split()
        units = {C.INPUT: 1000, C.CACHE_READ: 4000, C.OUTPUT: 100, C.OUTPUT_REASONING: 50}
        terms = tuple(zip((1000, 4000, 150), rates, strict=True))
        for tier in ("", "default", "auto"):
            yield Line(f"{model} {tier}", OPENAI, "openai", model, units, terms, said={"service_tier": tier})
        if model not in ("gpt-5.4", "gpt-5.2"):  # their cached flex rates are rounded to a cent on the page
            yield Line(
                f"{model} flex", OPENAI, "openai", model, units, terms, Decimal(50), said={"service_tier": "flex"}
            )
        searched = {**units, C.WEB_SEARCH: 2, C.CONTAINER: 1, C.TOOL_CALL: 4}
        calls = ((2, "10"), (1, "30"), (4, "2.5"))
        yield Line(f"{model} tools", OPENAI, "openai", model, searched, terms, calls=calls)
        for region in ("eu", "us", "au"):
            up = Decimal(110 if model in LONG else 100)
            yield Line(f"{model} {region}", RESIDENCY, "openai", model, units, terms, up,
                       base_url=f"https://{region}.api.openai.com/v1")  # fmt: skip
        if model in LONG:
            double = tuple((count, str(Decimal(rate) * 2)) for count, rate in ((270_000, rates[0]), (2_001, rates[1])))
            long = {C.INPUT: 270_000, C.CACHE_READ: 2_001, C.OUTPUT: 100}
            terms_long = (*double, (100, str(Decimal(rates[2]) * Decimal("1.5"))))
            yield Line(f"{model} long", OPENAI, "openai", model, long, terms_long)
            exactly = {C.INPUT: 270_000, C.CACHE_READ: 2_000, C.OUTPUT: 100}
            short = ((270_000, rates[0]), (2_000, rates[1]), (100, rates[2]))
            yield Line(f"{model} at the threshold", OPENAI, "openai", model, exactly, short)
        if model in ("gpt-6-astra", "gpt-6.1-sol", "gpt-5.6-sol"):
            six = Decimal(600)
            said = {"service_tier": "ultrafast"}
            yield Line(f"{model} ultrafast", ULTRAFAST, "openai", model, units, terms, six, said=said)
            yield Line(f"{model} ultrafast, us", ULTRAFAST, "openai", model, units, terms, six * 11 / 10, said=said,
                       base_url="https://us.api.openai.com/v1")  # fmt: skip
        if model in ("gpt-6-astra", "gpt-6.1-sol", "gpt-6-sol", "gpt-5.6-sol", "gpt-5"):
            for tier in ("priority", "fast"):
                yield Line(f"{model} {tier}", OPENAI, "openai", model, units, terms, Decimal(200),
                           said={"service_tier": tier})  # fmt: skip
    search = {C.INPUT: 1000, C.OUTPUT: 100, C.WEB_SEARCH: 1}
    for model, first, last, call in (
        ("gpt-4o-search-preview", "2.5", "10", "25"), ("gpt-4o-mini-search-preview", ".15", ".6", "25"),
        ("gpt-5-search-api", "1.25", "10", "10"), ("gpt-5-search-api-2025-10-14", "1.25", "10", "10"),
        ("gpt-4o-search-preview-2025-03-11", "2.5", "10", "25"),
    ):  # fmt: skip
        yield Line(
            f"{model} search", OPENAI, "openai", model, search, ((1000, first), (100, last)), calls=((1, call),),
            why="litellm's list has a price for each size of context: the page, with one, is followed",
        )  # fmt: skip


def gemini_lines() -> Iterator[Line]:
    for model, (base, beyond) in GEMINI.items():
        units = {C.INPUT: 1000, C.CACHE_READ: 4000, C.OUTPUT: 100, C.OUTPUT_REASONING: 50}
        for name, row, size in (("", base, 1000), ("long ", beyond, 200_001)):
            if not row:
                continue
            terms = tuple(zip((size, 4000, 150), row.split(), strict=True))
            used = {**units, C.INPUT: size}
            for tier, percent in (("", 100), ("STANDARD", 100), ("FLEX", 50), ("PRIORITY", 180), ("flex", 50)):
                yield Line(
                    f"{model} {name}{tier}", GOOGLE, "gemini", model, used, terms, Decimal(percent),
                    said={"service_tier": tier},
                    why="genai-prices has these tiers of two speech models only, litellm of others: the page goes",
                )  # fmt: skip
        old = model.startswith("gemini-2")
        search, maps = ("35", "25") if old else ("14", "14")
        terms = tuple(zip((1000, 4000, 150), base.split(), strict=True))
        grounded = {**units, C.WEB_SEARCH: 1 if old else 3, C.MAPS: 1 if old else 2}
        calls = ((1 if old else 3, search), (1 if old else 2, maps))
        yield Line(f"{model} grounded", GOOGLE, "gemini", model, grounded, terms, calls=calls)
        yield Line(f"{model} grounded, flex", GOOGLE, "gemini", model, grounded, terms, Decimal(50), calls=calls,
                   said={"service_tier": "flex"})  # fmt: skip


def second_lines() -> Iterator[Line]:
    """The rates of a part are its own model's; the place is the answer's."""
    advised = UsagePart("claude-opus-4-7", {C.INPUT: 10_000, C.OUTPUT: 1_000}, "advisor_message")
    cached = UsagePart("claude-opus-5", {C.CACHE_READ: 10_000, C.CACHE_WRITE_5M: 100, C.OUTPUT: 10}, "fallback_message")
    fast = UsagePart("claude-opus-5", {C.INPUT: 1_000}, "advisor_message", "", "fast")
    drawn = UsagePart("gpt-image-1", {C.INPUT: 50, C.INPUT_IMAGE: 200, C.OUTPUT_IMAGE: 4_000}, "image_generation_call")
    mini = UsagePart("gpt-image-1-mini", {C.INPUT: 50, C.OUTPUT_IMAGE: 4_000}, "image_generation_call")
    newer = UsagePart("gpt-image-1.5", {C.INPUT: 50, C.OUTPUT: 10, C.OUTPUT_IMAGE: 4_000}, "image_generation_call")
    main = {C.INPUT: 1000, C.OUTPUT: 100}
    sonnet, gpt = ((1000, "3"), (100, "15")), ((1000, "5"), (100, "30"))
    for name, source, kind, model, base, part, terms in (
        ("advisor", ANTHROPIC, "anthropic", "claude-sonnet-4-6", sonnet, advised, ((10_000, "5"), (1_000, "25"))),
        ("fallback", ANTHROPIC, "anthropic", "claude-sonnet-4-6", sonnet, cached,
         ((10_000, ".5"), (100, "6.25"), (10, "25"))),
        ("fast advisor", FAST, "anthropic", "claude-sonnet-4-6", sonnet, fast, ((1_000, "10"),)),
        ("image", OPENAI, "openai", "gpt-5.5", gpt, drawn, ((50, "5"), (200, "10"), (4_000, "40"))),
        ("small image", OPENAI, "openai", "gpt-5.5", gpt, mini, ((50, "2"), (4_000, "8"))),
        ("newer image", OPENAI, "openai", "gpt-5.5", gpt, newer, ((50, "5"), (10, "10"), (4_000, "32"))),
    ):  # fmt: skip
        yield Line(name, source, kind, model, main, (*base, *terms), said={"parts": (part,)})
        yield Line(f"{name} twice", source, kind, model, main, (*base, *terms, *terms), said={"parts": (part, part)})
        if kind == "anthropic":
            yield Line(f"{name}, us", source, kind, model, main, (*base, *terms), Decimal(110),
                       said={"parts": (part,), "geo": "us"})  # fmt: skip
        else:
            # Regional endpoints cost more for the models that the page names: the image models are not among them.
            up = tuple((count, str(Decimal(rate) * Decimal("1.1"))) for count, rate in base)
            yield Line(f"{name}, eu", RESIDENCY, kind, model, main, (*up, *terms), said={"parts": (part,)},
                       base_url="https://eu.api.openai.com/v1")  # fmt: skip


def container_lines() -> Iterator[Line]:
    """$0.03, $0.12, $0.48 and $1.92 a container of 1, 4, 16 and 64 GB: its gigabytes are what is counted."""
    for model, terms in (("gpt-5.5", ((1000, "5"), (100, "30"))), ("gpt-5", ((1000, "1.25"), (100, "10")))):
        for gigabytes, thousands in ((1, "30"), (4, "120"), (16, "480"), (64, "1920")):
            units = {C.INPUT: 1000, C.OUTPUT: 100, C.CONTAINER: gigabytes}
            yield Line(f"{model}, container of {gigabytes} GB", OPENAI, "openai", model, units, terms,
                       calls=((1, thousands),))  # fmt: skip


LINES = [*container_lines(), *claude_lines(), *gpt_lines(), *gemini_lines(), *second_lines()]


@pytest.fixture(scope="module")
def prices():
    return compile_prices("price_1", DAY).prices


def test_the_grid_is_as_large_as_it_has_to_be():
    assert len(LINES) >= 200
    assert all(line.source.startswith("https://") and line.source.endswith("(2026-12-01)") for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_what_is_charged_is_what_the_provider_publishes(line: Line, prices):
    usage = Usage(line.units, **line.said)
    found = charge(usage, prices, Account(line.kind, line.base_url), (line.model,), AT_MS)
    assert found is not None
    assert found.nano == owed(line), (line.source, line.why)
    assert not found.guess


def test_every_line_of_our_own_tables_has_its_source_and_its_day():
    for row in (*PLACES, *TIERS, *SPEEDS, *RATES):
        assert row.source.startswith("https://")
        assert date.fromisoformat(row.read_on) <= DAY


def test_a_tier_that_is_not_published_is_never_the_cheaper_guess(prices):
    def charged(model: str, tier: str) -> tuple[int, str]:
        found = charge(
            Usage({C.INPUT: 1000, C.OUTPUT: 100}, service_tier=tier), prices, Account("openai"), (model,), AT_MS
        )
        assert found is not None
        return found.nano, found.guess

    for model in ("gpt-5", "gpt-5.5", "gpt-6-sol"):
        nano, guess = charged(model, "scale")
        assert guess == "tier"
        assert nano == max(charged(model, tier)[0] for tier in ("", "flex", "priority"))
