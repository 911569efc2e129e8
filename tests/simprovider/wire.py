"""HTTP/1.1 on httptools: parses requests, hands them to one handler in order, and can misbehave on the way out."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import parse_qsl, unquote

import httptools

Headers = list[tuple[str, str]]
MAX_BODY = 128 * 1024 * 1024


@dataclass(slots=True)
class Request:
    """One request as it came: header names in the sender's own case, body after de-chunking but before decoding."""

    method: str
    target: str
    headers: Headers
    body: bytes
    connection: int
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path, _, query = self.target.partition("?")
        self.path = unquote(path)
        self.query = dict(parse_qsl(query, keep_blank_values=True))

    def header(self, name: str) -> str:
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return ""


Handler = Callable[[Request, "Connection"], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client connection; the handler writes its answers to it. A handler is cancelled when the client goes away."""

    def __init__(self, handler: Handler, number: int, open_connections: set[Connection]) -> None:
        self.number = number
        self.gone = False
        self._handler = handler
        self._open = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._keep_alive = True
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._size = 0

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._transport.set_write_buffer_limits(high=256 * 1024)
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._keep_alive = False
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._open.discard(self)
        self._can_write.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # Called by httptools.

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if any(name.lower() == "expect" and value.lower() == "100-continue" for name, value in self._headers):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_BODY:
            self._transport.abort()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        self._keep_alive = self._parser.should_keep_alive()
        target = self._target.decode("latin-1")
        self._waiting.append(Request(method, target, self._headers, b"".join(self._body), self.number))
        self._begin()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer_all())

    async def _answer_all(self) -> None:
        try:
            while self._waiting and not self.gone:
                await self._handler(self._waiting.popleft(), self)
                if not self._keep_alive and not self._waiting:
                    self.close()
        except ConnectionResetError:
            pass
        finally:
            self._task = None

    # Called by handlers.

    async def write(self, data: bytes) -> None:
        """Queue bytes, and wait while the client reads too slowly."""
        if self.gone:
            raise ConnectionResetError
        self._transport.write(data)
        if not self._can_write.is_set():
            await self._can_write.wait()
            if self.gone:
                raise ConnectionResetError

    async def _flushed(self) -> None:
        while not self.gone and self._transport.get_write_buffer_size():
            await asyncio.sleep(0.001)

    async def reset(self) -> None:
        """End with RST, after everything queued has left."""
        await self._flushed()
        own = self._transport.get_extra_info("socket")
        if self.gone or own is None:
            return
        with socket.socket(fileno=os.dup(own.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close(self) -> None:
        """End with FIN, after everything queued has left."""
        if not self.gone:
            self._transport.close()
