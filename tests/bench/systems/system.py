"""A running system under test, and what its start is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.accounting import Tree
from tests.bench.processes import SUT_CORE


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
