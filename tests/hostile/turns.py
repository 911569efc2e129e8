"""One request in the hands of a trick, the registry of tricks, and what an ordinary answer looks like."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Trick = Callable[["Turn"], Awaitable[None]]

TRICKS: dict[str, Trick] = {}
BEFORE_THE_BODY: set[str] = set()  # tricks that answer before the body of the request was read
JSON = "application/json"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
GEMINI_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def trick(do: Trick) -> Trick:
    """Enters a trick under its function's name."""
    TRICKS[do.__name__] = do
    return do


def before_the_body(do: Trick) -> Trick:
    """A trick that gets its turn when the head is in: the body is still on its way, and unread."""
    BEFORE_THE_BODY.add(do.__name__)
    return trick(do)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def answer(body: bytes, *, status: str = "200 OK", content_type: str = JSON, extra: str = "") -> bytes:
    """A whole answer of declared length. `extra`: further lines, each with its CRLF."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode("latin-1") + body


def message(mark: str = "hostile", *, usage: object = None) -> bytes:
    """A message of Anthropic's; `mark` is its text."""
    usage = {"input_tokens": 3, "output_tokens": 2} if usage is None else usage
    return json.dumps(
        {
            "id": "msg_hostile",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [{"type": "text", "text": mark}],
            "stop_reason": "end_turn",
            "usage": usage,
        },
        separators=(",", ":"),
    ).encode()


def mark_of(body: bytes) -> str:
    """What an honest answer to this request says: no two requests share it."""
    return hashlib.sha256(body).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that reached the provider, its body read."""

    connection: int
    nth: int  # on that connection, from 1
    line: bytes
    headers: dict[str, str]  # by lower-case name
    body: bytes
    trick: str

    @property
    def path(self) -> str:
        return self.line.split(b" ")[1].decode("latin-1")

    @property
    def credential(self) -> str:
        """The provider's own, wherever its kind carries it."""
        for name in ("x-api-key", "api-key", "x-goog-api-key"):
            if name in self.headers:
                return self.headers[name]
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(slots=True)
class Turn:
    """One request in the hands of a trick."""

    asked: Asked
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes, *, step: int = 0, pause_s: float = 0.0) -> None:
        """`step`: so many bytes per write, with `pause_s` between them."""
        for at in range(0, len(data), step or len(data) or 1):
            self.writer.write(data[at : at + (step or len(data))])
            await self.writer.drain()
            if step:
                await asyncio.sleep(pause_s)

    async def honest(self) -> None:
        """The right answer to this very request."""
        await self.send(answer(message(mark_of(self.asked.body))))

    def close(self) -> None:
        """FIN, behind what was written."""
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()
