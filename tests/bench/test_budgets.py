"""The simulator gives the same run for the same seed, and sees what it is there to see."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.budget_simulation import Contrast, Simulation
from tests.bench.budget_traffic import DOLLAR, Mix, mixes
from tests.bench.budgets import torment

MIXES = mixes(20)


def test_a_seed_replays():
    runs = [Simulation(MIXES["main"], 3, 11, faults=True, steps=6_000) for _ in range(2)]
    first, second = (run.run() for run in runs)
    assert first == second
    assert first.admitted
    assert first.faults


def test_a_burst_on_a_small_budget_is_overspent_by_the_others_and_not_by_leases():
    burst = MIXES["burst"]
    assert Contrast(burst, 8, 7, shared=True).run().refused == 0
    strict = Simulation(burst, 8, 7, faults=False, strict=True)
    tally = strict.run()
    assert tally.violations == []
    assert tally.admitted > 40
    assert tally.refused > 100
    assert max(strict.overspend().values()) <= 0.01 * tally.cut


def test_a_budget_with_room_refuses_nobody_and_asks_for_little():
    room = Simulation(replace(MIXES["room"], seconds=60), 3, 7, faults=False)
    tally = room.run()
    assert (tally.refused, tally.cut, tally.violations) == (0, 0, [])
    assert tally.asks * 10 < tally.admitted


def test_faults_break_no_invariant():
    said, violations = torment(MIXES["main"], 4, 5, 10_000)
    assert violations == 0, said


def test_a_cold_fleet_asks_for_few_of_its_requests_on_a_budget_with_room():
    mix = Mix("one", 20, 50.0, 1, organization=1_000 * DOLLAR, sticky=0.0)
    tally = Simulation(mix, 3, 7, faults=False).run()
    assert tally.asks * 1_000 <= 10 * tally.admitted
    assert (tally.refused, tally.violations) == (0, [])
