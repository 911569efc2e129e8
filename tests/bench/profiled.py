"""A pod under cProfile from SIGUSR1 on: `python -m tests.bench.profiled FILE` writes FILE when the pod ends."""

from __future__ import annotations

import cProfile
import signal
import sys
from types import FrameType

from dataplane.__main__ import main


def run(path: str) -> int:
    profile = cProfile.Profile()

    def begin(number: int, frame: FrameType | None) -> None:
        profile.enable()

    signal.signal(signal.SIGUSR1, begin)
    try:
        return main([])
    finally:
        profile.disable()
        profile.dump_stats(path)


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1]))
