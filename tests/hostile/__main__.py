"""`python -m tests.hostile [trick …]`: how long another tenant waits while a provider plays its tricks on the same pod.

Prints, for each trick, the milliseconds of his requests in the same run: on a machine at rest; while the attackers ask
the hostile provider themselves, past the pod; and while they ask through the pod; and the ratio of the 99th percentiles
of the latter two. He asks the simulator; provider and attackers are processes of their own, and give way to all others.
All the same they take the cores of a small machine in turns, and that alone doubles the slowest of his requests: it is
the pod's time that counts, not theirs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.contract.house import eventually, free_port, open_house
from tests.contract.requests import ask
from tests.contract.storms import token_of
from tests.contract.test_hostile_provider import attacks
from tests.hostile.tricks import TRICKS

JSON = {"content-type": "application/json"}
REQUESTS = 1_000  # measured each time
ATTACKERS = 4  # at a time, for as long as it is measured
GIVE_WAY = 19


@contextlib.contextmanager
def hostile(port: int) -> Iterator[None]:
    child = subprocess.Popen(["nice", "-n", str(GIVE_WAY), sys.executable, "-m", "tests.hostile.provider", str(port)])
    try:
        yield
    finally:
        child.terminate()
        child.wait()


def waits(client: httpx.Client) -> list[float]:
    """Milliseconds of REQUESTS requests, one after the other. Raises when one is not answered as it should be."""
    asked, taken = ask("openai_chat", streaming=False), []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        answer = client.post(asked.path, content=asked.body, headers=JSON)
        taken.append(1e3 * (time.perf_counter() - began))
        answer.raise_for_status()
    return taken


def attack(url: str, key: str, trick: str) -> None:
    """In a process of its own, until it is ended."""
    os.nice(GIVE_WAY)
    headers = JSON | {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60.0) as client:
        while True:
            for path, body in attacks(trick):
                with contextlib.suppress(httpx.HTTPError):
                    client.post(path, content=body)


def attacked(url: str, key: str, trick: str, other: httpx.Client) -> list[float]:
    """How long he waits meanwhile."""
    attackers = [multiprocessing.Process(target=attack, args=(url, key, trick)) for _ in range(ATTACKERS)]
    for each in attackers:
        each.start()
    time.sleep(0.5)
    try:
        return waits(other)
    finally:
        for each in attackers:
            each.terminate()
            each.join()


def p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[-1]


def main(tricks: list[str]) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {
        "ANTHROPIC_API_KEY": "sk-ant-hostile-0123456789abcdef",
        "GEMINI_API_KEY": "AIza-hostile-0123456789abcdef",
        "DEMO_ANTHROPIC_BASE_URL": address,
        "DEMO_GEMINI_BASE_URL": address,
    }
    with hostile(port), tempfile.TemporaryDirectory() as var:
        house = open_house(Path(var), settings=settings)
        try:
            key = token_of(house.mint())
            with house.gateway(key=key) as other:
                eventually("the other's key is known", lambda: other.get("/v1/models").status_code == 200)
                waits(other)
                print(f"{'trick':34} {'at rest':>15}   {'past the pod':>15}   {'through it':>15}   of p99")
                for trick in tricks:
                    httpx.get(f"{address}/_trick/{trick}", trust_env=False)
                    rest = waits(other)
                    past = attacked(address, "past-the-pod", trick, other)
                    through = attacked(house.layout.gateway_urls[0], house.virtual_key, trick, other)
                    columns = "   ".join(
                        f"{statistics.median(each):7.1f} {p99(each):7.1f}" for each in (rest, past, through)
                    )
                    print(f"{trick:34} {columns}   {p99(through) / p99(past):.2f}", flush=True)
        finally:
            house.close()


if __name__ == "__main__":
    main(sys.argv[1:] or sorted(TRICKS))
