"""The figures of the web processes, all of them together, and the loopback page that shows it.

Each process writes its figures into files that all of them share, and each answers for all: on one port, which the
kernel hands out. Labels come from closed sets: routes are templates, never the path that somebody typed.
"""

from __future__ import annotations

import re
import socket
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from django.db import connection
from django.http import HttpRequest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from controlplane.web.metrics_files import shared

PREFIX = "aigateway_web_"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
REQUEST_S = 5.0

registry = CollectorRegistry()
requests = Counter(f"{PREFIX}requests_total", "Requests answered.", ["route", "method", "status"], registry=registry)
seconds = Histogram(
    f"{PREFIX}request_seconds",
    "Until the head of the answer. Seconds.",
    ["route", "method"],
    buckets=SECONDS,
    registry=registry,
)
waits = Counter(f"{PREFIX}pool_waits_total", "Requests that waited for a connection of the pool.", registry=registry)
wait_seconds = Counter(f"{PREFIX}pool_wait_seconds_total", "How long they waited. Seconds.", registry=registry)
wait_failures = Counter(f"{PREFIX}pool_wait_failures_total", "Of them, those that got none.", registry=registry)

_template = re.compile(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)")
_seen = {"requests_queued": 0, "requests_wait_ms": 0, "requests_errors": 0}
_lock = threading.Lock()


def count(request: HttpRequest, status: int, took_s: float) -> None:
    route, method = route_of(request), request.method if request.method in METHODS else OTHER
    requests.labels(route, method, status).inc()
    seconds.labels(route, method).observe(took_s)
    count_pool()


def route_of(request: HttpRequest) -> str:
    """`/api/v1/virtual-keys/{pk}/rotate`. What no route takes is one label, whatever it was."""
    match = request.resolver_match
    if match is None or (match.url_name is None and match.route.endswith(".*$")):
        return OTHER
    plain = _template.sub(r"{\1}", match.route.replace("^", "").replace("$", "").replace("\\", ""))
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain)


def count_pool() -> None:
    pool = getattr(connection, "pool", None) if connection.vendor == "postgresql" else None
    if pool is None:
        return
    stats = pool.get_stats()
    with _lock:
        new = {name: max(0, stats.get(name, 0) - before) for name, before in _seen.items()}
        _seen.update({name: stats.get(name, 0) for name in _seen})
    waits.inc(new["requests_queued"])
    wait_seconds.inc(new["requests_wait_ms"] / 1000)
    wait_failures.inc(new["requests_errors"])


def exposition() -> bytes:
    """Returns the figures of all processes, where they share a directory; else of this one."""
    directory = shared()
    if not directory:
        return generate_latest(registry)
    everybody = CollectorRegistry()
    MultiProcessCollector(everybody, directory)  # type: ignore[no-untyped-call]
    return generate_latest(everybody)


def render_table() -> str:
    """Returns the documentation's table of what the web processes show."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    labels = {requests: "`route`, `method`, `status`", seconds: "`route`, `method`"}
    for metric in (requests, seconds, waits, wait_seconds, wait_failures):
        (family,) = metric.describe()
        total = "_total" if family.type == "counter" else ""
        lines.append(f"| `{family.name}{total}` | {family.type} | {labels.get(metric, '')} | {family.documentation} |")
    return "\n".join(lines)


class _Page(BaseHTTPRequestHandler):
    timeout = REQUEST_S

    def do_GET(self) -> None:
        if self.path != "/metrics":
            return self.send_error(404, "GET /metrics")
        body = exposition()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line."""


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    allow_reuse_port = True  # the processes of one address all listen, and each shows all
    daemon_threads = True


def serve(listen: str) -> tuple[str, int]:
    """Show the page, from a thread of its own. Where it is. Raises ValueError, OSError."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    kind = type("_ServerV6", (_Server,), {"address_family": socket.AF_INET6}) if ":" in host else _Server
    server = kind((host, int(port)), _Page)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return host, int(server.server_address[1])
