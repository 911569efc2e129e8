"""`make bench-quick`: has the pod become dearer? Its ratios to nginx in this run against those that are committed.

The committed ratios are per class of machine (`guard.json`). What looks dearer is measured once more, for longer: a
neighbour on the machine passes, a dearer pod stays. A machine without committed ratios, without nginx or with one core
judges nothing, and says so. `--commit` writes this run's ratios, which is for the change that explains them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import generator, report
from tests.bench.loads import SATURATION
from tests.bench.machine import describe, machine_class
from tests.bench.processes import LOAD_CORE, SUT_CORE, Unavailable, say, tidy_when_told_to_end
from tests.bench.systems import STARTS
from tests.bench.systems.system import Site
from tests.bench.turns import ANCHOR, take_turns

COMMITTED = Path(__file__).with_name("guard.json")
GUARDED = ("2kb", "100kb", "burst", "paced")
ALLOWED = 1.3  # runs on a shared machine differ by 15 to 20 %
ROUNDS, SECONDS = 3, 1.5
AGAIN_ROUNDS = 6

Ratios = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    load: str
    measured: float
    committed: float

    @property
    def dearer(self) -> bool:
        return self.measured > ALLOWED * self.committed


def judge(measured: Ratios, committed: Ratios) -> list[Verdict]:
    return [Verdict(load, measured[load], committed[load]) for load in GUARDED]


Measure = Callable[[Sequence[str], int], tuple[dict[str, float], int]]


def measured_ratios(measure: Measure, committed: Ratios | None) -> tuple[dict[str, float], int]:
    """Ratios by load, and how many answers were not right. `measure(loads, rounds)` is asked again for what is dearer.

    `committed` None: there is nothing to be dearer than.
    """
    ratios, failed = measure(GUARDED, ROUNDS)
    if failed:
        say(f"{failed} answers of the pod were not right: everything once more")
        ratios, failed = measure(GUARDED, ROUNDS)
    dearer = [each.load for each in judge(ratios, committed) if each.dearer] if committed is not None else []
    if dearer:
        say(f"dearer than committed: {', '.join(dearer)}; once more, {AGAIN_ROUNDS} rounds")
        again, failed = measure(dearer, AGAIN_ROUNDS)
        ratios |= again
    return ratios, failed


@contextlib.contextmanager
def measuring() -> Iterator[Measure]:
    """Raises Unavailable."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Unavailable("it takes two cores: one for the system, one for the load")
    made = generator.best()
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, {LOAD_CORE})
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
        mock = stack.enter_context(made.mock(scratch))
        systems = [
            stack.enter_context(STARTS[name](Site(scratch / name, mock.port, mock.tree.root)))
            for name in (ANCHOR, "pod")
        ]

        def measure(loads: Sequence[str], rounds: int) -> tuple[dict[str, float], int]:
            asks = [ask for ask in SATURATION if ask.slug in loads]
            taken = take_turns(made, mock, systems, asks, rounds, SECONDS)
            print(report.cost_table(taken), flush=True)
            ratios = {row.ask.slug: ratio for row in taken if (ratio := row.ratio("pod")) is not None}
            if set(ratios) != set(loads):
                raise Unavailable(f"{ANCHOR} did not answer")
            return ratios, sum(row.failed("pod") for row in taken)

        yield measure


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-quick", description=__doc__)
    parser.add_argument("--commit", action="store_true", help="write this run's ratios into guard.json")
    options = parser.parse_args()
    tidy_when_told_to_end()
    committed: dict[str, Ratios] = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    here = machine_class()
    say(f"{describe()}; class {here}; cores {SUT_CORE} and {LOAD_CORE}")
    try:
        with measuring() as measure:
            ratios, failed = measured_ratios(measure, None if options.commit else committed.get(here))
    except Unavailable as reason:
        say(f"SKIPPED, NOTHING WAS JUDGED: {reason}")
        return 0
    if options.commit:
        committed[here] = {load: round(ratios[load], 2) for load in GUARDED}
        COMMITTED.write_text(json.dumps(committed, indent=2, sort_keys=True) + "\n")
        return 0
    if here not in committed:
        say(f"SKIPPED, NOTHING WAS JUDGED: no ratios are committed for this class of machine ({here}); `--commit` does")
        return 1 if failed else 0
    verdicts = judge(ratios, committed[here])
    cells = [
        [each.load, f"{each.measured:.2f}", f"{each.committed:.2f}", "DEARER" if each.dearer else "fine"]
        for each in verdicts
    ]
    print(f"\n{report.table(('load', f'× {ANCHOR}', 'committed', ''), cells)}")
    if failed:
        print(f"{failed} answers of the pod were not right", file=sys.stderr)
    return 1 if failed or any(each.dearer for each in verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
