"""One client request through the pod, from its first byte to settled: its state, its names, its one record.

An exchange answers once and settles once, whoever asks first: the pipeline, the relay, the client that hangs up, the
clock, or a revocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum, auto
from functools import lru_cache
from urllib.parse import quote

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome, RecordStatus, Usage, UsageRecord
from dataplane.dialects.dialect import Dialect, Meter
from dataplane.dialects.finality import heard_by
from dataplane.dialects.registry import CHAT
from dataplane.dialects.sent import SentSoFar
from dataplane.proxy.answer import Answer, framed
from dataplane.proxy.bill import NO_BILL, Bill
from dataplane.proxy.channel import Channel
from dataplane.proxy.client.connection import ClientConnection, Waiting
from dataplane.proxy.client.identity import mint
from dataplane.proxy.client.memory import HeadMemo
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.heads import Field
from dataplane.proxy.pod import Pod
from dataplane.proxy.provider.connection import Response
from dataplane.proxy.provider.refused import Judge, Refused
from dataplane.proxy.reservation import UNHELD, Money, Reservation


class State(IntEnum):  # its hash is an int's; an Enum's is a call of Python code
    RECEIVED = auto()  # a refusal is an HTTP error; nothing is owed
    ADMITTED = auto()  # the provider may be working: a refusal is an HTTP error, a record is owed
    RELAYING = auto()  # the client has the head: a refusal is an event in the stream
    SETTLED = auto()  # the record is written
    CLOSED = auto()


_NEXT: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.ADMITTED, State.SETTLED}),
    State.ADMITTED: frozenset({State.RELAYING, State.SETTLED}),
    State.RELAYING: frozenset({State.SETTLED}),
    State.SETTLED: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}

# What every request passes through, looked up once: 0.15 µs each.
_RECEIVED, _ADMITTED, _RELAYING, _SETTLED, _CLOSED = State
_FINAL, _OK, _FIRST_BYTE = RecordStatus.FINAL, Outcome.OK, Waiting.FIRST_BYTE

_CHUNKED: Field = (b"Transfer-Encoding", b"chunked")
_X_REQUEST_ID = b"x-request-id"


class Exchange:
    """`record` is filled in as things become known: one object from the first byte to the ledger."""

    def __init__(self, pod: Pod, connection: ClientConnection, caller: HeadMemo) -> None:
        clock = pod.clock
        self.pod = pod
        self.connection = connection
        self.caller = caller
        self.head = caller.head
        self.path, self.query = caller.path, caller.query
        self.started_at_ms = started_at_ms = clock.wall_ms()
        self.identity = identity = mint(clock.random(33).hex(), started_at_ms, caller.parent)
        self.record = UsageRecord(
            request_id=identity.request_id,
            started_at_ms=started_at_ms,
            trace_id=identity.trace_id,
            span_id=identity.span_id,
            parent_span_id=identity.parent_span_id,
        )
        self.state = _RECEIVED
        self.envelope: Dialect = CHAT
        self.client = caller.client
        self.unrecorded = False  # probes are nobody's requests
        self._task: asyncio.Task[None]
        self._cancel: Callable[[], object] = _not_yet
        self.money: Money = UNHELD
        self._bill = NO_BILL
        self._held = 0  # bytes of the body
        self._asked = False  # may the provider have read the request?
        self._relay: Channel | None = None
        self._interruption: tuple[Refusal, Outcome, int] | None = None
        self._client_gone = False
        self._reusable = False
        self._http_status = 0
        self._began = self._own_since = clock.monotonic()
        self._own_s = 0.0
        self._ours = True  # the time that passes
        self._first_byte_s = 0.0
        pod.exchanges.add(self)

    # what becomes known

    def runs_in(self, task: asyncio.Task[None]) -> None:
        """The pipeline's task; stopped where it waits, but not before `started`: it would never get to `close`."""
        self._task = task

    def started(self) -> None:
        """The pipeline runs. Raises CancelledError if it should not have begun."""
        self._cancel = self._task.cancel
        if self._client_gone or self._interruption is not None:
            raise asyncio.CancelledError

    @property
    def organization_id(self) -> str:
        return self.record.organization_id

    @property
    def meter(self) -> Meter:
        """Of the attempt that runs, for an answer of the kind that was asked for."""
        return self._bill.meter

    def holds(self, reservation: Reservation) -> None:
        """Money is set aside; whatever happens from here on, `settle` gives back what was not spent."""
        self.money, record, hold = reservation, self.record, reservation.hold
        record.accounts = tuple([slice.account.ref for slice in hold.slices])
        record.reserved_nano, record.hold_session = hold.charged, hold.session

    def cost_so_far(self) -> int:
        """Of the answer that runs, in nano-dollars."""
        bill = self._bill
        priced = bill.price(bill.usage(asked=True, status=self._http_status), self.started_at_ms)
        return priced.nano if priced is not None else 0

    def reserve_memory(self, size: int) -> None:
        """So many bytes of the request are in memory, or will be. Raises Refusal when the pod has no room for them."""
        if not self.pod.bodies.change(size - self._held):
            raise Refusal(Code.OVERLOADED, "this pod holds too many request bodies; try again", retry_after=1)
        self._held = size

    def admit(self, bill: Bill) -> None:
        """The last thing before a provider may be reached. Raises Refusal when the record cannot be kept."""
        self._bill = bill
        self.record.status = RecordStatus.ADMITTED
        self._note_client_and_time(self.pod.clock.monotonic())
        self.pod.journal.admit(self.record)
        self._enter(_ADMITTED)

    def asking(self) -> None:
        """The request is about to be written to the provider."""
        self._asked = True
        self.connection.wait_for(_FIRST_BYTE)

    def answered(self, response: Response) -> None:
        """The head of the provider's answer is there."""
        self.record.provider_request_id = _their_id(response)

    def unanswered(self) -> None:
        """The provider took no request, or broke off before it answered: nothing is owed."""
        self._asked = False

    def others_turn(self) -> None:
        """From here on time passes that is not ours, until `our_turn`."""
        self._own_s += self.pod.clock.monotonic() - self._own_since
        self._ours = False

    def our_turn(self) -> None:
        self._own_since = self.pod.clock.monotonic()
        self._ours = True

    # ways to end

    def answer(self, status: int, fields: Iterable[Field], body: bytes) -> None:
        """From memory."""
        self._http_status = status
        self.settle(Outcome.OK)
        self._respond(status, fields, body)

    def refuse(self, refusal: Refusal, outcome: Outcome = Outcome.REFUSED, status: int = 0) -> None:
        """In the client's dialect and shape. `status` overrides what the refusal's code says."""
        rendered = self.envelope.refusal(heard_by(self.client, refusal), self.client, self.identity.request_id)
        self._http_status = status or rendered.status
        self.settle(outcome, refusal.code, refusal.budget_id)
        self._respond(
            self._http_status, [(name.encode(), value.encode()) for name, value in rendered.headers], rendered.body
        )

    def refused(self, refused: Refused, *, answer: bool) -> None:
        """The provider refuses the organization itself: nothing is owed, and the client hears it from us."""
        self.record.provider_error = refused.words
        self._asked = False
        if answer:
            self.refuse(refused.refusal, Outcome.PROVIDER_ERROR)

    async def relay(
        self, response: Response, fields: Sequence[Field], meter: Meter, judge: Judge | None = None
    ) -> None:
        """Pass the provider's answer on. Returns when it has ended, however."""
        self._http_status = status = response.head.status
        self._enter(_RELAYING)
        self._bill.meter = meter
        frame = framed(response, http10=self.head.http10)
        fields = [*fields, *_framing(response, chunked=frame.chunked)]
        if b"date" not in response.head.first:
            fields.append(self._date())
        if self.caller.own_id and b"x-request-id" not in response.head.first:
            fields.append((_X_REQUEST_ID, self.caller.own_id))
        head = self._head(status, fields, closes=frame.closes)
        follow = self.money.follow(meter, self.envelope.name)
        looks = () if follow is None else (follow,)
        answer = Answer(response, head, meter, frame.chunked, self.pod.limits.body_bytes, judge, looks)
        relay = self._relay = Channel(self.connection, answer, self, self._last_words)
        if not relay.begin():
            del head, fields, answer  # 0.7 KB that an open stream need not hold
            self.others_turn()
            await relay.ended()
            self.our_turn()
        self._reusable = self._reusable and relay.clean

    def fail(self, refusal: Refusal, outcome: Outcome, status: int = 0) -> None:
        """End it now, in the way that its state allows."""
        if self._relay is not None:
            self._relay.cut(refusal, outcome)
        elif self.state is State.ADMITTED:
            self.refuse(refusal, outcome, status)
        elif self.state is State.RECEIVED:
            self.refuse(refusal, Outcome.REFUSED, status)

    def close(self) -> None:
        """The last call. What nobody settled is a defect, and is recorded as one."""
        if self.state is not _SETTLED:
            self.settle(Outcome.FAILED, Code.INTERNAL_ERROR)
        self._enter(_CLOSED)
        self.reserve_memory(0)
        self._relay = None  # it knows us: the two would wait for the garbage collector together
        self.pod.exchanges.remove(self)
        if not self._client_gone:
            self.connection.finished(reusable=self._reusable)

    # interruptions: by the client, the clock, the control plane

    def client_gone(self) -> None:
        self._client_gone = True
        if self._relay is not None:
            self._relay.client_gone()
        else:
            self._cancel()

    def client_reads(self, reads: bool) -> None:
        if self._relay is not None:
            self._relay.client_reads(reads)

    def overdue(self, waiting: Waiting) -> None:
        if waiting is Waiting.BODY:
            self.cut(Refusal(Code.BAD_REQUEST, "the request body took too long"), Outcome.REFUSED, 408)
        elif waiting is Waiting.CLIENT:
            self.client_gone()
            self.connection.abort()
        else:
            self.cut(Refusal(Code.UPSTREAM_TIMEOUT, "the provider took too long to answer"), Outcome.FAILED)

    def cut(self, refusal: Refusal, outcome: Outcome = Outcome.CUT, status: int = 0) -> None:
        """From outside. A running answer ends before this returns; else the pipeline is stopped where it waits."""
        if self._relay is not None:
            self._relay.cut(refusal, outcome)
        elif self.state in (State.RECEIVED, State.ADMITTED) and self._interruption is None:
            self._interruption = (refusal, outcome, status)
            self._cancel()

    def interrupted(self) -> None:
        """The pipeline was stopped where it waited."""
        if self._client_gone:
            self.settle(Outcome.CLIENT_GONE)
        else:
            self.fail(*(self._interruption or (Refusal(Code.DRAINING, "this pod is shutting down"), Outcome.CUT, 0)))

    # the record

    def first_byte(self) -> None:
        self._first_byte_s = self.pod.clock.monotonic() - self._began

    def settle(self, outcome: Outcome, refusal_code: str = "", refusal_budget_id: str = "") -> None:
        """The one record of this exchange. The first caller wins."""
        if self.state >= _SETTLED:
            return
        bill, relay, status, now = self._bill, self._relay, self._http_status, self.pod.clock.monotonic()
        usage = bill.usage(asked=self._asked, status=status if relay else 0)
        if outcome is _OK and (status >= 400 or bill.meter.failed):
            outcome = Outcome.PROVIDER_ERROR
        self._enter(_SETTLED)
        if self.unrecorded:
            return
        record = self.record
        record.status = _FINAL
        record.outcome, record.refusal_code, record.http_status = outcome, refusal_code, status
        record.refusal_budget_id = refusal_budget_id
        record.usage = usage
        record.first_byte_ms = round(self._first_byte_s * 1e3)
        record.response_bytes = relay.body_bytes if relay else 0
        self._note_client_and_time(now)
        record.ended_at_ms = record.started_at_ms + record.duration_ms
        if bill is not NO_BILL:
            self._note_bill(record, usage)
        self.money.settle(record.cost_nano, usage)
        if record.key_id:
            self.pod.journal.settle(record)
        own_s = self._own_s + now - self._own_since if self._ours else self._own_s
        self.pod.telemetry.finished(record, round(own_s * 1e6))

    def _note_client_and_time(self, now: float) -> None:
        record, client = self.record, self.client
        record.client, record.client_version, record.session = client.name, client.version, client.session
        record.duration_ms = round((now - self._began) * 1e3)

    def _note_bill(self, record: UsageRecord, usage: Usage) -> None:
        meter, priced = self._bill.meter, self._bill.price(usage, self.started_at_ms)
        record.model_reported, record.events = meter.model, meter.events
        if priced is not None:
            record.cost_nano, record.priced, record.price_version = priced.nano, True, priced.version

    # heads and words

    def _respond(self, status: int, fields: Iterable[Field], body: bytes) -> None:
        ours = self.identity.request_id.encode()
        # As SDKs look for it: Anthropic's in the first, OpenAI's in the second, where a client's own name goes before.
        ids = ((b"request-id", ours), (_X_REQUEST_ID, self.caller.own_id or ours))
        framed = [*fields, *ids, (b"Content-Length", b"%d" % len(body)), self._date()]
        head = self._head(status, framed, closes=False)
        self.connection.write(head if self.head.method == "HEAD" else head + body)

    def _head(self, status: int, fields: Iterable[Field], *, closes: bool) -> bytes:
        self._reusable = self.connection.reusable and not closes
        own = self.identity.lines(self.pod.version)
        if self._bill is not NO_BILL:
            own += _answered_by(self._bill.provider.name, self._bill.model)
        if not self._reusable:
            own += b"Connection: close\r\n"
        elif self.head.http10:
            own += b"Connection: keep-alive\r\n"
        return http1.encode_response(status, fields, own)

    def _date(self) -> Field:
        return http1.date(self.pod.clock.wall_ms() // 1000)

    def _last_words(self, refusal: Refusal, sent: SentSoFar) -> bytes:
        return self.envelope.ending(heard_by(self.client, refusal), self.client, self.identity.request_id, sent)

    def _enter(self, state: State) -> None:
        if state not in _NEXT[self.state]:
            raise AssertionError(f"an exchange does not go from {self.state.name} to {state.name}")
        self.state = state


def _not_yet() -> None:
    """Nothing runs that could be cancelled."""


def _framing(response: Response, *, chunked: bool) -> Sequence[Field]:
    """How the client will know where the body ends."""
    if chunked:
        return (_CHUNKED,)
    length = response.head.first.get(b"content-length")
    return () if length is None else ((b"Content-Length", length),)


def _their_id(response: Response) -> str:
    first = response.head.first
    return (first.get(b"request-id") or first.get(b"x-request-id", b""))[:200].decode("latin-1")


@lru_cache(maxsize=1024)
def _answered_by(provider: str, model: str) -> bytes:
    return http1.lines(
        [
            (b"X-Langwatch-Provider", _printable(provider)),
            (b"X-Langwatch-Model", _printable(model)),
            (b"X-Langwatch-Fallback-Count", b"0"),
        ]
    )


def _printable(value: str) -> bytes:
    """Names that admins and clients chose, fit for a header."""
    return (value if value.isascii() and value.isprintable() else quote(value, safe="/:@")).encode()
