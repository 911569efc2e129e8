"""Slices: one load on one system, with what everybody used; and rounds, in which every system takes its turn."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench.generator import Generator, Histogram, Load, Mock
from tests.bench.loads import Ask
from tests.bench.processes import say
from tests.bench.systems import System

SETTLE_LIMIT_S = 30.0  # the control plane takes three times as long to book requests as a pod to serve them
WARM_UP_S = 0.5
BUSY = 0.9  # of a core
ANCHOR = "nginx"


@dataclass(frozen=True, slots=True)
class Slice:
    """`cpu_s` until all that the load left behind was done; shares are of one core, during the load."""

    load: Load
    units: int
    cpu_s: float
    settled: bool
    system_share: float
    harness_share: float  # generator and mock
    control_cpu_s: float = 0.0  # of the control plane, where the system has one

    @property
    def cpu_us(self) -> float:
        """Per unit."""
        return 1e6 * self.cpu_s / self.units

    @property
    def control_us(self) -> float:
        """Per unit, outside of the system's core."""
        return 1e6 * self.control_cpu_s / self.units

    @property
    def per_second(self) -> float:
        return self.units / self.load.seconds

    @property
    def harness_bound(self) -> bool:
        """What limited the rate was not the system."""
        return self.harness_share > BUSY > self.system_share


def take(generator: Generator, mock: Mock, system: System, ask: Ask, seconds: float) -> Slice:
    control_before = system.control_cpu_s()
    mock_before, before = mock.tree.cpu_s(), system.tree.cpu_s()
    load = ask.run(generator, system, seconds)
    during, mock_cpu_s = system.tree.cpu_s() - before, mock.tree.cpu_s() - mock_before
    settled = system.settle(SETTLE_LIMIT_S)
    return Slice(
        load=load,
        units=ask.units(load),
        cpu_s=system.tree.cpu_s() - before,
        control_cpu_s=system.control_cpu_s() - control_before,
        settled=settled,
        system_share=during / load.seconds,
        harness_share=(mock_cpu_s + load.generator_cpu_s) / load.seconds,
    )


@dataclass(slots=True)
class Taken:
    """All slices of one load: per system, one for every round in which it took its turn."""

    ask: Ask
    slices: dict[str, list[Slice]] = field(default_factory=dict)

    def median(self, system: str, figure: Callable[[Slice], float]) -> float:
        return statistics.median(figure(each) for each in self.slices[system])

    def ratio(self, system: str) -> float | None:
        """CPU per unit to the anchor's: the median over rounds of what was measured in the same round."""
        anchors = self.slices.get(ANCHOR)
        if not anchors or any(each.units <= 1 for each in anchors):
            return None
        pairs = zip(self.slices[system], anchors, strict=True)
        return statistics.median(mine.cpu_us / anchor.cpu_us for mine, anchor in pairs)

    def histogram(self, system: str, name: str) -> Histogram:
        """Of all rounds together; `name` is whole, first, travelled or refused."""
        total: Histogram = Counter()
        for each in self.slices[system]:
            total.update(getattr(each.load, name))
        return total

    def failed(self, system: str) -> int:
        return sum(each.load.failed for each in self.slices[system])


def take_turns(
    generator: Generator, mock: Mock, systems: Sequence[System], asks: Sequence[Ask], rounds: int, seconds: float
) -> list[Taken]:
    """Before the first round everything is asked once, so that no first time is measured."""
    taken = [Taken(ask) for ask in asks]
    for ask in asks:
        for system in filter(ask.suits, systems):
            ask.run(generator, system, WARM_UP_S)
    for number in range(1, rounds + 1):
        for row in taken:
            for system in filter(row.ask.suits, systems):
                measured = take(generator, mock, system, row.ask, seconds)
                row.slices.setdefault(system.name, []).append(measured)
                say(
                    f"round {number}: {row.ask.name}: {system.name}: {measured.cpu_us:.1f} µs per {row.ask.unit}, "
                    f"{measured.per_second:.0f}/s, {measured.load.failed} failed"
                )
    return taken
