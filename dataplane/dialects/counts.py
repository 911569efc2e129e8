"""Counts in a provider's usage object: which of them are counts, and which one answer can have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf
from typing import Final

from dataplane.core.usage import INPUT_CLASSES, OUTPUT_CLASSES, UsageClass

# What no single answer uses, whatever is in the files and stored answers that a request only names: ten of the largest
# windows of today, twice the longest answer beyond what was seen, a thousand calls.
MOST_INPUT: Final = 10_000_000
MOST_UNSEEN: Final = 500_000
MOST_CALLS: Final = 1_000
_COUNTS = re.compile(r"(?i)tokens?$|token_?count$|requests$|call_?count$")

Units = dict[UsageClass, int]


class NotACount(ValueError):
    """A provider put something else where a count belongs."""


def count(source: Mapping[str, object], key: str) -> int:
    """0 for what is not there. Raises NotACount."""
    value = source.get(key)
    if type(value) is int and value >= 0:
        return value
    if value is None:
        return 0
    if type(value) is not float or not 0 <= value < inf:
        raise NotACount(key)
    return int(value)


def counts_only(reported: Mapping[str, object]) -> dict[str, object]:
    """The usage object without what stands where a count belongs and is none."""
    kept: dict[str, object] = {}
    for key, value in reported.items():
        if _COUNTS.search(key):
            if is_count(value):
                kept[key] = value
        elif isinstance(value, dict):
            kept[key] = counts_only(value)
        elif isinstance(value, list):
            kept[key] = [counts_only(part) for part in value if isinstance(part, dict)]
        else:
            kept[key] = value
    return kept


def is_count(value: object) -> bool:
    """Whether a provider told a number of something."""
    return (type(value) is int and value >= 0) or (type(value) is float and 0 <= value < inf)


def plausible(units: Units, max_output: int, seen_bytes: int) -> Units:
    """The same units where one answer can have used them; without the input, the output or the calls that it cannot.

    `max_output`: as the request asks, 0 where it does not; `seen_bytes`: of the answer, each a token at most.
    """
    incoming = outgoing = calls = 0
    for unit, number in units.items():
        if unit in INPUT_CLASSES:
            incoming += number
        elif unit in OUTPUT_CLASSES:
            outgoing += number
        else:
            calls = max(calls, number)
    kept = units
    if incoming > MOST_INPUT:
        kept = {unit: number for unit, number in kept.items() if unit not in INPUT_CLASSES}
    if outgoing > seen_bytes + max(MOST_UNSEEN, min(max_output, MOST_INPUT)):
        kept = {unit: number for unit, number in kept.items() if unit not in OUTPUT_CLASSES}
    if calls > MOST_CALLS:
        kept = {unit: number for unit, number in kept.items() if unit in INPUT_CLASSES or unit in OUTPUT_CLASSES}
    return kept
