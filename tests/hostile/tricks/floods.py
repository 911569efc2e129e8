"""Bytes that are cheap to send and were dear to read: each of them a megabyte or more for one parser of the pod's."""

from __future__ import annotations

import gzip
from functools import cache
from typing import Final

from tests.hostile.turns import END, GEMINI_HEAD, STREAM_HEAD, Turn, answer, chunk, trick

MIB: Final = 1024 * 1024
INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@cache
def _bomb(unit: bytes) -> bytes:
    return gzip.compress(unit * (32 * MIB // len(unit)), 6)


async def _pour(turn: Turn, piece: bytes, times: int) -> None:
    for _ in range(times):
        await turn.send(piece)


@trick
async def interim_flood(turn: Turn) -> None:
    """300,000 interim answers: 7.5 MB."""
    await _pour(turn, INTERIM * 1_000, 300)
    await turn.honest()


@trick
async def interim_flood_without_end(turn: Turn) -> None:
    await _pour(turn, INTERIM * 1_000, 5_000)
    await turn.honest()


@trick
async def large_interim_answers(turn: Turn) -> None:
    """Each just below what a head may have."""
    await _pour(
        turn, b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </x>\r\n" * 120 + b"X: " + b"y" * 60_000 + b"\r\n\r\n", 200
    )
    await turn.honest()


@trick
async def a_few_interim_answers(turn: Turn) -> None:
    """What is allowed."""
    await turn.send(INTERIM * 3 + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    await turn.honest()


@trick
async def endless_head(turn: Turn) -> None:
    await turn.send(b"HTTP/1.1 200 OK\r\n")
    await _pour(turn, b"X-Field: value\r\n" * 4_000, 100)


@trick
async def tiny_chunks(turn: Turn) -> None:
    """A megabyte, one byte of body a chunk."""
    await turn.send(STREAM_HEAD)
    await _pour(turn, chunk(b" ") * 10_000, 20)
    await turn.send(END)


@trick
async def chunk_extensions(turn: Turn) -> None:
    """As long as they may be, on every chunk."""
    await turn.send(STREAM_HEAD)
    await _pour(turn, (b"1;" + b"x" * 250 + b"\r\n \r\n") * 200, 200)
    await turn.send(END)


@trick
async def empty_lines(turn: Turn) -> None:
    """Line feeds, which end no event."""
    await turn.send(STREAM_HEAD)
    await _pour(turn, chunk(b"\n" * 250_000), 4)
    await turn.send(END)


@trick
async def tiny_events(turn: Turn) -> None:
    await turn.send(STREAM_HEAD)
    await _pour(turn, chunk(b"data:\n\n" * 30_000), 5)
    await turn.send(END)


@trick
async def tiny_events_in_segments(turn: Turn) -> None:
    """No write is large."""
    await turn.send(STREAM_HEAD)
    await turn.send(chunk(b"data:\n\n" * 150_000), step=1_400)
    await turn.send(END)


@trick
async def tiny_events_in_tiny_segments(turn: Turn) -> None:
    await turn.send(STREAM_HEAD)
    await turn.send(chunk(b"data:\n\n" * 30_000), step=100)
    await turn.send(END)


@trick
async def lines_of_one_event(turn: Turn) -> None:
    await turn.send(STREAM_HEAD)
    await _pour(turn, chunk(b"data:x\n" * 30_000), 5)
    await turn.send(chunk(b"\n") + END)


@trick
async def one_giant_line(turn: Turn) -> None:
    """In small writes."""
    await turn.send(STREAM_HEAD + chunk(b"data: "))
    await _pour(turn, chunk(b"x" * 1_000) * 16, 500)
    await turn.send(chunk(b"\n\n") + END)


@trick
async def carriage_returns(turn: Turn) -> None:
    await turn.send(STREAM_HEAD)
    await _pour(turn, chunk(b"\r" * 250_000), 4)
    await turn.send(END)


@trick
async def brackets(turn: Turn) -> None:
    """An array that opens and opens, where Gemini streams one."""
    await turn.send(GEMINI_HEAD + chunk(b"[{"))
    await _pour(turn, chunk(b'[]{}""' * 40_000), 4)
    await turn.send(chunk(b"}]") + END)


@trick
async def empty_elements(turn: Turn) -> None:
    await turn.send(GEMINI_HEAD + chunk(b"[{}"))
    await _pour(turn, chunk(b",{}" * 80_000), 4)
    await turn.send(chunk(b"]") + END)


@trick
async def escapes(turn: Turn) -> None:
    """One JSON answer of half characters."""
    body = b'{"type":"message","content":[{"type":"text","text":"' + b"\\ud800" * 1_500_000 + b'"}]}'
    await turn.send(answer(body))


@trick
async def empty_objects(turn: Turn) -> None:
    """One JSON answer with three million of them."""
    await turn.send(answer(b'{"type":"message","usage":{"a":[' + b"{}," * 3_000_000 + b"{}]}}"))


@trick
async def gzip_bomb(turn: Turn) -> None:
    """32 MB out of 32 KB."""
    await turn.send(answer(_bomb(b" "), extra="Content-Encoding: gzip\r\n"))


@trick
async def gzip_bomb_error(turn: Turn) -> None:
    """In an error, which is looked into."""
    await turn.send(answer(_bomb(b" "), status="401 Unauthorized", extra="Content-Encoding: gzip\r\n"))


@trick
async def gzip_bomb_stream(turn: Turn) -> None:
    """Of events."""
    body = _bomb(b"data: {}\n\n")
    head = STREAM_HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n"
    await turn.send(head + chunk(body) + END)
