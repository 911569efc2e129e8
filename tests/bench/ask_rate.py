"""`python -m tests.bench.ask_rate`: how many asks for money a second one fleet server commits, and how long one takes.

A real gRPC server on a real database here; pods that do nothing but ask, in a process of their own. Every ask is about
five accounts (organization, team, project, principal, key), of which the first two are the same for everybody.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from protos import fleet_pb2 as wire
from protos import fleet_pb2_grpc
from tests.bench.machine import describe
from tests.postgres import Server

PEOPLE = 40
NEED = 1_000


# ---- pods ----------------------------------------------------------------------------------------------------------


class Asker:
    """One pod's stream with `width` asks under way at any time."""

    def __init__(self, port: int, name: str, people: Sequence[Sequence[tuple[str, str]]]) -> None:
        self.channel: Any = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        stub: Any = fleet_pb2_grpc.FleetStub(self.channel)
        self.call = stub.Hold()
        self.name = name
        self.people = people
        self.sent: dict[int, float] = {}
        self.times: list[float] = []
        self.granted = self.denied = self.last = 0

    async def run(self, width: int, until: float) -> None:
        hello = wire.HoldHello(pod_id=self.name, session_id=f"session-{self.name}")
        await self.call.write(wire.HoldUp(hello=hello))
        assert (await self.call.read()).HasField("welcome")
        await self.ask(width)
        while self.sent:
            message = await self.call.read()
            now = time.perf_counter()
            self.granted += len(message.grants)
            self.denied += len(message.denies)
            answers = [answer.ask_id for answer in (*message.grants, *message.denies)]
            self.times += [now - self.sent.pop(ask_id) for ask_id in answers]
            if now < until and answers:
                await self.ask(len(answers))
        self.call.cancel()
        await self.channel.close()

    async def ask(self, count: int) -> None:
        """As a pod does: what is to be said at the same moment goes in one message."""
        asks = [self.next() for _ in range(count)]
        self.sent.update((ask.ask_id, time.perf_counter()) for ask in asks)
        await self.call.write(wire.HoldUp(asks=asks))

    def next(self) -> wire.Ask:
        self.last += 1
        items = [
            wire.AskItem(
                account=wire.AccountRef(budget_id=budget, window_key=window), need_nano=NEED, minimum_nano=NEED
            )
            for budget, window in self.people[self.last % len(self.people)]
        ]
        return wire.Ask(ask_id=self.last, kind=wire.ASK_KIND_ADMIT, request_id=f"r{self.last}", items=items)


async def ask_away(port: int, pods: int, width: int, seconds: float, people: Any) -> dict[str, Any]:
    askers = [Asker(port, f"pod-{number}-{width}", people) for number in range(pods)]
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(asker.run(width, began + seconds) for asker in askers))
    times = sorted(took for asker in askers for took in asker.times)
    return {
        "asks": len(times),
        "per_second": len(times) / (time.perf_counter() - began),
        "granted": sum(asker.granted for asker in askers),
        "p50_ms": statistics.median(times) * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
        "cpu_us": (time.process_time() - cpu) * 1e6 / len(times),
    }


# ---- the server ----------------------------------------------------------------------------------------------------


def prepare(database_url: str) -> list[list[tuple[str, str]]]:
    """The environment, an empty database, and budgets: for each person the accounts that a request draws on."""
    from deploy.generate import management_environment

    os.environ.update(management_environment() | {"DATABASE_URL": database_url, "AIGATEWAY_HTTPS": "off"})
    import django

    django.setup()
    from django.core.management import call_command

    from tests.controlplane import factories
    from tests.controlplane.budgets.test_answers import ref_of

    call_command("migrate", verbosity=0)
    project = factories.project()
    shared = [project.organization, project.team, project]
    dear = {"limit_nano": 10**15}
    above = [factories.budget(scope, **dear) for scope in shared]
    people = []
    for _ in range(PEOPLE):
        person = factories.principal(project.organization)
        own = [factories.budget(person, **dear), factories.budget(factories.key(project, principal=person), **dear)]
        refs = [ref_of(budget) for budget in (*above, *own)]
        people.append([(ref.budget_id, ref.window_key) for ref in refs])
    return people


def database_cpu(server: Server | None) -> float:
    """Seconds of the database server's processes so far; 0 for SQLite, which runs in ours."""
    if server is None:
        return 0.0
    postmaster = server.process.pid
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == postmaster:
                ticks += int(fields[11]) + int(fields[12])
            elif stat.parent.name == str(postmaster):
                ticks += sum(map(int, fields[11:15]))  # with those of its children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


async def measure(people: Any, pods: int, widths: Sequence[int], seconds: float, database: Server | None) -> None:
    from controlplane.fleet.calls.booking import registered
    from controlplane.fleet.calls.server import running

    async with running("127.0.0.1:0", None, registered()) as server:
        for many, width in [(1, 1), *((pods, width) for width in widths)]:  # a lone ask first
            started, before = time.process_time(), database_cpu(database)
            found = await asyncio.to_thread(_in_a_process, server.port, many, width, seconds, people)
            cpu = (time.process_time() - started) / found["asks"]
            stored = (database_cpu(database) - before) / found["asks"]
            print(
                f"{many} pods × {width:3} under way: {found['per_second']:7.0f} asks/s, p50 {found['p50_ms']:6.2f} ms, "
                f"p99 {found['p99_ms']:7.2f} ms; CPU of each: {cpu * 1e6:5.0f} µs here, "
                f"{stored * 1e6:5.0f} µs database, {found['cpu_us']:5.0f} µs pods; "
                f"{found['granted']} of {found['asks']} granted",
                flush=True,
            )


def _in_a_process(port: int, pods: int, width: int, seconds: float, people: Any) -> dict[str, Any]:
    import json

    command = [sys.executable, "-m", "tests.bench.ask_rate", "--ask", str(port), "--pods", str(pods)]
    done = subprocess.run(
        [*command, "--widths", str(width), "--seconds", str(seconds)],
        input=json.dumps(people),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--pods", type=int, default=4)
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--ask", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        import json

        asked = ask_away(options.ask, options.pods, options.widths[0], options.seconds, json.load(sys.stdin))
        print(json.dumps(asyncio.run(asked)))
        return
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory(prefix="aigw-asks-") as scratch:
        server = Server.start() if options.database == "postgres" else None
        try:
            people = prepare(server.url() if server is not None else f"sqlite:///{scratch}/db.sqlite3")
            asyncio.run(measure(people, options.pods, options.widths, options.seconds, server))
        finally:
            if server is not None:
                server.stop()


if __name__ == "__main__":
    main()
