"""`make bench`: every system under every load, taking turns in rounds on pinned cores; tables and JSON.

CPU per unit comes from process accounting, which neighbours' noise disturbs least; requests per second and times are
what they were on this machine at this hour. Compare ratios, not microseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import generator, report, scale, soak
from tests.bench.generator import Generator, Mock
from tests.bench.loads import LATENCY, SATURATION
from tests.bench.machine import describe
from tests.bench.processes import BENCH, LOAD_CORE, ROOT, Unavailable, say, tidy_when_told_to_end
from tests.bench.streams import CROWDS, SLOW_CROWD, Held, hold
from tests.bench.systems import STARTS, System
from tests.bench.systems.pod import Estate, estate
from tests.bench.systems.system import Site
from tests.bench.turns import take_turns

SECTIONS = ("cost", "latency", "streams", "scale")


class Run:
    """The tables and the JSON of one run, written down as they come: an interrupted run keeps what it has."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {"machine": describe(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        self.path = BENCH / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, figures: Any, *tables: str) -> None:
        self.results[name] = figures
        self.path.write_text(json.dumps(self.results, indent=1))
        for text in tables:
            print(f"\n{text}", flush=True)


def start_all(stack: contextlib.ExitStack, mock: Mock, scratch: Path, without: Sequence[str]) -> list[System]:
    running = []
    for name, start in STARTS.items():
        if name in without:
            continue
        say(f"starting {name}")
        try:
            running.append(stack.enter_context(start(Site(scratch / name, mock.port, mock.tree.root))))
        except Unavailable as reason:
            say(f"SKIPPED {name}: {reason}")
    return running


def measure_streams(made: Generator, systems: Sequence[System]) -> list[Held]:
    held = []
    for crowd in CROWDS:
        for system in systems:
            if not system.streams or (system.slow and crowd is not CROWDS[0]):
                continue
            chosen = SLOW_CROWD if system.slow else crowd
            held.append(hold(made, system, chosen))
            each, failed = held[-1].bytes_each / 1024, held[-1].failed
            say(f"{chosen.count} streams: {system.name}: {each:.1f} KB each, {failed} failed")
    return held


def compare(run: Run, made: Generator, options: argparse.Namespace, wanted: Sequence[str]) -> None:
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
        mock = stack.enter_context(made.mock(scratch))
        systems = start_all(stack, mock, scratch, options.without)
        run.add("starts", {each.name: each.start_s for each in systems}, report.starts_table(systems))
        if "cost" in wanted:
            taken = take_turns(made, mock, systems, SATURATION, options.rounds, options.seconds)
            paced = [row for row in taken if row.ask.slug == "paced"]
            run.add("cost", report.cost_rows(taken), report.cost_table(taken))
            added = report.added_table(paced, "travelled", "µs that an event takes longer than direct")
            run.add("events", report.added_rows(paced, "travelled"), added)
        if "latency" in wanted:
            taken = take_turns(made, mock, systems, LATENCY, options.rounds, options.seconds)
            streams = [row for row in taken if row.ask.streams]
            figures = report.added_rows(taken, "whole") + report.added_rows(streams, "first")
            whole = report.added_table(taken, "whole", "µs added until the last byte")
            first = report.added_table(streams, "first", "µs added until the first byte")
            run.add("latency", figures, whole, first)
            run.add("rates", report.cost_rows(taken), report.cost_table(taken))
        if "streams" in wanted:
            held = measure_streams(made, systems)
            run.add("streams", [asdict(each) for each in held], report.streams_table(held))


def alone(run: Run, made: Generator, options: argparse.Namespace, wanted: Sequence[str]) -> None:
    """What only the pod is asked."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-bench-")))
        mock = stack.enter_context(made.mock(scratch))
        grounds: Estate = stack.enter_context(estate(Site(scratch / "pod", mock.port, mock.tree.root)))
        if "scale" in wanted:
            scenes = scale.run(made, grounds)
            rows = [
                [scene, name, f"{value:,.2f}"] for scene, figures in scenes.items() for name, value in figures.items()
            ]
            run.add("scale", scenes, report.table(("our pod", "figure", "value"), rows))
        if options.soak:
            grounds.keep_up()
            figures = soak.soak(made, stack.enter_context(grounds.pod()), options.soak)
            rows = [[name, f"{value:,.2f}"] for name, value in figures.items()]
            run.add("soak", figures, report.table(("soak", "value"), rows))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one slice: one system under one load")
    parser.add_argument("--without", action="append", default=[], choices=STARTS, help="leave a system out")
    parser.add_argument("--only", action="append", default=[], choices=SECTIONS, help="some of the sections")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="then keep the pod under load")
    options = parser.parse_args()
    wanted = options.only or ([] if options.soak else SECTIONS)
    tidy_when_told_to_end()
    os.sched_setaffinity(0, {LOAD_CORE})
    made, run = generator.best(), Run()
    print(f"{run.results['machine']}\ngenerator and mock in {made.name}", flush=True)
    if set(wanted) & {"cost", "latency", "streams"}:
        compare(run, made, options, wanted)
    if "scale" in wanted or options.soak:
        alone(run, made, options, wanted)
    run.add("ended", describe())
    print(f"\n{run.results['ended']}\nall figures: {run.path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
