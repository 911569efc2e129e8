"""From the provider to the client: the answer's bytes, unchanged, at the client's pace, with a meter listening.

There is no queue and no task in between: a read from the provider is one write to the client. When the client reads
slowly the provider's socket is left unread, so memory stays flat. The usage record is settled before the bytes that end
the answer leave. Where filters stand between (`filtering.py`), they are in front of this, and nothing else differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome
from dataplane.dialects.filter import FilteredSide
from dataplane.dialects.sent import SentSoFar
from dataplane.proxy.answer import Answer, AnswerWatcher
from dataplane.proxy.cleaning import Sealed
from dataplane.proxy.client.connection import ClientConnection
from dataplane.proxy.client.conversation import Waiting
from dataplane.proxy.filtering import Filtering
from dataplane.proxy.hearing import JudgedOpening, listener, through
from dataplane.proxy.http import framing
from dataplane.proxy.http.codings import coding_of
from dataplane.proxy.http.framing import Length
from dataplane.proxy.provider.connection import UpstreamFailure
from dataplane.proxy.provider.refused import Refused
from dataplane.proxy.reading_on import ReadingOn

_OK, _NEXT_BYTE = Outcome.OK, Waiting.NEXT_BYTE  # looked up once: 0.15 µs each

EVENT_END_S = 0.25  # for an open event to end before a cut; providers write an event in one go


class ClientSide(Protocol):
    """The answer as the client has it: the meter itself, where nothing stands between."""

    @property
    def complete(self) -> bool: ...
    @property
    def mid_event(self) -> bool: ...
    def sent_so_far(self) -> SentSoFar: ...
    def close(self) -> None: ...


class Channel:
    """One answer on its way. `last_words`: a refusal as events of the stream, behind what the client has."""

    def __init__(
        self,
        client: ClientConnection,
        answer: Answer,
        watcher: AnswerWatcher,
        last_words: Callable[[Refusal, SentSoFar], bytes],
    ) -> None:
        response, meter = answer.response, answer.meter
        self.client = client
        self.response = response
        self.body_bytes = 0
        self.clean = False  # ended as its head promised
        self._head = answer.head
        self._watcher = watcher
        self._last_words = last_words
        self._chunked = answer.chunked
        self._ended = False
        self._flows = False  # chunked, the head is out, and no end is in sight
        self._sentence: tuple[Refusal, Outcome] | None = None  # to be carried out when the open event has ended
        self._patience: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[None] | None = None
        self._reading_on: ReadingOn | None = None
        self._cleaner, self._needle = answer.cleaner, answer.cleaner.needle
        self._side: ClientSide = meter
        self._plain = answer.filtered is None
        self._most_bytes = answer.most_bytes
        self._listen: Callable[[bytes], None]
        self._opening: JudgedOpening | None = None
        self._filtering: Filtering | None = None  # until it begins: each knows the other
        filtered = answer.filtered
        # Of an answer in one piece nothing leaves before something of it is there: until then it can be refused.
        self._keeps_its_head = not answer.streaming if filtered is None else filtered.whole
        if filtered is not None:
            self._side = side = FilteredSide(filtered.filters, meter, filtered.reader)
            self._filtering = Filtering(self, answer, filtered, side)
            self._listen = filtered.reader.feed
            self._open_ended = not filtered.whole
            return
        coding = coding_of(response.head)
        # Room for words of ours: not in a body of declared length, nor inside somebody's compression.
        self._open_ended = not coding and not isinstance(response.framing, Length)
        self._listen = listener(through(coding, meter, answer.most_bytes) if coding else meter.feed, answer.looks)
        if answer.judge is not None and not coding:
            self._opening = JudgedOpening(answer.judge, meter, self._listen)

    def begin(self) -> bool:
        """Pass on what has come. True: that was all."""
        self.client.wait_for(_NEXT_BYTE)
        sink, self._filtering = self._filtering or self, None
        self.response.relay_to(sink)
        if self._head and not self._ended and not self._keeps_its_head:
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
        if wire and self._flows and body.endswith(b"\n") and b"error" not in body and self._needle not in body:
            # the way of nearly every event, which the rest of this method only delays by 1.5 µs
            self.body_bytes += len(body)
            self._listen(body)
            client.mark += 1
            if self._side.complete:
                self._watcher.settle(_OK)
            client.write(wire)
            return
        if self._ended:
            return
        if self._sentence is not None and not done:
            wire, body = b"", _to_the_events_end(body)
        if self._opening is not None:
            came = body
            body, refused = self._opening.feed(came, last=done)
            if refused is not None:
                self.refuse(refused, body)
                return
            if body != came:
                wire = b""
            if self._opening.over:
                self._opening = None
        elif body:
            self._listen(body)
        try:
            passing = self._cleaner.feed(body, last=done)
        except Sealed as sealed:
            self._seal(sealed)
            return
        if passing is not body:
            wire, body = b"", passing
        if body:
            if not self.body_bytes:
                self._watcher.first_byte()
            self.body_bytes += len(body)
        client.mark += 1
        if done:
            self._side.close()
        if done or self._side.complete:
            self._watcher.settle(_OK)
        if self._head and self._keeps_its_head and not (body or done):
            return
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
            if not self._side.mid_event:
                self._end_with(*self._sentence)
        else:
            begun = self.body_bytes > 0 and self._opening is None
            self._flows = self._chunked and begun and not self._cleaner.busy

    def broken(self, failure: UpstreamFailure) -> None:
        self.end_with(Refusal(Code.PROVIDER_ERROR, str(failure)), Outcome.FAILED)

    def refuse(self, refused: Refused, passing: bytes) -> None:
        """The provider refuses the organization itself, behind what may pass."""
        if not self._head:
            self._watcher.refused(refused, answer=False)
            self._write(framing.chunk(passing) if self._chunked else passing)
            self._end_with(refused.refusal, Outcome.PROVIDER_ERROR)
            return
        self._leave_it_to_http()
        self._watcher.refused(refused, answer=True)
        self._end()

    # from the filtered way

    def progressed(self) -> None:
        self.client.mark += 1

    def has_length(self, length: int) -> None:
        self._head = self._head[:-2] + b"Content-Length: %d\r\n\r\n" % length

    def end_with(self, refusal: Refusal, outcome: Outcome) -> None:
        """Now: nothing more would come."""
        if not self._ended:
            self._end_with(*self._sentence or (refusal, outcome))

    # from the client

    def client_reads(self, reads: bool) -> None:
        if self._reading_on is not None:
            return
        if reads:
            self.client.wait_for(Waiting.NEXT_BYTE)
            self.response.resume()
        else:
            self.client.wait_for(Waiting.CLIENT)
            self.response.pause()

    def client_gone(self) -> None:
        """Success, if what the client waited for had arrived: some hang up right after the terminal event."""
        if self._ended or self._reading_on is not None:
            return
        if self._plain and not self._side.complete and (seconds := self._watcher.reads_on()):
            self._reading_on = ReadingOn(self.response, self._listen, self._side, self._read_on)
            self._reading_on.begin(seconds, self._most_bytes)
            return
        self.response.abort()
        complete = self._side.complete
        self._side.close()
        self._watcher.settle(Outcome.OK if complete else Outcome.CLIENT_GONE)
        self._end()

    def _read_on(self) -> None:
        """The client had all of the content."""
        self._side.close()
        self._watcher.settle(Outcome.OK)
        self._end()

    # from ourselves

    def cut(self, refusal: Refusal, outcome: Outcome) -> None:
        """End the answer, in the dialect's own words where the framing has room for them; else break it off.

        Now, or as soon as the event that is under way has ended: our words behind half an event would be unreadable.
        """
        if self._ended or self._sentence is not None:
            return
        if self._reading_on is not None:
            self._reading_on.stop()
            return
        if self._open_ended and self._side.mid_event and self._last_words(refusal, self._side.sent_so_far()):
            self._flows = False
            self._sentence = (refusal, outcome)
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(EVENT_END_S, self._end_with, refusal, outcome, False)
        else:
            self._end_with(refusal, outcome)

    def _end_with(self, refusal: Refusal, outcome: Outcome, speaks: bool = True) -> None:
        if self._head:
            self._side.close()
            self._leave_it_to_http()
            self._watcher.refuse(refusal, outcome)
            self._end()
            return
        self.response.abort()
        self._open_ended = self._open_ended and speaks
        words = self._last_words(refusal, self._side.sent_so_far()) if self._open_ended else b""
        self._side.close()
        self._watcher.settle(outcome, refusal.code, refusal.budget_id)
        if self._open_ended and (words or self._side.complete):
            rest = self._cleaner.rest()
            self._write(framing.chunk(rest) if self._chunked else rest)  # with the head, if that is not out
            # Our words get a write of their own.
            self._write(framing.chunk(words) + framing.CHUNKED_END if self._chunked else words)
            # Who reads the end of the chunks may send the next request here at once: it must not find a close.
            self.clean = self._chunked
        else:
            self.client.abort()
        self._end()

    def _seal(self, sealed: Sealed) -> None:
        """What would have to be covered cannot be: the answer ends before it."""
        refusal = Refusal(Code.PROVIDER_ERROR, str(sealed))
        if self._head:
            self._side.close()
            self._leave_it_to_http()
            self._watcher.refuse(refusal, Outcome.FAILED)
            self._end()
        else:
            self._end_with(refusal, Outcome.FAILED)

    def _leave_it_to_http(self) -> None:
        """Nothing has left: the client gets an answer of ours instead, on a connection that stays."""
        self.response.abort()
        self._head = b""
        self.clean = True

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
