"""`python -m tests.bench.profile [LOAD]`: where the pod's microseconds go under one load, by function and by line.

py-spy looks at the running pod's stacks. Unlike a tracing profiler it makes no call dearer, but it stops the pod for
every look, so microseconds are shares of what a unit took in a slice of the same run without it. Only looks that find
the interpreter's lock held count: a stop lands in system calls far more often than they take. So writes to sockets are
in it, writes to files and random numbers are not; `perf` shows those.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.bench import generator
from tests.bench.loads import SATURATION
from tests.bench.processes import LOAD_CORE, in_venv, tidy_when_told_to_end
from tests.bench.report import table
from tests.bench.systems.pod import EVERYTHING, estate
from tests.bench.systems.system import Site
from tests.bench.turns import take

SAMPLER = "py-spy>=0.4,<0.5"
PER_SECOND = 800
WARM_UP_S = 2.0
LOOP = "Runner.run (asyncio/runners.py"  # what is below it in a stack is ours, or a library's for us
ITSELF = "(the loop itself)"

_AT_LINE = re.compile(r":\d+\)$")

Stack = tuple[tuple[str, ...], int]  # frames from the loop's down, how often it was seen


def stacks(raw: str) -> list[Stack]:
    """Of py-spy's raw format: `frame;frame;frame count`, a line each. Only the loop's thread: the others mostly wait,
    which a sampler does not see."""
    found = []
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        named = frames.split(";")
        below = max((at + 1 for at, frame in enumerate(named) if frame.startswith(LOOP)), default=0)
        if below:
            found.append((tuple(named[below:]) or (ITSELF,), int(count)))
    return found


def report(seen: Iterable[Stack], unit_us: float, rows: int) -> str:
    """`unit_us`: what one unit took in all, which the samples are shares of."""
    own, whole, lines, total = Counter[str](), Counter[str](), Counter[str](), 0
    for frames, count in seen:
        functions = [_AT_LINE.sub(")", frame) for frame in frames]
        total += count
        own[functions[-1]] += count
        lines[frames[-1]] += count
        whole.update(dict.fromkeys(functions, count))
    share = unit_us / max(total, 1)

    def cells(counted: Counter[str], *beside: Counter[str]) -> list[list[str]]:
        return [
            [f"{count * share:.2f}", *(f"{other[name] * share:.2f}" for other in beside), name]
            for name, count in counted.most_common(rows)
        ]

    return "\n\n".join(
        (
            f"{unit_us:.1f} µs per unit, {total} samples",
            table(("own µs", "with callees", "function"), cells(own, whole)),
            table(("with callees", "own µs", "function"), cells(whole, own)),
            table(("own µs", "line"), cells(lines)),
        )
    )


def main() -> int:
    loads = {load.slug: load for load in SATURATION}
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("load", nargs="?", default="2kb", choices=loads)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--budgets", type=int, default=EVERYTHING, choices=range(EVERYTHING + 1), help="above the key")
    parser.add_argument("--rows", type=int, default=40)
    options = parser.parse_args()
    tidy_when_told_to_end()
    os.sched_setaffinity(0, {LOAD_CORE})
    sampler = in_venv("py-spy", SAMPLER, "3 MB") / "py-spy"
    chosen, made = loads[options.load], generator.best()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-profile-")))
        mock = stack.enter_context(made.mock(scratch))
        grounds = stack.enter_context(estate(Site(scratch / "pod", mock.port, mock.tree.root)))
        pod = stack.enter_context(grounds.pod(budgets=options.budgets))
        chosen.run(made, pod, WARM_UP_S)
        undisturbed = take(made, mock, pod, chosen, WARM_UP_S)
        raw = scratch / "stacks"
        how = ["--gil", "--format=raw", f"--rate={PER_SECOND}", f"--duration={options.seconds}", f"--output={raw}"]
        command = [str(sampler), "record", *how, f"--pid={pod.tree.root}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sampling:
            chosen.run(made, pod, options.seconds)
        if sampling.returncode:
            raise SystemExit(f"py-spy ended with {sampling.returncode}; it needs the right to trace processes (root)")
        print(f"{chosen.name}, per {chosen.unit}: {report(stacks(raw.read_text()), undisturbed.cpu_us, options.rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
