"""A soak: coding CLIs' turns at a steady rate for minutes; where memory settles, its slope, what is left open.

Each of many connections takes its turn, as those of many people do, and /metrics is scraped all along. In the warm-up,
a quarter of the time, a pod loads what its first batch of spans needs (10 MB), and its caches and heaps fill; the slope
is that of the rest. Heaps grow in steps of 132 KB, so the slope is the median of all pairs of samples (Theil and Sen):
one step hardly moves it, a leak does, be it 10 bytes per request. A pod that was starved for a while by the machine's
other work holds more requests at once and keeps a higher level afterwards: then some fail, and the run says nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import combinations

from tests.bench import asks
from tests.bench.generator import Generator
from tests.bench.processes import say
from tests.bench.systems.system import System

RATE = 40.0
CONNECTIONS = 399  # not a multiple of the mix: each sends everything that is in it
SAMPLE_S = 5.0
WARM_UP = 0.25  # of the time
RETIRED_S = 60.0  # kept connections to the provider are closed by then
IDLE_LIMIT_S = 90.0

Sample = tuple[float, float]  # seconds, bytes


def slope(samples: Sequence[Sample]) -> float:
    """The median slope of all pairs; 0 of fewer than two samples."""
    slopes = [(later - sooner) / (end - start) for (start, sooner), (end, later) in combinations(samples, 2)]
    return statistics.median(slopes) if slopes else 0.0


def growth(samples: Sequence[Sample], seconds: float) -> dict[str, float]:
    """Of a soak of that many seconds."""
    warm = [sample for sample in samples if sample[0] >= WARM_UP * seconds]
    level = statistics.median(size for _, size in warm)
    return {
        "MB after warm-up": level / 1e6,
        "MB at most": max(size for _, size in samples) / 1e6,
        "% per hour": 100 * 3600 * slope(warm) / level,
    }


def soak(generator: Generator, system: System, minutes: float) -> dict[str, float]:
    seconds = minutes * 60
    requests = asks.coding_mix(system.credentials, pace_ms=2)
    generator.load(system.port, requests, connections=8, seconds=1.0, finish=1)  # what is opened once is open then
    time.sleep(RETIRED_S)
    descriptors = system.tree.descriptors()
    samples: list[Sample] = []
    waiting: list[float] = []
    started = time.monotonic()
    options = {"connections": CONNECTIONS, "rate": RATE, "rotate": 1, "seconds": seconds}
    with generator.loading(system.port, requests, **options) as running:
        while (passed := time.monotonic() - started) < seconds:
            samples.append((passed, float(system.tree.rss())))
            waiting.append(system.unreported())
            time.sleep(min(SAMPLE_S, max(0.1, seconds - passed)))
        load = running.result()
    say(f"soak: {load.done} requests, {load.failed} failed; waiting until connections are retired")
    until = time.monotonic() + IDLE_LIMIT_S
    while system.tree.descriptors() > descriptors and time.monotonic() < until:
        time.sleep(1)
    return {
        "minutes": minutes,
        "requests": load.done,
        "failed": load.failed,
        "records waiting at most": max(waiting),
        **growth(samples, seconds),
        "descriptors left": system.tree.descriptors() - descriptors,
    }
