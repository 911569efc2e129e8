"""The stage of the proxy's tests: a real pod on loopback, a provider that a script plays, and a clock of our own.

`Stage` is for tests that need their hands free; `Script` reads as a conversation:
`Script().client(b"POST …").upstream_expects(b"…").upstream(b"…").client_expects(b"…").play()`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import uvloop

from dataplane.core import keys
from dataplane.core.errors import Code, Refusal
from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier
from dataplane.core.secret import Secret
from dataplane.core.snapshot import KeyState, ProviderKind, Ref, Row, Snapshot, VirtualKey
from dataplane.core.usage import RecordStatus, UsageClass, UsageRecord
from dataplane.proxy.limits import Limits
from dataplane.proxy.pod import Clock, Pod
from dataplane.proxy.server import Server
from tests.core import build
from tests.proxy.fake_holds import FakeHolds

PEPPER = Secret(b"p" * 32)
PATIENCE_S = 60.0  # of a test that hangs, on a busy machine
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the system's takes longer than most tests

CREDENTIALS = {
    "anthropic": "sk-ant-api03-providers-own-secret",
    "openai": "sk-proj-providers-own-secret",
    "gemini": "AIzaSy-providers-own-secret",
}


def mint(seed: int) -> tuple[str, str]:
    """A token and its public id, the same for the same seed."""
    minted = keys.mint("live", lambda count: bytes((seed * 37 + i * 11) % 256 for i in range(count)))
    return minted.token.reveal().decode(), minted.public_id


TOKEN, PUBLIC_ID = mint(1)


def virtual_key(token: str = TOKEN, id: str = "vk_1", **fields: Any) -> VirtualKey:
    parsed = keys.parse(token)
    assert parsed is not None
    secret = build.secret(parsed.public_id, keys.digest(PEPPER, token))
    return build.key(id, public_id=parsed.public_id, secrets=(secret,), **fields)


def _price(provider: str, model: str, rates: Mapping[UsageClass, int]) -> ModelPrice:
    return ModelPrice(provider, model, (f"{model}*",), (RateCard("", "", 0, 0, (RateTier(0, rates),)),))


PRICES = PriceList(
    "price_1",
    "test-prices",
    (
        _price("anthropic", "claude", {UsageClass.INPUT: 3_000_000, UsageClass.OUTPUT: 15_000_000}),
        _price("openai", "gpt", {UsageClass.INPUT: 1_000_000, UsageClass.OUTPUT: 8_000_000}),
        _price("google", "gemini", {UsageClass.INPUT: 1_000_000, UsageClass.OUTPUT: 4_000_000}),
    ),
)


class Configuration:
    """What the control plane would say."""

    def __init__(self, rows: list[Row]) -> None:
        self.snapshot = Snapshot.EMPTY.apply(1, rows)
        assert self.snapshot.problems() == []
        self.peppers: Mapping[int, Secret] = {1: PEPPER}
        self.age_ms = 0
        self.known_above: dict[str, VirtualKey] = {}
        self.asked: list[str] = []
        self.contact = True
        self._callbacks: list[Callable[[frozenset[str], bool], None]] = []
        self._on_cut: list[Callable[[frozenset[Ref]], None]] = []

    def fresh(self, bound_ms: int) -> bool:
        return self.age_ms < (bound_ms or 45_000)

    async def learn(self, public_id: str) -> bool:
        self.asked.append(public_id)
        await asyncio.sleep(0)
        if not self.contact:
            raise Refusal(Code.NO_CONFIGURATION, "no contact with the control plane")
        if public_id not in self.known_above:
            return False
        self.change(self.known_above[public_id])
        return True

    def on_revoked(self, callback: Callable[[frozenset[str], bool], None]) -> None:
        self._callbacks.append(callback)

    def on_cut(self, callback: Callable[[frozenset[Ref]], None]) -> None:
        self._on_cut.append(callback)

    def cut(self, *rows: Row) -> None:
        """These rows as they are now; what runs under them was ended by hand."""
        self.change(*rows)
        for callback in self._on_cut:
            callback(frozenset((type(row), row.id) for row in rows))

    def change(self, *rows: Row) -> None:
        self.snapshot = self.snapshot.apply(self.snapshot.revision + 1, rows)

    def stop(self, key_id: str, state: KeyState = KeyState.REVOKED, *, cut: bool = True) -> None:
        key = self.snapshot.keys[key_id]
        self.change(replace(key, state=state, cut=cut, revision=self.snapshot.revision + 1))
        for callback in self._callbacks:
            callback(frozenset({key_id}), cut)


class Journal:
    def __init__(self) -> None:
        self.admitted: list[UsageRecord] = []
        self.settled: list[UsageRecord] = []
        self.full = False
        self.watch: Callable[[UsageRecord], None] = lambda record: None

    def admit(self, record: UsageRecord) -> None:
        if self.full:
            raise Refusal(Code.SPOOL_FULL, "the spool is full")
        assert record.status is RecordStatus.ADMITTED
        record = copy(record)  # it will be filled in further
        self.admitted.append(record)
        self.watch(record)

    def settle(self, record: UsageRecord) -> None:
        assert record.status is RecordStatus.FINAL
        self.settled.append(record)
        self.watch(record)


class Telemetry:
    def __init__(self) -> None:
        self.records: list[UsageRecord] = []
        self.attempts: list[Sequence[UsageRecord]] = []
        self.overheads: list[int] = []
        self.guesses: list[str] = []
        self.open = 0
        self.most_open = 0
        self.echoes: list[str] = []

    def echoed(self, provider_kind: str, provider_id: str, where: str, request_id: str) -> None:
        self.echoes.append(where)

    def finished(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None:
        self.records.append(record)
        self.attempts.append(attempts)
        self.overheads.append(overhead_us)

    def unpriced(self, provider_kind: str, provider_id: str, why: str, request_id: str) -> None:
        self.guesses.append(why)

    def open_exchanges(self, count: int) -> None:
        self.open = count
        self.most_open = max(self.most_open, count)

    def exposition(self) -> bytes:
        return b"# HELP open_exchanges now\nopen_exchanges %d\n" % self.open


@dataclass
class Response:
    """What a client got. `body` has its framing taken off; `wire` is everything."""

    status: int
    headers: dict[str, str]
    body: bytes
    wire: bytes
    complete: bool


class Peer:
    """One end of one connection, ours to misuse."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = bytearray()

    async def send(self, data: bytes, step: int = 0) -> Peer:
        """`step`: so many bytes per write, each write a segment of its own."""
        for at in range(0, len(data), step or len(data) or 1):
            self.writer.write(data[at : at + (step or len(data))])
            await self.writer.drain()
            if step:
                await asyncio.sleep(0)
        return self

    async def until(self, wanted: bytes) -> bytes:
        """Read until `wanted` has come; what came since the last call."""
        async with asyncio.timeout(PATIENCE_S):
            while wanted not in self.seen:
                data = await self.reader.read(65536)
                if not data:
                    raise AssertionError(f"the end came before {wanted!r}: {bytes(self.seen)!r}")
                self.seen += data
        end = self.seen.index(wanted) + len(wanted)
        taken = bytes(self.seen[:end])
        del self.seen[:end]
        return taken

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.seen) < count:
                data = await self.reader.read(65536)
                if not data:
                    raise AssertionError(f"the end came after {bytes(self.seen)!r}")
                self.seen += data
        taken = bytes(self.seen[:count])
        del self.seen[:count]
        return taken

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, a reset included."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while data := await self.reader.read(65536):
                    self.seen += data
            except ConnectionError:
                pass
        taken = bytes(self.seen)
        self.seen.clear()
        return taken

    async def head(self) -> tuple[bytes, dict[str, str]]:
        """The first line, and the fields by lower-case name."""
        first, *lines = (await self.until(b"\r\n\r\n"))[:-4].split(b"\r\n")
        fields = (line.partition(b": ") for line in lines)
        return first, {name.decode().lower(): value.decode("latin-1") for name, _, value in fields}

    async def request(self) -> tuple[bytes, dict[str, str], bytes]:
        """A whole request, as a provider gets it."""
        line, headers = await self.head()
        return line, headers, await self.exactly(int(headers.get("content-length", "0")))

    async def response(self, method: str = "POST") -> Response:
        """A whole response; `complete` is False when the connection ended before it should."""
        line, headers = await self.head()
        status = int(line.split(b" ")[1])
        wire = bytearray()
        body = bytearray()
        complete = True
        if method == "HEAD" or status in (204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            try:
                while True:
                    size_line = await self.until(b"\r\n")
                    size = int(size_line, 16)
                    data = await self.exactly(size + 2)
                    wire += size_line + data
                    body += data[:-2]
                    if not size:
                        break
            except (AssertionError, ConnectionError):
                complete = False
        elif "content-length" in headers:
            try:
                body += await self.exactly(int(headers["content-length"]))
            except (AssertionError, ConnectionError):
                body += self.seen
                complete = False
            wire += body
        else:
            body += await self.rest()
            wire += body
        return Response(status, headers, bytes(body), bytes(wire), complete)

    async def closed(self) -> bool:
        """Nothing more comes, and the end does."""
        return await self.rest() == b""

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()


@dataclass
class Stage:
    """`async with Stage() as stage`: a pod in front of a provider that a test plays."""

    limits: dict[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    provider_fields: dict[str, Any] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None  # what clients meet
    provider_tls: ssl.SSLContext | None = None  # what the pod meets
    authorities: ssl.SSLContext = NO_AUTHORITIES  # whom providers are believed by
    now: float = 1_000.0
    wall_ms: int = 1_767_225_600_000
    configuration: Configuration = field(init=False)
    holds: FakeHolds = field(init=False)
    journal: Journal = field(default_factory=Journal)
    telemetry: Telemetry = field(default_factory=Telemetry)
    pod: Pod = field(init=False)
    server: Server = field(init=False)
    port: int = 0
    provider_port: int = 0
    _arrivals: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)
    _peers: list[Peer] = field(default_factory=list)

    async def __aenter__(self) -> Stage:
        self._server = await asyncio.start_server(self._arrive, "127.0.0.1", 0, ssl=self.provider_tls)
        self.provider_port = self._server.sockets[0].getsockname()[1]
        self.configuration = Configuration(self._world())
        self.holds = FakeHolds(lambda: self.wall_ms)
        limits = {"pre_drain_s": 0, "drain_s": 2, "connect_s": 2, "upstream_waiting_s": 1} | self.limits
        self.pod = Pod.assemble(
            version="9.9.9",
            limits=Limits(**limits),
            configuration=self.configuration,
            journal=self.journal,
            holds=self.holds,
            telemetry=self.telemetry,
            tls=self.authorities,
            clock=Clock(wall_ms=lambda: self.wall_ms, monotonic=lambda: self.now),
        )
        self.server = Server(self.pod)
        self.port = await self.server.listen("127.0.0.1", 0, self.tls)
        self.server.started()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for peer in self._peers:
            peer.abort()
        await self.server.close()
        self._server.close()
        await asyncio.sleep(0)

    def _world(self) -> list[Row]:
        base = f"{'https' if self.provider_tls else 'http'}://127.0.0.1:{self.provider_port}"
        common = {"private_network": True} | self.provider_fields
        providers = [
            build.provider(
                f"prov_{name}",
                **{"name": name, "kind": kind, "base_url": base, "credential": Secret(CREDENTIALS[name])} | common,
            )
            for name, kind in (
                ("anthropic", ProviderKind.ANTHROPIC),
                ("openai", ProviderKind.OPENAI),
                ("gemini", ProviderKind.GEMINI),
            )
        ]
        rows: list[Row] = [
            PRICES,
            build.organization(price_list_id="price_1"),
            build.project(),
            build.principal(),
            *providers,
            virtual_key(),
        ]
        return [*rows, *self.rows]

    async def _arrive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._peers.append(peer)
        self._arrivals.put_nowait(peer)

    async def client(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20))
        self._peers.append(peer)
        return peer

    async def provider(self) -> Peer:
        """The next connection that the pod opens."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._arrivals.get()

    def nobody_called(self) -> bool:
        return self._arrivals.empty()

    async def asked(self, client: Peer, raw: bytes) -> Peer:
        """The client sends a whole request; the provider that got it, its request read."""
        await client.send(raw)
        provider = await self.provider()
        await provider.request()
        return provider

    def time_passes(self, seconds: float) -> None:
        """The sweep sees everything as it is, and then so many seconds later."""
        self.server.sweep(self.now)
        self.now += seconds
        self.server.sweep(self.now)

    async def turns(self, count: int = 20) -> None:
        """The pod reads what has come."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def eventually(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)

    async def settled(self, count: int = 1) -> UsageRecord:
        """The record of the only exchange (or the last of `count`)."""
        await self.eventually(lambda: len(self.telemetry.records) >= count and not self.telemetry.open)
        assert len(self.telemetry.records) == count
        return self.telemetry.records[-1]


