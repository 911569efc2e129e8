"""What a process and its descendants have used: CPU from the scheduler's own accounting, memory, descriptors."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
SETTLE_STEP_S = 0.1
SETTLED_SHARE = 0.03  # of a core: what idle processes use for heartbeats and timers


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and its live descendants."""

    root: int

    def pids(self) -> list[int]:
        return _descendants(self.root)

    def cpu_s(self) -> float:
        """User and system time in nanosecond steps; `stat` counts only ticks. Threads that ended are not in it."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    with contextlib.suppress(OSError):
                        total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def rss(self) -> int:
        """Bytes resident."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        return total

    def descriptors(self) -> int:
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += len(os.listdir(f"/proc/{pid}/fd"))
        return total

    def pin(self, cores: Iterable[int]) -> None:
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    with contextlib.suppress(OSError):
                        os.sched_setaffinity(int(task.name), cores)

    def settle(self, limit_s: float) -> bool:
        """Wait until what a load left behind (reports, traces) is done; False when it goes on."""
        deadline = time.monotonic() + limit_s
        quiet, before = 0, self.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(SETTLE_STEP_S)
            now = self.cpu_s()
            quiet = quiet + 1 if now - before < SETTLED_SHARE * SETTLE_STEP_S else 0
            if quiet >= 3:
                return True
            before = now
        return False
