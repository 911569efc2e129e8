"""The client's side of the wire: one connection, its requests one after another.

A connection reads a head, hands it to an exchange, collects the body if the exchange asks for it, and takes the
answer's bytes. Nothing of the next request is parsed before the exchange has ended, and nothing at all after an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import cast

from dataplane.core.errors import Code, Refusal
from dataplane.proxy.client.body import Pieces, too_large
from dataplane.proxy.client.conversation import IDLE, Conversation, Waiting, own_patience
from dataplane.proxy.client.door import Room
from dataplane.proxy.client.memory import HeadMemo, HeadMemory
from dataplane.proxy.client.pace import COUNTED, UNREAD_BYTES, WAITING_BYTES, Pace
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http import http2
from dataplane.proxy.http.framing import Chunked, Framing, Length, ProtocolError
from dataplane.proxy.http.heads import HeadBounds, HeadBuffer
from dataplane.proxy.limits import Limits
from dataplane.proxy.tls import WRITE_BYTES, in_slices

_UNASKED_BYTES = 64 * 1024  # of a body that no exchange wants yet: an unauthenticated client costs no more
_FRAMING_ALLOWANCE = 64 * 1024  # chunk framing beyond this and beyond the body's own size is an attack on the parser


# What every request passes through, looked up once: 0.15 µs each.
_REQUEST, _OURSELVES = Waiting.REQUEST, Waiting.OURSELVES
_NO_BODY = Length(0)

Begin = Callable[["ClientConnection", HeadMemo], Conversation]
Reject = Callable[["ClientConnection", Refusal, int, str], None]


class Crowd(set["ClientConnection"]):
    """The clients' connections of one pod. `memory`: for what they have not read of their answers, and for the bodies
    of their requests."""

    def __init__(self, memory: Room) -> None:
        super().__init__()
        self.memory = memory


class ClientConnection(asyncio.Protocol):
    """`begin` starts an exchange for a head; `reject` answers what never became one (refusal,
    HTTP status, the path as far as it was understood)."""

    def __init__(
        self,
        limits: Limits,
        connections: Crowd,
        begin: Begin,
        reject: Reject,
        *,
        ending: Callable[[], bool],
    ) -> None:
        self.waiting = Waiting.REQUEST
        self.mark = 0  # changes with every progress: all that a timeout needs to know
        self.waits = (0, 0)  # for the provider's first byte, and between two: of the candidate that was asked
        self.declared = 0  # bytes of the body, where its head said so
        self._seen_mark = -1
        self._seen_at = 0.0
        self._limits = limits
        self._memos = HeadMemory(HeadBounds(limits.head_bytes, limits.head_fields, limits.target_bytes))
        self._connections = connections
        self._begin = begin
        self._reject = reject
        self._ending = ending
        self._transport: asyncio.Transport  # from `connection_made` on
        self._socket: asyncio.WriteTransport  # the same, or what is below its TLS
        self._piece = sys.maxsize  # bytes of the largest write
        self._exchange: Conversation = IDLE
        self._heads = HeadBuffer(limits.head_bytes)
        self._next = b""  # what came behind the running request
        self._framing: Framing = _NO_BODY
        self._body = Pieces()
        self._body_bytes = 0
        self._body_goal = 0  # bytes at which the body has made progress
        self._body_error: ProtocolError | Refusal | None = None
        self._body_waiter: asyncio.Future[None] | None = None
        self._body_seen_at = 0.0  # when it was first seen to be waited for; 0: not yet
        self._expects_continue = False
        self._keep_alive = True
        self._deaf = False  # whatever comes is thrown away
        self._reading = True
        self._pace = Pace(connections.memory)

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._socket = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WAITING_BYTES)
        if len(self._connections) >= self._limits.connections:
            self._refuse(Refusal(Code.OVERLOADED, "this pod has too many connections", retry_after=1), 503)
            self._transport.close()
        self._connections.add(self)

    def stands_on(self, socket: asyncio.Transport) -> None:
        """We speak TLS, and this is below it."""
        self._socket = socket
        self._piece = WRITE_BYTES
        socket.set_write_buffer_limits(WAITING_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._read_off(data)
            return
        if self._exchange is IDLE and self._pace.reads:
            self._read_head(data)
        elif not self._framing.done:
            self._read_body(data)
        else:
            self._hold_back(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._deaf = True
        self._pace.forget()
        exchange, self._exchange = self._exchange, IDLE
        exchange.client_gone()

    def pause_writing(self) -> None:
        if not self._pace.full(self._socket.get_write_buffer_size(), self._client_reads):
            self._break_off()  # whoever does not read is the first to go when memory is short

    def resume_writing(self) -> None:
        self._pace.drained(self._client_reads)

    def _client_reads(self, reads: bool) -> None:
        if reads and self._exchange is IDLE and not self._deaf:
            self._go_on()
        else:
            self._exchange.client_reads(reads)

    # reading

    def _read_head(self, data: bytes) -> None:
        block = b""
        try:
            parts = self._heads.feed(data)
            if parts is None:
                if self.waiting is Waiting.REQUEST and self._heads:
                    self.wait_for(Waiting.HEAD)
                return
            block, rest = parts
            memo, length = self._memos.read(block)
        except ProtocolError as error:
            self._malformed(block or self._heads.beginning, error)
            return
        head = memo.head
        self._keep_alive = head.keep_alive
        self.declared = length
        if length == len(rest) and not head.chunked:  # a small request comes in one piece
            self._framing = _NO_BODY
            if rest:
                self._body.append(rest)
            rest = b""
        else:
            self._expects_continue = head.expects_continue and not head.http10
            self._framing = self._body_framing(chunked=head.chunked)
        self.waiting = _OURSELVES
        self.mark += 1
        self._exchange = self._begin(self, memo)
        if rest:
            self.data_received(rest)

    def _body_framing(self, *, chunked: bool) -> Framing:
        limits = self._limits
        if chunked:
            return Chunked(extension_bytes=limits.chunk_extension_bytes, trailer_bytes=limits.trailer_bytes)
        return Length(self.declared)

    def _read_body(self, data: bytes) -> None:
        try:
            body, used = self._framing.feed(data)
        except ProtocolError as error:
            self._body_failed(error)
            return
        self._expects_continue = False
        if body:
            self._body.append(body)
            self._body_bytes += len(body)
            if self._body_bytes >= self._body_goal:
                self._body_goal = self._body_bytes + int(self._limits.body_rate * self._limits.body_window_s)
                self.mark += 1
        if self._framing.chunked and self._too_much():
            return
        if self._framing.done:
            if self._body_waiter is not None and not self._body_waiter.done():
                self._body_waiter.set_result(None)
            if used < len(data):
                self._hold_back(data[used:])
        elif self._body_waiter is None and self._body_bytes > _UNASKED_BYTES:
            self._read(False)

    def _too_much(self) -> bool:
        try:
            if self._body_bytes > self._limits.body_bytes:
                raise too_large(self._limits)
            if cast(Chunked, self._framing).overhead > self._body_bytes + _FRAMING_ALLOWANCE:
                raise ProtocolError("the chunks are too small")
            self._exchange.reserve_memory(self._body_bytes)
        except (ProtocolError, Refusal) as error:
            self._body_failed(error)
        return self._deaf

    def _body_failed(self, error: ProtocolError | Refusal) -> None:
        self._deaf = True
        self._body.clear()
        self._body_error = error
        if self._body_waiter is not None and not self._body_waiter.done():
            self._body_waiter.set_exception(error)

    def _hold_back(self, data: bytes) -> None:
        """Bytes of the next request. Some are kept, so that the end of the connection is still seen behind them."""
        self._next += data
        if len(self._next) > self._limits.pipelined_bytes:
            self._read(False)

    def _read(self, reads: bool) -> None:
        if reads is not self._reading and not self._transport.is_closing():
            self._reading = reads
            if reads:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # the exchange calls these

    @property
    def reusable(self) -> bool:
        """May another request follow on this connection? What the answer's head must say."""
        return self._keep_alive and self._framing.done and not self._deaf and not self._ending()

    @property
    def peer(self) -> str:
        """The address of the other end; "" where it has none."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else ""

    def wait_for(self, waiting: Waiting) -> None:
        self.waiting = waiting
        self.mark += 1

    @property
    def body_is_here(self) -> bool:
        """All of it: it need not be waited for."""
        return self._framing.done and self._body_error is None

    async def body_comes(self) -> None:
        """Returns when all of it is here. Raises ProtocolError, or Refusal when it grows too large."""
        if self._body_error is not None:
            raise self._body_error
        if not self._framing.done:
            if self._expects_continue:
                self._transport.write(http1.CONTINUE)
            self.wait_for(Waiting.BODY)
            self._body_seen_at = 0.0
            self._body_waiter = asyncio.get_running_loop().create_future()
            self._read(True)
            await self._body_waiter
            self.wait_for(_OURSELVES)

    @property
    def body_bytes(self) -> int:
        """Of a body that came in more than one read."""
        return self._body_bytes

    def take_body(self) -> bytes:
        """The whole of it, once it is here, still in its content coding."""
        return self._body.take()

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            size = len(data)
            if size <= self._piece:
                self._transport.write(data)
            else:
                for piece in in_slices(data):
                    self._transport.write(piece)
                if self._pace.waits:
                    self.pause_writing()  # the later pieces count as well
            if size > COUNTED and self._socket.get_write_buffer_size() > UNREAD_BYTES:
                self._pace.rest(self._client_reads)

    def finished(self, *, reusable: bool) -> None:
        """The answer is written. `reusable`: the answer ended cleanly and its head did not say close."""
        self._exchange = IDLE
        self._body.clear()
        self._body_waiter = None
        if self._transport.is_closing():
            return
        if not reusable:
            self._linger()
            return
        self._body_bytes = self._body_goal = 0
        if self._pace.reads:
            self._go_on()
        else:
            self.wait_for(Waiting.CLIENT)  # who does not read our answers gets no further ones

    def _go_on(self) -> None:
        """To the next request, of which something may have come already."""
        self.waiting = _REQUEST
        self.mark += 1
        if not self._reading:
            self._read(True)
        rest, self._next = self._next, b""
        if rest:
            self.data_received(rest)

    def abort(self) -> None:
        """Break off: the client must not take what it has for the whole."""
        self._exchange = IDLE
        self._transport.abort()

    def close(self) -> None:
        """After what is written has left."""
        self._transport.close()

    # time

    def check(self, now: float, patience: Mapping[Waiting, float]) -> None:
        """Once per second: no timer per read, no look at the clock on the hot path."""
        if self.mark != self._seen_mark:
            self._seen_mark = self.mark
            self._seen_at = now
        elif now - self._seen_at >= (own_patience(self.waiting, self.waits) or patience[self.waiting]):
            return self._overdue()
        if self.waiting is Waiting.BODY:
            self._check_whole_body(now, self._limits.body_s)
        elif self.waiting is Waiting.LINGER:
            self._check_whole_body(now, self._limits.body_window_s)

    def _check_whole_body(self, now: float, most_s: float) -> None:
        """However steadily it comes."""
        if not self._body_seen_at:
            self._body_seen_at = now
        elif now - self._body_seen_at >= most_s:
            self._overdue()

    def _overdue(self) -> None:
        if self.waiting is Waiting.REQUEST and not self._socket.get_write_buffer_size():
            self._transport.close()
        elif self.waiting is Waiting.HEAD:
            words = "the head of the request took too long"
            self._refuse(Refusal(Code.BAD_REQUEST, words), 408, http1.asked_path(self._heads.beginning))
        else:
            self._break_off(self.waiting)

    def _break_off(self, waiting: Waiting = Waiting.CLIENT) -> None:
        if self._exchange is IDLE:
            self._transport.abort()
        else:
            self._exchange.overdue(waiting)

    # ends

    def _malformed(self, head: bytes, error: ProtocolError) -> None:
        if head.startswith(http2.PREFACE):
            self._transport.write(http2.GOODBYE)
            self._linger()
            return
        refusal = Refusal(Code.BAD_REQUEST, f"the HTTP request is malformed: {error}")
        self._refuse(refusal, error.status, http1.asked_path(head))

    def _refuse(self, refusal: Refusal, status: int, path: str = "/") -> None:
        self._deaf = True
        self._keep_alive = False
        self._reject(self, refusal, status, path)

    def _linger(self) -> None:
        """That is all; then read off what the client is still sending: a reset would destroy our answer on its way."""
        self._deaf = True
        self._next = b""
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        elif self._framing.done:  # TLS cannot be closed by half
            self._transport.close()
            return
        self._read(True)
        self._body_seen_at = 0.0
        self.wait_for(Waiting.LINGER)

    def _read_off(self, data: bytes) -> None:
        """Of what is thrown away: over TLS its end is ours."""
        if self.waiting is Waiting.LINGER:
            self.mark += 1
            if not self._transport.can_write_eof():
                with contextlib.suppress(ProtocolError):
                    self._framing.feed(data)
                if self._framing.done:
                    self._transport.close()
