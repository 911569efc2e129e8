"""nginx as a plain proxy that sets one header: the anchor of all ratios."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.bench.accounting import Tree
from tests.bench.processes import apt, await_answer, process
from tests.bench.systems.system import Site, System, bearer
from tests.contract.house import free_port

CONFIGURATION = """
daemon off; worker_processes 1; worker_rlimit_nofile 65536;
pid {scratch}/nginx.pid; error_log {scratch}/error.log;
events {{ worker_connections 32768; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 1m;
  client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/f; uwsgi_temp_path {scratch}/u; scgi_temp_path {scratch}/s;
  keepalive_requests 1000000;
  upstream mock {{ server 127.0.0.1:{mock}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_set_header Authorization "Bearer upstream-key";
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(site: Site) -> Iterator[System]:
    binary, port = apt("nginx", "nginx-light"), free_port()
    configuration, log = site.scratch / "nginx.conf", site.scratch / "nginx.log"
    configuration.write_text(CONFIGURATION.format(scratch=site.scratch, mock=site.mock_port, port=port))
    command = [binary, "-p", str(site.scratch), "-c", str(configuration)]
    with process(command, cores=site.cores, log=log) as child:
        start_s = await_answer(child, port, "/", log)
        yield System("nginx", port, Tree(child.pid), bearer("k"), start_s)
