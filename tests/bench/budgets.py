"""`python -m tests.bench.budgets`: how far budgets are overspent, and what that costs, by design and number of pods.

The leases are the production classes (`LeaseBook`, `Lessor`); a snapshot that each pod checks and a shared counter that
is debited afterwards stand beside them. `--faults` lets pods crash, connections break, messages be lost, repeated and
overtaken, clocks run apart and limits change, and looks for violations of the invariants all the time; `--steps` says
for how long. The same seed gives the same run. `--micro`: what a request with all accounts leased costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dataplane.core.money.accounts import account_at
from dataplane.core.money.lease_book import Hold, LeaseBook
from dataplane.core.money.lessor import AccountRow, Lessor
from dataplane.core.money.messages import Ask, Grant, Granted, Welcome
from tests.bench.budget_simulation import Contrast, Simulation
from tests.bench.budget_traffic import Mix, Tally, mixes
from tests.core.money.budget_world import EPOCH_MS, budget

HEAD = (
    f"{'mix':8}{'design':18}{'pods':>5}{'worst over %':>14}{'mean over %':>13}{'wrong %':>9}{'with room':>10}"
    f"{'cut %':>7}{'msg/s':>8}{'asks/1000':>10}{'wait mean/p99 ms':>18}{'violations':>11}"
)


def line(mix: Mix, design: str, pods: int, tally: Tally, over: Mapping[Any, float], seconds: float) -> str:
    beyond = [share * 100 for share in over.values() if share > 0]
    waits = sorted(tally.waits) or [0]
    asked = tally.admitted + tally.refused or 1
    wait = f"{sum(waits) / len(waits):.2f}/{waits[len(waits) * 99 // 100]}"
    return (
        f"{mix.name:8}{design:18}{pods:>5}{max(beyond, default=0):>14.2f}"
        f"{sum(beyond) / (len(beyond) or 1):>13.2f}{tally.wrong * 100 / asked:>9.2f}{tally.wrong_with_room:>10}"
        f"{tally.cut * 100 / (tally.admitted or 1):>7.2f}{tally.messages / seconds:>8.0f}"
        f"{tally.asks * 1000 / asked:>10.0f}{wait:>18}{len(tally.violations):>11}"
    )


def compare(mix: Mix, pods: int, seed: int) -> Iterable[str]:
    """The same requests under every design."""
    for design, shared in (("snapshot, debit", False), ("shared counter", True)):
        contrast = Contrast(mix, pods, seed, shared=shared)
        tally = contrast.run()
        yield line(mix, design, pods, tally, contrast.overspend(), mix.seconds)
    for design, strict in (("leases", False), ("leases, strict", True)):
        simulation = Simulation(mix, pods, seed, faults=False, strict=strict)
        tally = simulation.run()
        yield line(mix, design, pods, tally, simulation.overspend(), mix.seconds)
        yield from (f"    {problem}" for problem in tally.violations[:5])


def torment(mix: Mix, pods: int, seed: int, steps: int) -> tuple[list[str], int]:
    """Leases under faults for so many steps, in runs of different seeds and windows. Lines and the number of
    violations."""
    said, done, violations, started = [], 0, 0, time.monotonic()
    for round in range(1_000_000):
        if done >= steps:
            break
        window = ("total", "minute", "hour")[round % 3]
        some = replace(mix, window=window)
        simulation = Simulation(
            some, pods, seed + round, faults=True, strict=round % 4 == 3, steps=min(steps - done, 200_000)
        )
        tally = simulation.run()
        done += tally.steps
        violations += len(tally.violations)
        design = f"faults {window} {seed + round}"
        said.append(line(some, design, pods, tally, simulation.overspend(), max(1, simulation.clock.now / 1000)))
        said += [f"    {problem}" for problem in tally.violations[:3]]
    said.append(f"{done} steps, {violations} violations, {time.monotonic() - started:.0f} s")
    return said, violations


def micro(levels: int = 5, requests: int = 20_000) -> str:
    """A request all of whose accounts are leased: hold and settle, by the number of levels."""
    said = []
    for count in sorted({1, levels}):
        accounts = tuple(
            account_at(budget(f"bud_{number}", limit_nano=10**15), "", EPOCH_MS) for number in range(count)
        )
        book = LeaseBook("session", 0)
        book.hello(0)
        book.welcomed(Welcome(60_000, 5_000, False, (), 1), 0)
        asked = book.hold("first", 0, accounts, 10**6, 10**6, 1)
        assert isinstance(asked, Ask)
        lessor = Lessor(AccountRow(account.ref, account.limit_nano, 0, True) for account in accounts)
        items = tuple(Granted(account.ref, 10**14, 10**14, lessor.state(account.ref)) for account in accounts)
        assert isinstance(book.granted(Grant(asked.ask_id, items), 1), Hold)
        best = 1e9
        for _ in range(5):
            names = [f"req_{number}" for number in range(requests)]
            started = time.perf_counter()
            for name in names:
                hold = book.hold(name, 0, accounts, 1_000_000, 100_000, 2)
                assert isinstance(hold, Hold)
                book.accrue(hold, 100_000, 2)
                book.settle(hold, 400_000, 2)
            best = min(best, (time.perf_counter() - started) / requests)
        said.append((count, best * 1e6))
    per_level = (said[-1][1] - said[0][1]) / (said[-1][0] - said[0][0])
    lines = [f"{count} level(s): {micros:.2f} µs for hold, accrue and settle" for count, micros in said]
    return "\n".join([*lines, f"each level: {per_level:.2f} µs"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, nargs="*", default=[1, 8, 100])
    parser.add_argument("--mix", nargs="*", default=["main", "burst"], choices=["main", "room", "big", "burst"])
    parser.add_argument("--seconds", type=int, default=180, help="of simulated traffic")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100_000, help="with --faults")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--micro", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.micro:
        print(micro())
        return 0
    print(HEAD)
    violations = 0
    for name in asked.mix:
        mix = mixes(asked.seconds)[name]
        for pods in asked.pods:
            if asked.faults:
                said, found = torment(mix, pods, asked.seed, asked.steps // len(asked.pods) // len(asked.mix))
                violations += found
            else:
                said = list(compare(mix, pods, asked.seed))
            print("\n".join(said), flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
