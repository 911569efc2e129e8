"""One client request through the pod: who asks and how it is answered. What a provider is asked is an `Attempt`.

An exchange answers once, whoever asks first: the pipeline, a client that hangs up, the clock, or a revocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import IntEnum, auto

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome, UsageRecord
from dataplane.dialects.dialect import Client, Dialect, ErrorResponse
from dataplane.dialects.finality import heard_by
from dataplane.dialects.registry import CHAT
from dataplane.proxy.channel import Channel
from dataplane.proxy.client.answer_head import of_ours
from dataplane.proxy.client.connection import ClientConnection
from dataplane.proxy.client.conversation import Waiting
from dataplane.proxy.client.identity import mint
from dataplane.proxy.client.memory import HeadMemo
from dataplane.proxy.endings import STOPPED, Ending, ending_of, slow_body, too_slow
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.heads import Field
from dataplane.proxy.pod import Pod
from dataplane.proxy.recording import Recording
from dataplane.proxy.stopwatch import Stopwatch


class ExchangeState(IntEnum):
    OPEN = auto()  # a refusal is an HTTP error
    ANSWERING = auto()  # a provider's answer is on its way: a refusal is an event in the stream
    ENDED = auto()


_OPEN, _ANSWERING, _ENDED = ExchangeState  # a look-up in an Enum takes 0.1 µs

_NEXT = {_OPEN: {_ANSWERING, _ENDED}, _ANSWERING: {_ENDED}, _ENDED: set[ExchangeState]()}


class Exchange:
    """The client's side: what a connection talks to, and what everybody asks who wants to answer."""

    __slots__ = (
        *("_held", "_reusable", "_runs", "answered_by", "channel", "client", "client_is_gone", "connection"),
        *("envelope", "head", "identity", "interruption", "memo", "path", "pod", "query", "records"),
        *("started_at_ms", "state", "stopwatch", "task", "unrecorded"),
    )

    def __init__(self, pod: Pod, connection: ClientConnection, memo: HeadMemo) -> None:
        self.pod, clock = pod, pod.clock
        self.connection, self.memo, self.head = connection, memo, memo.head
        self.path, self.query = memo.path, memo.query
        self.started_at_ms = started_at_ms = clock.wall_ms()
        self.identity = identity = mint(pod.request_ids.make(started_at_ms), clock.random(24).hex(), memo.parent)
        self.client = memo.client
        self.records = records = Recording(pod, identity, memo.client, started_at_ms)
        self.stopwatch = Stopwatch(clock.monotonic, records.began)
        self.state = _OPEN
        self.unrecorded = False  # probes are nobody's requests
        self.envelope: Dialect = CHAT
        self.client_is_gone = False
        self.task: asyncio.Task[None]  # the pipeline's
        self._runs = False
        self._held = 0  # bytes of the body
        self.channel: Channel | None = None
        self.interruption = STOPPED  # why the pipeline was stopped, if it was
        self.answered_by = b""  # lines of the answer's head that name the attempt
        self._reusable = False
        pod.exchanges.add(self)

    def started(self) -> None:
        """The pipeline runs: from here on it may be stopped where it waits. Raises CancelledError if that is due."""
        self._runs = True
        if self.client_is_gone or self.interruption is not STOPPED:
            raise asyncio.CancelledError

    @property
    def record(self) -> UsageRecord:
        return self.records.current

    def shown(self, client: Client) -> None:
        """Who asks, as was seen later than in the head."""
        self.client, record = client, self.records.current
        record.client, record.client_version, record.session = client.name, client.version, client.session

    def waiting(self) -> Stopwatch:
        """`with exchange.waiting():` time passes that is not ours."""
        return self.stopwatch

    def reserve_memory(self, size: int) -> None:
        """So many bytes of the request are in memory, or will be. Raises Refusal when the pod has no room for them."""
        if not self.pod.bodies.change(size - self._held):
            raise Refusal(Code.OVERLOADED, "this pod holds too many request bodies; try again", retry_after=1)
        self._held = size

    # how it is answered

    def answer(self, status: int, fields: Iterable[Field], body: bytes) -> None:
        """From memory."""
        self.records.current.http_status = status
        self.records.settle(Outcome.OK)
        self._write(status, fields, body)

    def refuse(self, refusal: Refusal, outcome: Outcome = Outcome.REFUSED, status: int = 0) -> None:
        """In the client's dialect and shape. `status` overrides what the refusal's code says."""
        words = self.rendered(refusal)
        status = status or words.status
        if not self.records.settled:
            self.records.current.http_status = status
        self.records.settle(outcome, refusal.code, refusal.budget_id)
        self._write(status, [(name.encode(), value.encode()) for name, value in words.headers], words.body)

    def rendered(self, refusal: Refusal) -> ErrorResponse:
        return self.envelope.refusal(heard_by(self.client, refusal), self.client, self.identity.request_id)

    def head_of(self, status: int, fields: Iterable[Field], *, closes: bool) -> bytes:
        """The answer's, encoded. `closes`: its body ends with the connection."""
        self._reusable = self.connection.reusable and not closes
        own = self.identity.lines(self.pod.version) + self.answered_by
        if not self._reusable:
            own += b"Connection: close\r\n"
        elif self.head.http10:
            own += b"Connection: keep-alive\r\n"
        return http1.encode_response(status, fields, own)

    def _write(self, status: int, fields: Iterable[Field], body: bytes) -> None:
        self._enter(_ENDED)
        date = http1.date(self.pod.clock.wall_ms() // 1000)
        head = self.head_of(status, [*fields, *of_ours(self.memo, self.identity.request_id, body), date], closes=False)
        self.connection.write(head if self.head.method == "HEAD" else head + body)

    def answering(self, channel: Channel) -> None:
        """What comes now is a provider's answer."""
        self._enter(_ANSWERING)
        self.channel = channel

    def end(self, error: BaseException | None) -> None:
        """Now, by what the pipeline raised, in the way that its state allows."""
        if self.client_is_gone and isinstance(error, asyncio.CancelledError):
            self.records.settle(Outcome.CLIENT_GONE)
            return
        ending = ending_of(error, self.interruption)
        if self.channel is not None:
            self.channel.cut(ending.refusal, ending.outcome)
        elif self.state is _OPEN:
            self.refuse(ending.refusal, status=ending.status)

    def close(self) -> None:
        """The last call, whatever the state."""
        self.state = _ENDED
        if self._held:
            self.reserve_memory(0)
        if self.channel is not None:
            self._reusable = self._reusable and self.channel.clean
            self.channel = None  # it knows us: the two would wait for the garbage collector together
        self.pod.exchanges.remove(self)
        if not self.client_is_gone:
            self.connection.finished(reusable=self._reusable)

    # interruptions: by the client, the clock, the control plane

    def client_gone(self) -> None:
        self.client_is_gone = True
        if self.channel is not None:
            self.channel.client_gone()
        elif self._runs:
            self.task.cancel()

    def client_reads(self, reads: bool) -> None:
        if self.channel is not None:
            self.channel.client_reads(reads)

    def overdue(self, waiting: Waiting) -> None:
        if waiting is Waiting.BODY:
            self.cut(slow_body(self.pod.limits), Outcome.REFUSED, 408)
        elif waiting is Waiting.CLIENT:
            self.client_gone()
            self.connection.abort()
        else:
            self.cut(too_slow(waiting, self.connection.waits, self.pod.limits), Outcome.FAILED)

    def cut(self, refusal: Refusal, outcome: Outcome = Outcome.CUT, status: int = 0) -> None:
        """From outside. A running answer ends before this returns; else the pipeline is stopped where it waits."""
        if self.channel is not None:
            self.channel.cut(refusal, outcome)
        elif self.state is _OPEN and self.interruption is STOPPED:
            self.interruption = Ending(refusal, outcome, status)
            if self._runs:
                self.task.cancel()

    def _enter(self, state: ExchangeState) -> None:
        if state not in _NEXT[self.state]:
            raise AssertionError(f"an exchange does not go from {self.state.name} to {state.name}")
        self.state = state
