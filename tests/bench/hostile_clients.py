"""What a client that means harm costs a pod: how long one body stops its loop, and the memory of one who does not read.

`python -m tests.bench.hostile_clients` prints both, over real sockets. The pod has a process of its own; provider and
clients share this one. Who does not read is measured over plain TCP, where the pod speaks TLS to its clients, and where
it speaks it to its provider too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path

import uvloop

from dataplane.host.certificate import ServerCertificate
from dataplane.proxy.pod import Clock
from dataplane.proxy.provider.gate import client_tls
from tests.link.conftest import Authority
from tests.proxy.stage import ANSWER, STREAM_HEAD, Peer, Stage, answer, chunk, post

READERS = 500
TAKEN_CARE_OF = 50  # clients that connect at a time
ANSWER_BYTES = 4_000_000
MEGABYTE = 1_000_000

HEAD = b'{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[{"role":"user","content":'
TAIL = b"}]}"


def bodies() -> dict[str, bytes]:
    """Made where they are sent: the pod's process has no free memory from them that would hide what a client costs."""
    return {
        "plain text": b'"' + b"x" * 30 * MEGABYTE + b'"',
        "halves of characters": b'"' + rb"\ud800" * 5 * MEGABYTE + b'"',
        "empty objects": b"[" + b",".join([b"{}"] * 9 * MEGABYTE) + b"]",
        "escapes": b'"' + rb"\u00e9" * 4_700_000 + b'"',
        "escaped line ends": b'"' + rb"\n" * 15 * MEGABYTE + b'"',
        "deep lists": b"[" + b",".join([b"[" * 500 + b"]" * 500] * 28_000) + b"]",
        "pairs of escapes": b'"' + rb"\ud83d\ude00" * 2_500_000 + b'"',
        "blanks": b"[" + b" " * 30 * MEGABYTE + b"]",
    }


class Slept:
    """How late the loop came back from a millisecond's sleep, at most."""

    def __init__(self) -> None:
        self.worst_ms = 0.0

    async def watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            self.worst_ms = max(self.worst_ms, (time.monotonic() - before) * 1e3 - 1)


class Way(Enum):
    """Where TLS is spoken."""

    PLAIN = "over plain TCP"
    CLIENT = "over TLS"
    BOTH = "over TLS, the provider too"


async def pod(provider_port: int, way: Way, directory: Path) -> None:
    """Says its port, and for every line that it reads: the longest stop since the last one, and its memory in KB."""
    scheme = "https" if way is Way.BOTH else "http"
    stage = Stage(
        limits={"connections": 2 * READERS},
        provider_fields={"base_url": f"{scheme}://127.0.0.1:{provider_port}"},
        tls=None if way is Way.PLAIN else ServerCertificate(directory / "pod.pem", directory / "pod.key").context,
        authorities=client_tls(str(directory / "ca.pem")),
    )
    async with stage:
        object.__setattr__(stage.pod, "clock", Clock())
        stage.pod.turns._monotonic = time.monotonic
        slept = Slept()
        watching = asyncio.ensure_future(slept.watch())
        print(stage.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(f"{slept.worst_ms} {_memory_kb()}", flush=True)
            slept.worst_ms = 0.0
        watching.cancel()


def _memory_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers at once; to who asks for a stream, ANSWER_BYTES in chunks of a megabyte, of the events asked for."""
    peer = Peer(reader, writer)
    with contextlib.suppress(AssertionError, ConnectionError):
        while True:
            _, _, body = await peer.request()
            if b'"stream":true' not in body[-20:]:
                await peer.send(answer(ANSWER))
                continue
            event_bytes = int(body.partition(b'"max_tokens":')[2].partition(b",")[0])
            text = b"x" * (event_bytes - 60)
            event = b'data: {"type":"content_block_delta","delta":{"text":"' + text + b'"}}\n\n'
            await peer.send(STREAM_HEAD)
            for _ in range(ANSWER_BYTES // MEGABYTE):
                await peer.send(chunk(event * max(1, MEGABYTE // len(event))))
            await peer.send(b"0\r\n\r\n")


class Measured:
    """The pod's process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def asked(self) -> tuple[float, int]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(b"\n")
        stop_ms, memory_kb = (await stdout.readline()).split()
        return float(stop_ms), int(memory_kb)


@contextlib.asynccontextmanager
async def measured(way: Way, directory: Path) -> AsyncIterator[Measured]:
    authority = Authority.create(directory)
    certificates = authority.issue("pod")
    secure = ServerCertificate(certificates.cert, certificates.key).context if way is Way.BOTH else None
    server = await asyncio.start_server(provide, "127.0.0.1", 0, limit=1 << 20, ssl=secure, backlog=READERS)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.hostile_clients", str(port), way.name, str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Measured(process, int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()
        server.close()


async def stops(to: Measured) -> None:
    print(f"{'one body':24} {'MB':>5} {'stops the loop for':>20}   answer")
    packed = gzip.compress(HEAD + b'"' + b"some words " * 2 * MEGABYTE + b'"' + TAIL, 1)
    cases: dict[str, tuple[bytes, dict[str, str]]] = {
        name: (HEAD + content + TAIL, {}) for name, content in bodies().items()
    }
    for name, (body, fields) in {**cases, "compressed": (packed, {"Content-Encoding": "gzip"})}.items():
        await to.asked()
        client = Peer(*await asyncio.open_connection("127.0.0.1", to.port))
        await client.send(post("/v1/messages", body, headers=fields))
        response = await client.response()
        client.close()
        stop_ms, _ = await to.asked()
        print(f"{name:24} {len(body) / 1e6:5.1f} {stop_ms:17.1f} ms   {response.status}", flush=True)


def deaf_client(port: int, way: Way, directory: Path, request: bytes) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    if way is not Way.PLAIN:
        context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        client = context.wrap_socket(client, server_hostname="pod")
    client.sendall(request)
    return client


async def unread(to: Measured, way: Way, directory: Path, event_bytes: int) -> None:
    _, before_kb = await to.asked()
    body = b'{"model":"claude-sonnet-4-5","max_tokens":%d,"messages":[],"stream":true}' % event_bytes
    request = post("/v1/messages", body)
    clients: list[socket.socket] = []
    while len(clients) < READERS:
        coming = [
            asyncio.to_thread(deaf_client, to.port, way, directory, request)
            for _ in range(min(TAKEN_CARE_OF, READERS - len(clients)))
        ]
        clients += await asyncio.gather(*coming)
    now_kb, was_kb = before_kb, 0
    while now_kb > was_kb:
        await asyncio.sleep(2)
        was_kb, (_, now_kb) = now_kb, await to.asked()
    each_kb = (now_kb - before_kb) / READERS
    print(f"{READERS} clients that do not read {ANSWER_BYTES / 1e6:.0f} MB in events of {event_bytes:,} bytes ", end="")
    print(f"{way.value}: {each_kb:.0f} KB each", flush=True)
    for client in clients:
        client.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        async with measured(Way.PLAIN, directory) as to:
            await stops(to)
        for way in Way:
            for event_bytes in (3_000, 100_000, MEGABYTE):
                async with measured(way, directory) as to:
                    await unread(to, way, directory, event_bytes)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [port, way, directory]:
            uvloop.run(pod(int(port), Way[way], Path(directory)))
        case _:
            uvloop.run(main())
