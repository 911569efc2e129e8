"""`make test`: the whole suite in stages, one summary at the end. `make test-grid`: what it takes a part of, whole.

Stages differ in what they need: databases, processes, a browser, published clients. A stage that cannot run says why.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    on_demand: bool = False  # only where a word asks for it


_BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")  # in the order of tests/conftest.py: the longest first
PARALLEL = ("-n", "2", *_BY_FILE)
WAITING = ("-n", "3", *_BY_FILE)  # for browsers, clients and time to pass, more than it computes

STAGES = (
    Stage(
        "pure, pod and control plane on SQLite",
        ("tests", *PARALLEL, "-m", "not browser and not clients and not processes and not grid"),
    ),
    Stage(
        "control plane on PostgreSQL",
        ("tests/controlplane", *PARALLEL, "--database=postgres", "-m", "not browser and not clients and not grid"),
    ),
    Stage("real processes", ("tests", *WAITING, "-m", "processes and not clients")),
    Stage(
        "admin in a real browser; coding CLIs, the light set",
        ("tests/browser", "tests/clients", *WAITING),
        {"AIGATEWAY_TEST_CLIENTS": "light"},
    ),
    Stage("grids on SQLite", ("tests", *PARALLEL, "-m", "grid"), on_demand=True),
    Stage("grids on PostgreSQL", ("tests", *PARALLEL, "--database=postgres", "-m", "grid"), on_demand=True),
)


def main() -> int:
    words = sys.argv[1:]
    chosen = [
        stage for stage in STAGES if (any(word in stage.name for word in words) if words else not stage.on_demand)
    ]
    results: list[tuple[str, int, float]] = []
    for stage in chosen:
        print(f"\n=== {stage.name}", flush=True)
        started = time.monotonic()
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *stage.arguments], env=os.environ | stage.environment, check=False
        ).returncode
        results.append((stage.name, status, time.monotonic() - started))
    print("\n=== summary")
    for name, status, seconds in results:
        print(f"{'passed' if status == 0 else f'FAILED ({status})':12} {seconds:6.0f} s  {name}")
    return 1 if any(status for _, status, _ in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
