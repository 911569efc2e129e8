"""Over TLS a pod holds no more for whoever does not read than over plain TCP, and loses no byte of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataplane.host.certificate import ServerCertificate
from dataplane.proxy.client.pace import WAITING_BYTES
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.provider.connection import UpstreamConnection
from dataplane.proxy.provider.gate import client_tls
from dataplane.proxy.provider.reading import READ_BYTES
from dataplane.proxy.tls import READ_BYTES as TLS_READ_BYTES
from dataplane.proxy.tls import UNDECIPHERED_BYTES, WRITE_BYTES
from tests.link.conftest import Authority
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

KIB = 1024
COMMENT = b": " + b"x" * 3_000 + b"\n\n"
RECORD = 64  # what TLS adds to one, and more


@dataclass
class Papers:
    directory: Path
    server: ssl.SSLContext

    @property
    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.directory / "ca.pem"))


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    directory = tmp_path_factory.mktemp("tls")
    shown = Authority.create(directory).issue("pod")
    return Papers(directory, ServerCertificate(shown.cert, shown.key).context)


def both_ways(papers: Papers, **more: Any) -> Stage:
    """TLS to the client and to the provider."""
    authorities = client_tls(str(papers.directory / "ca.pem"))
    return Stage(tls=papers.server, provider_tls=papers.server, authorities=authorities, **more)


async def tls_client(stage: Stage, papers: Papers) -> Peer:
    return Peer(
        *await asyncio.open_connection("127.0.0.1", stage.port, ssl=papers.client, server_hostname="pod", limit=1 << 20)
    )


class Deaf:
    """A client that reads nothing, neither by its program nor by its TLS, until it is told to."""

    def __init__(self, stage: Stage, papers: Papers, request: bytes) -> None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", stage.port))
        self._socket = papers.client.wrap_socket(plain, server_hostname="pod")
        self._socket.sendall(request)

    def read(self, end: bytes) -> bytes:
        came = bytearray()
        while not came.endswith(end):
            came += self._socket.recv(65536)
        return bytes(came)

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("secure_provider", [False, True])
@pytest.mark.parametrize("event_bytes", [3_000, 100_000, 1_000_000])
def test_of_an_answer_that_is_not_read_little_is_taken_and_later_all_of_it_arrives(
    papers: Papers, event_bytes: int, secure_provider: bool
):
    """Taken: also what the kernel and the client's have by then."""

    async def scene() -> None:
        async with both_ways(papers) if secure_provider else Stage(tls=papers.server) as stage:
            client = await asyncio.to_thread(Deaf, stage, papers, post("/v1/messages", STREAMED_MESSAGE))
            provider = await stage.provider()
            await provider.request()
            await provider.send(STREAM_HEAD)
            event = b": " + b"x" * event_bytes + b"\n\n"
            pieces = 8_000_000 // event_bytes
            progress: list[int] = []
            flooding = asyncio.ensure_future(write_on(provider, chunk(event), pieces, progress))
            await stuck(flooding, progress)

            (connection,) = stage.pod.connections
            (exchange,) = stage.pod.exchanges
            assert isinstance(exchange, Exchange)
            assert exchange.channel is not None
            held = connection._socket.get_write_buffer_size()
            assert connection._transport.get_write_buffer_size() == 0  # it waits in one place
            assert 0 < held <= WAITING_BYTES + READ_BYTES + 10 * RECORD
            assert exchange.channel.body_bytes < 160 * KIB
            assert stage.pod.bodies.held == held
            source = exchange.channel.response._source
            assert isinstance(source, UpstreamConnection)
            if secure_provider:
                assert source._transport.get_read_buffer_size() <= UNDECIPHERED_BYTES + TLS_READ_BYTES  # type: ignore[attr-defined]

            reading = asyncio.ensure_future(asyncio.to_thread(client.read, b"\r\n0\r\n\r\n"))
            await flooding
            await provider.send(b"0\r\n\r\n")
            _, _, body = (await reading).partition(b"\r\n\r\n")
            expected = event * pieces
            assert dechunked(body) == expected
            await stage.eventually(lambda: stage.pod.bodies.held == 0)
            client.close()

    play(scene())


def dechunked(wire: bytes) -> bytes:
    body, at = bytearray(), 0
    while True:
        end = wire.index(b"\r\n", at)
        size = int(wire[at:end], 16)
        if not size:
            return bytes(body)
        body += wire[end + 2 : end + 2 + size]
        at = end + 2 + size + 2


def test_a_client_over_tls_that_goes_leaves_nothing_counted(papers: Papers):
    async def scene() -> None:
        async with Stage(tls=papers.server) as stage:
            client = await asyncio.to_thread(Deaf, stage, papers, post("/v1/messages", STREAMED_MESSAGE))
            provider = await stage.provider()
            await provider.request()
            await provider.send(STREAM_HEAD)
            progress: list[int] = []
            flooding = asyncio.ensure_future(write_on(provider, chunk(COMMENT), 4_000, progress))
            await stuck(flooding, progress)
            assert stage.pod.bodies.held > 0
            client.close()
            await stage.eventually(lambda: not stage.pod.connections and not stage.pod.bodies.held)
            flooding.cancel()

    play(scene())


