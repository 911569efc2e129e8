"""One connection to a provider, and the answers that come over it.

A connection that did anything unexpected (bytes that nobody asked for, an answer before the request was written, an
early close, malformed framing, an answer that ends with the connection) is closed and never used again. The answer goes
straight from the socket to a `Sink`, with no queue between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import cast

from dataplane.proxy.http.framing import ProtocolError, UntilClose
from dataplane.proxy.http.heads import HeadBounds, HeadBuffer, ResponseHead, ResponseReader
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.gate import Destination, ResumingContext
from dataplane.proxy.provider.pipe import Pipe
from dataplane.proxy.provider.reading import ENDING_S, LARGE_BYTES, Kernel, Reading, is_dear
from dataplane.proxy.provider.response import Response, Sink, Stale, Unanswered, UpstreamFailure, UpstreamTimeout
from dataplane.proxy.provider.share import MOST_STEP_BYTES, STEP_BYTES, STEPS_OF_DOUBT

__all__ = [
    "ConnectionState",
    "Response",
    "Sink",
    "Stale",
    "Unanswered",
    "UpstreamConnection",
    "UpstreamFailure",
    "UpstreamTimeout",
]

_REPEATABLE = frozenset({"GET", "HEAD"})  # nothing is made by them, however often they are read (RFC 9110 §9.2.1)


class ConnectionState(Enum):
    IDLE = auto()
    WAITING = auto()  # asked; the head is not complete
    BODY = auto()
    CLOSED = auto()


_IDLE, _WAITING, _BODY, _CLOSED = ConnectionState  # looked up once: 0.15 µs each


class UpstreamConnection(asyncio.BufferedProtocol):
    """One connection, one exchange at a time."""

    def __init__(
        self,
        destination: Destination,
        limits: Limits,
        ended: Callable[[UpstreamConnection], None],
        reading: Reading,
    ) -> None:
        self.destination = destination
        self.used = False  # it has answered once
        self.idle_since = 0.0
        self.state = ConnectionState.IDLE
        self._limits = limits
        self._reader = ResponseReader(HeadBounds(limits.upstream_head_bytes, limits.head_fields))
        self._ended = ended
        self._reading = reading
        self._owner = destination.owner or destination
        self._window = reading.window(destination, self._owner)
        self._loop = asyncio.get_running_loop()  # kept: before 3.12, to ask for it is a system call
        self._transport: asyncio.Transport  # from `connection_made` on
        self._pipe: Pipe  # as the transport
        self._kernel: Kernel  # as the transport
        self._heads = HeadBuffer(limits.upstream_head_bytes)
        self._method = ""
        self._waiter: asyncio.Future[Response] | None = None  # while it waits for the head
        self._response: Response | None = None  # while its body comes
        self._interims = 0  # heads before the answer's own
        self._interim_bytes = 0
        self._early = False  # it answered a request that was not wholly written
        self._untaken = False  # it ended before the request had reached the provider
        self._paused = False  # by whoever takes the answer
        self._waits_its_turn = False  # to read on, or to work on what it has read
        self._unworked = b""  # of bytes that are dear: read, and to be worked on in their share of the loop
        self._doubt = 0  # steps of such bytes that have to be cheap before it reads as others do
        self._step = STEP_BYTES

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
        self._pipe.write(head, body)
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

    @property
    def silent(self) -> bool:
        """Nothing has come that the loop has not heard of: what comes next is the answer to what is written now."""
        return not self._kernel.has_something()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pipe = Pipe(self._transport)
        self._kernel = Kernel(transport)

    def stands_on(self, socket: asyncio.Transport) -> None:
        """We speak TLS, and this is below it."""
        self._pipe.stands_on(socket)

    def pause_writing(self) -> None:
        self._pipe.pause_writing()

    def resume_writing(self) -> None:
        self._pipe.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._window

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._window[:nbytes])
        if nbytes < LARGE_BYTES and self._window is self._reading.buffer:
            self.received(data)
        else:
            self._measured(data)

    def _measured(self, data: bytes) -> None:
        """A large read, one where bytes are dear, or one to look again."""
        reading = self._reading
        if self._window is not reading.little:
            self._window = reading.window(self.destination, self._owner)
        if self._window is reading.little:
            self._little_by_little(data)
            return
        seconds = self._takes(data)
        if is_dear(len(data), seconds):
            self._dear(seconds, sample=len(data) < LARGE_BYTES)
            reading.share.owes(seconds)
            self._window = reading.little
        if reading.was_enough(len(data), seconds) and self.state is not _CLOSED and not self._waits_its_turn:
            self._waits_its_turn = True
            if not self._paused:
                self._pipe.read(False)
            reading.wait(self._owner, self._read_on)

    def _takes(self, data: bytes) -> float:
        """Seconds, for bytes that are received."""
        clock, answers = self._reading.clock, self._response is not None
        began = clock()
        self.received(data)
        seconds = clock() - began
        return seconds if self._response is not None or not answers else max(seconds - ENDING_S, 0.0)

    def _read_on(self) -> None:
        self._waits_its_turn = False
        if not self._paused and self.state is not _CLOSED:
            self._go_on()

    def _go_on(self) -> None:
        """With what was read, then with what comes."""
        if self._unworked:
            self._waits_its_turn = True
            self._reading.share.wait(self._owner, self._work)
        elif not self._transport.is_closing():
            self._pipe.read(True)

    # bytes that are dear

    def _dear(self, seconds: float, *, sample: bool = False) -> None:
        self._doubt, self._step = STEPS_OF_DOUBT, STEP_BYTES
        self._reading.was_dear(self.destination, self._owner, seconds, sample=sample)

    def _little_by_little(self, data: bytes) -> None:
        if self.state is _IDLE or self.state is _CLOSED:
            self.received(data)  # nobody asked
            return
        self._notice_early()
        self._unworked += data
        self._keeps_for_later()

    def _keeps_for_later(self) -> None:
        if self._unworked and not self._waits_its_turn and not self._paused:
            self._pipe.read(False)
            self._go_on()

    def _work(self) -> None:
        """A step of what was read."""
        if self._paused or self.state is _CLOSED:
            self._waits_its_turn = False
            return
        reading, step = self._reading, self._unworked[: self._step]
        self._unworked = self._unworked[self._step :]
        try:
            seconds = self._takes(step)
        except BaseException:
            self._transport.abort()  # as after a read
            raise
        self._waits_its_turn = False
        if is_dear(len(step), seconds):
            self._dear(seconds)
        else:
            self._doubt = max(self._doubt - 1, 0)
            self._step = min(2 * self._step, MOST_STEP_BYTES)
        if self.state is _CLOSED:
            return
        if not (self._doubt or self._unworked):
            self._window = reading.window(self.destination, self._owner)
        if not self._paused:
            self._go_on()

    def eof_received(self) -> None:
        """The transport closes itself afterwards, but not before all is written: that is for nobody by now."""
        unwritten = self._pipe.writes
        if self.state is _WAITING:
            self._untaken = unwritten or self._kernel.has_unacknowledged()
        if unwritten:
            self._transport.abort()

    def received(self, data: bytes) -> None:
        """One read."""
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
            self._fail(f"the provider broke HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        rest, self._unworked = self._unworked, b""
        if rest and self.state is not _CLOSED:
            self.received(rest)
        response = self._response
        if response is not None and isinstance(response.framing, UntilClose) and exc is None:
            self._finish(response, reusable=False)
            response.received(b"", b"", True)
        elif self.state is _WAITING and not self._heads:
            self._fail("the provider closed the connection without an answer", stale=self._may_be_asked_again)
        else:
            self._fail("the provider closed the connection before its answer was complete")
        self._ended(self)

    @property
    def _may_be_asked_again(self) -> bool:
        """Of a request on a connection that ended without an answer. A new one that ends like that is no accident."""
        return self.used and not self._interims and (self._untaken or self._method in _REPEATABLE)

    # the answer

    def _head(self, data: bytes) -> None:
        self._notice_early()
        at = 0
        while True:
            parts = self._heads.take(data, at)
            if parts is None:
                return
            block, at = parts
            head = self._reader.read(block)
            if head.status >= 200:
                self._begin(head, data[at:])
                return
            self._interim(head, len(block))

    def _notice_early(self) -> None:
        if self.state is _WAITING and self._pipe.writes:
            self._early = True

    def _interim(self, head: ResponseHead, size: int) -> None:
        if head.status == 101:
            raise ProtocolError("an upgrade that nobody asked for")
        self._interims += 1
        self._interim_bytes += size
        limits = self._limits
        if self._interims > limits.interim_heads or self._interim_bytes > limits.interim_bytes:
            raise ProtocolError("too many interim answers")

    def _begin(self, head: ResponseHead, rest: bytes) -> None:
        if self._early and self.used and head.status < 400:
            # It had not read what it was asked: this is what it says to somebody else.
            raise ProtocolError("an answer before the request was written")
        self._interims = self._interim_bytes = 0
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
        if b"content-encoding" in head.first:  # though we asked for none: it may unfold to anything
            self._window, self._doubt = self._reading.little, STEPS_OF_DOUBT
            rest, later = rest[:STEP_BYTES], rest[STEP_BYTES:]
            self._unworked = later + self._unworked
            self._keeps_for_later()
        if rest:
            self.received(rest)
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
        odd = self._early or self._unworked or self._pipe.writes
        if reusable and response.head.keep_alive and not odd:
            self.state = _IDLE
            self._ended(self)
        else:
            self.close()

    def _fail(self, words: str, *, stale: bool = False) -> None:
        state, self.state = self.state, _CLOSED
        self._unworked = b""
        self._pipe.abort()
        if state is _WAITING:
            waiter = self._waits_no_more()
            if not waiter.done():
                waiter.set_exception(Stale(words) if stale else Unanswered(words))
        elif self._response is not None:
            response, self._response = self._response, None
            response.broken(UpstreamFailure(words))

    # what the other side of the proxy may do

    def pause(self, response: Response) -> None:
        """As `resume` and `abort`: nothing happens when the connection has moved on from `response`."""
        if not self._paused and self._runs(response):
            self._paused = True
            if not self._waits_its_turn:
                self._pipe.read(False)

    def resume(self, response: Response) -> None:
        if self._paused and self._runs(response):
            self._paused = False
            if not self._waits_its_turn:
                self._go_on()

    def abort(self, response: Response) -> None:
        if self._runs(response):
            self.close()

    def _runs(self, response: Response) -> bool:
        return self._response is response

    def close(self) -> None:
        self.state = _CLOSED
        self._response = None
        self._unworked = b""
        self._pipe.abort()

    def remember_session(self, tls: object) -> None:
        if self.destination.scheme == "https" and isinstance(tls, ResumingContext):
            tls.remember(self.destination.host, self._transport)
