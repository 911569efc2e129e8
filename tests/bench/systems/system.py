"""A running system under test, and what its start is given."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.accounting import Tree
from tests.bench.processes import SUT_CORE

SCRAPE_LIMIT_S = 30.0
BOOKED_STEP_S = 0.2  # between two scrapes, which take the pod a millisecond

_WAITING = re.compile(rb"^aigateway_spool_records (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class System:
    """`slow`: a hundredth of the others' speed, so it gets fewer connections and lower rates.

    `streams`: False for one whose server-sent events do not work here; it is left out where they are asked for.
    """

    name: str
    port: int
    tree: Tree
    credentials: Mapping[str, str]
    start_s: float = 0.0  # from its start to its first answer (ready, where it tells)
    slow: bool = False
    streams: bool = True
    control: tuple[Tree, ...] = ()  # what works for it elsewhere: a pod's control plane

    def control_cpu_s(self) -> float:
        return sum(tree.cpu_s() for tree in self.control)

    def unreported(self) -> float:
        """Usage records that a pod's control plane does not have yet."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=SCRAPE_LIMIT_S) as answer:
            found = _WAITING.search(answer.read())
        return float(found[1]) if found else float("nan")

    def settle(self, limit_s: float) -> bool:
        """Wait until what a load left behind is done here and in the control plane's books; False when it goes on."""
        deadline = time.monotonic() + limit_s
        while self.control and self.unreported():
            if time.monotonic() > deadline:
                return False
            time.sleep(BOOKED_STEP_S)
        return self.tree.settle(max(0.0, deadline - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Site:
    """Where a system is started: a directory of its own, the mock provider, the cores that it may use."""

    scratch: Path
    mock_port: int
    mock_pid: int
    cores: tuple[int, ...] = (SUT_CORE,)

    def __post_init__(self) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)


Start = Callable[[Site], AbstractContextManager[System]]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
