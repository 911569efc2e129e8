"""An answer whose head is there, what takes its body, and how it may fail to come."""

from __future__ import annotations

from typing import Protocol

from dataplane.proxy.http.framing import Framing
from dataplane.proxy.http.heads import ResponseHead

_EARLY_BYTES = 32 * 1024  # kept for a reader that is not there yet, then the socket is left unread


class UpstreamFailure(Exception):
    """No answer, or not all of it. The text is for our logs and is fit for a client: no address, no credential.

    `was_written`: the request was written, and may have been worked on.
    """

    was_written = False


class UpstreamTimeout(UpstreamFailure):
    """The provider took too long."""


class Unanswered(UpstreamFailure):
    """The request was written, and no answer that could be understood came back."""

    was_written = True


class Stale(UpstreamFailure):
    """A kept-alive connection was closed by the provider before the request had reached it: it cannot have been worked
    on, and another connection may be tried."""


class Sink(Protocol):
    """Takes the body of an answer, as it comes."""

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        """Some of the body, and its bytes on the wire if these are whole chunks (else empty). `done`: the last call."""
        ...

    def broken(self, failure: UpstreamFailure) -> None:
        """Nothing more will come, though it should. The last call."""
        ...


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
        if self._early_bytes > _EARLY_BYTES:
            self.resume()  # before the sink has something: that may be too much for it
        self._early_bytes = 0
        if len(early) == 1:
            self.received(*early[0])
        elif early:
            self.received(b"", b"".join([body for _, body, _ in early]), early[-1][2])
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
