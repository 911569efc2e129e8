"""The twin of `native/mock.c` for machines without a compiler: same arguments, same bytes, a third of the speed."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import cast

import httptools
import uvloop

from tests.bench.answers import STAMP, chunk

BURST = 20  # events a write, as providers' edges coalesce them
WISH = re.compile(rb"~bench (\d+) (\d+) (\d+)~")
WISH_WITHIN = 64  # bytes of a body's end that may begin one
PATHS = {b"/count_tokens": "count_tokens", b"/messages": "messages", b"/responses": "responses", b"/": "chat"}


@dataclass(frozen=True, slots=True)
class Dialect:
    whole: bytes
    opening: bytes
    closing: bytes
    deltas: tuple[bytes, ...]
    burst: bytes

    @classmethod
    def read(cls, directory: Path, name: str) -> Dialect:
        def part(kind: str) -> bytes:
            path = directory / f"{name}.{kind}"
            return path.read_bytes() if path.exists() else b""

        events = re.findall(rb".*?\n\n", part("delta"), re.DOTALL)
        burst = b"".join(islice(cycle(events), BURST))
        return cls(part("whole"), part("opening"), part("closing"), tuple(map(chunk, events)), chunk(burst))


class Mock(asyncio.Protocol):
    def __init__(self, dialects: dict[str, Dialect]) -> None:
        self.dialects = dialects
        self.writable = asyncio.Event()
        self.writable.set()
        self.talking: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.parser = httptools.HttpRequestParser(self)

    def connection_lost(self, problem: Exception | None) -> None:
        for task in self.talking:
            task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.wish: tuple[int, ...] | None = None
        self.tail = b""

    def on_url(self, url: bytes) -> None:
        self.dialect = self.dialects[next(name for path, name in PATHS.items() if path in url)]

    def on_body(self, body: bytes) -> None:
        if self.wish is None:
            text = self.tail + body
            if found := WISH.search(text):
                self.wish = tuple(map(int, found.groups()))
            self.tail = text[-WISH_WITHIN:]

    def on_message_complete(self) -> None:
        events, pace_ms, wait_ms = self.wish or (0, 0, 0)
        if not events and not wait_ms:
            self.transport.write(self.dialect.whole)
            return
        task = asyncio.get_running_loop().create_task(self.talk(events, pace_ms / 1000, wait_ms / 1000))
        self.talking.add(task)
        task.add_done_callback(self.talking.discard)

    async def talk(self, events: int, pace_s: float, wait_s: float) -> None:
        dialect, loop = self.dialect, asyncio.get_running_loop()
        await asyncio.sleep(wait_s)
        if not events:
            self.transport.write(dialect.whole)
            return
        self.transport.write(dialect.opening)
        due = loop.time()
        for number in range(events if pace_s else -(-events // BURST)):
            await self.writable.wait()
            if pace_s:
                due += pace_s
                await asyncio.sleep(due - loop.time())
                self.transport.write(stamped(dialect.deltas[number % len(dialect.deltas)]))
            else:
                self.transport.write(dialect.burst)
        self.transport.write(dialect.closing)


def stamped(delta: bytes) -> bytes:
    return delta.replace(STAMP.encode(), b"~t%016d~" % (time.monotonic_ns() // 1000))


async def main(port: int, directory: Path) -> None:
    dialects = {name: Dialect.read(directory, name) for name in PATHS.values()}
    server = await asyncio.get_running_loop().create_server(lambda: Mock(dialects), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
