"""No system at all: what generator and mock can do by themselves; the CPU is the mock's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.bench.accounting import Tree
from tests.bench.systems.system import Site, System, bearer


@contextlib.contextmanager
def direct(site: Site) -> Iterator[System]:
    yield System("direct", site.mock_port, Tree(site.mock_pid), bearer("upstream-key"))
