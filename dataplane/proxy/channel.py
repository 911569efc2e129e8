"""From the provider to the client: the answer's bytes, unchanged, at the client's pace, with a meter listening.

There is no queue and no task in between: a read from the provider is one write to the client. When the client reads
slowly the provider's socket is left unread, so memory stays flat. The usage record is settled before the bytes that end
the answer leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome
from dataplane.dialects.dialect import Meter
from dataplane.dialects.opening import EVENTS, Opening
from dataplane.proxy.client.connection import ClientConnection, Waiting
from dataplane.proxy.http import framing
from dataplane.proxy.http.codings import Decoder, Malformed, TooLarge
from dataplane.proxy.http.framing import Length
from dataplane.proxy.provider.connection import Response, UpstreamFailure
from dataplane.proxy.provider.refused import Judge, Refused

_OK, _NEXT_BYTE = Outcome.OK, Waiting.NEXT_BYTE  # looked up once: 0.15 µs each

EVENT_END_S = 0.25  # for an open event to end before a cut; providers write an event in one go


class AnswerWatcher(Protocol):
    """Who wants to know how it went."""

    def first_byte(self) -> None: ...

    def settle(self, outcome: Outcome, refusal_code: str = "", refusal_budget_id: str = "") -> None:
        """The last word on this answer; further calls change nothing."""
        ...

    def refused(self, refused: Refused, *, answer: bool) -> None:
        """The provider refuses the organization: nothing is owed. `answer`: nothing has left, so say it by HTTP."""
        ...


class Channel:
    """One answer on its way. `head`: the client's, encoded; `last_words`: a refusal as events of the stream; `judge`:
    of a stream, hears the errors that it may begin with."""

    def __init__(
        self,
        client: ClientConnection,
        response: Response,
        head: bytes,
        meter: Meter,
        watcher: AnswerWatcher,
        last_words: Callable[[Refusal, Meter], bytes],
        *,
        chunked: bool,
        listen_bytes: int,
        judge: Judge | None = None,
    ) -> None:
        self.client = client
        self.response = response
        self.body_bytes = 0
        self.clean = False  # ended as its head promised
        self._head = head
        self._meter = meter
        self._watcher = watcher
        self._last_words = last_words
        self._chunked = chunked
        # Room for words of ours: not in a body of declared length, nor inside somebody's compression.
        self._open_ended = not isinstance(response.framing, Length)
        self._ended = False
        self._flows = False  # chunked, the head is out, and no end is in sight
        self._sentence: tuple[Refusal, Outcome] | None = None  # to be carried out when the open event has ended
        self._patience: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[None] | None = None
        self._listen: Callable[[bytes], None] = meter.feed
        coding = response.head.first.get(b"content-encoding")
        if coding and (coding := coding.strip().lower()) not in (b"", b"identity"):
            self._open_ended = False
            self._listen = _listen_through(coding, meter, listen_bytes)
            judge = None
        self._judge = judge
        self._opening = Opening() if judge is not None else None

    def also(self, heard: Callable[[], None]) -> None:
        """Call this after every read, once the meter has heard it and before the client gets it."""
        listen = self._listen

        def both(body: bytes) -> None:
            listen(body)
            heard()

        self._listen = both

    def begin(self) -> bool:
        """Pass on what has come. True: that was all."""
        self.client.wait_for(_NEXT_BYTE)
        self.response.relay_to(self)
        if self._head and not self._ended:
            self._write(b"")
        return self._ended

    async def ended(self) -> None:
        """Returns when the answer has ended, however."""
        if not self._ended:
            self._done = asyncio.get_running_loop().create_future()
            await self._done

    # from the provider

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        client = self.client
        if wire and self._flows:  # the way of nearly every event, which the rest of this method only delays by 1.5 µs
            self.body_bytes += len(body)
            self._listen(body)
            client.mark += 1
            if self._meter.complete:
                self._watcher.settle(_OK)
            client.write(wire)
            return
        if self._ended:
            return
        if self._sentence is not None and not done:
            wire, body = b"", _to_the_events_end(body)
        if self._opening is not None:
            opened = self._open(self._opening, wire, body, done)
            if opened is None:
                return
            wire, body = opened
        elif body:
            self._listen(body)
        if body:
            if not self.body_bytes:
                self._watcher.first_byte()
            self.body_bytes += len(body)
        client.mark += 1
        if done:
            self._meter.close()
        if done or self._meter.complete:
            self._watcher.settle(_OK)
        if not self._chunked:
            self._write(body)
        elif done:
            self._write(framing.chunk(body) + framing.CHUNKED_END)
        else:
            self._write(wire or framing.chunk(body))
        if done:
            self.clean = True
            self._end()
        elif self._sentence is not None:
            if not self._meter.mid_event:
                self._end_with(*self._sentence)
        else:
            self._flows = self._chunked and self.body_bytes > 0 and self._opening is None

    def broken(self, failure: UpstreamFailure) -> None:
        if not self._ended:
            self._end_with(*self._sentence or (Refusal(Code.PROVIDER_ERROR, str(failure)), Outcome.FAILED))

    def _open(self, opening: Opening, wire: bytes, body: bytes, done: bool) -> tuple[bytes, bytes] | None:
        """Of what came, what may pass, heard. None: the stream began with a refusal of the organization and is over."""
        passing, came = b"", body
        while True:
            piece, event = opening.feed(came, last=done)
            came = b""
            if piece:
                passing += piece
                self._listen(piece)
            meter = self._meter
            if meter.produced or meter.events >= EVENTS or meter.complete:
                self._opening = None
                event += opening.rest()
            elif event and self._judge is not None and (refused := self._judge.event(event)) is not None:
                self._refuse(refused, passing)
                return None
            if not event:
                return wire if passing == body else b"", passing
            passing += event
            self._listen(event)
            if self._opening is None:
                return b"", passing

    def _refuse(self, refused: Refused, passing: bytes) -> None:
        if not self._head:
            self._watcher.refused(refused, answer=False)
            self._write(framing.chunk(passing) if self._chunked else passing)
            self._end_with(refused.refusal, Outcome.PROVIDER_ERROR)
            return
        self.response.abort()
        self._head = b""
        self._watcher.refused(refused, answer=True)
        self.clean = True
        self._end()

    # from the client

    def client_reads(self, reads: bool) -> None:
        if reads:
            self.client.wait_for(Waiting.NEXT_BYTE)
            self.response.resume()
        else:
            self.client.wait_for(Waiting.CLIENT)
            self.response.pause()

    def client_gone(self) -> None:
        """Success, if what the client waited for had arrived: some hang up right after the terminal event."""
        if self._ended:
            return
        self.response.abort()
        complete = self._meter.complete
        self._meter.close()
        self._watcher.settle(Outcome.OK if complete else Outcome.CLIENT_GONE)
        self._end()

    # from ourselves

    def cut(self, refusal: Refusal, outcome: Outcome) -> None:
        """End the answer, in the dialect's own words where the framing has room for them; else break it off.

        Now, or as soon as the event that is under way has ended: our words behind half an event would be unreadable.
        """
        if self._ended or self._sentence is not None:
            return
        if self._open_ended and self._meter.mid_event and self._last_words(refusal, self._meter):
            self._flows = False
            self._sentence = (refusal, outcome)
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(EVENT_END_S, self._end_with, refusal, outcome, False)
        else:
            self._end_with(refusal, outcome)

    def _end_with(self, refusal: Refusal, outcome: Outcome, speaks: bool = True) -> None:
        self.response.abort()
        self._open_ended = self._open_ended and speaks
        words = self._last_words(refusal, self._meter) if self._open_ended else b""
        self._meter.close()
        self._watcher.settle(outcome, refusal.code, refusal.budget_id)
        if self._open_ended and (words or self._meter.complete):
            self._write(b"")  # the head, if it is not out: our words get a write of their own
            self._write(framing.chunk(words) + framing.CHUNKED_END if self._chunked else words)
            # Who reads the end of the chunks may send the next request here at once: it must not find a close.
            self.clean = self._chunked
        else:
            self.client.abort()
        self._end()

    def _write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self.client.write(data)

    def _end(self) -> None:
        self._ended = True
        self._flows = False
        if self._patience is not None:
            self._patience.cancel()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


def _to_the_events_end(body: bytes) -> bytes:
    """What belongs to the event that is open, as far as blank lines tell."""
    ends = [at + len(blank) for blank in (b"\n\n", b"\r\n\r\n") if (at := body.find(blank)) >= 0]
    return body[: min(ends)] if ends else body


def chunked_to_client(response: Response, *, http10: bool) -> bool:
    """An answer of unknown length is chunked, so that its end can be told from a break; HTTP/1.0 cannot."""
    return not isinstance(response.framing, Length) and not http10


def _listen_through(coding: bytes, meter: Meter, most: int) -> Callable[[bytes], None]:
    """The provider compressed in spite of us: the bytes pass, the meter hears the decoded ones, within bounds."""
    try:
        decoder = Decoder(coding, most)
    except KeyError:
        return lambda body: None
    deaf = False

    def listen(body: bytes) -> None:
        nonlocal deaf
        if not deaf:
            try:
                meter.feed(decoder.feed(body))
            except (TooLarge, Malformed):
                deaf = True

    return listen
