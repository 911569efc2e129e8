"""What the guard makes of its rounds: a median of ratios, and whether it is too much.

In a round base and present take turns, either one first and last (ABBA), between two slices of the bare relay. So what
drifts falls on both alike, and what the relay cost before and after tells whether the machine held still.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WARN, FAIL = 1.05, 1.10  # times the base's cost, allowance included
LEAST_ROUNDS = 5
STEADY = 1.15  # how far the relay may move within a round that counts


@dataclass(frozen=True, slots=True)
class Round:
    """CPU microseconds per request or event, of two slices each; `failed`: wrong answers."""

    relay: tuple[float, float]
    base: tuple[float, float]
    present: tuple[float, float]
    failed: int = 0

    @property
    def ratio(self) -> float:
        return sum(self.present) / sum(self.base)

    @property
    def to_relay(self) -> float:
        return sum(self.present) / sum(self.relay)

    @property
    def moved(self) -> float:
        return max(self.relay) / min(self.relay)


class Grade(StrEnum):
    FINE = "fine"
    WARNED = "DEARER, not yet too dear"
    FAILED = "TOO DEAR"


@dataclass(frozen=True, slots=True)
class Verdict:
    load: str
    base_us: float
    present_us: float
    ratio: float
    spread: tuple[float, float]  # the least and the greatest ratio of a round that counts
    to_relay: float
    allowed: float  # times the base's cost that is no news
    grade: Grade
    rounds: int  # that count


def counting(rounds: Sequence[Round]) -> list[Round]:
    """Those in which the machine held still; of a restless machine, the stillest."""
    stillest = sorted(rounds, key=lambda each: each.moved)
    still = [each for each in stillest if each.moved <= STEADY]
    return still if len(still) >= LEAST_ROUNDS else stillest[:LEAST_ROUNDS]


def judge(load: str, rounds: Sequence[Round], more: float = 0.0) -> Verdict:
    """`more`: the share of the base's cost that was allowed on top."""
    if len(rounds) < LEAST_ROUNDS:
        raise ValueError(f"{len(rounds)} rounds of {load}; {LEAST_ROUNDS} are the least that say something")
    counted = counting(rounds)
    ratios = [each.ratio for each in counted]
    ratio, allowed = statistics.median(ratios), 1 + more
    return Verdict(
        load=load,
        base_us=statistics.median(sum(each.base) / 2 for each in counted),
        present_us=statistics.median(sum(each.present) / 2 for each in counted),
        ratio=ratio,
        spread=(min(ratios), max(ratios)),
        to_relay=statistics.median(each.to_relay for each in counted),
        allowed=allowed,
        grade=_grade(ratio / allowed),
        rounds=len(counted),
    )


def _grade(times: float) -> Grade:
    if times > FAIL:
        return Grade.FAILED
    return Grade.WARNED if times > WARN else Grade.FINE
