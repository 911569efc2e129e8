"""A bare relay in Python: what is left of the pod when everything but passing on is taken away."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tests.bench.accounting import Tree
from tests.bench.processes import await_answer, process
from tests.bench.systems.system import Site, System, bearer
from tests.contract.house import free_port

KEY = "bench"


@contextlib.contextmanager
def relay(site: Site) -> Iterator[System]:
    port, log = free_port(), site.scratch / "relay.log"
    command = [sys.executable, "-m", "tests.bench.bare_relay", str(port), str(site.mock_port), KEY]
    with process(command, cores=site.cores, log=log) as child:
        start_s = await_answer(child, port, "/", log)
        yield System("relay", port, Tree(child.pid), bearer(KEY), start_s)
