"""The way in which OpenAI counts, and its imitators: its two usage objects (chat's and responses') in disjoint
classes, its images, its bytes per token."""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.core.usage import UsageClass
from dataplane.dialects.counts import Units, count
from dataplane.dialects.values import split, within

BYTES_PER_TOKEN = 4.0

_INPUT_DETAILS = {
    "cache_write_tokens": UsageClass.CACHE_WRITE,
    "audio_tokens": UsageClass.INPUT_AUDIO,
    "image_tokens": UsageClass.INPUT_IMAGE,
}
_OUTPUT_DETAILS = {"audio_tokens": UsageClass.OUTPUT_AUDIO, "image_tokens": UsageClass.OUTPUT_IMAGE}

_INPUT, _CACHED, _OUTPUT = UsageClass.INPUT, UsageClass.CACHE_READ, UsageClass.OUTPUT
_REASONING = UsageClass.OUTPUT_REASONING

# Where each of the two objects has input, its details, output and its details.
_CHAT = ("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details")
_RESPONSES = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")


def image_upper(model: str) -> int:
    """gpt-4o-mini bills an image 33 times: up to 8 tiles of 5,667 and 2,833; the others at most 10,000 patches and a
    fifth."""
    return 49_000 if "4o-mini" in model else 12_500


def tokens(reported: Mapping[str, object]) -> Units:
    """Details are subsets of input and output. Some providers count reasoning on top of the output instead (xAI,
    Gemini's chat endpoint): their total says so, and the sum of our classes is always that total."""
    chat = "prompt_tokens" in reported or "completion_tokens" in reported
    name_in, name_details_in, name_out, name_details_out = _CHAT if chat else _RESPONSES
    incoming, outgoing = count(reported, name_in), count(reported, name_out)
    details_in, details_out = within(reported, name_details_in), within(reported, name_details_out)
    cached = (
        (count(details_in, "cached_tokens") if details_in else 0)
        or count(reported, "prompt_cache_hit_tokens")
        or count(reported, "cached_tokens")
    )
    total = count(reported, "total_tokens")
    on_top = max(total - incoming - outgoing, 0) if incoming or outgoing else 0  # a total alone tells no direction
    reasoning = 0 if on_top or not details_out else count(details_out, "reasoning_tokens")
    units: Units = {}
    _divide(units, incoming, _CACHED, cached, details_in, _INPUT_DETAILS, _INPUT)
    _divide(units, outgoing, _REASONING, reasoning, details_out, _OUTPUT_DETAILS, _OUTPUT)
    units[_REASONING] += on_top
    return units


def _divide(
    units: Units,
    total: int,
    first: UsageClass,
    claimed: int,
    details: Mapping[str, object],
    classes: Mapping[str, UsageClass],
    rest: UsageClass,
) -> None:
    """`total` among the class that claims its part first, those that the details name, and the rest."""
    if details.keys().isdisjoint(classes):  # nearly always: text only
        units[first] = claimed = min(claimed, total)
        units[rest] = total - claimed
        return
    named = [(classes[name], count(details, name)) for name, number in details.items() if number and name in classes]
    units |= split(total, [(first, claimed), *named], rest)
