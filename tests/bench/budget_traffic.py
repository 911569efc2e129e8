"""What the simulated engineers ask for: who, when, how dear. The same seed gives the same requests to every design."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

DOLLAR = 1_000_000_000
OUTPUT_NANO = 15_000  # per token: $15 per million
TOKENS_PER_SECOND = 60


@dataclass(frozen=True)
class Arrival:
    """`output_tokens` come after `first_ms`, 60 in a second; `pick`: chooses the pod."""

    at_ms: int
    principal: int
    input_nano: int
    output_tokens: int
    pick: float

    @property
    def cost(self) -> int:
        return self.input_nano + self.output_tokens * OUTPUT_NANO


@dataclass(frozen=True)
class Mix:
    """A kind of traffic, and the limits that it runs into. Limits in nano-dollars; None: no such budget."""

    name: str
    seconds: int
    per_second: float
    principals: int
    organization: int | None
    team: int | None = None
    project: int | None = None
    principal: int | None = None
    sticky: float = 0.9  # share of requests that go to their principal's pod
    window: str = "total"
    overdraft: float = 0.02
    least_overdraft: int = DOLLAR // 2
    burst: int = 0  # that many at once, in 5 s, instead of a stream of them

    def arrivals(self, seed: int) -> Iterator[Arrival]:
        pick = random.Random(seed)
        shares = [1 / (rank + 3) for rank in range(self.principals)]
        at = 0.0
        for _ in range(self.burst or 1 << 60):
            at = pick.uniform(0, 5_000) if self.burst else at + pick.expovariate(self.per_second) * 1000
            if at > self.seconds * 1000:
                return
            principal = pick.choices(range(self.principals), shares)[0]
            spread = min(0.2, pick.lognormvariate(math.log(0.014), 0.6))
            tokens = min(6_000, int(pick.lognormvariate(math.log(400), 1.3)) + 1)
            yield Arrival(int(at), principal, int(spread * DOLLAR), tokens, pick.random())


def mixes(seconds: int) -> dict[str, Mix]:
    """`main`: limits of a day squeezed into minutes, so that nearly everyone reaches one: pessimistic on purpose.

    Mean request: about $0.033. `room`: nobody is near a limit.
    """
    demand = int(50 * seconds * 0.033 * DOLLAR)
    main = Mix(
        "main", seconds, 50, 200, int(demand * 0.73), demand * 15 // 100, demand // 10, demand // 130, least_overdraft=0
    )
    room = Mix("room", seconds, 50, 40, demand * 20, demand * 4, None, demand * 2)
    big = Mix("big", seconds, 50, 20, None, None, None, demand * 32 // 1000)
    burst = Mix("burst", 120, 0, 1, None, None, None, 2 * DOLLAR, sticky=0.0, burst=200)
    return {mix.name: mix for mix in (main, room, big, burst)}


@dataclass
class Tally:
    """What became of one run."""

    admitted: int = 0
    refused: int = 0
    wrong: int = 0  # refused although everything admitted so far, at its final cost, would have left enough
    wrong_with_room: int = 0  # … and at least 5 % of every limit was left
    unreachable: int = 0
    cut: int = 0
    messages: int = 0
    asks: int = 0
    steps: int = 0
    waits: list[int] = field(default_factory=list)  # milliseconds added before the provider is asked
    violations: list[str] = field(default_factory=list)
    faults: int = 0
