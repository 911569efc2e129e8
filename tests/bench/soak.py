"""A soak: coding CLIs' turns at a steady rate for minutes; the slope of memory and what descriptors are left."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench import asks
from tests.bench.generator import Generator
from tests.bench.processes import say
from tests.bench.systems.system import System

RATE = 40.0
SAMPLE_S = 5.0
WARM_UP = 0.25  # of the time: caches and arenas fill
RETIRED_S = 60.0  # kept connections to the provider are closed by then
IDLE_LIMIT_S = 90.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def soak(generator: Generator, system: System, minutes: float) -> dict[str, float]:
    seconds = minutes * 60
    requests = asks.coding_mix(system.credentials, pace_ms=2)
    generator.load(system.port, requests, connections=8, seconds=1.0, finish=1)  # what is opened once is open then
    time.sleep(RETIRED_S)
    descriptors = system.tree.descriptors()
    points: list[tuple[float, float]] = []
    started = time.monotonic()
    with generator.loading(system.port, requests, connections=400, rate=RATE, seconds=seconds) as running:
        while (passed := time.monotonic() - started) < seconds:
            points.append((passed, float(system.tree.rss())))
            time.sleep(min(SAMPLE_S, max(0.1, seconds - passed)))
        load = running.result()
    say(f"soak: {load.done} requests, {load.failed} failed; waiting until connections are retired")
    warm = [point for point in points if point[0] >= WARM_UP * seconds]
    level = sum(rss for _, rss in warm) / len(warm)
    until = time.monotonic() + IDLE_LIMIT_S
    while system.tree.descriptors() > descriptors and time.monotonic() < until:
        time.sleep(1)
    return {
        "minutes": minutes,
        "requests": load.done,
        "failed": load.failed,
        "MB after warm-up": level / 1e6,
        "% per hour": 100 * 3600 * slope(warm) / level,
        "descriptors left": system.tree.descriptors() - descriptors,
    }
