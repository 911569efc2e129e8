"""`python -m tests.bench.profile [LOAD]`: where the pod's microseconds go under one load, function by function.

cProfile makes Python functions look dearer than they are against C ones: read it for calls per request and for shares,
and believe `make bench` about microseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pstats
import signal
import tempfile
from pathlib import Path

from tests.bench import generator
from tests.bench.loads import SATURATION
from tests.bench.processes import LOAD_CORE, ROOT, tidy_when_told_to_end
from tests.bench.systems.pod import estate
from tests.bench.systems.system import Site

WARM_UP_S = 1.0
RARELY = 0.1


def _place(function: tuple[str, int, str]) -> str:
    path, line, name = function
    for root in (f"{ROOT}/", "site-packages/", "lib/python3.11/"):
        path = path.rpartition(root)[2] or path
    return f"{path}:{line} {name}" if line else name


def report(profile: Path, units: int, rows: int) -> str:
    """What was called less than once in ten units is no part of a unit's path."""
    everything = pstats.Stats(str(profile)).stats.items()  # type: ignore[attr-defined]
    entries = [entry for entry in everything if entry[1][1] > RARELY * units]
    calls_each = sum(entry[1][1] for entry in entries) / units
    own_each = 1e6 * sum(entry[1][2] for entry in entries) / units
    lines = [f"{own_each:.0f} µs in {calls_each:.0f} calls of {len(entries)} functions per unit", ""]
    lines += ["| own µs per unit | with callees | calls per unit | function |", "|---|---|---|---|"]
    for function, (_, calls, own_s, total_s, _) in sorted(entries, key=lambda entry: -entry[1][2])[:rows]:
        own, total = 1e6 * own_s / units, 1e6 * total_s / units
        lines.append(f"| {own:.1f} | {total:.1f} | {calls / units:.1f} | {_place(function)} |")
    return "\n".join(lines)


def main() -> int:
    loads = {load.slug: load for load in SATURATION}
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("load", nargs="?", default="2kb", choices=loads)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rows", type=int, default=60)
    options = parser.parse_args()
    tidy_when_told_to_end()
    os.sched_setaffinity(0, {LOAD_CORE})
    chosen, made = loads[options.load], generator.best()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-profile-")))
        mock = stack.enter_context(made.mock(scratch))
        grounds = stack.enter_context(estate(Site(scratch / "pod", mock.port, mock.tree.root)))
        profile = scratch / "pod.profile"
        with grounds.pod(program=("-m", "tests.bench.profiled", str(profile))) as pod:
            chosen.run(made, pod, WARM_UP_S)
            pod.tree.settle(5.0)
            os.kill(pod.tree.root, signal.SIGUSR1)
            units = chosen.units(chosen.run(made, pod, options.seconds))
        print(f"{chosen.name}, {units} × {chosen.unit} under cProfile\n\n{report(profile, units, options.rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