def play(scene: Coroutine[Any, Any, Any]) -> Any:
    """Run a scene on the loop that production uses."""
    return uvloop.run(scene)


def post(path: str, body: bytes = b"", *, token: str | None = TOKEN, headers: Mapping[str, str] | None = None) -> bytes:
    """A plain request with a declared length."""
    lines = [f"POST {path} HTTP/1.1", "Host: gateway.test", f"Content-Length: {len(body)}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(
    path: str, *, token: str | None = TOKEN, method: str = "GET", headers: Mapping[str, str] | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway.test"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(body: bytes, *, status: str = "200 OK", content_type: str = "application/json", extra: str = "") -> bytes:
    """A provider's answer of declared length."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
        + body
    )


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


MESSAGE = b'{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{"role":"user","content":"hello"}]}'
STREAMED_MESSAGE = MESSAGE[:-1] + b',"stream":true}'
ANSWER = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929",'
    b'"content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":12,"output_tokens":3}}'
)


def event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


EVENTS = [
    event(
        "message_start",
        '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
        '"model":"claude-sonnet-4-5-20250929","content":[],"usage":{"input_tokens":12,"output_tokens":1}}}',
    ),
    event(
        "content_block_start",
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    ),
    event(
        "content_block_delta",
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello, wörld"}}',
    ),
    event("content_block_stop", '{"type":"content_block_stop","index":0}'),
    event("message_delta", '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}'),
    event("message_stop", '{"type":"message_stop"}'),
]


class Script:
    """A conversation, step by step. Each step is said or awaited in order when it is played."""

    def __init__(self, **stage: Any) -> None:
        self._stage = Stage(**stage)
        self._steps: list[Callable[[Stage, dict[str, Peer]], Coroutine[Any, Any, None]]] = []

    def client(self, raw: bytes) -> Script:
        async def step(stage: Stage, peers: dict[str, Peer]) -> None:
            if "client" not in peers:
                peers["client"] = await stage.client()
            await peers["client"].send(raw)

        return self._then(step)

    def upstream_expects(self, *wanted: bytes) -> Script:
        """The provider gets one request, and each of these stands in it."""

        async def step(stage: Stage, peers: dict[str, Peer]) -> None:
            if "upstream" not in peers:
                peers["upstream"] = await stage.provider()
            line, headers, body = await peers["upstream"].request()
            got = b"\n".join([line, *(f"{n}: {v}".encode("latin-1") for n, v in headers.items()), body])
            for part in wanted:
                assert part in got, f"{part!r} is not in {got!r}"

        return self._then(step)

    def upstream(self, raw: bytes) -> Script:
        async def step(stage: Stage, peers: dict[str, Peer]) -> None:
            await peers["upstream"].send(raw)

        return self._then(step)

    def upstream_closes(self) -> Script:
        async def step(stage: Stage, peers: dict[str, Peer]) -> None:
            peers.pop("upstream").close()

        return self._then(step)

    def client_expects(self, *wanted: bytes) -> Script:
        """Each of these comes, in this order."""

        async def step(stage: Stage, peers: dict[str, Peer]) -> None:
            for part in wanted:
                await peers["client"].until(part)

        return self._then(step)

    def client_closes(self) -> Script:
        async def step(stage: Stage, peers: dict[str, Peer]) -> None:
            peers.pop("client").close()

        return self._then(step)

    def client_sees_the_end(self) -> Script:
        async def step(stage: Stage, peers: dict[str, Peer]) -> None:
            assert await peers["client"].closed()

        return self._then(step)

    def _then(self, step: Callable[[Stage, dict[str, Peer]], Coroutine[Any, Any, None]]) -> Script:
        self._steps.append(step)
        return self

    def play(self) -> Stage:
        async def run() -> None:
            async with self._stage as stage:
                peers: dict[str, Peer] = {}
                for step in self._steps:
                    await step(stage, peers)
                await stage.eventually(lambda: not stage.telemetry.open)

        play(run())
        return self._stage
