"""`make bench-quick`: has the pod become dearer since the commit that landed last?

Both are built and started, each with a control plane of its own, and take turns on the same core, with the bare relay
of the same interpreter between them. What costs more than a twentieth more per request or event is warned of; more
than a tenth fails, when a second measurement finds it too. What has to cost more is allowed in `guard.toml`, with its
reason.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.bench import agreement, generator, lineage, report
from tests.bench.agreement import Agreement, Allowance
from tests.bench.generator import Generator
from tests.bench.loads import Ask, stream, whole
from tests.bench.machine import describe
from tests.bench.premises import Asked, premises
from tests.bench.processes import BENCH, LOAD_CORE, ROOT, Unavailable, say, tidy_when_told_to_end
from tests.bench.systems import System
from tests.bench.systems.pod import EVERYTHING
from tests.bench.systems.relay import relay
from tests.bench.systems.system import Site
from tests.bench.verdicts import Grade, Round, Verdict, judge

ROUNDS, AGAIN_ROUNDS = 6, 10
# One process of the same code is up to a twentieth dearer than another, for as long as it lives: where its memory lies
# and how its strings hash are luck. So every round is of another pair of them.
PODS = ROUNDS
SETTLE_S = 4.0
WARM_UP = 1  # request of each connection

Measure = Callable[[Sequence[str], int], Mapping[str, Sequence[Round]]]


@dataclass(frozen=True, slots=True)
class Guarded:
    """A load of so many requests, asked with a key under so many budgets."""

    ask: Ask
    budgets: int

    @property
    def name(self) -> str:
        return f"{self.ask.slug}-{self.budgets}"


# Slices are of a number of requests, not of seconds: short, because many pairs say more than long ones.
_TWO = Ask("2kb", "2 KB", "request", whole(2_000), {"connections": 64, "each": 24})
_HUNDRED = Ask("100kb", "100 KB", "request", whole(100_000), {"connections": 64, "each": 16})
_BURST = Ask("burst", "bursts", "event", stream(2_000, 200, 0), {"connections": 16, "each": 24}, streams=True)
_PACED = Ask(
    "paced", "20 ms", "event", stream(2_000, 40, 20), {"connections": 200, "each": 1, "stagger": 0.1}, streams=True
)
GUARDED = {
    each.name: each
    for each in (
        Guarded(_TWO, 0),
        Guarded(_TWO, EVERYTHING),
        Guarded(_HUNDRED, 0),
        Guarded(_HUNDRED, EVERYTHING),
        Guarded(_BURST, EVERYTHING),
        Guarded(_PACED, EVERYTHING),
    )
}


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes turns: the pods of either side, and the relay."""

    made: Generator
    base: Sequence[Asked]
    present: Sequence[Asked]
    relay: System

    def slice(self, system: System, guarded: Guarded) -> tuple[float, int]:
        """CPU microseconds per unit, until what the load left behind is done; wrong answers."""
        ask, before = guarded.ask, system.tree.cpu_s()
        load = ask.run(self.made, system, 1.0)
        if system is not self.relay:  # which leaves nothing behind
            system.tree.settle(SETTLE_S)
        return 1e6 * (system.tree.cpu_s() - before) / ask.units(load), load.failed

    def warm_up(self) -> None:
        """Nobody's first requests are measured."""
        for guarded in GUARDED.values():
            few = replace(guarded.ask, options={**guarded.ask.options, "each": WARM_UP})
            for pod in (*self.base, *self.present):
                few.run(self.made, pod[guarded.budgets], 1.0)
            few.run(self.made, self.relay, 1.0)
        for pod in (*self.base, *self.present):
            pod[EVERYTHING].tree.settle(SETTLE_S)

    def pair(self, number: int) -> tuple[Asked, Asked]:
        """Of round `number`; no two rounds have the same until each has met each."""
        return self.base[number % PODS], self.present[(number + number // PODS) % PODS]

    def round(self, guarded: Guarded, number: int) -> Round:
        base, present = (pod[guarded.budgets] for pod in self.pair(number))
        outer, inner = (base, present) if number % 2 else (present, base)
        order = (self.relay, outer, inner, inner, outer, self.relay)
        taken: dict[str, list[float]] = {}
        failed = 0
        for system in order:
            cost, wrong = self.slice(system, guarded)
            taken.setdefault(system.name, []).append(cost)
            failed += wrong
        pairs = {name: (first, second) for name, (first, second) in taken.items()}
        return Round(pairs[self.relay.name], pairs[base.name], pairs[present.name], failed)

    def measure(self, loads: Sequence[str], rounds: int) -> Mapping[str, Sequence[Round]]:
        """Rounds of all loads in turn, so that a busy minute of the machine is one round of each and not all of one."""
        taken: dict[str, list[Round]] = {name: [] for name in loads}
        for number in range(1, rounds + 1):
            for name in loads:
                each = self.round(GUARDED[name], number)
                taken[name].append(each)
                say(
                    f"round {number}: {name}: {sum(each.base) / 2:.2f} → {sum(each.present) / 2:.2f} µs, "
                    f"× {each.ratio:.3f}; the relay moved × {each.moved:.2f}"
                    + (f"; {each.failed} WRONG ANSWERS" if each.failed else "")
                )
        return taken


@contextlib.contextmanager
def field(tree: Path, python: Path) -> Iterator[Field]:
    """Raises Incomparable, Unavailable."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Unavailable("it takes two cores: one for the system, one for the load")
    made = generator.best()
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, {LOAD_CORE})
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-guard-")))
        mock = stack.enter_context(made.mock(scratch))

        def site(name: str) -> Site:
            return Site(scratch / name, mock.port, mock.tree.root)

        base = stack.enter_context(premises("base", python, tree, site("base"), PODS))
        present = stack.enter_context(premises("present", Path(sys.executable), ROOT, site("present"), PODS))
        bare = stack.enter_context(relay(site("relay")))
        found = Field(made, base.pods(), present.pods(), bare)
        found.warm_up()
        yield found


def judged(measure: Measure, allowances: Mapping[str, Allowance]) -> tuple[list[Verdict], int]:
    """One verdict per load, and wrong answers. What is too dear, and what went wrong, is measured once more first."""

    def verdicts(taken: Mapping[str, Sequence[Round]]) -> dict[str, Verdict]:
        return {name: judge(name, rounds, _more(allowances, name)) for name, rounds in taken.items()}

    taken = measure(list(GUARDED), ROUNDS)
    found = verdicts(taken)
    wrong = {name for name, rounds in taken.items() if any(each.failed for each in rounds)}
    again = [name for name, verdict in found.items() if verdict.grade is Grade.FAILED or name in wrong]
    if not again:
        return list(found.values()), 0
    say(f"too dear, or wrong answers: {', '.join(again)}; once more, {AGAIN_ROUNDS} rounds")
    taken = measure(again, AGAIN_ROUNDS)
    found |= verdicts(taken)
    return list(found.values()), sum(each.failed for rounds in taken.values() for each in rounds)


def _more(allowances: Mapping[str, Allowance], load: str) -> float:
    return allowances[load].more if load in allowances else 0.0


def told(verdicts: Sequence[Verdict], allowances: Mapping[str, Allowance]) -> str:
    cells = [
        [
            each.load,
            f"{each.base_us:.2f}",
            f"{each.present_us:.2f}",
            f"{each.ratio:.3f}",
            f"{each.spread[0]:.3f}–{each.spread[1]:.3f}",
            f"{each.to_relay:.1f}",
            f"{each.allowed:.2f}",
            str(each.rounds),
            each.grade,
        ]
        for each in verdicts
    ]
    head = ("load", "base µs", "present µs", "× base", "of rounds", "× relay", "allowed", "rounds", "")
    reasons = [f"allowed for {each.load}: + {each.more:.0%}: {each.reason}" for each in allowances.values()]
    return "\n".join([report.table(head, cells), *reasons])


def compare(agreed: Agreement) -> int:
    """Raises Incomparable, Unavailable."""
    history = lineage.History(ROOT)
    named = os.environ.get("GUARD_BASE") or agreed.base
    commit = history.find(named)
    allowances = agreed.allowances if commit == agreed.base else {}
    if agreed.allowances and not allowances:
        say(f"GUARD_BASE is not the base of guard.toml, so its allowances do not count: {', '.join(agreed.allowances)}")
    tree = history.lay_out(commit, lineage.BASES)
    python = lineage.interpreter(tree)
    lineage.compiled(python, tree)
    say(f"{describe()}; base {commit[:12]}")
    with field(tree, python) as found:
        verdicts, wrong = judged(found.measure, allowances)
    print(f"\n{told(verdicts, allowances)}", flush=True)
    path = BENCH / f"guard-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(
        json.dumps({"machine": describe(), "base": commit, "verdicts": [asdict(v) for v in verdicts]}, indent=1)
    )
    for each in verdicts:
        if each.grade is not Grade.FINE:
            say(f"{each.load} costs {each.ratio / each.allowed - 1:+.1%} of what it may: {each.grade}")
    if wrong:
        say(f"{wrong} answers were not right")
    return 1 if wrong or any(each.grade is Grade.FAILED for each in verdicts) else 0


def main() -> int:
    argparse.ArgumentParser(prog="make bench-quick", description=__doc__).parse_args()
    tidy_when_told_to_end()
    try:
        return compare(agreement.read(agreement.COMMITTED.read_text(), GUARDED))
    except agreement.Invalid as problem:
        say(f"{agreement.COMMITTED.name}: {problem}")
        return 1
    except lineage.Incomparable as problem:
        say(f"NOTHING WAS JUDGED: {problem}")
        return 1 if os.environ.get("CI") else 0
    except Unavailable as reason:
        say(f"SKIPPED, NOTHING WAS JUDGED: {reason}")
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
