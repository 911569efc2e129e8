"""The least that a relay in Python does: `python -m tests.bench.bare_relay PORT PROVIDER_PORT KEY`.

The pod's own packages and no more than this: find the key by its digest, read model and stream from the body, put the
provider's key in, pass the answer's bytes on as they come. No records, meter, limits, logs or proofs, and both sides
are trusted: it is a measure, not a gateway. What the pod costs more is what it does more.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sys
from typing import cast

import httptools
import msgspec
import uvloop

DROPPED = frozenset({b"host", b"authorization", b"connection", b"content-length"})
GC_THRESHOLDS = (20_000, 5, 100)  # as the pod has them; its module would load the pod


class Facts(msgspec.Struct):
    model: str
    stream: bool = False


facts = msgspec.json.Decoder(Facts).decode


class Provider(asyncio.Protocol):
    """A connection to the provider, which serves one client at a time."""

    def __init__(self, idle: list[Provider]) -> None:
        self.idle = idle
        self.client: Client | None = None
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        if self.client is not None:
            self.client.transport.write(data)
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        client, self.client = self.client, None
        self.parser = httptools.HttpResponseParser(self)
        if client is not None:
            client.provider = None
        self.idle.append(self)

    def connection_lost(self, problem: Exception | None) -> None:
        if self in self.idle:
            self.idle.remove(self)
        if self.client is not None:
            self.client.transport.abort()


class Client(asyncio.Protocol):
    def __init__(self, keys: set[bytes], idle: list[Provider], provider_port: int) -> None:
        self.keys = keys
        self.idle = idle
        self.provider_port = provider_port
        self.provider: Provider | None = None
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, problem: Exception | None) -> None:
        if self.provider is not None:
            self.provider.client = None
            self.provider.transport.abort()

    def pause_writing(self) -> None:
        if self.provider is not None:
            self.provider.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.provider is not None:
            self.provider.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self.body)
        key = dict(self.fields).get(b"authorization", b"")
        if hashlib.sha256(key).digest() not in self.keys or not facts(body).model:
            self.transport.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
            return
        kept = b"".join([b"%b: %b\r\n" % field for field in self.fields if field[0] not in DROPPED])
        head = (
            b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer upstream-key\r\ncontent-length: %d\r\n%b\r\n"
        )
        self.ask((head % (self.url, len(body), kept), body))

    def ask(self, parts: tuple[bytes, bytes]) -> None:
        if self.idle:
            self.send(self.idle.pop(), parts)
        else:
            asyncio.get_running_loop().create_task(self.connect(parts)).add_done_callback(asyncio.Task.result)

    async def connect(self, parts: tuple[bytes, bytes]) -> None:
        made = asyncio.get_running_loop().create_connection(
            lambda: Provider(self.idle), "127.0.0.1", self.provider_port
        )
        self.send((await made)[1], parts)

    def send(self, provider: Provider, parts: tuple[bytes, bytes]) -> None:
        self.provider, provider.client = provider, self
        provider.transport.writelines(parts)


async def main(port: int, provider_port: int, key: str) -> None:
    keys, idle = {hashlib.sha256(f"Bearer {key}".encode()).digest()}, list[Provider]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(keys, idle, provider_port), "127.0.0.1", port, backlog=4096)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
