"""One connection to a provider, and the answers that come over it.

A connection that did anything unexpected (bytes after the end, an early close, malformed framing, an answer that ends
with the connection) is closed and never used again. The answer goes straight from the socket to a `Sink`, with no queue
between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, cast

from dataplane.proxy.http.framing import Framing, ProtocolError, UntilClose
from dataplane.proxy.http.heads import HeadBounds, HeadBuffer, ResponseHead, ResponseReader
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.gate import Destination, ResumingContext

_JOIN_BELOW = 16 * 1024  # one write of a copy is cheaper than two writes
_EARLY_BYTES = 256 * 1024  # kept for a reader that is not there yet, then the socket is left unread


class UpstreamFailure(Exception):
    """No answer, or not all of it. The text is for our logs and is fit for a client: no address, no credential."""


class UpstreamTimeout(UpstreamFailure):
    """The provider took too long."""


class Stale(UpstreamFailure):
    """A kept-alive connection had been closed by the provider before it could answer: another one may be tried."""


class Sink(Protocol):
    """Takes the body of an answer, as it comes."""

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        """Some of the body, and its bytes on the wire if these are whole chunks (else empty). `done`: the last call."""
        ...

    def broken(self, failure: UpstreamFailure) -> None:
        """Nothing more will come, though it should. The last call."""
        ...


class ConnectionState(Enum):
    IDLE = auto()
    WAITING = auto()  # asked; the head is not complete
    BODY = auto()
    CLOSED = auto()


_IDLE, _WAITING, _BODY, _CLOSED = ConnectionState  # looked up once: 0.15 µs each


class BodySource(Protocol):
    """What an answer comes from. Nothing happens when it has moved on from `response`."""

    def pause(self, response: Response) -> None: ...

    def resume(self, response: Response) -> None: ...

    def abort(self, response: Response) -> None: ...


class Response:
    """An answer whose head is there. Its body goes to whatever `relay_to` names; `abort` if nobody wants it."""

    __slots__ = ("_early", "_early_bytes", "_failure", "_source", "framing", "head", "sink")

    def __init__(self, source: BodySource, head: ResponseHead, framing: Framing) -> None:
        self._source = source
        self.sink: Sink | None = None  # who takes what comes
        self._early: list[tuple[bytes, bytes, bool]] = []
        self._early_bytes = 0
        self._failure: UpstreamFailure | None = None
        self.head = head
        self.framing = framing

    def relay_to(self, sink: Sink) -> None:
        """What has arrived is handed over at once, in one piece."""
        self.sink = sink
        early, self._early = self._early, []
        if len(early) == 1:
            self.received(*early[0])
        elif early:
            self.received(b"", b"".join([body for _, body, _ in early]), early[-1][2])
        if self._early_bytes > _EARLY_BYTES:
            self.resume()
        if self._failure is not None:
            self.broken(self._failure)

    def put_back(self, pieces: list[tuple[bytes, bytes, bool]]) -> None:
        """What a sink took without wanting it: the next one gets it."""
        self.sink = None
        self._early = [*pieces, *self._early]
        self._early_bytes += sum([len(body) for _, body, _ in pieces])
        self.resume()

    def pause(self) -> None:
        self._source.pause(self)

    def resume(self) -> None:
        self._source.resume(self)

    def abort(self) -> None:
        """Stop the provider: it may go on computing, but nothing more is read. No-op when the answer was complete."""
        self.sink = None
        self._source.abort(self)

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        """Called by the source."""
        sink = self.sink
        if sink is not None:
            if done:
                self.sink = None  # it knows us: the two would wait for the garbage collector together
            sink.received(wire, body, done)
            return
        self._early.append((wire, body, done))
        self._early_bytes += len(body)
        if self._early_bytes > _EARLY_BYTES:
            self.pause()

    def broken(self, failure: UpstreamFailure) -> None:
        """Called by the source."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.broken(failure)
        self._failure = failure


