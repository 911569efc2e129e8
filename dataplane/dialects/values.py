"""Small readings of what providers send: values that may be anything, usage objects, totals and their parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dataplane.core.usage import UsageClass
from dataplane.dialects.counts import Units, is_count
from dataplane.dialects.scan import decoded

_USAGE_BYTES = 64 * 1024  # of a usage object, that a turn of the loop decodes: they have 200 to 2,000

NOTHING = msgspec.Raw(b"")


def has_value(raw: msgspec.Raw) -> bool:
    """True for what is neither absent nor null."""
    return len(raw) > 0 and (len(raw) != 4 or bytes(raw) != b"null")


def text_bytes(raw: msgspec.Raw) -> int:
    """Length of a JSON string between its quotes; 0 for null and for nothing."""
    return len(raw) - 2 if len(raw) > 2 and has_value(raw) else 0


def usage_object(raw: msgspec.Raw | bytes) -> dict[str, object]:
    """Decodes a usage object, without nulls; empty when it is none."""
    value = decoded(raw) if 0 < len(raw) <= _USAGE_BYTES else None
    if not isinstance(value, dict):
        return {}
    return {key: held for key, held in value.items() if held is not None} if None in value.values() else value


def within(source: Mapping[str, object], key: str) -> dict[str, object]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def word(source: Mapping[str, object], key: str) -> str:
    value = source.get(key)
    return value[:64] if isinstance(value, str) else ""


def split(total: int, parts: Iterable[tuple[UsageClass, int]], rest: UsageClass) -> Units:
    """`parts` are subsets of `total`; what no part claims is `rest`. Never more than the total, whatever was
    claimed."""
    units: Units = {}
    for unit, claimed in parts:
        taken = min(claimed, total)
        units[unit] = units.get(unit, 0) + taken
        total -= taken
    units[rest] = units.get(rest, 0) + total
    return units


def add(units: Units, more: Units) -> None:
    for unit, number in more.items():
        units[unit] = units.get(unit, 0) + number


def larger(before: Mapping[str, object], now: Mapping[str, object]) -> dict[str, object]:
    """Two usage objects of one answer as one: of each count the larger, since some providers repeat a count as zero at
    the end. What is no count is believed as it came last."""
    merged = dict(before)
    for key, value in now.items():
        was = merged.get(key)
        if is_count(value) and is_count(was):
            merged[key] = max(value, was)  # type: ignore[call-overload]
        elif isinstance(value, dict) and isinstance(was, dict):
            merged[key] = larger(was, value)
        elif is_count(value) or value or not was:
            merged[key] = value
    return merged


def updated(before: Mapping[str, object], now: Mapping[str, object]) -> dict[str, object]:
    """A usage object with a later one over it. A zero takes no count away: some providers repeat what they told at the
    beginning as zero at the end."""
    merged = dict(before)
    for key, value in now.items():
        was = merged.get(key)
        if isinstance(value, dict) and isinstance(was, dict):
            merged[key] = updated(was, value)
        elif value or not was:
            merged[key] = value
    return merged


# Under these names answers of all dialects have what a model wrote.
_WRITTEN = frozenset({
    "text", "content", "thinking", "reasoning", "reasoning_content", "refusal", "arguments", "transcript",
})  # fmt: skip
_ARGUMENTS = frozenset({"input", "args"})  # of a call: all the texts in them


def shown(answer: object) -> int:
    """Characters of what a model wrote in a whole answer, decoded."""
    total = 0
    rest: list[tuple[object, bool]] = [(answer, False)]
    while rest:
        value, arguments = rest.pop()
        if isinstance(value, dict):
            for key, held in value.items():
                if isinstance(held, str):
                    total += len(held) if arguments or key in _WRITTEN else 0
                else:
                    rest.append((held, arguments or key in _ARGUMENTS))
        elif isinstance(value, list):
            rest += [(held, arguments) for held in value]
        elif arguments and isinstance(value, str):
            total += len(value)
    return total
