"""Answers at the wrong moment, and connections that end at one: what must never reach another request, nor be asked
again."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.hostile.turns import END, STREAM_HEAD, Turn, answer, before_the_body, chunk, message, trick

POISON: Final = b'{"poison":true}'
LATE_S: Final = 0.2


@trick
async def honest(turn: Turn) -> None:
    await turn.honest()


@trick
async def late_second_answer(turn: Turn) -> None:
    """One request, two answers: the second comes while nobody asks, or to whoever asks next. Nothing more is read."""
    await turn.honest()
    await asyncio.sleep(LATE_S)
    await turn.send(answer(POISON))
    await asyncio.sleep(LATE_S)


@trick
async def second_answer_with_the_next_request(turn: Turn) -> None:
    """The next request's head is hardly in when an answer comes that was prepared before it."""
    if turn.asked.nth > 1:
        await turn.send(answer(POISON))
        return
    await turn.honest()
    await turn.reader.read(1)
    await turn.send(answer(POISON))
    await turn.reader.read(65536)


@trick
async def two_answers_at_once(turn: Turn) -> None:
    await turn.send(answer(message()) + answer(POISON))


@trick
async def half_an_answer_ahead(turn: Turn) -> None:
    """Behind the answer the beginning of another one, whose end comes with the next request."""
    await turn.honest()
    await asyncio.sleep(LATE_S)
    await turn.send(answer(POISON)[:-4])
    await turn.reader.read(65536)
    await turn.send(answer(POISON)[-4:])


@before_the_body
async def early_error(turn: Turn) -> None:
    """413 as soon as the head is in, and the connection stays: what of the body came is read as if it were nothing."""
    await turn.send(answer(b'{"type":"error","error":{"type":"request_too_large"}}', status="413 Too Large"))
    with_body = int(turn.asked.headers.get("content-length", "0"))
    await turn.reader.readexactly(with_body)


@before_the_body
async def early_answer(turn: Turn) -> None:
    """200 as soon as the head is in."""
    await turn.send(answer(message()))
    await turn.reader.readexactly(int(turn.asked.headers.get("content-length", "0")))


@trick
async def read_and_close(turn: Turn) -> None:
    """A first request is answered; a second one is read, "executed", and never answered."""
    if turn.asked.nth == 1:
        await turn.honest()
    else:
        await asyncio.sleep(0.5)
        turn.close()


@trick
async def read_and_close_at_once(turn: Turn) -> None:
    if turn.asked.nth == 1:
        await turn.honest()
    else:
        turn.close()


@trick
async def read_and_reset_at_once(turn: Turn) -> None:
    if turn.asked.nth == 1:
        await turn.honest()
    else:
        turn.reset()


@trick
async def close_after_each(turn: Turn) -> None:
    """Says keep-alive and closes all the same: what a balancer does that is being restarted."""
    await turn.honest()
    turn.close()


@trick
async def close_unanswered(turn: Turn) -> None:
    turn.close()


@trick
async def bad_first_chunk(turn: Turn) -> None:
    """In the same read as the head."""
    await turn.send(STREAM_HEAD + b"zz\r\n{}\r\n" + END)


@trick
async def bad_chunk_in_the_middle(turn: Turn) -> None:
    await turn.send(STREAM_HEAD + chunk(b"event: ping\ndata: {}\n\n") + b"zz\r\n")


@trick
async def too_long_a_chunk(turn: Turn) -> None:
    await turn.send(STREAM_HEAD + b"2\r\nabcd\r\n" + END)


@trick
async def endless_line_between_chunks(turn: Turn) -> None:
    await turn.send(STREAM_HEAD + b"2;" + b"x" * 100_000)
