"""HAProxy as a plain proxy on one thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.bench.accounting import Tree
from tests.bench.processes import apt, await_answer, process
from tests.bench.systems.system import Site, System, bearer
from tests.contract.house import free_port

CONFIGURATION = """
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  http-reuse always
  option http-no-delay
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  default_backend mock
backend mock
  http-request set-header Authorization "Bearer upstream-key"
  server mock 127.0.0.1:{mock} maxconn 9000
"""


@contextlib.contextmanager
def haproxy(site: Site) -> Iterator[System]:
    binary, port = apt("haproxy", "haproxy"), free_port()
    configuration, log = site.scratch / "haproxy.cfg", site.scratch / "haproxy.log"
    configuration.write_text(CONFIGURATION.format(mock=site.mock_port, port=port))
    with process([binary, "-db", "-f", str(configuration)], cores=site.cores, log=log) as child:
        start_s = await_answer(child, port, "/", log)
        yield System("haproxy", port, Tree(child.pid), bearer("k"), start_s)
