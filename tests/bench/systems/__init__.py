"""What is measured, one file each: a context manager that starts it before the mock provider and yields a `System`."""

from __future__ import annotations

from tests.bench.systems.direct import direct
from tests.bench.systems.envoy import envoy
from tests.bench.systems.haproxy import haproxy
from tests.bench.systems.litellm import litellm
from tests.bench.systems.nginx import nginx
from tests.bench.systems.pod import EVERYTHING, pod_under
from tests.bench.systems.portkey import portkey
from tests.bench.systems.relay import relay
from tests.bench.systems.system import Start, System

STARTS: dict[str, Start] = {
    "direct": direct,
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
    "relay": relay,
    "pod-0": pod_under(0),
    "pod-3": pod_under(EVERYTHING),
    "litellm": litellm,
    "portkey": portkey,
}

__all__ = ["STARTS", "Start", "System"]
