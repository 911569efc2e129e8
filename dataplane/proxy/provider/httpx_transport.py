"""httpx over the pod's own pool: for what is not on the hot path, which is the traces' way to their collector.

One pool and one gate for every byte that leaves: `httpx.AsyncClient(transport=PooledTransport(pod.upstreams))`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httpx

from dataplane.core.errors import Refusal
from dataplane.proxy.http import heads as http1
from dataplane.proxy.provider.connection import Response, UpstreamFailure, UpstreamTimeout
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.pool import Pool

_PORTS = {"http": 80, "https": 443}
_OURS = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_HIGH_WATER = 256 * 1024  # bytes waiting for a slow reader


class PooledTransport(httpx.AsyncBaseTransport):
    """Raises httpx's own exceptions. `private_network` as in `Provider`: may it reach addresses of one's own?"""

    def __init__(self, pool: Pool, *, private_network: bool = False) -> None:
        self._pool = pool
        self._private_network = private_network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in _PORTS:
            raise httpx.UnsupportedProtocol(f"no such scheme: {url.scheme!r}", request=request)
        body = await request.aread()
        fields = http1.without(request.headers.raw, _OURS)
        if body or request.method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
            fields.append((b"Content-Length", b"%d" % len(body)))
        head = http1.encode_request(request.method.encode("ascii"), url.raw_path, fields)
        to = Destination(url.scheme, url.host, url.port or _PORTS[url.scheme], self._private_network)
        timeouts: dict[str, Any] = request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(timeouts.get("read")):
                response = await self._pool.ask(to, request.method, head, body)
        except Refusal as refusal:
            raise httpx.PoolTimeout(refusal.message, request=request) from None
        except UpstreamTimeout as failure:
            raise httpx.ConnectTimeout(str(failure), request=request) from None
        except UpstreamFailure as failure:
            raise httpx.ConnectError(str(failure), request=request) from None
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=request) from None
        return httpx.Response(
            response.head.status,
            headers=response.head.fields,
            stream=_Body(response, request, timeouts.get("read")),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )


class _Body(httpx.AsyncByteStream):
    """The body at the reader's pace: a `Sink` with a bounded queue."""

    def __init__(self, response: Response, request: httpx.Request, read_s: float | None) -> None:
        self._response = response
        self._request = request
        self._read_s = read_s
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._done = False
        self._failure: UpstreamFailure | None = None
        self._more = asyncio.Event()
        response.relay_to(self)

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        if body:
            self._waiting.append(body)
            self._bytes += len(body)
            if self._bytes > _HIGH_WATER:
                self._response.pause()
        self._done = self._done or done
        self._more.set()

    def broken(self, failure: UpstreamFailure) -> None:
        self._failure = failure
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._waiting:
                piece = self._waiting.popleft()
                self._bytes -= len(piece)
                if self._bytes <= _HIGH_WATER:
                    self._response.resume()
                yield piece
            if self._done:
                return
            if self._failure is not None:
                raise httpx.RemoteProtocolError(str(self._failure), request=self._request)
            self._more.clear()
            try:
                async with asyncio.timeout(self._read_s):
                    await self._more.wait()
            except TimeoutError:
                raise httpx.ReadTimeout("the answer stopped", request=self._request) from None

    async def aclose(self) -> None:
        self._response.abort()
