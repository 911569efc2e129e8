"""Filters of tests, and a channel between two transports that tests play: without sockets every byte can be a cut."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome
from dataplane.dialects.dialect import Client, Dialect, Meter, Operation
from dataplane.dialects.filter import Filter
from dataplane.dialects.registry import ANTHROPIC
from dataplane.dialects.sent import SentSoFar
from dataplane.providers.echo import Echo
from dataplane.providers.hygiene import response_fields
from dataplane.proxy.answer import Answer, AnswerWatcher, Filtered, fields_under_filters, framed
from dataplane.proxy.channel import Channel
from dataplane.proxy.client.connection import ClientConnection, Crowd
from dataplane.proxy.client.door import Room
from dataplane.proxy.client.memory import HeadMemo
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.framing import Chunked
from dataplane.proxy.http.heads import encode_response
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import UpstreamConnection
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.reading import Reading
from dataplane.proxy.provider.refused import Refused
from tests.dialects.metering import FACTS
from tests.proxy.stage import Stage

LastWords = Callable[[Refusal, SentSoFar], bytes]

LIMITS = Limits()
SOMEBODY = Client("other", "", "")

_END = re.compile(rb"\r?\n\r?\n")
_TEXT = re.compile(rb'("(?:text|thinking|content|reasoning_content|delta)": ")([^"\\]+)')


class UpperCase:
    """Every byte at once."""

    verdict: Refusal | None = None
    held = 0

    def feed(self, body: bytes) -> bytes:
        return body.upper()

    def end(self) -> bytes:
        return b""


class AsItIs(UpperCase):
    def feed(self, body: bytes) -> bytes:
        return body


def shouted(event: bytes) -> bytes:
    """Its text in capitals, twice: it has another size, and the event stays what it is."""
    return _TEXT.sub(lambda text: text[1] + text[2].upper() * 2, event)


class EventByEvent:
    """Holds an event back until its end, changes it, and has its verdict on one of them."""

    def __init__(
        self,
        change: Callable[[bytes], bytes] = shouted,
        *,
        verdict: Refusal | None = None,
        at: int = -1,
        end: re.Pattern[bytes] = _END,
    ) -> None:
        self.verdict: Refusal | None = None
        self._pending = b""
        self._change = change
        self._left = at
        self._refusal = verdict
        self._end = end

    @property
    def held(self) -> int:
        return len(self._pending)

    def feed(self, body: bytes) -> bytes:
        pending, at = self._pending + body, 0
        passing: list[bytes] = []
        for end in self._end.finditer(pending):
            if self._left == 0:
                self.verdict = self._refusal
                self._pending = b""
                return b"".join(passing)
            self._left -= 1
            passing.append(self._change(pending[at : end.end()]))
            at = end.end()
        self._pending = pending[at:]
        return b"".join(passing)

    def end(self) -> bytes:
        rest, self._pending = self._pending, b""
        return self._change(rest) + b": bye\n\n" if rest else b""


ELEMENT_END = re.compile(rb"\n\}")  # of an array whose elements are indented by one


class Wire(asyncio.Transport):
    """One end of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None:
        if not self.aborted:
            self.written.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.written.extend(list_of_data)

    def abort(self) -> None:
        self.aborted = True

    close = abort

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass
class Watcher:
    """Notes what it hears; an HTTP error of ours goes where it would go."""

    wire: Wire
    settled: list[tuple[str, str]] = field(default_factory=list)
    written_before: list[bytes] = field(default_factory=list)  # when it was settled
    refusals: list[Refusal] = field(default_factory=list)
    firsts: int = 0

    def first_byte(self) -> None:
        self.firsts += 1

    def settle(self, outcome: Outcome, refusal_code: str = "", refusal_budget_id: str = "") -> None:
        if not self.settled:
            self.settled.append((outcome.value, str(refusal_code)))
            self.written_before = list(self.wire.written)

    def reads_on(self) -> float:
        return 0

    def refused(self, refused: Refused, *, answer: bool) -> None:
        self.settle(Outcome.PROVIDER_ERROR, refused.refusal.code)
        if answer:
            self.refusals.append(refused.refusal)

    def refuse(self, refusal: Refusal, outcome: Outcome) -> None:
        self.settle(outcome, refusal.code)
        self.refusals.append(refusal)


@dataclass
class Case:
    """A dialect's answer, and how it comes and goes."""

    dialect: Dialect
    operation: Operation
    streaming: bool = True
    whole: bool = False
    http10: bool = False
    most_bytes: int = LIMITS.body_bytes

    def meter(self) -> Meter:
        return self.dialect.meter(self.operation, streaming=self.streaming, facts=FACTS)


