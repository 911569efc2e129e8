"""Puts an answer on the wire the way a script wants it: framed, chunked, held, cut, wrong."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from itertools import chain, islice

from tests.simprovider.record import Recorded
from tests.simprovider.render import Event, Rendered
from tests.simprovider.script import Script
from tests.simprovider.simulator import Simulator
from tests.simprovider.wire import Connection, Headers

SLICE = 64 * 1024
DEFAULT_CUT = 4
KEEPALIVE: Event = (b": keepalive\n\n", 0, False)


class Player:
    """One answer being sent. `stream`: chunked unless the script frames it otherwise."""

    def __init__(self, simulator: Simulator, wire: Connection, record: Recorded, script: Script) -> None:
        self.simulator = simulator
        self.wire = wire
        self.record = record
        self.script = script

    async def send(self, rendered: Rendered, headers: Headers, stream: bool, error_event: Callable[[], bytes]) -> None:
        """The whole answer; leaves in the record what went out and how it ended."""
        script = self.script
        await self._before()
        events = self._events(rendered, error_event)
        framing = script.framing or ("length" if script.content_length or not stream else "chunked")
        total = 0
        if framing == "length":
            events = list(events)
            total = sum(len(event[0]) for event in events)
        await self.wire.write(self._head(rendered, headers, framing, total))
        if self.record.method == "HEAD":
            self.record.ended = "complete"
            return
        if not await self._body(events, framing):
            return
        if framing == "chunked":
            await self.wire.write(b"0\r\n\r\n")
        if script.garbage:
            await self.wire.write(script.garbage.encode())
        if self.record.ended == "open":
            self.record.ended = "complete"
        if framing == "close" or script.content_length or script.close:
            self.wire.close()

    async def _before(self) -> None:
        script = self.script
        if script.interim:
            await self.wire.write(b"HTTP/1.1 103 Early Hints\r\nlink: </sim>; rel=preload\r\n\r\n")
        if script.hold and script.hold_at < 0:
            await self.simulator.hold(script.hold)
        if script.delay_ms:
            await asyncio.sleep(script.delay_ms / 1000)

    def _events(self, rendered: Rendered, error_event: Callable[[], bytes]) -> Iterable[Event]:
        """After truncation, an error in the middle, comments, other line ends, compression and regrouping."""
        script = self.script
        events: Iterable[Event] = rendered.events
        if script.error_at >= 0:
            events = chain(islice(events, script.error_at), [(error_event(), 0, False)])
        if script.truncate_at >= 0:
            events = islice(events, script.truncate_at)
        if script.comments:
            rest = iter(events)
            events = chain(islice(rest, 1), [KEEPALIVE] * script.comments, rest)
        if script.newline == "crlf":
            events = ((data.replace(b"\n", b"\r\n"), chars, last) for data, chars, last in events)
        if script.chunk == "all":
            events = list(events)
            joined = b"".join(event[0] for event in events)
            events = [(joined, sum(event[1] for event in events), any(event[2] for event in events))]
        return self._compressed(events) if script.encoding == "gzip" else events

    def _compressed(self, events: Iterable[Event]) -> Iterable[Event]:
        """Flushed after every event, so that each can be read when it arrives."""
        gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
        for data, chars, last in events:
            yield gzip.compress(data) + gzip.flush(zlib.Z_SYNC_FLUSH), chars, last
        yield gzip.flush(), 0, False

    def _head(self, rendered: Rendered, headers: Headers, framing: str, total: int) -> bytes:
        status = self.script.status if self.script.status and not self.script.error else rendered.status
        self.record.status = status
        own = {name.lower() for name in self.script.headers}
        lines = [(name, value) for name, value in headers if name not in own] + list(self.script.headers.items())
        lines.insert(0, ("content-type", rendered.media))
        if self.script.encoding == "gzip":
            lines.append(("content-encoding", "gzip"))
        if framing == "chunked":
            lines.append(("transfer-encoding", "chunked"))
        elif framing == "length":
            lines.append(("content-length", str(max(0, total + self.script.content_length))))
        if framing == "close" or self.script.close:
            lines.append(("connection", "close"))
        self.record.response_headers = lines
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        head = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in lines)]
        return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")

    async def _body(self, events: Iterable[Event], framing: str) -> bool:
        """False when the connection was ended on purpose."""
        script = self.script
        cut_at = script.cut_at if script.cut_at >= 0 or not script.cut else DEFAULT_CUT
        eventful = (
            cut_at >= 0
            or script.interval_ms
            or (script.hold and script.hold_at >= 0)
            or script.chunk not in ("", "all")
        )
        if not eventful:
            await self._burst(events, framing)
        else:
            for index, (data, chars, last) in enumerate(events):
                if index == script.hold_at and script.hold:
                    await self.simulator.hold(script.hold)
                if index == cut_at:
                    await self._cut(data, framing)
                    return False
                await self._event(data, framing)
                self._sent(1, chars, last)
                if script.interval_ms:
                    await asyncio.sleep(script.interval_ms / 1000)
            if cut_at >= 0:
                await self._cut(b"", framing)
                return False
        if script.error_at >= 0:
            self.record.ended = "error_event"
        elif script.truncate_at >= 0:
            self.record.ended = "truncated"
        return True

    async def _burst(self, events: Iterable[Event], framing: str) -> None:
        """As few writes as the size allows, one HTTP chunk per event all the same."""
        waiting: list[bytes] = []
        size = chars = count = 0
        usage = False
        for data, more, last in events:
            usage |= last
            waiting.append(_framed(data, framing))
            self.record.put(data)
            size += len(data)
            chars += more
            count += 1
            if size >= SLICE:
                await self.wire.write(b"".join(waiting))
                self._sent(count, chars, usage)
                waiting.clear()
                size = chars = count = 0
        if waiting:
            await self.wire.write(b"".join(waiting))
        self._sent(count, chars, usage)

    async def _event(self, data: bytes, framing: str) -> None:
        self.record.put(data)
        for piece in _pieces(data, self.script.chunk):
            await self.wire.write(_framed(piece, framing))
            if self.script.chunk:
                await asyncio.sleep(0)

    async def _cut(self, data: bytes, framing: str) -> None:
        self.record.ended = "cut"
        if self.script.cut_inside:
            await self._event(data[: len(data) // 2], framing)
        if self.script.cut == "fin":
            self.wire.close()
        else:
            await self.wire.reset()

    def _sent(self, events: int, chars: int, usage: bool) -> None:
        self.record.usage_sent |= usage
        self.record.events_sent += events
        self.record.output_chars_sent += chars


def _framed(data: bytes, framing: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if framing == "chunked" and data else data


def _pieces(data: bytes, chunk: str) -> Iterator[bytes]:
    size = int(chunk) if chunk.isdigit() else max(1, len(data))
    for at in range(0, len(data), size):
        yield data[at : at + size]
