"""Kinds with a way of their own, in front of a provider that checks: each request signed, answers framed otherwise."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from dataplane.core.usage import Outcome, UsageClass
from dataplane.providers.anthropic import ANTHROPIC
from dataplane.providers.fields import Field, field
from dataplane.providers.kind import BodyDecoder, CannotAuthorize, UnsignedRequest, UpstreamKind, no_credential
from dataplane.providers.registry import KINDS
from tests.core import build
from tests.proxy.floods import stuck, write_on
from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Peer,
    Stage,
    answer,
    chunk,
    play,
    post,
)

SECRET = b"toy-secret-0123456789"
TOY = ProviderKind.ANTHROPIC_COMPATIBLE


@pytest.fixture
def toy(monkeypatch) -> Callable[..., None]:
    """Declares what the toy kind does otherwise than Anthropic's."""

    def declare(**otherwise: Any) -> None:
        monkeypatch.setitem(KINDS, TOY, replace(ANTHROPIC, **otherwise))

    return declare


def stage(**limits: Any) -> Stage:
    """Its only Anthropic provider is of the toy kind."""

    class ToyStage(Stage):
        def _world(self) -> list[Any]:
            base = f"http://127.0.0.1:{self.provider_port}"
            row = build.provider(
                "prov_toy", name="toy", kind=TOY, base_url=base, credential=Secret(SECRET), private_network=True
            )
            return [*(row for row in super()._world() if getattr(row, "kind", None) is not ProviderKind.ANTHROPIC), row]

    return ToyStage(limits=limits)


# ---- each request authorized by itself ------------------------------------------------------------------------------


def signature(secret: bytes, *parts: bytes) -> str:
    return hmac.new(secret, b"\n".join(parts), hashlib.sha256).hexdigest()


async def sign(request: UnsignedRequest, body: bytes, clock: Callable[[], int]) -> Sequence[Field]:
    """As SigV4 does, in short: method, target, host, a field of the client, the time and the body."""
    await asyncio.sleep(0)  # a token may have to be fetched
    at = b"%d" % clock()
    version = dict(request.fields)[b"anthropic-version"]
    mark = signature(
        request.provider.credential.reveal(), request.method.encode(), request.target, request.host, version, at, body
    )
    return field("X-Toy-Time", at), field("X-Toy-Signature", mark)


SIGNS: dict[str, Any] = {
    "credential": no_credential,
    "authorize": sign,
    "withheld": frozenset({b"x-toy-time", b"x-toy-signature"}),
}


def is_signed(at_ms: int, line: bytes, headers: dict[str, str], body: bytes) -> bool:
    method, target, _ = line.split(b" ")
    parts = method, target, headers["host"].encode(), headers["anthropic-version"].encode(), b"%d" % at_ms, body
    assert headers["x-toy-time"] == str(at_ms)
    return headers["x-toy-signature"] == signature(SECRET, *parts)


def test_each_request_is_signed_over_its_body_and_the_clock_on_one_connection(toy):
    toy(**SIGNS)

    async def scene() -> None:
        async with stage() as on:
            client = await on.client()
            provider: Peer | None = None
            for body in (MESSAGE, MESSAGE.replace(b"hello", b"other")):
                await client.send(post("/v1/messages", body))
                provider = provider or await on.provider()
                line, headers, got = await provider.request()
                assert got == body
                assert is_signed(on.wall_ms, line, headers, body)
                assert "x-api-key" not in headers
                await provider.send(answer(ANSWER))
                assert (await client.response()).body == ANSWER
                on.wall_ms += 1000
            await on.settled(2)
            assert on.nobody_called()

    play(scene())


def test_what_the_kind_writes_cannot_be_written_by_a_client(toy):
    toy(**SIGNS)
    forged = {"X-Toy-Signature": "forged", "x-toy-time": "0"}

    async def scene() -> None:
        async with stage() as on:
            client = await on.client()
            await client.send(post("/v1/messages", MESSAGE, headers=forged))
            provider = await on.provider()
            head = await provider.until(b"\r\n\r\n")
            assert head.lower().count(b"x-toy-signature:") == head.lower().count(b"x-toy-time:") == 1
            assert b"forged" not in head

    play(scene())


@pytest.mark.parametrize(
    ("failure", "status", "code", "outcome", "words"),
    [
        (CannotAuthorize("tokens.example.com is away"), 502, Code.PROVIDER_ERROR, Outcome.FAILED, "is away"),
        (ValueError(SECRET.decode()), 502, Code.PROVIDER_NOT_REACHABLE, Outcome.REFUSED, "credential that cannot be"),
        (Refusal(Code.PROVIDER_NOT_REACHABLE, "no role"), 502, Code.PROVIDER_NOT_REACHABLE, Outcome.REFUSED, "no role"),
    ],
)
def test_a_credential_that_cannot_be_shown_is_said_in_words_and_nobody_is_called(
    toy, failure, status, code, outcome, words
):
    async def fail(request: UnsignedRequest, body: bytes, clock: Callable[[], int]) -> Sequence[Field]:
        raise failure

    toy(authorize=fail)

    async def scene() -> None:
        async with stage() as on:
            client = await on.client()
            await client.send(post("/v1/messages", MESSAGE))
            response = await client.response()
            record = await on.settled()
            assert on.nobody_called()
            assert (record.refusal_code, record.outcome, record.cost_nano) == (code, outcome, 0)
            assert words in json.loads(response.body)["error"]["message"]
            assert SECRET not in response.wire
            assert response.status == record.http_status

    play(scene())


