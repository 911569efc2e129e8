"""httpx over the pod's pool: the same gate, the same connections, httpx's own exceptions."""

from __future__ import annotations

import asyncio
import gc
import gzip
import weakref

import httpx
import pytest

from dataplane.core.usage import UsageRecord
from dataplane.host import process
from dataplane.proxy.provider.httpx_transport import PooledTransport
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.traces import SpanExporter
from tests.proxy.stage import STREAM_HEAD, Stage, answer, chunk, play


def client(stage: Stage, *, private_network: bool = True) -> httpx.AsyncClient:
    transport = PooledTransport(stage.pod.upstreams, private_network=private_network)
    return httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{stage.provider_port}", trust_env=False)


def test_a_request_goes_out_and_its_answer_comes_back():
    async def scene() -> None:
        async with Stage() as stage, client(stage) as http:
            asking = asyncio.ensure_future(http.post("/token?x=1", json={"a": 1}, headers={"X-Mine": "yes"}))
            provider = await stage.provider()
            line, headers, body = await provider.request()
            assert (line, body) == (b"POST /token?x=1 HTTP/1.1", b'{"a":1}')
            assert headers["x-mine"] == "yes"
            packed = gzip.compress(b'{"ok":true}')
            await provider.send(answer(packed, extra="Content-Encoding: gzip\r\n"))
            response = await asking
            assert response.json() == {"ok": True}
            assert stage.pod.upstreams.counts() == (1, 0)

    play(scene())


def test_connections_are_shared_with_the_hot_path():
    async def scene() -> None:
        async with Stage() as stage, client(stage) as http:
            asking = asyncio.ensure_future(http.get("/a"))
            provider = await stage.provider()
            await provider.request()
            await provider.send(answer(b"{}"))
            await asking
            asking = asyncio.ensure_future(http.get("/b"))
            assert (await provider.request())[0] == b"GET /b HTTP/1.1"
            await provider.send(answer(b"{}"))
            await asking
            assert stage.nobody_called()

    play(scene())


def test_a_stream_is_read_at_the_readers_pace():
    async def scene() -> None:
        async with Stage() as stage, client(stage) as http:
            pieces = [b"x" * 60_000] * 100

            async def provide() -> None:
                provider = await stage.provider()
                await provider.request()
                await provider.send(STREAM_HEAD)
                for piece in pieces:
                    await provider.send(chunk(piece))
                await provider.send(b"0\r\n\r\n")

            providing = asyncio.ensure_future(provide())
            got = 0
            async with http.stream("GET", "/stream") as response:
                await asyncio.sleep(0.05)
                async for piece in response.aiter_raw():
                    got += len(piece)
                    await asyncio.sleep(0)
            await providing
            assert got == sum(map(len, pieces))

    play(scene())


def test_a_reader_that_leaves_closes_the_connection():
    async def scene() -> None:
        async with Stage() as stage, client(stage) as http:

            async def read_one() -> None:
                async with http.stream("GET", "/stream") as response:
                    async for _ in response.aiter_raw():
                        return

            reading = asyncio.ensure_future(read_one())
            provider = await stage.provider()
            await provider.request()
            await provider.send(STREAM_HEAD + chunk(b"one"))
            await reading
            assert await provider.closed()

    play(scene())


def test_the_gate_is_the_same():
    async def scene() -> None:
        async with Stage() as stage, client(stage, private_network=False) as http:
            with pytest.raises(httpx.ConnectError, match="private network"):
                await http.get("/")
            with pytest.raises(httpx.ConnectError, match="never reached"):
                await http.get("http://169.254.169.254/latest/meta-data")
            with pytest.raises(httpx.UnsupportedProtocol):
                await http.get("ftp://example.test/")

    play(scene())


def test_failures_are_httpxs_own():
    async def scene() -> None:
        async with Stage() as stage, client(stage) as http:
            asking = asyncio.ensure_future(http.get("/", timeout=httpx.Timeout(60, read=0.02)))
            provider = await stage.provider()
            with pytest.raises(httpx.ReadTimeout):
                await asking
            assert b"GET / HTTP/1.1" in await provider.rest()
            asking = asyncio.ensure_future(http.get("/"))
            provider = await stage.provider()
            await provider.request()
            await provider.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            provider.close()
            with pytest.raises(httpx.RemoteProtocolError):
                await asking

    play(scene())


def test_a_pods_way_to_its_collector_is_its_pool():
    async def scene() -> None:
        async with Stage() as stage, process._collector(stage.pod) as http:
            asking = asyncio.ensure_future(http.post(f"http://127.0.0.1:{stage.provider_port}/v1/traces"))
            provider = await stage.provider()
            await provider.request()
            assert stage.pod.upstreams.counts() == (0, 1)
            await provider.send(answer(b"{}"))
            assert (await asking).status_code == 200

    play(scene())


def test_spans_go_this_way_and_are_forgotten_with_their_answer():
    sent: list[weakref.ref[httpx.Request]] = []

    class Watched(PooledTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(weakref.ref(request))
            return await super().handle_async_request(request)

    async def scene() -> None:
        async with Stage() as stage:
            url = f"http://127.0.0.1:{stage.provider_port}"
            http = httpx.AsyncClient(transport=Watched(stage.pod.upstreams, private_network=True), trust_env=False)
            exporter = SpanExporter(lambda: http, url, {"x-mine": "yes"}, {"service.version": "1"}, Metrics("1"))
            exporter.add(UsageRecord(request_id="req_1"), (), 1)
            exporter.start()
            closing = asyncio.ensure_future(exporter.close(5))
            provider = await stage.provider()
            line, headers, _ = await provider.request()
            assert line == b"POST /v1/traces HTTP/1.1"
            assert headers["x-mine"] == "yes"
            await provider.send(answer(b"{}"))
            await closing
            assert [request() for request in sent] == [None]

    gc.disable()
    try:
        play(scene())
    finally:
        gc.enable()
