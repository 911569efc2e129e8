"""What is asked of every system: each load with its unit, its size and whether a slow system gets less of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench import asks
from tests.bench.generator import Generator, Load
from tests.bench.systems.system import System

Requests = Callable[[Mapping[str, str]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Ask:
    """`options` are the generator's; `slow` replaces some of them for systems that are slow.

    What was asked is waited for, so that CPU is divided by all that it was spent on.
    """

    slug: str
    name: str
    unit: str  # what CPU is divided by: request | event
    requests: Requests
    options: Mapping[str, float]
    slow: Mapping[str, float] = field(default_factory=dict)
    skips_slow: bool = False
    streams: bool = False

    def suits(self, system: System) -> bool:
        return not (system.slow and self.skips_slow) and (system.streams or not self.streams)

    def run(self, generator: Generator, system: System, seconds: float) -> Load:
        options = {"seconds": seconds, "finish": 1, **self.options, **(self.slow if system.slow else {})}
        return generator.load(system.port, self.requests(system.credentials), **options)

    def units(self, load: Load) -> int:
        return max(load.events if self.unit == "event" else load.status.get("200", 0), 1)


def whole(size: int) -> Requests:
    return lambda credentials: [asks.chat(credentials, size, asks.wish(), stream=False)]


def stream(size: int, events: int, pace_ms: int) -> Requests:
    return lambda credentials: [asks.chat(credentials, size, asks.wish(events, pace_ms), stream=True)]


# Closed loops: as much as the system takes. A slow system's cost per request grows with the connections.
FEW = {"connections": 4}
SATURATION = (
    Ask("2kb", "2 KB request", "request", whole(2_000), {"connections": 64}, FEW),
    Ask("100kb", "100 KB request", "request", whole(100_000), {"connections": 64}, FEW),
    Ask("400kb", "400 KB request", "request", whole(400_000), {"connections": 32}, FEW),
    Ask("burst", "SSE, 200 events in bursts", "event", stream(2_000, 200, 0), {"connections": 16}, FEW, streams=True),
    Ask(
        "paced",
        "SSE, 200 events at 20 ms",
        "event",
        stream(2_000, 200, 20),
        {"connections": 100, "stagger": 0.5},
        {"connections": 5},
        streams=True,
    ),
    Ask("mix", "Claude Code and Codex turns", "request", asks.coding_mix, {"connections": 16}, FEW, streams=True),
)

# Open loops: a rate that every system holds, so that what differs is what the system adds, in time and in CPU. At
# saturation the fastest systems find their peers always awake; at the same rate each pays for waking them.
STEADY, BRISK, CALM = (
    {"rate": 2_000, "connections": 400},
    {"rate": 200, "connections": 400},
    {"rate": 20, "connections": 100},
)
FIRST = stream(100_000, 20, 0)
LATENCY = (
    Ask("2kb-2000", "2 KB, 2,000/s", "request", whole(2_000), STEADY, skips_slow=True),
    Ask("100kb-2000", "100 KB, 2,000/s", "request", whole(100_000), STEADY, skips_slow=True),
    Ask("2kb-200", "2 KB, 200/s", "request", whole(2_000), BRISK, skips_slow=True),
    Ask("100kb-200", "100 KB, 200/s", "request", whole(100_000), BRISK, skips_slow=True),
    Ask("first-200", "SSE after 100 KB, 200/s", "request", FIRST, BRISK, skips_slow=True, streams=True),
    Ask("2kb-20", "2 KB, 20/s", "request", whole(2_000), CALM),
    Ask("100kb-20", "100 KB, 20/s", "request", whole(100_000), CALM),
    Ask("first-20", "SSE after 100 KB, 20/s", "request", FIRST, CALM, streams=True),
)
