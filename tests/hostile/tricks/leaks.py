"""The organization's credential, given away by the provider that it belongs to: in every place where a client could
read it."""

from __future__ import annotations

import gzip
import json

from tests.hostile.turns import END, STREAM_HEAD, Turn, answer, chunk, event, message, trick


def _error(turn: Turn) -> bytes:
    words = f"invalid x-api-key: {turn.asked.credential} (see https://provider.test/?key={turn.asked.credential})"
    return json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": words}}).encode()


@trick
async def credential_in_error(turn: Turn) -> None:
    """A 400, since a refusal of the credential itself is replaced by words of ours anyway."""
    await turn.send(answer(_error(turn), status="400 Bad Request"))


@trick
async def credential_in_refusal(turn: Turn) -> None:
    await turn.send(answer(_error(turn), status="401 Unauthorized"))


@trick
async def credential_in_packed_error(turn: Turn) -> None:
    body = gzip.compress(_error(turn))
    await turn.send(answer(body, status="400 Bad Request", extra="Content-Encoding: gzip\r\n"))


@trick
async def credential_in_error_by_bytes(turn: Turn) -> None:
    """Chunked, one byte at a time: it is never whole in one read."""
    await turn.send(STREAM_HEAD.replace(b"200 OK", b"500 Oops").replace(b"text/event-stream", b"application/json"))
    for at in range(len(body := _error(turn))):
        await turn.send(chunk(body[at : at + 1]))
    await turn.send(END)


@trick
async def credential_in_answer(turn: Turn) -> None:
    await turn.send(answer(message(turn.asked.credential)))


@trick
async def credential_in_packed_answer(turn: Turn) -> None:
    body = gzip.compress(message(turn.asked.credential))
    await turn.send(answer(body, extra="Content-Encoding: gzip\r\n"))


@trick
async def credential_in_error_event(turn: Turn) -> None:
    """At the stream's beginning."""
    words = event("error", json.loads(_error(turn)))
    await turn.send(STREAM_HEAD + chunk(words) + END)


@trick
async def credential_in_late_error_event(turn: Turn) -> None:
    """Behind content."""
    await turn.send(STREAM_HEAD)
    for data in _beginning():
        await turn.send(chunk(event(str(data["type"]), data)))
    words = event("error", json.loads(_error(turn)))
    await turn.send(chunk(words[:40]), step=1)
    await turn.send(chunk(words[40:]) + END)


@trick
async def credential_in_headers(turn: Turn) -> None:
    secret = turn.asked.credential
    extra = "".join(
        f"{name}: {value}\r\n"
        for name, value in (
            ("X-Api-Key", secret),
            ("X-Echo", f"you sent {secret}"),
            ("Location", f"https://provider.test/?key={secret}"),
            ("Authorization", f"Bearer {secret}"),
        )
    )
    await turn.send(answer(message(), extra=extra))


def _beginning() -> list[dict[str, object]]:
    usage = {"input_tokens": 3, "output_tokens": 1}
    return [
        {
            "type": "message_start",
            "message": {"id": "msg_h", "type": "message", "model": "claude-sonnet-5-5", "usage": usage},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    ]
