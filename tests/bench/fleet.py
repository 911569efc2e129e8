"""`make bench-fleet`: a configuration of 100,000 keys, from the database to the pod and to a thousand pods.

A real fleet server and a real pod for ready times and memory; the pod's own replica, here, for what one change costs
its loop; pods that only watch (`fleet_crowd.py`) for how soon a revocation has reached all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from dataplane.link.replica import Replica, Staged
from dataplane.wire.updates import Incoming
from protos import fleet_pb2 as pb
from tests.bench import fleet_crowd, report
from tests.bench.accounting import Tree
from tests.bench.machine import describe
from tests.bench.processes import (
    BENCH,
    LOAD_CORE,
    ROOT,
    SUT_CORE,
    Unavailable,
    end_with_parent,
    prefer,
    process,
    say,
    tidy_when_told_to_end,
)
from tests.bench.systems.pod import Estate
from tests.bench.systems.system import Site
from tests.contract.house import House
from tests.postgres import Server

CROWDS = 2  # processes that hold the simulated pods
CHANGES, REVOCATIONS = 20, 10
PATIENCE_S = 180.0
HEARTBEAT_S = 5.0
IDLE_S = 2 * HEARTBEAT_S  # a whole number of rounds

Row = tuple[str, float, str]  # what, how much, of what


@dataclass(frozen=True, slots=True)
class Ground:
    house: House
    scratch: Path

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.house.layout.fleet_port}"

    @contextlib.contextmanager
    def fleet(self) -> Iterator[tuple[Tree, float]]:
        """A fleet server and the seconds until it listened, which is when it holds everything."""
        environment = self.house.control_environment()
        command = [sys.executable, str(ROOT / "manage.py"), "serve_fleet"]
        log = self.scratch / f"fleet-{time.monotonic_ns()}.log"
        started = time.monotonic()
        with process(command, cores=[LOAD_CORE], log=log, environment=environment) as child:
            while "fleet_listening" not in log.read_text():
                if child.poll() is not None or time.monotonic() - started > PATIENCE_S:
                    raise Unavailable(f"the fleet server did not start: {log.read_text()[-800:]}")
                time.sleep(0.01)
            yield Tree(child.pid), time.monotonic() - started

    def measure(self) -> dict[str, float]:
        """Fleet server and pod as they are now, with whatever is in the database."""
        site = Site(self.scratch / "pods", mock_port=9, mock_pid=os.getpid())
        estate = Estate(self.house, site)
        silent = {"AIGATEWAY_OTLP_ENDPOINT": ""}
        with self.fleet() as (fleet, fleet_s), estate.pod(settings=silent, budgets=None) as pod:
            pod.tree.settle(10.0)
            return {
                "fleet_s": fleet_s,
                "fleet_mb": fleet.rss() / 1e6,
                "pod_s": pod.start_s,
                "pod_mb": pod.tree.rss() / 1e6,
                "pod_cpu_s": pod.tree.cpu_s(),
            }


class Lines:
    """A child that answers in lines of JSON."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        prefer(self.child.pid)

    def say(self, word: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(f"{word}\n")
        self.child.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise Unavailable(f"{self.child.args!r} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        self.child.kill()
        self.child.wait()


# ---- one pod's replica ---------------------------------------------------------------------------------------------


class Taker:
    """One Watch that is taken in as a pod takes it in, with a stopwatch."""

    def __init__(self) -> None:
        self.replica = Replica()

    def take(self, raw: bytes) -> float:
        """Milliseconds of CPU for one message, from its bytes to what is served."""
        started = time.thread_time()
        incoming = Incoming.parse(raw)
        self.replica.revoke(incoming.message.update)
        staged = self.replica.stage(incoming)
        if isinstance(staged, Staged):
            self.replica.commit(staged)
        return 1000 * (time.thread_time() - started)


async def one_pod(ground: Ground, rows: Lines) -> tuple[Taker, list[Row]]:
    identity = fleet_crowd.credentials(ground.house.pki, f"pod-{ground.house.layout.pod_ports[0]}")
    taker, own = Taker(), Tree(os.getpid())
    before = own.rss()
    async with grpc.aio.secure_channel(ground.target, identity, options=fleet_crowd.OPTIONS) as channel:
        call = fleet_crowd.watch(channel)
        await call.write(pb.PodMessage(hello=pb.Hello(pod_id="taker", session_id="taker", name="taker")))
        await call.read()  # Welcome

        async def update() -> tuple[list[float], int]:
            """Milliseconds of CPU for every part of the next update, and bytes; it is acknowledged."""
            spent, size = [], 0
            while True:
                raw = await call.read()
                message = pb.FleetMessage.FromString(raw)
                if message.WhichOneof("message") != "update":
                    continue
                spent.append(taker.take(raw))
                size += len(raw)
                if message.update.last:
                    await call.write(pb.PodMessage(ack=pb.Ack(revision=message.update.revision)))
                    return spent, size

        full, size = await update()
        held_mb = (own.rss() - before) / 1e6
        single: dict[str, list[float]] = {"rename": [], "revoke": []}
        commits = []
        for word, taken in single.items():
            for _ in range(CHANGES):
                rows.say(word)
                change = await asyncio.get_running_loop().run_in_executor(None, rows.hear)
                commits.append((change["committed_us"] - change["asked_us"]) / 1000)
                taken.append(sum((await update())[0]))
    return taker, [
        ("everything, on the wire", size / 1e6, "MB"),
        ("everything, taken in", sum(full) / 1000, "s of CPU"),
        ("what the replica holds", held_mb, "MB, parts of the update included"),
        ("a change's own transaction, one pod connected", statistics.median(commits), "ms"),
        ("one change, median", statistics.median(single["rename"]), "ms of CPU"),
        ("one change, slowest of 20", max(single["rename"]), "ms of CPU"),
        ("one revocation, median", statistics.median(single["revoke"]), "ms of CPU"),
        ("one revocation, slowest of 20", max(single["revoke"]), "ms of CPU"),
    ]


# ---- a thousand pods -----------------------------------------------------------------------------------------------


def many_pods(ground: Ground, rows: Lines, taker: Taker, count: int, fleet: Tree) -> list[Row]:
    snapshot = taker.replica.snapshot
    held = (snapshot.epoch, str(snapshot.revision), taker.replica.digest.to_bytes(16, "big").hex())
    place = (ground.target, str(ground.house.pki), str(count // CROWDS))
    environment = ground.house.base_environment()
    before_mb = fleet.rss() / 1e6
    crowds = [Lines(["tests.bench.fleet_crowd", *place, *held], environment) for _ in range(CROWDS)]
    try:
        started = time.monotonic()
        for crowd in crowds:
            crowd.hear()
        welcomed_s = time.monotonic() - started
        say(f"{count} pods are welcomed")
        since_asked, slowest, commits = [], [], []
        gathered = [Tree(crowd.child.pid) for crowd in crowds]
        idle = Spent(fleet, *gathered)
        time.sleep(IDLE_S)
        idle_fleet, idle_crowd = (cpu / IDLE_S for cpu in idle.now())
        busy, began = Spent(fleet, *gathered), time.monotonic()
        for _ in range(REVOCATIONS):
            rows.say("revoke")
            change = rows.hear()
            commits.append((change["committed_us"] - change["asked_us"]) / 1000)
            reached = [at_us for crowd in crowds for at_us in _until(crowd, change["revision"])]
            ms = [(at_us - change["asked_us"]) / 1000 for at_us in reached]
            since_asked += ms
            slowest.append(max(ms))
            time.sleep(0.5)
        busy_fleet, busy_crowd = busy.now()
        for_heartbeats = time.monotonic() - began
        each = 1e6 / count / REVOCATIONS
        return [
            (f"{count} pods connected and welcomed", welcomed_s, "s"),
            ("a revocation's own transaction, median", statistics.median(commits), "ms"),
            ("revocation asked for → at a pod, p50", _quantile(since_asked, 0.50), "ms"),
            ("revocation asked for → at a pod, p99", _quantile(since_asked, 0.99), "ms"),
            ("revocation asked for → at all pods, median", statistics.median(slowest), "ms"),
            ("revocation asked for → at all pods, slowest of 10", max(slowest), "ms"),
            ("fleet server, one pod one revocation", (busy_fleet - idle_fleet * for_heartbeats) * each, "µs of CPU"),
            ("the crowd for the same", (busy_crowd - idle_crowd * for_heartbeats) * each, "µs of CPU"),
            ("fleet server, one pod one heartbeat", idle_fleet * HEARTBEAT_S / count * 1e6, "µs of CPU"),
            ("fleet server per pod", (fleet.rss() / 1e6 - before_mb) * 1000 / count, "KB"),
        ]
    finally:
        for crowd in crowds:
            crowd.end()


class Spent:
    """CPU seconds since now: of the first, and of all others."""

    def __init__(self, first: Tree, *others: Tree) -> None:
        self._trees = (first, *others)
        self._before = [tree.cpu_s() for tree in self._trees]

    def now(self) -> tuple[float, float]:
        first, *others = (tree.cpu_s() - before for tree, before in zip(self._trees, self._before, strict=True))
        return first, sum(others)


def _until(crowd: Lines, revision: int) -> list[int]:
    while (heard := crowd.hear())["revision"] < revision:
        pass
    at_us: list[int] = heard["at_us"]
    return at_us


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# ---- the command ---------------------------------------------------------------------------------------------------


def measure(ground: Ground, keys: int, principals: int, pods: int) -> list[Row]:
    ground.house.manage("migrate", "--no-input")
    ground.house.issue_certificates()
    empty = ground.measure()
    say(f"empty: {empty}")
    rows = Lines(["tests.bench.fleet_rows", str(keys), str(principals)], ground.house.control_environment())
    try:
        started = time.monotonic()
        rows.hear()
        say(f"seeded in {time.monotonic() - started:.0f} s")
        full = ground.measure()
        found: list[Row] = [
            ("fleet server, start to listening", full["fleet_s"], f"s (empty: {empty['fleet_s']:.2f})"),
            ("fleet server, memory", full["fleet_mb"], f"MB (empty: {empty['fleet_mb']:.0f})"),
            ("pod, start to ready", full["pod_s"], f"s (empty: {empty['pod_s']:.2f})"),
            ("pod, CPU of that", full["pod_cpu_s"], f"s (empty: {empty['pod_cpu_s']:.2f})"),
            ("pod, memory above empty", full["pod_mb"] - empty["pod_mb"], "MB"),
        ]
        say(shown(found))
        with ground.fleet() as (fleet, _):
            taker, taken = asyncio.run(one_pod(ground, rows))
            say(shown(taken))
            return found + taken + many_pods(ground, rows, taker, pods, fleet)
    finally:
        rows.end()


def shown(found: Sequence[Row]) -> str:
    return report.table(("what", "how much", ""), [(what, f"{value:,.2f}", unit) for what, value, unit in found])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--principals", type=int, default=10_000)
    parser.add_argument("--pods", type=int, default=1_000)
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL server of its own instead of SQLite")
    options = parser.parse_args()
    tidy_when_told_to_end()
    os.sched_setaffinity(0, {SUT_CORE, LOAD_CORE})
    machine = describe()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigw-fleet-")))
        server = Server.start() if options.postgres else None
        if server is not None:
            stack.callback(server.stop)
        house = House(scratch / "house", database_url=server.url() if server is not None else "")
        stack.callback(house.close)
        found = measure(Ground(house, scratch), options.keys, options.principals, options.pods)
    size = f"{options.keys:,} keys, {options.principals:,} principals, {options.pods:,} pods"
    print(f"{machine}\n{size}, {'PostgreSQL' if options.postgres else 'SQLite'}\n")
    print(shown(found))
    path = BENCH / f"fleet-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "options": vars(options), "figures": found}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
