"""The iterations of one Anthropic answer: passes of the model that answers, and what others did in between.

The top level of a usage object sums the passes (`message`). Compactions, advisors and fallbacks are not in it but on
the bill, each at the rates of the model that it names; without a name it is the answer's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from dataplane.core.usage import UsagePart
from dataplane.dialects.counts import Units
from dataplane.dialects.values import add, word

MOST: Final = 1_000  # iterations that are looked at; the API ends a turn after far fewer
MOST_MODELS: Final = 16
_LONGEST_NAME: Final = 128
_DATED: Final = re.compile(r"-20\d{6}$")
_BESIDE: Final = frozenset({"compaction", "advisor_message", "fallback_message"})  # that the top level leaves out


class Pass(NamedTuple):
    """One iteration. `model`: "" where it is the answer's; `in_total`: the top level has it in its sum."""

    model: str
    kind: str
    units: Units
    service_tier: str
    speed: str
    in_total: bool


def passes(
    reported: Mapping[str, object], model: str, tokens: Callable[[Mapping[str, object]], Units]
) -> Iterator[Pass]:
    """Those that are not simply a part of the top level. Raises NotACount."""
    iterations = reported.get("iterations")
    for iteration in iterations[:MOST] if isinstance(iterations, list) else ():
        if not isinstance(iteration, dict):
            continue
        kind, named = word(iteration, "type"), iteration.get("model")
        other = named[:_LONGEST_NAME] if isinstance(named, str) and not _same(named, model) else ""
        if other or kind in _BESIDE:
            used = {unit: count for unit, count in tokens(iteration).items() if count}
            yield Pass(
                other, kind, used, word(iteration, "service_tier"), word(iteration, "speed"), in_total=kind == "message"
            )


def parts(iterations: Iterator[Pass]) -> tuple[UsagePart, ...]:
    """What other models used, each model and kind once."""
    merged: dict[tuple[str, str], UsagePart] = {}
    for one in iterations:
        key = (one.model, one.kind)
        if key in merged:
            add(merged[key].units, one.units)  # type: ignore[arg-type]
        elif one.model and one.units and len(merged) < MOST_MODELS:
            merged[key] = UsagePart(one.model, one.units, one.kind, one.service_tier, one.speed)
    return tuple(merged.values())


def _same(one: str, other: str) -> bool:
    return one == other or _DATED.sub("", one) == _DATED.sub("", other)
