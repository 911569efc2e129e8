"""`--workers`: pods behind one port, as real processes, on a fleet that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest

from dataplane.core.endpoints import HostPort
from dataplane.host.exits import Exit
from dataplane.host.workers import reserve
from protos import fleet_pb2 as pb
from tests.contract.house import PATIENCE_S
from tests.link import fleet_model as fleet
from tests.link.scripted_fleet import Conversation, ScriptedFleet, serving

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.processes


@dataclass
class Group:
    """A parent and its workers, `names` being those that have connected to the fleet."""

    parent: asyncio.subprocess.Process
    server: ScriptedFleet
    database: fleet.Database
    names: set[str] = field(default_factory=set)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    said: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    async def event(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The next log line of any of them with this event, and with these values."""
        assert self.parent.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for line in list(self.said):
                    self.said.remove(line)
                    if line["event"] == name and line.items() >= wanted.items():
                        return line
                raw = await self.parent.stdout.readline()
                assert raw, f"they ended before {name}"
                self.said.append(json.loads(raw))

    async def answer_pods(self) -> None:
        """What a fleet does, for whoever connects, as long as `answers` is set."""
        async with asyncio.TaskGroup() as conversations:
            while True:
                conversations.create_task(self._answer(await self.server.next()))

    async def _answer(self, conversation: Conversation) -> None:
        with contextlib.suppress(grpc.aio.UsageError, asyncio.InvalidStateError):
            self.names.add((await conversation.hears("hello")).name)
            await self.answers.wait()
            await conversation.says(fleet.welcome(self.database.epoch), *fleet.full(self.database))
            for number in itertools.count(1):
                ack = pb.HeartbeatAck(seq=number, head_revision=1, fresh=True, epoch=self.database.epoch)
                await conversation.says(pb.FleetMessage(heartbeat_ack=ack))
                await conversation.hears("heartbeat")

    async def started(self, count: int = 1) -> None:
        for _ in range(count):
            await self.event("gateway_started")

    async def get(self, path: str) -> httpx.Response:
        """On a connection of its own, so by whichever worker the kernel chooses."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=60) as client:
            return await client.get(path)

    async def scraped_workers(self) -> dict[str, str]:
        """`aigateway_worker_up` by worker."""
        text = (await self.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("aigateway_worker_up{")]
        return {line.split('"')[1]: line.split()[-1] for line in lines}

    def pids(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()
        ]


def environment(port: int, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIGATEWAY_")}
    ours = {
        "LISTEN": "127.0.0.1:0",
        "FLEET": f"127.0.0.1:{port}",
        "FLEET_INSECURE": "true",
        "PRE_DRAIN_S": "0",
        "DRAIN_S": "0.2",
        "FLUSH_S": "1",
        "NAME": "pod",
    }
    return inherited | {f"AIGATEWAY_{name}": value for name, value in (ours | settings).items()}


@contextlib.asynccontextmanager
async def workers(count: int, **settings: str) -> AsyncIterator[Group]:
    server = ScriptedFleet()
    async with serving(server) as port:
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dataplane", "--workers", str(count)),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=environment(port, **settings),
        )
        group = Group(parent, server, fleet.Database())
        group.answers.set()
        answering = asyncio.ensure_future(group.answer_pods())
        try:
            group.port = int((await group.event("workers_starting"))["port"])
            yield group
        finally:
            answering.cancel()
            if parent.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    parent.terminate()
                await parent.wait()


def test_each_worker_is_a_pod_of_its_own_and_all_leave_together_when_the_parent_is_told_to(on_loop):
    async def story():
        async with workers(2) as group:
            await group.started(2)
            assert group.names == {"pod/1", "pod/2"}
            assert (await group.get("/readyz")).status_code == 200
            group.parent.send_signal(signal.SIGTERM)
            await group.event("gateway_stopped")
            await group.event("gateway_stopped")
            assert await group.parent.wait() == Exit.OK

    on_loop(story())


def test_a_scrape_shows_every_worker_whoever_answers_it(on_loop):
    async def story():
        async with workers(2) as group:
            await group.started(2)
            text = (await group.get("/metrics")).text
            for worker in "12":
                assert f'aigateway_configuration_revision{{worker="{worker}"}} 1.0' in text
                assert f'aigateway_upstream_connections{{worker="{worker}",state="idle"}} 0.0' in text
            assert text.count("# TYPE aigateway_requests_total counter") == 1
            assert await group.scraped_workers() == {"1": "1", "2": "1"}

    on_loop(story())


def test_a_worker_that_is_killed_comes_back_and_is_met_by_nobody_before_it_has_a_configuration(on_loop):
    async def story():
        async with workers(2) as group:
            await group.started(2)
            group.answers.clear()
            group.names.clear()
            os.kill(group.pids()[0], signal.SIGKILL)
            ended = await group.event("worker_ended")
            assert ended["code"] == -signal.SIGKILL
            async with asyncio.timeout(PATIENCE_S):
                while f"pod/{ended['worker']}" not in group.names:
                    await asyncio.sleep(0.01)
            # It is connected, not configured: every new connection reaches the one that went on.
            for _ in range(10):
                assert (await group.get("/startupz")).status_code == 200
            group.answers.set()
            await group.started()
            assert await group.scraped_workers() == {"1": "1", "2": "1"}

    on_loop(story())


def test_workers_end_when_their_parent_is_killed(on_loop):
    async def story():
        async with workers(2) as group:
            await group.started(2)
            group.parent.kill()
            await group.event("gateway_stopped")
            await group.event("gateway_stopped")

    on_loop(story())


def test_a_worker_that_cannot_start_ends_all_of_them_with_its_code(on_loop, tmp_path):
    (tmp_path / "file").write_text("")

    async def story():
        async with workers(2, SPOOL_DIR=str(tmp_path / "file" / "spool")) as group:
            async with asyncio.timeout(PATIENCE_S):
                assert await group.parent.wait() == Exit.CANNOT_START

    on_loop(story())


def test_the_worst_way_to_end_is_the_parents(on_loop):
    async def story():
        async with workers(2) as group:
            await group.started(2)
            os.kill(group.pids()[0], signal.SIGSTOP)
            group.parent.send_signal(signal.SIGTERM)
            os.kill(group.pids()[0], signal.SIGKILL)
            async with asyncio.timeout(PATIENCE_S):
                assert await group.parent.wait() == Exit.CANNOT_START

    on_loop(story())


def test_an_address_that_somebody_listens_on_is_refused_even_if_they_would_share_it():
    with socket.socket() as theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        with pytest.raises(OSError, match="in use"):
            reserve(HostPort("127.0.0.1", theirs.getsockname()[1]))


def test_the_parent_holds_the_address_without_taking_connections():
    (held,) = reserve(HostPort("127.0.0.1", 0))
    with held, pytest.raises(ConnectionRefusedError):
        socket.create_connection(held.getsockname(), timeout=1)
