"""Ways to run a simulator: on the running loop, in a thread of its own, as a process (`__main__`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.simprovider.answer import Answering
from tests.simprovider.record import Recorded
from tests.simprovider.simulator import Simulator
from tests.simprovider.wire import Connection

T = TypeVar("T")


class SimServer:
    """A simulator listening on the loop that started it."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._connections: set[Connection] = set()
        self._number = 0
        self.port = 0

    def _connection(self) -> Connection:
        self._number += 1
        return Connection(Answering(self.simulator), self._number, self._connections)

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, ssl: Any = None) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, host, port, backlog=2_048, ssl=ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if ssl else 'http'}://{host}:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)

    @property
    def open_connections(self) -> int:
        return len(self._connections)


@asynccontextmanager
async def running(keys: Mapping[str, str] | None = None) -> AsyncIterator[SimServer]:
    """For async tests: `async with running() as sim:` then `sim.url` and `sim.simulator`."""
    server = SimServer(Simulator(keys))
    await server.start()
    try:
        yield server
    finally:
        server.simulator.reset()
        await server.stop()


class SimInThread:
    """For tests that do not await: a context manager whose methods may be called from any thread."""

    def __init__(self, keys: Mapping[str, str] | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self._keys = keys
        self._where = (host, port)
        self._ready = threading.Event()

    def __enter__(self) -> SimInThread:
        self._thread = threading.Thread(target=self._run, name="simprovider", daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.simulator = Simulator(self._keys)
        server = SimServer(self.simulator)
        await server.start(*self._where)
        self.url = server.url
        self._ready.set()
        await self._stop.wait()
        self.simulator.reset()
        await server.stop()

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def script(self, **fields: Any) -> None:
        """As `Simulator.script`."""
        self._call(lambda: self.simulator.script(**fields))

    def release(self, name: str) -> None:
        self._call(lambda: self.simulator.release(name))

    def keys(self, **keys: str) -> None:
        """The expected credential per vendor: anthropic, openai, azure, gemini."""
        self._call(lambda: self.simulator.keys.update(keys))

    def reset(self) -> None:
        self._call(self.simulator.reset)

    def requests(self) -> list[Recorded]:
        return self._call(lambda: list(self.simulator.requests))

    def totals(self) -> dict[str, Any]:
        return self._call(self.simulator.totals)

    def until(self, condition: Callable[[Simulator], bool], timeout: float = 10.0) -> bool:
        """Waits for something about the simulator; False when it did not come in time."""
        waiting = self.simulator.until(lambda: condition(self.simulator), timeout)
        return asyncio.run_coroutine_threadsafe(waiting, self._loop).result(timeout + 5)