class Rig:
    """`async with Rig(case, filters, head) as rig`: a channel that has begun. `reserved`: what was held, each time."""

    def __init__(self, case: Case, filters: tuple[Filter, ...], head: bytes, **answer: Any) -> None:
        self.case = case
        self.client = Wire()
        self.provider = Wire()
        self.watcher = Watcher(self.client)
        self.meter = case.meter()
        self.reader = case.meter()
        self.reserved: list[int] = []
        self.room = 1 << 30
        self._filters = filters
        self._head = head
        self._answer = answer

    async def __aenter__(self) -> Rig:
        connection = self._connection()
        self._upstream = UpstreamConnection(Destination("http", "provider.test", 80), LIMITS, lambda _: None, Reading())
        self._upstream.connection_made(self.provider)
        asking = asyncio.ensure_future(self._upstream.ask("POST", b"POST / HTTP/1.1\r\n\r\n", b""))
        await asyncio.sleep(0)
        self._upstream.received(self._head)
        response = await asking
        filtered = Filtered(self._filters, self.reader, self._reserve, self.case.whole)
        frame = framed(response, http10=self.case.http10, filtered=filtered)
        fields = fields_under_filters(response_fields(response.head.fields, Echo(b"")))
        if frame.chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        head = encode_response(response.head.status, fields)
        answer = Answer(response, head, self.meter, frame.chunked, self.case.most_bytes, filtered=filtered)
        self.channel = Channel(connection, answer._replace(**self._answer), self.watcher, self._last_words)
        self.channel.begin()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.channel.client_gone()  # no timer stays behind

    def _connection(self) -> ClientConnection:
        connection = ClientConnection(
            LIMITS, Crowd(Room(LIMITS.bodies_bytes)), self._begin, lambda *_: None, ending=lambda: False
        )
        connection.connection_made(self.client)
        return connection

    def _begin(self, connection: ClientConnection, memo: HeadMemo) -> Any:
        raise AssertionError("nobody asks here")

    def _reserve(self, size: int) -> None:
        if size > self.room:
            raise Refusal(Code.OVERLOADED, "no room")
        self.reserved.append(size)

    def _last_words(self, refusal: Refusal, sent: SentSoFar) -> bytes:
        return self.case.dialect.ending(refusal, SOMEBODY, "req_1", sent)

    def feed(self, wire: bytes) -> None:
        self._upstream.received(wire)

    def breaks(self) -> None:
        self._upstream.connection_lost(OSError())

    def closes(self) -> None:
        self._upstream.connection_lost(None)

    @property
    def head(self) -> bytes:
        """The answer's, as the client has it."""
        return b"".join(self.client.written).partition(b"\r\n\r\n")[0] + b"\r\n"

    @property
    def body(self) -> bytes:
        """What the client has of the answer."""
        return self._unframed()[0]

    @property
    def ended(self) -> bool:
        """The framing says that this was all."""
        return self._unframed()[1]

    def _unframed(self) -> tuple[bytes, bool]:
        wire = b"".join(self.client.written).partition(b"\r\n\r\n")[2]
        if b"Transfer-Encoding: chunked\r\n" not in self.head:
            return wire, False
        chunks = Chunked(extension_bytes=0, trailer_bytes=2)
        body, used = chunks.feed(wire) if wire else (b"", 0)
        assert used == len(wire)
        return body, chunks.done


def sent_by(case: Case, body: bytes) -> SentSoFar:
    """What a client has that got this."""
    meter = case.meter()
    meter.feed(body)
    return meter.sent_so_far()


def stand_between(monkeypatch: pytest.MonkeyPatch, stage: Stage, make: Callable[[], Filter]) -> None:
    """Every answer of the stage's pod passes one filter."""
    begin = Channel.__init__

    def filtered(
        self: Channel, client: ClientConnection, answer: Answer, watcher: AnswerWatcher, last_words: LastWords
    ) -> None:
        (exchange,) = stage.pod.exchanges
        assert isinstance(exchange, Exchange)
        content_type = answer.response.head.first.get(b"content-type", b"")
        case = Case(ANTHROPIC, Operation.MESSAGES, streaming=content_type.startswith(b"text/event-stream"))
        between = Filtered((make(),), case.meter(), exchange.reserve_memory, whole=not case.streaming)
        http10 = exchange.head.http10
        frame = framed(answer.response, http10=http10, filtered=between)
        status, *lines = answer.head[:-4].split(b"\r\n")
        fields = fields_under_filters([(name, value) for name, _, value in (line.partition(b": ") for line in lines)])
        fields = [pair for pair in fields if pair[0].lower() not in (b"transfer-encoding", b"connection")]
        if frame.chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        if frame.closes:
            fields.append((b"Connection", b"close"))
        head = b"\r\n".join([status, *(b"%b: %b" % pair for pair in fields), b"", b""])
        answer = answer._replace(head=head, chunked=frame.chunked, filtered=between)
        begin(self, client, answer, watcher, last_words)

    monkeypatch.setattr(Channel, "__init__", filtered)
