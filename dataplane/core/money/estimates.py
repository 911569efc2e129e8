"""What an attempt may cost, before it has cost anything: input at its upper bound, output as it was lately.

Output is learnt per (model, principal): one and a half times the running mean of tokens is what four of five requests
stay below. Where a model hides what it writes (reasoning that is billed and not streamed), nobody can extend a hold in
time, so that the whole ceiling is set aside. Prices are those of the dearest card that the answer may come under.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from dataplane.core.globs import compiled
from dataplane.core.money.amounts import nano_from_pico
from dataplane.core.money.geography import dearest_percent
from dataplane.core.money.prices import (
    DEAREST_CALL_PICO,
    PLAIN_TIERS,
    Ceiling,
    ModelPrice,
    PricedAs,
    PriceList,
    RateCard,
    rate_like,
)
from dataplane.core.usage import INPUT_CLASSES, UsageClass

# What a request writes as long as nothing is known: the median of coding turns is 400 tokens, their mean 900.
FIRST_GUESS: Final = 1_000
# Nobody's hold is sized by less: a short answer costs little, an extension is a message.
LEAST: Final = 200
# Share of the newest in the running mean, and how much above the mean is set aside.
_NEW, _OF = 1, 8
_ABOVE, _MEAN = 3, 2
# Combinations of model and principal that are remembered; beyond it all are forgotten and learnt anew.
REMEMBERED: Final = 65_536
# What is set aside where a model hides its reasoning and neither request nor model name a ceiling.
HIDDEN_CEILING: Final = 32_000
# Ways of asking (service tier, speed, marks) whose dearest rates are remembered per price; then all are forgotten.
CEILINGS: Final = 64

# Per token of an image whose model has no price: the dearest that is published, of $40 per million.
DEAREST_IMAGE_PICO: Final = 40_000_000

_OUTPUT: Final = (UsageClass.OUTPUT, UsageClass.OUTPUT_REASONING)
_PLAIN_INPUT: Final = frozenset({UsageClass.INPUT, UsageClass.CACHE_READ, UsageClass.CACHE_WRITE})

_NO_NAMES: Final = compiled(())
_OPENAI_NAMES: Final = compiled(("o1*", "o3*", "o4*", "gpt-5*", "gpt-6*", "codex-*"))
# Billed reasoning that the stream does not show: names of models, for each kind of provider.
HIDING: Final = {
    "anthropic": _NO_NAMES,
    "openai": _OPENAI_NAMES,
    "gemini": compiled(("gemini-2.5*", "gemini-3*", "gemini-4*")),
    "azure_openai": _OPENAI_NAMES,
    "openai_compatible": _OPENAI_NAMES,
    "anthropic_compatible": _NO_NAMES,
}


@lru_cache(maxsize=1024)  # it is on every request's path, and pods see few models
def hides_reasoning(kind: str, model: str) -> bool:
    """Whether the model may bill tokens that its stream does not show."""
    return HIDING.get(kind, _NO_NAMES).matches(model.lower().rpartition("/")[2])


class OutputEstimates:
    """Running means of output tokens per (model, principal), in eighths of a token: integers."""

    __slots__ = ("_means",)

    def __init__(self) -> None:
        self._means: dict[tuple[str, str], int] = {}

    def learn(self, model: str, principal: str, tokens: int) -> None:
        """`tokens`: all that was billed as output."""
        key = (model, principal)
        mean = self._means.get(key)
        if mean is None:
            if len(self._means) >= REMEMBERED:
                self._means.clear()
            mean = self._means.get((model, ""), FIRST_GUESS * _OF)
        self._means[key] = mean + (tokens * _OF - mean) * _NEW // _OF
        if principal:
            self.learn(model, "", tokens)

    def expect(self, model: str, principal: str, ceiling: int = 0) -> int:
        """Tokens to set aside; `ceiling`: what the request or the model allows at most, 0 where nobody says."""
        mean = self._means.get((model, principal))
        if mean is None:
            mean = self._means.get((model, ""), FIRST_GUESS * _OF)
        expected = max(LEAST, mean * _ABOVE // _MEAN // _OF)
        return min(expected, ceiling) if ceiling else expected


class Need(NamedTuple):
    """Nano-dollars. `minimum`: the input alone; `output_pico`: what one more token of output costs at most."""

    need: int
    minimum: int
    output_pico: int


def need(
    price: ModelPrice,
    at_ms: int,
    input_tokens: int,
    output_tokens: int,
    *,
    service_tier: str = "",
    speed: str = "",
    marked: Iterable[UsageClass] = (),
    extra_pico: int = 0,
    base_url: str = "",
) -> Need:
    """What to hold for `input_tokens` (an upper bound) and `output_tokens`.

    `service_tier`, `speed`: as the request asks for them, the answer may come under the usual ones; `marked`: cache
    writes that the request asks for; `extra_pico`: for what is not counted in tokens, such as web searches;
    `base_url`: the provider's, which may cost more by where it is.
    """
    terms = (service_tier, speed, base_url, *marked)
    ceiling = price.ceilings.get(terms)
    if ceiling is None or not ceiling.since_ms <= at_ms < ceiling.until_ms:
        ceiling = _ceiling(price, at_ms, service_tier.lower(), speed.lower(), base_url, terms[3:])
        if len(price.ceilings) >= CEILINGS:
            price.ceilings.clear()
        price.ceilings[terms] = ceiling
    input_pico = output_pico = 0
    for above, input_pico, output_pico in ceiling.steps:  # noqa: B007  the last one applies to everything
        if input_tokens > above:
            break
    least = input_tokens * input_pico + extra_pico
    return Need(nano_from_pico(least + output_tokens * output_pico), nano_from_pico(least), output_pico)


def calls_pico(price: ModelPrice, calls: Iterable[tuple[UsageClass, int]], at_ms: int) -> int:
    """Pico-dollars of calls of tools, which cost the same in all tiers."""
    rates = price.card("", "", at_ms).tiers[0].rates_pico
    return sum([count * rates.get(unit, DEAREST_CALL_PICO) for unit, count in calls])


def images_pico(prices: PriceList, provider: PricedAs, images: Iterable[tuple[str, int]], at_ms: int) -> int:
    """Pico-dollars of images that a tool may draw, by their models and tokens."""
    return sum([tokens * _image_pico(prices.find(provider, model), at_ms) for model, tokens in images])


def _image_pico(price: ModelPrice | None, at_ms: int) -> int:
    if price is None:
        return DEAREST_IMAGE_PICO
    return rate_like(UsageClass.OUTPUT_IMAGE, price.card("", "", at_ms).tiers[0].rates_pico) or DEAREST_IMAGE_PICO


def _ceiling(
    price: ModelPrice, at_ms: int, service_tier: str, speed: str, base_url: str, marked: Iterable[str]
) -> Ceiling:
    percent = dearest_percent(price.geo_percent, base_url)
    cards = list(_reachable(price, service_tier, speed, at_ms))
    classes = _PLAIN_INPUT | INPUT_CLASSES.intersection(marked)

    def dearest(input_tokens: int, units: Iterable[UsageClass]) -> int:
        dearest = max(card.tier(input_tokens).rates_pico.get(unit, 0) for card in cards for unit in units)
        return (dearest * percent + 50) // 100

    thresholds = {tier.above_input_tokens for card in cards for tier in card.tiers[1:]}
    steps = [(above, dearest(above + 1, classes), dearest(above + 1, _OUTPUT)) for above in sorted(thresholds)]
    base = (-1, dearest(0, classes), dearest(0, _OUTPUT))
    return Ceiling((*reversed(steps), base), *price.unchanged(at_ms))


def _reachable(price: ModelPrice, service_tier: str, speed: str, at_ms: int) -> Iterator[RateCard]:
    """The cards that an answer may be billed under: as asked, and the usual one that a provider falls back to."""
    yield price.card("", "", at_ms)
    tiers = {"", "default", service_tier}
    if service_tier not in PLAIN_TIERS and all(card.service_tier != service_tier for card in price.cards):
        tiers |= {card.service_tier for card in price.cards}  # nobody knows what it costs: not less than it may
    speeds = {"", "standard", speed}
    for card in price.cards:
        if card.service_tier in tiers and card.speed in speeds and card.applies(card.service_tier, card.speed, at_ms):
            yield card
