"""Many streams at once: memory of each after a 100 KB request, CPU of an event, and whether all came to a right end."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from tests.bench import asks
from tests.bench.generator import Generator, percentile
from tests.bench.systems import System

PLATEAU_S = 5.0  # all streams are open
SAMPLE_S = 0.25
OPENED_PER_S = 400
PATIENCE_S = 40.0


@dataclass(frozen=True, slots=True)
class Crowd:
    count: int
    pace_ms: int


@dataclass(frozen=True, slots=True)
class Held:
    crowd: Crowd
    system: str
    bytes_each: float
    cpu_us_per_event: float
    failed: int
    travelled_p50_us: float
    travelled_p99_us: float


CROWDS = (Crowd(1_000, 250), Crowd(5_000, 1_000))
SLOW_CROWD = Crowd(200, 1_000)


def hold(generator: Generator, system: System, crowd: Crowd) -> Held:
    """Open them one after the other, keep all of them for a while, see all of them end.

    Memory and CPU are of the while in which all are open and nothing but events happens.
    """
    opening_s = crowd.count / OPENED_PER_S
    events = int((opening_s + PLATEAU_S) * 1000 / crowd.pace_ms)
    request = asks.chat(system.credentials, 100_000, asks.wish(events, crowd.pace_ms), stream=True)
    first = asks.chat(system.credentials, 100_000, asks.wish(20), stream=True)
    generator.load(system.port, [first], connections=8, seconds=0.5)  # what is made at a first time is made
    system.tree.settle(5.0)
    idle = system.tree.rss()
    options = {"connections": crowd.count, "each": 1, "stagger": opening_s, "seconds": opening_s + 1}
    with generator.loading(system.port, [request], patience=opening_s + PLATEAU_S + PATIENCE_S, **options) as running:
        time.sleep(opening_s + 1)
        samples, began, cpu_before = [], time.monotonic(), system.tree.cpu_s()
        while time.monotonic() < began + PLATEAU_S - 2:
            samples.append(system.tree.rss())
            time.sleep(SAMPLE_S)
        cpu_s, passed_s = system.tree.cpu_s() - cpu_before, time.monotonic() - began
        load = running.result()
    return Held(
        crowd=crowd,
        system=system.name,
        bytes_each=(statistics.median(samples) - idle) / crowd.count,
        cpu_us_per_event=1e6 * cpu_s / (crowd.count * passed_s * 1000 / crowd.pace_ms),
        failed=crowd.count - load.done,
        travelled_p50_us=percentile(load.travelled, 0.5),
        travelled_p99_us=percentile(load.travelled, 0.99),
    )
