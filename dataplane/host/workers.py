"""Several pods behind one port: a small parent that starts them, starts them again, and passes on when to end.

Each worker listens on the port itself (SO_REUSEPORT), so that the kernel hands out connections and no worker can hold
up another; each is a pod of its own to the control plane. The parent takes no connection: it holds the address, so that
nobody else gets it while no worker listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dataplane.core.endpoints import HostPort
from dataplane.host.exits import Exit
from dataplane.settings import Settings, named
from dataplane.telemetry import logs
from dataplane.telemetry.tasks import spawn

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
STEADY_S: Final = 60.0  # who lived that long is started again as if for the first time

# What is worse, of two ways to end.
_SEVERITY: Final = (Exit.OK, Exit.UNDELIVERED, Exit.CANNOT_START, Exit.BAD_SETTINGS)


@dataclass(frozen=True, slots=True)
class Worker:
    """What the parent tells a worker, as its command line's last words."""

    number: int  # 1 … count
    count: int
    directory: Path
    again: bool  # its siblings are serving: it joins them once it can

    def words(self) -> list[str]:
        return [str(self.number), str(self.count), str(self.directory), "again" if self.again else "first"]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Worker:
        number, count, directory, time_round = words
        return cls(int(number), int(count), Path(directory), time_round == "again")


def reserve(address: HostPort) -> list[socket.socket]:
    """Sockets that keep the address without listening on it. Raises OSError when somebody else listens there."""
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    held: list[socket.socket] = []
    port = address.port
    for family, kind, protocol, _, where in dict.fromkeys(places):
        with socket.socket(family, kind, protocol) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                alone.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            alone.bind((where[0], port, *where[2:]))
            port = alone.getsockname()[1]
        shared = socket.socket(family, kind, protocol)
        held.append(shared)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            shared.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        shared.bind((where[0], port, *where[2:]))
    return held


class Workers:
    """`run` returns when all have ended: the worst of their exit codes."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self._count = count
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._worst = Exit.OK

    async def run(self) -> int:
        """Raises CannotStart when the address is taken."""
        with named("LISTEN", self._settings.listen_address):
            held = reserve(self._settings.listen_address)
        address = HostPort(self._settings.listen_address.host, held[0].getsockname()[1])
        environment = os.environ | {"AIGATEWAY_LISTEN": str(address)}
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._pass_on, number)
        logs.info("workers_starting", count=self._count, host=address.host, port=address.port)
        with tempfile.TemporaryDirectory(prefix="aigateway-") as directory, contextlib.ExitStack() as stack:
            for each in held:
                stack.enter_context(each)
            keepers = [
                spawn(self._keep(number, Path(directory), environment), f"worker-{number}")
                for number in range(1, self._count + 1)
            ]
            await asyncio.wait(keepers)
        return self._worst

    async def _keep(self, number: int, directory: Path, environment: dict[str, str]) -> None:
        pause, again = FIRST_PAUSE_S, False
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._one_life(Worker(number, self._count, directory, again), environment)
            if self._stopping.is_set() or (not again and code in (Exit.CANNOT_START, Exit.BAD_SETTINGS)):
                self._ended(code)
                return
            again = True
            pause = FIRST_PAUSE_S if time.monotonic() - began > STEADY_S else pause
            logs.error("worker_ended", worker=number, code=code, again_in_s=pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _one_life(self, worker: Worker, environment: dict[str, str]) -> int:
        command = [sys.executable, "-m", "dataplane", "--worker", *worker.words()]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,  # its end tells the worker that there is no parent any more
            env=environment,
            process_group=0,  # Ctrl-C is the parent's to pass on
        )
        self._running[worker.number] = process
        if self._stopping.is_set():
            process.terminate()
        try:
            return await process.wait()
        finally:
            del self._running[worker.number]

    def _ended(self, code: int) -> None:
        """For good. One that cannot start has a reason that the others share: as a single pod, so all of them."""
        if -code in (signal.SIGTERM, signal.SIGINT):  # before it had anything to end in order
            code = Exit.OK
        outcome = Exit(code) if code in _SEVERITY else Exit.CANNOT_START
        self._worst = max(self._worst, outcome, key=_SEVERITY.index)
        if not self._stopping.is_set():
            self._pass_on(signal.SIGTERM)

    def _pass_on(self, number: int) -> None:
        """A second signal is passed on as well: workers understand it as haste."""
        self._stopping.set()
        for process in list(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
