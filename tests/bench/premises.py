"""`python -m tests.bench.premises SCRATCH MOCK_PORT MOCK_PID PODS`: one tree's control plane and pods, to be measured.

Run in a tree's directory, it runs that tree's product. It writes down where they are, as JSON, when they are ready,
and ends them when it is told to end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.accounting import Tree
from tests.bench.lineage import Incomparable
from tests.bench.processes import LOAD_CORE, process, tidy_when_told_to_end
from tests.bench.systems.pod import EVERYTHING, estate
from tests.bench.systems.system import Site, System
from tests.contract.house import eventually

READY = "ready.json"
PATIENCE_S = 180.0
LEVELS = (0, EVERYTHING)


@contextlib.contextmanager
def premises(name: str, python: Path, tree: Path, site: Site, pods: int) -> Iterator[Premises]:
    where = (str(site.scratch), str(site.mock_port), str(site.mock_pid))
    command = [str(python), "-m", "tests.bench.premises", *where, str(pods)]
    log = site.scratch / "premises.log"
    with process(command, cores=[LOAD_CORE], log=log, directory=tree) as child:
        yield Premises(name, site.scratch, child)


Asked = dict[int, System]  # one pod, by the number of budgets above the key that it is asked with


class Premises:
    """Starting, then open. Two can start at once: each is awaited when it is asked for its pods."""

    def __init__(self, name: str, scratch: Path, child: subprocess.Popen[bytes]) -> None:
        self.name = name
        self._scratch = scratch
        self._child = child

    def pods(self) -> list[Asked]:
        """Raises Incomparable."""
        ready = self._scratch / READY
        try:
            eventually("ready", lambda: ready.exists() or self._child.poll() is not None, within=PATIENCE_S)
            told = json.loads(ready.read_text())
        except (AssertionError, OSError):
            tail = (self._scratch / "premises.log").read_text(errors="replace")[-1200:]
            raise Incomparable(f"{self.name} did not start; the end of its log: {tail}") from None
        return [
            {
                int(budgets): System(f"{self.name}-{budgets}", port, Tree(pid), credentials)
                for budgets, credentials in told["credentials"].items()
            }
            for port, pid in told["pods"]
        ]


def main(arguments: Sequence[str]) -> None:
    tidy_when_told_to_end()
    scratch, port, pid, count = arguments
    site = Site(Path(scratch), int(port), int(pid))
    with estate(site) as grounds, contextlib.ExitStack() as stack:
        grounds.keep_up()  # the load runs ahead of it in any case, and nobody is to wait for its backlog
        credentials = {budgets: grounds.credentials(budgets) for budgets in LEVELS}
        pods = [stack.enter_context(grounds.pod()) for _ in range(int(count))]
        told = {"pods": [(pod.port, pod.tree.root) for pod in pods], "credentials": credentials}
        part = site.scratch / f"{READY}.part"
        part.write_text(json.dumps(told))
        part.rename(site.scratch / READY)
        try:
            while True:
                signal.pause()
        finally:
            for pod in pods:  # all at once, and nobody waits for what they would still report
                os.kill(pod.tree.root, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
