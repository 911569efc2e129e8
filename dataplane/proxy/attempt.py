"""One try of an exchange against one provider: what is asked, held, heard and owed, and the record of it.

An attempt settles itself, once, whoever asks first: the channel at the answer's end, the exchange that answers instead,
the client that hangs up, a cut, or the end of its `with`, which knows what went wrong.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum, auto

from dataplane.core.errors import Refusal
from dataplane.core.money.estimates import hides_reasoning
from dataplane.core.money.owed import End, owed
from dataplane.core.money.prices import Guess, Priced
from dataplane.core.routing import Candidate
from dataplane.core.usage import NO_USAGE, Outcome, Usage, UsageRecord, UsageSource
from dataplane.dialects.dialect import Operation
from dataplane.providers.upstream import echo_of
from dataplane.proxy.bill import NO_PRICES, most, price
from dataplane.proxy.client.answer_head import answered_by
from dataplane.proxy.client.conversation import Waiting
from dataplane.proxy.endings import ending_of
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.inquiry import Inquiry
from dataplane.proxy.last_look import last_look
from dataplane.proxy.provider.connection import UpstreamFailure
from dataplane.proxy.provider.refused import Refused
from dataplane.proxy.reservation import Reservation


class AttemptState(IntEnum):
    PLANNED = auto()  # money may be set aside; nothing is owed
    ADMITTED = auto()  # its record is kept: the provider may be reached
    ASKED = auto()  # the provider may have read the request
    ANSWERING = auto()  # its answer is on its way to the client
    SETTLED = auto()  # the record is final, what was not spent is given back


_PLANNED, _ADMITTED, _ASKED, _ANSWERING, _SETTLED = AttemptState  # a look-up in an Enum takes 0.1 µs
_OK, _FIRST_BYTE, _NO_PRICE = Outcome.OK, Waiting.FIRST_BYTE, Guess.MODEL
_PROVIDER, _STATUS_OK = UsageSource.PROVIDER, 200

_NEXT: dict[AttemptState, frozenset[AttemptState]] = {
    _PLANNED: frozenset({_ADMITTED, _SETTLED}),
    _ADMITTED: frozenset({_ASKED, _SETTLED}),
    _ASKED: frozenset({_ANSWERING, _SETTLED}),
    _ANSWERING: frozenset({_SETTLED}),
    _SETTLED: frozenset(),
}


class Attempt:
    """The provider's side. `record` is the exchange's own when it is the first; `meter` hears the answer."""

    __slots__ = (
        *("_asked_at", "_billed", "_echoed", "_first_byte_s", "_prices", "_reached", "_status"),
        *("asked_usage", "candidate", "exchange", "inquiry"),
        *("meter", "record", "reservations", "state"),
    )

    def __init__(self, exchange: Exchange, inquiry: Inquiry, candidate: Candidate) -> None:
        route, facts = inquiry.route, inquiry.request.facts
        self.exchange = exchange
        self.inquiry = inquiry
        self.candidate = candidate
        self.record = exchange.records.next_attempt()
        self.meter = route.dialect.meter(route.operation, streaming=facts.stream, facts=facts)
        self.reservations: tuple[Reservation, ...] = ()  # none where no budget covers it
        self.asked_usage = False  # a chat stream, for usage that the client did not ask for
        self.state = _PLANNED
        self._prices = inquiry.view.prices or NO_PRICES
        self._billed = False
        self._echoed = False
        self._reached = False  # it owes the provider something
        self._status = 0  # of the provider's answer, once its head is there
        self._first_byte_s = 0.0
        self._asked_at = 0.0  # monotonic: the request was written

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """What nobody settled ends here, by what went wrong; that nothing did is a defect."""
        if self.state is _PLANNED:
            self._enter(_SETTLED)
            for reservation in self.reservations:
                reservation.settle(0, NO_USAGE)
        elif self.state is not _SETTLED:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        exchange = self.exchange
        if exchange.client_is_gone and isinstance(error, asyncio.CancelledError):
            self.settle(Outcome.CLIENT_GONE)
            return
        if isinstance(error, UpstreamFailure):
            self._reached = error.was_written
        refusal, outcome, status = ending_of(error, exchange.interruption)
        if self.state is not _ANSWERING:
            self.record.http_status = status or exchange.rendered(refusal).status
        self.settle(outcome, refusal.code, refusal.budget_id)

    # what becomes of it

    def reserve(self, reservation: Reservation) -> None:
        """Money is set aside; whatever happens from here on, what was not spent is given back."""
        self.reservations = (reservation,)
        record, hold = self.record, reservation.hold
        record.accounts = tuple([slice.account.ref for slice in hold.slices])
        record.reserved_nano, record.hold_session = hold.charged, hold.session

    def admit(self, kind: str, *, billed: bool) -> None:
        """The last thing before a provider may be reached. `kind`: of the provider. Raises Refusal when the record
        cannot be kept."""
        provider, model = self.candidate.provider, self.candidate.model
        record, exchange = self.record, self.exchange
        record.provider_id, record.provider_kind, record.model = provider.id, kind, model
        exchange.answered_by = answered_by(provider.name, model, record.attempt)
        exchange.records.admit(self)
        self._billed = billed
        self._enter(_ADMITTED)

    def asking(self) -> None:
        """The request is about to be written to the provider; on another connection once more, where the first one
        cannot have taken it. Raises Refusal when it may not be."""
        self._reached = False
        last_look(self.exchange, self.inquiry, self.candidate)
        if self.state is not _ASKED:
            self._enter(_ASKED)
        self._reached = True
        self._asked_at = self.exchange.pod.clock.monotonic()
        connection = self.exchange.connection
        connection.waits = self.candidate.waits
        connection.wait_for(_FIRST_BYTE)

    def heard(self, status: int) -> None:
        """The head of the provider's answer is there: what is owed is what it says from here on."""
        self._status = status

    def answering(self, status: int) -> None:
        """What comes now is the provider's answer, with its status."""
        self._enter(_ANSWERING)
        self.record.http_status = status

    def first_byte(self) -> None:
        self._first_byte_s = self.exchange.pod.clock.monotonic() - self.exchange.records.began

    def echoed(self, covered: bool) -> None:
        """The provider repeats its own credential: to the client, unless that was `covered`."""
        if not self._echoed:
            self._echoed = True
            record = self.record
            where = "error" if covered else "content"
            self.exchange.pod.telemetry.echoed(record.provider_kind, record.provider_id, where, record.request_id)

    def refuse(self, refusal: Refusal, outcome: Outcome) -> None:
        """Nothing of the answer has left: the client hears it from us, and what the provider made is owed."""
        self.exchange.refuse(refusal, outcome)

    def refused(self, refused: Refused, *, answer: bool) -> None:
        """The provider refuses the organization itself: nothing is owed, and the client hears it from us."""
        self.record.provider_error = refused.words
        self._reached = False
        if answer:
            self.exchange.refuse(refused.refusal, Outcome.PROVIDER_ERROR)

    def reads_on(self) -> float:
        """Seconds for which the figures of an answer whose client has gone are worth waiting for."""
        return self.exchange.pod.limits.reading_on_s if self._billed and self.meter.usage().outstanding else 0

    # money

    def cost_so_far(self) -> int:
        """Of the answer that runs, in nano-dollars."""
        priced = self._price(self.meter.usage())
        return priced.nano if priced is not None else 0

    def cut(self, refusal: Refusal) -> None:
        """The money is used up."""
        self.exchange.cut(refusal, Outcome.CUT)

    def settle(self, outcome: Outcome, refusal_code: str = "", refusal_budget_id: str = "") -> None:
        """The last word on it: further calls change nothing. The record is written when this returns."""
        if self.state is _SETTLED:
            return
        record, meter, exchange = self.record, self.meter, self.exchange
        usage = self.meter.usage() if self._reached and self._billed else NO_USAGE
        if self._reached and self._billed and (self._status != _STATUS_OK or usage.source is not _PROVIDER):
            usage, priced = self._owed(usage, outcome)
        else:
            priced = self._price(usage)
        if outcome is _OK and (record.http_status >= 400 or meter.failed):
            outcome = Outcome.PROVIDER_ERROR
        self._enter(_SETTLED)
        exchange.records.conclude(outcome, refusal_code, refusal_budget_id)
        record.usage = usage
        if usage.source is not _PROVIDER and self._status == _STATUS_OK and (kept_id := meter.kept_id):
            route = self.inquiry.route
            if route.operation is Operation.RESPONSES_STORED:
                kept_id = route.tail.split("/")[2][:128]  # what was asked for, whatever the answer calls itself
            record.kept_id, record.goes_on, record.seen = kept_id, meter.goes_on, meter.seen
        record.model_reported, record.events = meter.model, meter.events
        self._without_credential(record)
        record.first_byte_ms = round(self._first_byte_s * 1e3)
        record.response_bytes = exchange.channel.body_bytes if exchange.channel is not None else 0
        if priced is not None:
            record.cost_nano, record.priced, record.price_version = priced.nano, not priced.guess, priced.version
        guess = _NO_PRICE if priced is None else priced.guess
        if guess and (usage.units or usage.parts):
            exchange.pod.telemetry.unpriced(record.provider_kind, record.provider_id, guess, record.request_id)
        for reservation in self.reservations:
            reservation.settle(record.cost_nano, usage)
        if usage.source is _PROVIDER and outcome is _OK and hides_reasoning(record.provider_kind, record.model):
            seconds = exchange.pod.clock.monotonic() - self._asked_at
            exchange.pod.speeds.learn(self.candidate.model, usage.tokens[1], seconds)
        exchange.pod.journal.settle(record)

    def _without_credential(self, record: UsageRecord) -> None:
        """What a provider wrote into the record is kept, and shown to many."""
        usage = record.usage
        names = f"{record.model_reported}\n{record.provider_request_id}"
        texts = f"{names}\n{usage.service_tier}\n{usage.speed}\n{usage.geo}\n{usage.raw}"
        if echo_of(self.candidate.provider).word in texts.lower():
            self.echoed(True)
            record.model_reported, record.provider_request_id = "", ""
            record.usage = usage._replace(service_tier="", speed="", geo="", raw="", parts=(), unknown_calls={})

    def _price(self, usage: Usage) -> Priced | None:
        return price(usage, self._prices, self.candidate, self.meter.model, self.record.started_at_ms)

    def _owed(self, usage: Usage, outcome: Outcome) -> tuple[Usage, Priced | None]:
        """Of what is not simply the provider's own figure."""
        candidate, facts, record = self.candidate, self.inquiry.request.facts, self.record
        hides = hides_reasoning(candidate.provider.kind, candidate.model)
        seconds = self.exchange.pod.clock.monotonic() - self._asked_at
        written = self.exchange.pod.speeds.written(candidate.model, seconds) if hides else 0
        usage, held = owed(usage, End(outcome, self._status, facts.stream, hides, written))
        priced = self._price(usage)
        if not held and usage.source is not UsageSource.ESTIMATED:
            return usage, priced
        ceiling = record.reserved_nano or most(usage, self._prices, candidate, facts, record.started_at_ms)
        if not ceiling or (held and priced is not None and priced.nano > ceiling):
            return usage._replace(source=UsageSource.METERED), priced  # what was seen is more than was set aside
        if held or priced is None or priced.nano > ceiling:
            priced = Priced(ceiling, self._prices.version, candidate.model)
        return usage, priced

    def _enter(self, state: AttemptState) -> None:
        if state not in _NEXT[self.state]:
            raise AssertionError(f"an attempt does not go from {self.state.name} to {state.name}")
        self.state = state
