"""TLS towards providers and towards clients: what it costs the pod, by its own CPU, against plain HTTP in the same run.

nginx on the generator's core takes off the provider's TLS and puts on the client's, so that the generator and the mock
speak plain HTTP as ever.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tests.bench.generator import Generator
from tests.bench.loads import SATURATION, Ask
from tests.bench.processes import LOAD_CORE, apt, await_answer, process
from tests.bench.systems.pod import Estate, estate
from tests.bench.systems.system import Site, System
from tests.contract.house import free_port
from tests.link.conftest import Authority

ROUNDS, SECONDS = 3, 2.0
LOADS = ("2kb", "100kb", "burst")

_HEAD = """
daemon off; worker_processes 1; worker_rlimit_nofile 65536;
pid {scratch}/nginx.pid; error_log {scratch}/error.log;
events {{ worker_connections 32768; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 1m; keepalive_requests 1000000;
  client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/f; uwsgi_temp_path {scratch}/u; scgi_temp_path {scratch}/s;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
"""
PROVIDER = (
    _HEAD
    + """
  upstream behind {{ server 127.0.0.1:{behind}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096; ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{ proxy_pass http://behind; }}
  }}
}}
"""
)
CLIENT = (
    _HEAD
    + """
  upstream behind {{ server 127.0.0.1:{behind}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass https://behind; proxy_pass_request_headers on; }}
  }}
}}
"""
)


@contextlib.contextmanager
def between(scratch: Path, configuration: str, **values: object) -> Iterator[int]:
    """An nginx; its port."""
    scratch.mkdir(parents=True, exist_ok=True)
    binary, port = apt("nginx", "nginx-light"), free_port()
    path, log = scratch / "nginx.conf", scratch / "nginx.log"
    path.write_text(configuration.format(scratch=scratch, port=port, **values))
    with process([binary, "-p", str(scratch), "-c", str(path)], cores=[LOAD_CORE], log=log) as child:
        if configuration is CLIENT:
            await_answer(child, port, "/", log)
        yield port


def cost(generator: Generator, system: System, ask: Ask) -> float:
    """CPU microseconds of the pod per unit; the median of rounds."""
    found = []
    ask.run(generator, system, 0.5)
    for _ in range(ROUNDS):
        system.tree.settle(5.0)
        before = system.tree.cpu_s()
        load = ask.run(generator, system, SECONDS)
        system.tree.settle(5.0)
        found.append(1e6 * (system.tree.cpu_s() - before) / ask.units(load))
        if load.failed:
            raise AssertionError(f"{load.failed} answers were not right over TLS")
    return statistics.median(found)


@contextlib.contextmanager
def https_pod(grounds: Estate, site: Site, settings: Mapping[str, str]) -> Iterator[System]:
    """A pod that speaks TLS, and an nginx through which plain clients reach it."""
    with (
        grounds.pod(settings=settings) as pod,
        between(site.scratch / "client", CLIENT, behind=pod.port) as port,
    ):
        yield replace(pod, port=port)


def tls(generator: Generator, grounds: Estate) -> dict[str, float]:
    """µs per request or event: plain, TLS to the provider, TLS to the client."""
    site = grounds.site
    authority = Authority.create(site.scratch / "authority")
    shown = authority.issue("localhost")
    asks = [ask for ask in SATURATION if ask.slug in LOADS]
    figures: dict[str, float] = {}
    with grounds.pod() as plain:
        figures |= {f"{ask.slug}, plain": cost(generator, plain, ask) for ask in asks}
    own = {"AIGATEWAY_LISTEN_CERT": str(shown.cert), "AIGATEWAY_LISTEN_KEY": str(shown.key)}
    with https_pod(grounds, site, own) as pod:
        figures |= {f"{ask.slug}, TLS to the client": cost(generator, pod, ask) for ask in asks}
    provider = {"behind": site.mock_port, "cert": shown.cert, "key": shown.key}
    with between(site.scratch / "provider", PROVIDER, **provider) as port:
        far = Site(site.scratch / "far", site.mock_port, site.mock_pid, site.cores)
        with (
            estate(far, f"https://localhost:{port}") as elsewhere,
            elsewhere.pod(settings={"AIGATEWAY_UPSTREAM_CA": str(authority.directory / "ca.pem")}) as pod,
        ):
            figures |= {f"{ask.slug}, TLS to the provider": cost(generator, pod, ask) for ask in asks}
    return dict(sorted(figures.items()))