def test_over_tls_each_event_is_there_before_the_next_is_sent(papers: Papers):
    async def scene() -> None:
        async with both_ways(papers) as stage:
            client = await tls_client(stage, papers)
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(STREAM_HEAD)
            for event in EVENTS:
                await provider.send(chunk(event))
                await client.until(event)
            await provider.send(b"0\r\n\r\n")
            await client.until(b"0\r\n\r\n")
            assert (await stage.settled()).outcome == "ok"
            await client.send(post("/v1/messages", MESSAGE))
            await provider.request()  # on the same two connections
            await provider.send(answer(ANSWER))
            assert (await client.response()).body == ANSWER
            client.close()

    play(scene())


def test_a_provider_over_tls_that_does_not_read_gets_a_body_in_pieces_and_in_the_end_the_whole(papers: Papers):
    """All of it enciphered at once would be twice as much again, of which nothing counts."""
    large = MESSAGE[:-2] + b',{"role":"user","content":"' + bytes(range(97, 123)) * 400_000 + b'"}]}'

    async def scene() -> None:
        async with both_ways(papers) as stage:
            opened: list[UpstreamConnection] = []
            new = stage.pod.upstreams._new

            def noted(to: Any) -> UpstreamConnection:
                opened.append(new(to))
                return opened[-1]

            stage.pod.upstreams._new = noted  # type: ignore[method-assign]
            client = await tls_client(stage, papers)
            await client.send(post("/v1/messages", large))
            provider = await stage.provider()
            _, fields = await provider.head()
            (connection,) = opened
            await stage.eventually(lambda: connection._pipe._full)
            assert connection._pipe._socket.get_write_buffer_size() <= 64 * KIB + WRITE_BYTES + RECORD
            assert connection._transport.get_write_buffer_size() == 0
            assert len(connection._pipe._rest) > len(large) // 2
            assert stage.pod.bodies.held == len(large)
            assert await provider.exactly(int(fields["content-length"])) == large
            assert not connection._pipe._rest
            await provider.send(answer(ANSWER))
            assert (await client.response()).body == ANSWER
            await stage.eventually(lambda: stage.pod.bodies.held == 0)
            client.close()

    play(scene())


def test_a_provider_over_tls_that_answers_before_it_has_read_the_request_is_not_asked_again(papers: Papers):
    large = MESSAGE[:-2] + b',{"role":"user","content":"' + b"x" * 10_000_000 + b'"}]}'

    async def scene() -> None:
        async with both_ways(papers) as stage:
            client = await tls_client(stage, papers)
            await client.send(post("/v1/messages", large))
            provider = await stage.provider()
            await provider.head()
            await provider.send(answer(b"{}", status="413 Too Large"))
            assert (await client.response()).status == 413
            await client.send(post("/v1/messages", MESSAGE))
            other = await stage.provider()  # another connection
            await other.request()
            await other.send(answer(ANSWER))
            assert (await client.response()).body == ANSWER
            client.close()

    play(scene())


def test_who_connects_and_never_agrees_on_tls_is_hung_up_on(papers: Papers):
    async def scene() -> None:
        async with Stage(tls=papers.server, limits={"head_s": 0.05}) as stage:
            for said in (b"", b"\x16\x03\x01"):
                silent = await stage.client()
                await silent.send(said)
                assert await silent.rest() == b""
            assert not stage.pod.connections

    play(scene())


def test_plain_http_where_tls_is_spoken_ends_the_connection(papers: Papers):
    async def scene() -> None:
        async with Stage(tls=papers.server) as stage:
            lost = await stage.client()
            await lost.send(post("/v1/messages", MESSAGE))
            assert b"HTTP/1.1" not in await lost.rest()
            assert not stage.pod.connections
            assert stage.nobody_called()

    play(scene())


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("step", [1_000, 50_000, 1_000_000])
def test_a_client_that_sends_its_whole_body_before_it_reads_gets_an_early_refusal_whole(
    papers: Papers, secure: bool, step: int
):
    """Not an error of its writing, and no reset in front of our words."""

    async def scene() -> None:
        async with Stage(tls=papers.server if secure else None) as stage:
            client = await (tls_client(stage, papers) if secure else stage.client())
            raw = post("/v1/messages", b"x" * 1_000_000, token="nobodys")
            await client.send(raw[:300])
            await stage.settled()  # refused: the rest comes afterwards
            await client.send(raw[300:], step)
            refused = await client.response()
            assert (refused.status, refused.complete) == (401, True)
            assert refused.headers["connection"] == "close"
            assert await client.rest() == b""
            client.close()
            await stage.eventually(lambda: not stage.pod.connections)

    play(scene())


@pytest.mark.parametrize("secure", [False, True])
def test_who_sends_on_after_a_refusal_is_read_for_a_bounded_time(papers: Papers, secure: bool):
    async def scene() -> None:
        async with Stage(tls=papers.server if secure else None) as stage:
            client = await (tls_client(stage, papers) if secure else stage.client())
            await client.send(post("/v1/messages", b"x" * 1_000_000, token="nobodys")[:-900_000])
            await stage.settled()
            (connection,) = stage.pod.connections
            limits, waited = stage.pod.limits, 0.0
            while stage.pod.connections and waited < 2 * limits.body_window_s:
                before = connection.mark
                await client.send(b"x")
                await stage.eventually(lambda seen=before: connection.mark != seen)  # type: ignore[misc]
                stage.time_passes(limits.linger_s - 1)
                await stage.turns()
                waited += limits.linger_s - 1
            assert limits.body_window_s <= waited < 2 * limits.body_window_s

    play(scene())
