"""A provider that does on purpose what no provider should: every trick has a name, every request is logged.

`async with HostileProvider("late_second_answer") as provider:` serves on `provider.url`; `provider.trick = …` chooses
another trick from the next request on, and so does a base URL of `f"{provider.url}/TRICK"`. `provider.requests` holds
what reached it: the oracle. `python -m tests.hostile.provider PORT` runs one as a process, whose trick is chosen by
`GET /_trick/NAME`, and whose count is read by `GET /_requests`.

A trick is a function of a `Turn`, under `@trick`, in one of the modules of `tests/hostile/tricks`. It answers on the
connection, which stays open for the next request unless it closes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.hostile.tricks import BEFORE_THE_BODY, TRICKS
from tests.hostile.turns import Asked, Turn, answer


@dataclass(slots=True)
class HostileProvider:
    """Serves on loopback."""

    trick: str = "honest"
    port: int = 0
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0
    greeting: bytes = b""  # sent on every connection before anything is asked
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> HostileProvider:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        number, nth = self.connections, 0
        try:
            writer.write(self.greeting)
            while not writer.is_closing():
                nth += 1
                await self._one(reader, writer, number, nth)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the pod hung up, or the test is over
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, nth: int) -> None:
        line, *rest = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        pairs = (each.partition(b":") for each in rest)
        headers = {name.decode("latin-1").lower(): value.strip().decode("latin-1") for name, _, value in pairs}
        target = line.split(b" ")[1].decode("latin-1")
        if target.startswith("/_"):
            await self._control(target, writer)
            return
        first, _, tail = target.removeprefix("/").partition("/")
        chosen = self.trick
        if first in TRICKS:
            chosen, line = first, line.replace(target.encode("latin-1"), f"/{tail}".encode("latin-1"), 1)
        size = int(headers.get("content-length", "0"))
        if chosen in BEFORE_THE_BODY:
            body = b""
        else:
            body = await reader.readexactly(size)
        asked = Asked(number, nth, line, headers, body, chosen)
        self.requests.append(asked)
        await TRICKS[chosen](Turn(asked, reader, writer))

    async def _control(self, target: str, writer: asyncio.StreamWriter) -> None:
        words = target.removeprefix("/_").split("/")
        if words[0] == "trick":
            self.trick = words[1]
        writer.write(answer(json.dumps({"trick": self.trick, "requests": len(self.requests)}).encode()))
        await writer.drain()


@contextlib.contextmanager
def in_thread(trick_name: str = "honest", port: int = 0) -> Iterator[HostileProvider]:
    """One beside a test that is not asynchronous."""
    provider, ready = HostileProvider(trick_name, port), threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with provider:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True, name="hostile-provider")
    thread.start()
    ready.wait()
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _main(port: int) -> None:
    async with HostileProvider(port=port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
