"""The provider's side of an answer: everything is heard here before the client gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from dataplane.dialects.dialect import Meter
from dataplane.dialects.opening import EVENTS, Opening
from dataplane.proxy.http.codings import Decoder, Malformed, TooLarge
from dataplane.proxy.provider.refused import Refused

Listen = Callable[[bytes], None]


class ErrorJudge(Protocol):
    """Knows an error that is about the organization's own account."""

    def event(self, event: bytes) -> Refused | None:
        """Of a stream whose status was fine. None: it is about something else."""
        ...


class JudgedOpening:
    """The beginning of a stream, of which a judge hears the errors. `over`: what comes next is no beginning."""

    __slots__ = ("_judge", "_listen", "_meter", "_opening", "over")

    def __init__(self, judge: ErrorJudge, meter: Meter, listen: Listen) -> None:
        self._judge = judge
        self._meter = meter
        self._listen = listen
        self._opening = Opening()
        self.over = False

    def feed(self, body: bytes, *, last: bool) -> tuple[bytes, Refused | None]:
        """Returns what may pass, listened to, and the refusal of the organization that the stream began with: with that
        it has ended."""
        passing, opening, meter = b"", self._opening, self._meter
        while True:
            piece, event = opening.feed(body, last=last)
            body = b""
            if piece:
                passing += piece
                self._listen(piece)
            if meter.produced or meter.events >= EVENTS or meter.complete:
                self.over = True
                event += opening.rest()
            elif event and (refused := self._judge.event(event)) is not None:
                return passing, refused
            if event:
                passing += event
                self._listen(event)
            if self.over or not event:
                return passing, None


def listener(listen: Listen, looks: Iterable[Callable[[], None]]) -> Listen:
    """Hears every read first and then has each of `looks` look."""
    for look in looks:
        listen = _then(listen, look)
    return listen


def through(coding: bytes, meter: Meter, most_bytes: int) -> Listen:
    """Has the meter hear the decoded form of what passes compressed, within bounds: of a bomb it hears nothing more."""
    try:
        decoder = Decoder(coding, most_bytes)
    except KeyError:
        return lambda body: None
    deaf = False

    def listen(body: bytes) -> None:
        nonlocal deaf
        if not deaf:
            try:
                meter.feed(decoder.read(body))
            except (TooLarge, Malformed):
                deaf = True

    return listen


def _then(listen: Listen, look: Callable[[], None]) -> Listen:
    def both(body: bytes) -> None:
        listen(body)
        look()

    return both