def test_a_field_that_would_end_its_line_never_leaves(toy):
    async def inject(request: UnsignedRequest, body: bytes, clock: Callable[[], int]) -> Sequence[Field]:
        return ((b"X-Toy-Signature", b"a\r\nX-Evil: 1"),)

    toy(authorize=inject)

    async def scene() -> None:
        async with stage() as on:
            client = await on.client()
            await client.send(post("/v1/messages", MESSAGE))
            assert b"credential that cannot be used" in (await client.response()).body
            assert on.nobody_called()

    play(scene())


def test_who_authorizes_for_ever_is_given_up_and_who_waits_meanwhile_is_not_us(toy):
    async def never(request: UnsignedRequest, body: bytes, clock: Callable[[], int]) -> Sequence[Field]:
        await asyncio.Event().wait()
        return ()

    toy(authorize=never)

    async def scene() -> None:
        async with stage(upstream_waiting_s=0.01) as on:
            client = await on.client()
            await client.send(post("/v1/messages", MESSAGE))
            assert b"was not there in time" in (await client.response()).body
            assert (await on.settled()).refusal_code == Code.UPSTREAM_TIMEOUT
            assert on.nobody_called()

    play(scene())


def test_the_time_that_authorizing_takes_is_not_ours(toy):
    async def scene() -> None:
        async with stage() as on:

            async def slow(request: UnsignedRequest, body: bytes, clock: Callable[[], int]) -> Sequence[Field]:
                on.now += 3
                return ()

            toy(authorize=slow)
            client = await on.client()
            provider = await on.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            await client.response()
            record = await on.settled()
            assert (record.duration_ms, on.telemetry.overheads) == (3000, [0])

    play(scene())


def test_a_client_that_leaves_while_its_request_is_authorized_stops_it(toy):
    stopped = asyncio.Event()
    begun = asyncio.Event()

    async def wait(request: UnsignedRequest, body: bytes, clock: Callable[[], int]) -> Sequence[Field]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ()

    toy(authorize=wait)

    async def scene() -> None:
        async with stage() as on:
            client = await on.client()
            await client.send(post("/v1/messages", MESSAGE))
            await begun.wait()
            client.abort()
            await stopped.wait()
            assert (await on.settled()).outcome is Outcome.CLIENT_GONE

    play(scene())


# ---- answers in a framing of their own ------------------------------------------------------------------------------


FRAMED = "application/vnd.toy.frames"


class Frames:
    """Each frame is its length in four bytes, and one event."""

    content_type = b"text/event-stream"
    most = 1024

    def __init__(self) -> None:
        self.broken = False
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        self._pending += data
        events = []
        while len(self._pending) >= 4:
            size = int.from_bytes(self._pending[:4])
            self.broken = size > self.most
            if self.broken or len(self._pending) < 4 + size:
                break
            events.append(self._pending[4 : 4 + size])
            self._pending = self._pending[4 + size :]
        return b"".join(events)

    def end(self) -> bytes:
        self.broken = bool(self._pending)
        return b""


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def frames(content_type: bytes) -> BodyDecoder | None:
    return Frames() if content_type == FRAMED.encode() else None


FRAMED_HEAD = STREAM_HEAD.replace(b"text/event-stream", FRAMED.encode())
STREAM = b"".join(EVENTS)


async def framed_answer(on: Stage, *pieces: bytes) -> tuple[Peer, Peer]:
    client = await on.client()
    provider = await on.asked(client, post("/v1/messages", STREAMED_MESSAGE))
    for piece in pieces:
        await provider.send(piece)
    return client, provider


def delivered(frames: bytes, step: int) -> list[bytes]:
    return [chunk(frames[at : at + step]) for at in range(0, len(frames), step)]


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_frames_of_its_own_become_the_dialects_stream_and_are_metered(toy, step):
    toy(decoder=frames)
    body = b"".join(map(frame, EVENTS))

    async def scene() -> None:
        async with stage() as on:
            client, provider = await framed_answer(on, FRAMED_HEAD, *delivered(body, step), b"0\r\n\r\n")
            response = await client.response()
            assert response.complete
            assert response.body == STREAM
            assert response.headers["content-type"] == "text/event-stream"
            record = await on.settled()
            assert record.outcome is Outcome.OK
            assert record.usage.units[UsageClass.OUTPUT] == 7
            assert record.response_bytes == len(STREAM)
            # The provider's connection and the client's both serve the next request, whose error is no frame.
            await client.send(post("/v1/messages", STREAMED_MESSAGE))
            await provider.request()
            error = b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}'
            await provider.send(answer(error, status="400 Bad Request"))
            response = await client.response()
            assert (response.status, response.body) == (400, error)

    play(scene())


