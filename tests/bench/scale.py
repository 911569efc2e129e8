"""What only our pod is asked: workers, slow clients, overload, cold starts. Each returns figures by name."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from dataplane.settings import Settings
from tests.bench import asks
from tests.bench.generator import Generator, Load, percentile
from tests.bench.loads import SATURATION
from tests.bench.processes import LOAD_CORE, ROOT, SUT_CORE, Unavailable, say
from tests.bench.systems.pod import Estate
from tests.bench.tls import tls

Figures = dict[str, float]
STARTS = 5
DEFAULT_EXCHANGES = str(Settings.model_fields["exchanges"].default)


def cold_start(generator: Generator, grounds: Estate) -> Figures:
    """From exec to 200 on /readyz, with a control plane that has one organization and one key."""
    seconds = []
    for _ in range(STARTS):
        with grounds.pod() as pod:
            seconds.append(pod.start_s)
    return {"seconds, median of 5": statistics.median(seconds), "slowest": max(seconds)}


def workers(generator: Generator, grounds: Estate) -> Figures:
    """One worker on one core against two on two; each worker is a pod of its own.

    With fewer than four cores the generator shares the second one, so requests per second cannot double: what counts
    there is what a request costs, and that both work.
    """
    offered = subprocess.run([sys.executable, "-m", "dataplane", "--help"], cwd=ROOT, capture_output=True, text=True)
    if "--workers" not in offered.stdout:
        raise Unavailable("the pod has no --workers")
    cores = os.cpu_count() or 1
    generator = replace(generator, core=2 if cores >= 4 else LOAD_CORE)
    request = [asks.chat({}, 2_000, asks.wish(), stream=False)]

    def measured(count: int) -> tuple[Load, float, list[float]]:
        with grounds.pod("--workers", str(count), cores=tuple(range(SUT_CORE, count))) as pod:
            request[0] = asks.chat(pod.credentials, 2_000, asks.wish(), stream=False)
            generator.load(pod.port, request, connections=128, seconds=1)
            pod.tree.settle(5.0)
            before = {pid: type(pod.tree)(pid).cpu_s() for pid in pod.tree.pids()}
            cpu_before = pod.tree.cpu_s()
            load = generator.load(pod.port, request, connections=128, seconds=4)
            used = [type(pod.tree)(pid).cpu_s() - cpu for pid, cpu in before.items() if pid != pod.tree.root]
            pod.tree.settle(5.0)
            return load, pod.tree.cpu_s() - cpu_before, sorted(used, reverse=True)[:count]

    one, one_cpu_s, _ = measured(1)
    two, two_cpu_s, each = measured(2)
    one_us, two_us = 1e6 * one_cpu_s / max(one.done, 1), 1e6 * two_cpu_s / max(two.done, 1)
    return {
        "requests/s, 1 worker": one.done / one.seconds,
        "requests/s, 2 workers": two.done / two.seconds,
        "CPU µs per request, 1 worker": one_us,
        "CPU µs per request, 2 workers": two_us,
        "capacity of 2 cores, × that of 1 (by CPU)": 2 * one_us / two_us,
        "busier worker's share of the CPU": each[0] / sum(each) if sum(each) else float("nan"),
        "failed": one.failed + two.failed,
    }


def slow_clients(generator: Generator, grounds: Estate) -> Figures:
    """Twenty clients that read 40 KB/s of 50 MB streams, beside brisk ones; the provider writes as fast as it can."""
    with grounds.pod() as pod:
        brisk = [asks.chat(pod.credentials, 2_000, asks.wish(), stream=False)]
        huge = [asks.chat(pod.credentials, 2_000, asks.wish(200_000), stream=True)]
        options = {"connections": 100, "rate": 200.0, "seconds": 3.0}
        generator.load(pod.port, brisk, **options)
        pod.tree.settle(5.0)
        alone = generator.load(pod.port, brisk, **options)
        before = pod.tree.rss()
        with generator.loading(pod.port, huge, connections=20, slow=4096, seconds=8, patience=0):
            time.sleep(1)
            together = generator.load(pod.port, brisk, **options)
            after = pod.tree.rss()
            time.sleep(2)
            later = pod.tree.rss()
        return {
            "p99 ms of brisk clients, alone": percentile(alone.whole, 0.99) / 1000,
            "p99 ms beside slow clients": percentile(together.whole, 0.99) / 1000,
            "KB per slow client after 4 s": (after - before) / 20 / 1024,
            "KB per slow client after 6 s": (later - before) / 20 / 1024,
            "failed": alone.failed + together.failed,
        }


def crowded(generator: Generator, grounds: Estate) -> Figures:
    """150 streams fill a pod that may have 200 exchanges; then come 200 requests/s that take a second each."""
    with grounds.pod(settings={"AIGATEWAY_EXCHANGES": "200"}) as pod:
        stream = [asks.chat(pod.credentials, 2_000, asks.wish(300, 20), stream=True)]
        long = [asks.chat(pod.credentials, 2_000, asks.wish(0, 0, 1000), stream=False)]
        admitted_options = {"connections": 150, "each": 1, "stagger": 0.5, "seconds": 1}
        with generator.loading(pod.port, stream, patience=30, **admitted_options) as running:
            time.sleep(1)
            surge = generator.load(pod.port, long, connections=600, rate=200, seconds=3)
            admitted = running.result()
        return _shed(surge) | {"admitted streams cut": 150 - admitted.done}


def flooded(generator: Generator, grounds: Estate) -> Figures:
    """Three times the requests per second that the pod can do."""
    with grounds.pod(settings={"AIGATEWAY_EXCHANGES": DEFAULT_EXCHANGES}) as pod:
        most = next(ask for ask in SATURATION if ask.slug == "2kb")
        capacity = most.run(generator, pod, 2.0)
        most_per_s = capacity.done / capacity.seconds
        request = most.requests(pod.credentials)
        flood = generator.load(pod.port, request, connections=4_000, rate=3 * most_per_s, seconds=3)
        good = flood.done / flood.seconds
        return {"requests/s, closed loop": most_per_s, "answered 200, share of that": good / most_per_s} | _shed(flood)


def _shed(surge: Load) -> Figures:
    refused = surge.status.get("503", 0)
    return {
        "answered 200": surge.done,
        "answered 503": refused,
        "p99 ms of a 503": percentile(surge.refused, 0.99) / 1000,
        "p99 ms of a 200": percentile(surge.whole, 0.99) / 1000,
        "other ends": surge.failed - refused,
    }


SCENES: dict[str, Callable[[Generator, Estate], Figures]] = {
    "cold start": cold_start,
    "workers": workers,
    "slow clients": slow_clients,
    "a full pod": crowded,
    "a flood": flooded,
    "TLS, µs per request or event": tls,
}


def run(generator: Generator, grounds: Estate) -> dict[str, Figures]:
    figures: dict[str, Figures] = {}
    for name, scene in SCENES.items():
        with contextlib.ExitStack() as stack:
            stack.callback(say, f"scale: {name} done")
            try:
                figures[name] = scene(generator, grounds)
            except Unavailable as reason:
                say(f"SKIPPED {name}: {reason}")
    return figures