class UpstreamConnection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self, destination: Destination, limits: Limits, ended: Callable[[UpstreamConnection], None]) -> None:
        self.destination = destination
        self.used = False  # it has answered once
        self.idle_since = 0.0
        self.state = ConnectionState.IDLE
        self._limits = limits
        self._reader = ResponseReader(HeadBounds(limits.upstream_head_bytes, limits.head_fields))
        self._ended = ended
        self._loop = asyncio.get_running_loop()  # kept: before 3.12, to ask for it is a system call
        self._transport: asyncio.Transport  # from `connection_made` on
        self._heads = HeadBuffer(limits.upstream_head_bytes)
        self._method = ""
        self._waiter: asyncio.Future[Response] | None = None  # while it waits for the head
        self._response: Response | None = None  # while its body comes
        self._paused = False

    async def ask(self, method: str, head: bytes, body: bytes, asking: Callable[[], None] = lambda: None) -> Response:
        """Send the request, wait for the head of the answer. Raises UpstreamFailure; `Stale` if another try is safe.

        `asking` is called with nothing between it and the write: what it raises keeps the request from being sent.
        """
        try:
            asking()
        except BaseException:
            self.close()
            raise
        waiter: asyncio.Future[Response] = self._loop.create_future()
        self._waiter = waiter
        self._method = method
        self.state = _WAITING
        if len(body) < _JOIN_BELOW:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self.close()
            elif waiter.exception() is None:
                waiter.result().abort()  # no more than that: if it is complete, somebody else may be asking by now
            raise
        finally:
            del waiter  # it keeps the failure, which knows this frame

    @property
    def alive(self) -> bool:
        return self.state is _IDLE and not self._transport.is_closing()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            response = self._response
            if response is not None:
                body, used = response.framing.feed(data)
                if response.framing.done:
                    self._complete(response, body, clean=used == len(data))
                else:
                    (response.sink or response).received(data if response.framing.whole else b"", body, False)
            elif self.state is _WAITING:
                self._head(data)
            else:
                self.close()  # nobody asked
        except ProtocolError as error:
            self._fail(UpstreamFailure(f"the provider broke HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        response = self._response
        if response is not None and isinstance(response.framing, UntilClose) and exc is None:
            self._finish(response, reusable=False)
            response.received(b"", b"", True)
        elif self.state is _WAITING and self.used and not self._heads:
            self._fail(Stale("the provider closed the connection"))
        else:
            self._fail(UpstreamFailure("the provider closed the connection before its answer was complete"))
        self._ended(self)

    # the answer

    def _head(self, data: bytes) -> None:
        while self.state is _WAITING:
            parts = self._heads.feed(data)
            if parts is None:
                return
            block, data = parts
            head = self._reader.read(block)
            if head.status == 101:
                raise ProtocolError("an upgrade that nobody asked for")
            if head.status >= 200:
                self._begin(head, data)

    def _begin(self, head: ResponseHead, rest: bytes) -> None:
        framing = head.framing(
            self._method, extension_bytes=self._limits.chunk_extension_bytes, trailer_bytes=self._limits.trailer_bytes
        )
        waiter = self._waits_no_more()
        if waiter.done():  # whoever asked was stopped a moment ago
            self.close()
            return
        response = self._response = Response(self, head, framing)
        self.state = _BODY
        waiter.set_result(response)
        if rest:
            self.data_received(rest)
        elif framing.done:
            self._complete(response, b"", clean=True)

    def _waits_no_more(self) -> asyncio.Future[Response]:
        """Whoever asked, forgotten before he is told.

        The future will keep the answer, or the failure and with that the request. Both know us, and all would wait
        together for the garbage collector.
        """
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            raise AssertionError("an answer that nobody waits for")
        return waiter

    def _complete(self, response: Response, body: bytes, *, clean: bool) -> None:
        """`body` ends the answer; `clean`: nothing came behind it."""
        self._finish(response, reusable=clean)
        response.received(b"", body, True)

    def _finish(self, response: Response, *, reusable: bool) -> None:
        """The answer is complete: the connection may serve the next request, if nothing was odd about this one."""
        if self._paused:
            self.resume(response)
        self._response = None  # or an idle connection would keep its last exchange alive
        if reusable and response.head.keep_alive and not self._transport.get_write_buffer_size():
            self.state = _IDLE
            self._ended(self)
        else:
            self.close()

    def _fail(self, failure: UpstreamFailure) -> None:
        state, self.state = self.state, _CLOSED
        self._transport.abort()
        if state is _WAITING:
            waiter = self._waits_no_more()
            if not waiter.done():
                waiter.set_exception(failure)
        elif self._response is not None:
            response, self._response = self._response, None
            response.broken(failure)

    # what the other side of the proxy may do

    def pause(self, response: Response) -> None:
        """As `resume` and `abort`: nothing happens when the connection has moved on from `response`."""
        if not self._paused and self._runs(response):
            self._paused = True
            self._transport.pause_reading()

    def resume(self, response: Response) -> None:
        if self._paused and self._runs(response):
            self._paused = False
            self._transport.resume_reading()

    def abort(self, response: Response) -> None:
        if self._runs(response):
            self.close()

    def _runs(self, response: Response) -> bool:
        return self._response is response

    def close(self) -> None:
        self.state = _CLOSED
        self._response = None
        self._transport.abort()

    def remember_session(self, tls: object) -> None:
        if self.destination.scheme == "https" and isinstance(tls, ResumingContext):
            tls.remember(self.destination.host, self._transport)