def test_frames_of_a_declared_length_become_a_stream_of_unknown_length(toy):
    toy(decoder=frames)
    body = b"".join(map(frame, EVENTS))

    async def scene() -> None:
        async with stage() as on:
            client, _ = await framed_answer(on, answer(body, content_type=FRAMED))
            response = await client.response()
            assert response.body == STREAM
            assert response.headers["transfer-encoding"] == "chunked"
            assert "content-length" not in response.headers
            assert (await on.settled()).outcome is Outcome.OK

    play(scene())


@pytest.mark.parametrize(
    ("rest", "ends"),
    [(chunk(b"\xff" * 8), False), (chunk(frame(EVENTS[2])[:9]) + b"0\r\n\r\n", True)],
    ids=["a broken frame", "an end inside a frame"],
)
def test_a_broken_frame_ends_the_stream_in_the_dialects_words(toy, rest, ends):
    toy(decoder=frames)

    async def scene() -> None:
        async with stage() as on:
            first = b"".join(map(frame, EVENTS[:2]))
            client, provider = await framed_answer(on, FRAMED_HEAD, chunk(first), rest)
            response = await client.response()
            assert response.body.startswith(b"".join(EVENTS[:2]))
            assert b"the provider broke the framing of its answer" in response.body
            record = await on.settled()
            assert (record.outcome, record.refusal_code) == (Outcome.FAILED, Code.PROVIDER_ERROR)
            if not ends:
                assert await provider.closed()

    play(scene())


def test_a_provider_that_hangs_up_inside_its_frames_is_said_in_the_dialects_words(toy):
    toy(decoder=frames)

    async def scene() -> None:
        async with stage() as on:
            client, provider = await framed_answer(on, FRAMED_HEAD, chunk(b"".join(map(frame, EVENTS[:3]))))
            await client.until(b"rld")
            provider.close()
            await client.until(b"before its answer was complete")
            assert (await on.settled()).outcome is Outcome.FAILED

    play(scene())


def test_frames_that_came_compressed_are_refused(toy):
    toy(decoder=frames)

    async def scene() -> None:
        async with stage() as on:
            client, _ = await framed_answer(
                on, answer(b"x" * 8, content_type=FRAMED, extra="Content-Encoding: gzip\r\n")
            )
            response = await client.response()
            assert b"compressed an answer in spite of us" in response.body
            assert (await on.settled()).refusal_code == Code.PROVIDER_ERROR

    play(scene())


def test_a_stream_that_begins_with_a_refusal_of_the_organization_is_heard_behind_its_frames(toy):
    toy(decoder=frames)
    error = b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}'

    async def scene() -> None:
        async with stage() as on:
            client, _ = await framed_answer(on, FRAMED_HEAD, chunk(frame(b"event: error\ndata: " + error + b"\n\n")))
            response = await client.response()
            assert b"the organization's key for 'toy' was refused" in response.body
            assert (await on.settled()).refusal_code == Code.PROVIDER_CREDENTIAL_REFUSED

    play(scene())


def test_a_slow_client_stops_a_provider_whose_frames_are_decoded(toy):
    toy(decoder=frames)
    comments = chunk(frame(b": " + b"x" * 1000 + b"\n\n") * 64)

    async def scene() -> None:
        async with stage() as on:
            client, provider = await framed_answer(on, FRAMED_HEAD, chunk(frame(EVENTS[0])))
            await client.until(b"message_start")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            progress: list[int] = []
            flooding = asyncio.ensure_future(write_on(provider, comments, 400, progress))
            await stuck(flooding, progress)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await client.until(b"x" * 1000)
            flooding.cancel()

    play(scene())


def test_whether_an_answer_is_a_stream_is_asked_of_the_kind(toy):
    toy(streams=lambda content_type: content_type == b"text/plain")

    async def scene() -> None:
        async with stage() as on:
            client = await on.client()
            provider = await on.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(answer(STREAM, content_type="text/plain"))
            assert (await client.response()).body == STREAM
            assert (await on.settled()).usage.units[UsageClass.OUTPUT] == 7

    play(scene())


def test_every_kind_that_we_ship_is_asked_as_the_pool_does_it():
    assert all(kind.plain for kind in KINDS.values())
    assert not UpstreamKind(path=ANTHROPIC.path, authorize=sign).plain
    assert not UpstreamKind(path=ANTHROPIC.path, decoder=frames).plain
